package entra

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/hubferry/hubferry"
)

func TestProblems(t *testing.T) {
	secret := hubferry.NewSecret("s3cret")
	for name, c := range map[string]struct {
		settings Settings
		instead  string
		want     []string // fields
	}{
		"nothing":                     {},
		"default":                     {settings: Settings{Credential: Default, TenantID: "t"}},
		"unknown":                     {settings: Settings{Credential: "managed"}, want: []string{"credential"}},
		"client secret":               {settings: Settings{Credential: ClientSecret, TenantID: "t", ClientID: "c", ClientSecret: secret}},
		"client secret without":       {settings: Settings{Credential: ClientSecret}, want: []string{"tenantId", "clientId", "clientSecret"}},
		"certificate":                 {settings: Settings{Credential: ClientCertificate, TenantID: "t", ClientID: "c", CertificateFile: "f", CertificatePassword: secret}},
		"certificate without":         {settings: Settings{Credential: ClientCertificate, TenantID: "t", ClientID: "c"}, want: []string{"certificateFile"}},
		"secret for another":          {settings: Settings{Credential: AzureCLI, ClientSecret: secret}, want: []string{"clientSecret"}},
		"something else":              {instead: "there is a key"},
		"something else and settings": {settings: Settings{Credential: Default, ClientID: "c"}, instead: "there is a key", want: []string{"credential", "clientId"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range c.settings.Problems(c.instead) {
				got = append(got, p.Field)
				if strings.Contains(p.Message, "s3cret") {
					t.Errorf("%s shows the secret: %s", p.Field, p.Message)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("problems with %q, want %q", got, c.want)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for _, name := range known {
		s := &Settings{Credential: name, TenantID: "11111111-1111-1111-1111-111111111111", ClientID: "c", ClientSecret: hubferry.NewSecret("s"), CertificateFile: "missing.pem"}
		_, err := New(s, hubferry.Env{Fetch: func(string) ([]byte, error) { return nil, io.ErrUnexpectedEOF }})
		switch name {
		case Environment, WorkloadIdentity: // not set up here, which they say at once
		case ClientCertificate:
			if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "client-certificate") {
				t.Errorf("%s without its file: %v", name, err)
			}
		default:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		kind hubferry.ErrorKind
	}{
		"not set up":  {azidentity.NewCredentialUnavailableError("no managed identity here"), hubferry.Unauthorized},
		"refused":     {&azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: http.StatusUnauthorized}}, hubferry.Unauthorized},
		"throttled":   {&azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: http.StatusTooManyRequests}}, hubferry.Transient},
		"out of work": {&azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: http.StatusBadGateway}}, hubferry.Transient},
		"network":     {io.ErrUnexpectedEOF, hubferry.Transient},
	} {
		e := Explain(c.err, "of a reader")
		if e.Kind != c.kind || (c.kind == hubferry.Unauthorized) != strings.Contains(e.Hint, "of a reader") {
			t.Errorf("%s: kind %s, hint %q", name, e.Kind, e.Hint)
		}
		if Failed(c.err) != (name != "network") {
			t.Errorf("%s: taken for a failure to sign in: %t", name, Failed(c.err))
		}
	}
}
