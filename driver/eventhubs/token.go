package eventhubs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/hubferry/hubferry"
)

// token is what proves to the service who we are. It is never printed.
type token struct {
	text    string
	kind    string // the put-token type
	expires time.Time
}

// The token types of put-token.
const (
	tokenSAS = "servicebus.windows.net:sastoken"
	tokenJWT = "jwt"
)

// tokens makes tokens for an audience. It may be used by several goroutines.
type tokens interface {
	token(ctx context.Context, audience string) (token, error)
}

// sasLife is how long a token lives that we sign ourselves.
const sasLife = time.Hour

// sasKey signs tokens with a shared access key.
type sasKey struct{ name, key string }

func (k sasKey) token(_ context.Context, audience string) (token, error) {
	expires := time.Now().Add(sasLife)
	return token{text: k.sign(audience, expires), kind: tokenSAS, expires: expires}, nil
}

// sign makes a shared access signature: the MAC, under the text of the key, of the
// encoded audience and the expiry.
func (k sasKey) sign(audience string, expires time.Time) string {
	resource := strings.ToLower(url.QueryEscape(audience))
	until := strconv.FormatInt(expires.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(k.key))
	mac.Write([]byte(resource + "\n" + until))
	sig := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(sig) +
		"&se=" + until + "&skn=" + url.QueryEscape(k.name)
}

// sasFixed is a signature that somebody else made. It cannot be renewed.
type sasFixed struct {
	text    string
	expires time.Time // zero if it does not say
}

func newSASFixed(text string) sasFixed {
	s := sasFixed{text: text}
	_, fields, _ := strings.Cut(text, " ")
	for field := range strings.SplitSeq(fields, "&") {
		if v, ok := strings.CutPrefix(field, "se="); ok {
			if sec, err := strconv.ParseInt(v, 10, 64); err == nil {
				s.expires = time.Unix(sec, 0)
			}
		}
	}
	return s
}

func (s sasFixed) token(context.Context, string) (token, error) {
	if !s.expires.IsZero() && !time.Now().Before(s.expires) {
		return token{}, &hubferry.Error{
			Kind: hubferry.Unauthorized, Op: "sign in",
			Err:  fmt.Errorf("the SharedAccessSignature of the connection string expired at %s", s.expires.UTC().Format(time.RFC3339)),
			Hint: "make a new one, or use a connection string with a key",
		}
	}
	return token{text: s.text, kind: tokenSAS, expires: s.expires}, nil
}

// entraScope is what a token of Microsoft Entra ID for Event Hubs is good for.
const entraScope = "https://eventhubs.azure.net//.default"

// entra asks Microsoft Entra ID. The credential keeps a token until it is nearly over.
type entra struct{ credential azcore.TokenCredential }

func (e entra) token(ctx context.Context, _ string) (token, error) {
	t, err := e.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{entraScope}})
	if err != nil {
		return token{}, entraError(err)
	}
	return token{text: t.Token, kind: tokenJWT, expires: t.ExpiresOn}, nil
}

// entraError classifies what azidentity returns. A refusal, and a credential that is
// not set up, say that they are not to be retried; the rest is the network.
func entraError(err error) error {
	e := &hubferry.Error{Kind: hubferry.Transient, Op: "sign in", Err: err}
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		r := failed.RawResponse
		if r != nil && (r.StatusCode >= 500 || r.StatusCode == http.StatusRequestTimeout || r.StatusCode == http.StatusTooManyRequests) {
			return e
		}
	}
	if _, ok := errors.AsType[interface {
		error
		NonRetriable()
	}](err); ok {
		e.Kind = hubferry.Unauthorized
		e.Hint = "check the settings of the credential; the identity needs the role Azure Event Hubs Data Receiver (sources) or Data Sender (targets)"
	}
	return e
}

// newTokens prepares the tokens that the options ask for.
func newTokens(o *ConnectionOptions, c connString, env hubferry.Env) (tokens, error) {
	switch {
	case c.signature != "":
		return newSASFixed(c.signature), nil
	case c.key != "":
		return sasKey{name: c.keyName, key: c.key}, nil
	}
	credential, err := newCredential(o, env)
	if err != nil {
		return nil, fmt.Errorf("credential %s: %w", o.credential(), err)
	}
	return entra{credential}, nil
}

func newCredential(o *ConnectionOptions, env hubferry.Env) (azcore.TokenCredential, error) {
	switch o.credential() {
	case CredentialManagedIdentity:
		var mi azidentity.ManagedIdentityCredentialOptions
		if o.ClientID != "" {
			mi.ID = azidentity.ClientID(o.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(&mi)
	case CredentialWorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientID: o.ClientID, TenantID: o.TenantID})
	case CredentialEnvironment:
		return azidentity.NewEnvironmentCredential(nil)
	case CredentialAzureCLI:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: o.TenantID})
	case CredentialClientSecret:
		return azidentity.NewClientSecretCredential(o.TenantID, o.ClientID, o.ClientSecret.Reveal(), nil)
	case CredentialClientCertificate:
		return newCertificateCredential(o, env)
	default:
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{TenantID: o.TenantID})
	}
}

func newCertificateCredential(o *ConnectionOptions, env hubferry.Env) (azcore.TokenCredential, error) {
	data, err := readFile(env, o.CertificateFile)
	if err != nil {
		return nil, err
	}
	certs, key, err := azidentity.ParseCertificates(data, []byte(o.CertificatePassword.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.CertificateFile, err)
	}
	return azidentity.NewClientCertificateCredential(o.TenantID, o.ClientID, certs, key, nil)
}
