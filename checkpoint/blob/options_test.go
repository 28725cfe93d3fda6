package blob

import (
	"slices"
	"strings"
	"testing"

	"github.com/hubferry/hubferry"
)

const signature = "sv=2024-11-04&ss=b&srt=sco&sp=rwlc&se=2036-01-01T00:00:00Z&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"

func TestValidate(t *testing.T) {
	secret := hubferry.NewSecret
	const account = "https://contoso.blob.core.windows.net"
	for name, c := range map[string]struct {
		options Options
		want    []string // fields
	}{
		"nothing":                       {Options{}, []string{"container", ""}},
		"credential":                    {Options{Container: "checkpoints", Account: account, APIVersion: "2019-07-07", SecondaryHost: "contoso-secondary.blob.core.windows.net"}, nil},
		"key":                           {Options{Container: "abc", Account: account, Key: secret("a2V5")}, nil},
		"signature":                     {Options{Container: "abc", Account: account, SAS: secret(signature)}, nil},
		"connection string":             {Options{Container: "abc", ConnectionString: secret("AccountName=a;AccountKey=a2V5")}, nil},
		"development":                   {Options{Container: "abc", ConnectionString: secret("UseDevelopmentStorage=true")}, nil},
		"signature in the account":      {Options{Container: "abc", Account: account + "?" + signature}, []string{"account"}},
		"no URL":                        {Options{Container: "abc", Account: "contoso"}, []string{"account"}},
		"credential without TLS":        {Options{Container: "abc", Account: "http://127.0.0.1/a"}, []string{"account"}},
		"key without TLS":               {Options{Container: "abc", Account: "http://127.0.0.1/a", Key: secret("a2V5")}, nil},
		"all at once":                   {Options{Container: "abc", Account: account, Key: secret("a"), SAS: secret("b"), Credential: "default"}, []string{"sas", "credential"}},
		"account and connection string": {Options{Container: "abc", Account: account, ConnectionString: secret("AccountName=a;AccountKey=a2V5"), Key: secret("b")}, []string{"account", "key"}},
		"connection string of a hub":    {Options{Container: "abc", ConnectionString: secret("Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0")}, []string{"connectionString"}},
		"no connection string":          {Options{Container: "abc", ConnectionString: secret("c2VjcmV0")}, []string{"connectionString"}},
		"bad values":                    {Options{Container: "Check--points", Account: account, APIVersion: "latest", SecondaryHost: "https://x"}, []string{"container", "secondaryHost", "apiVersion"}},
		"short container":               {Options{Container: "ab", Account: account}, []string{"container"}},
		"unknown credential":            {Options{Container: "abc", Account: account, Credential: "aad"}, []string{"credential"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range c.options.Validate() {
				got = append(got, p.Field)
				if strings.Contains(p.Message, "c2VjcmV0") {
					t.Errorf("%s shows a secret: %s", p.Field, p.Message)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("problems with %q, want %q", got, c.want)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	for text, want := range map[string]access{
		"DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=a2V5==;EndpointSuffix=core.windows.net": {account: "contoso"},
		"UseDevelopmentStorage=true": {account: developmentAccount},
		"BlobEndpoint=https://contoso.blob.core.windows.net/;SharedAccessSignature=?" + signature: {signed: true},
	} {
		got, err := parseConnectionString(hubferry.NewSecret(text))
		if err != nil || got.account != want.account || got.signed != want.signed || got.key.IsZero() != want.signed || got.endpoint.Hostname() == "" {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for url, want := range map[string]string{
		"https://contoso.blob.core.windows.net":           "contoso",
		"https://contoso-secondary.blob.core.windows.net": "contoso",
		"http://127.0.0.1:10000/devstoreaccount1":         "devstoreaccount1",
		"https://blob.stack.local/team/account/":          "account",
	} {
		u, err := parseAccount(url)
		if err != nil || accountName(u) != want {
			t.Errorf("%s is account %q, want %q: %v", url, accountName(u), want, err)
		}
	}
}
