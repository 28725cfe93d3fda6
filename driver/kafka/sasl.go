package kafka

import (
	"fmt"
	"net"
	"net/url"
	"slices"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/entra"
)

// The values of SASLOptions.Mechanism.
const (
	MechanismPlain       = "plain"
	MechanismScramSHA256 = "scram-sha-256"
	MechanismScramSHA512 = "scram-sha-512"
	MechanismOAuthBearer = "oauthbearer"
)

// The values of SASLOptions.Credential.
const (
	CredentialDefault           = entra.Default
	CredentialManagedIdentity   = entra.ManagedIdentity
	CredentialWorkloadIdentity  = entra.WorkloadIdentity
	CredentialEnvironment       = entra.Environment
	CredentialAzureCLI          = entra.AzureCLI
	CredentialClientSecret      = entra.ClientSecret
	CredentialClientCertificate = entra.ClientCertificate
)

// SASLOptions say how to sign in. Mechanism oauthbearer needs one of Token, TokenEndpoint
// and Credential.
type SASLOptions struct {
	Mechanism string          `yaml:"mechanism" jsonschema:"required,enum=plain,enum=scram-sha-256,enum=scram-sha-512,enum=oauthbearer" jsonschema_description:"The SASL mechanism."`
	Username  string          `yaml:"username" jsonschema_description:"The user, for plain and scram."`
	Password  hubferry.Secret `yaml:"password" jsonschema_description:"The user's password."`

	Token         hubferry.Secret `yaml:"token" jsonschema_description:"A token that somebody else made, for oauthbearer. It cannot be renewed."`
	TokenEndpoint string          `yaml:"tokenEndpoint" jsonschema:"example=https://idp.example.com/oauth2/token" jsonschema_description:"Where tokens are asked for with clientId and clientSecret (OAuth 2.0 client credentials), for oauthbearer."`
	Scope         string          `yaml:"scope" jsonschema_description:"The scope to ask for at tokenEndpoint; with credential, in the place of that of the first broker."`

	Credential          string          `yaml:"credential" jsonschema:"enum=default,enum=managed-identity,enum=workload-identity,enum=environment,enum=azure-cli,enum=client-secret,enum=client-certificate" jsonschema_description:"Sign in with Microsoft Entra ID, for oauthbearer at Event Hubs' Kafka endpoint. 'default' tries the environment, workload identity, managed identity and developer tools in turn."`
	TenantID            string          `yaml:"tenantId" jsonschema_description:"The Microsoft Entra tenant, for client-secret and client-certificate; optional for workload-identity and azure-cli."`
	ClientID            string          `yaml:"clientId" jsonschema_description:"The application, for tokenEndpoint, client-secret and client-certificate; the user-assigned identity, for managed-identity and workload-identity."`
	ClientSecret        hubferry.Secret `yaml:"clientSecret" jsonschema_description:"The secret of the application, for tokenEndpoint and client-secret."`
	CertificateFile     string          `yaml:"certificateFile" jsonschema_description:"A PEM or PKCS#12 file with certificate and private key, for client-certificate."`
	CertificatePassword hubferry.Secret `yaml:"certificatePassword" jsonschema_description:"The password of certificateFile, if it has one."`
}

// saslWay is one way to sign in: the fields that it needs and may have.
type saslWay struct {
	name       string
	need, have []string
}

// way returns the way that the options choose, or what is wrong.
func (o *SASLOptions) way() (saslWay, string) {
	if o.Mechanism != MechanismOAuthBearer {
		return saslWay{o.Mechanism, []string{"username", "password"}, nil}, ""
	}
	var chosen []saslWay
	if !o.Token.IsZero() {
		chosen = append(chosen, saslWay{"token", []string{"token"}, nil})
	}
	if o.TokenEndpoint != "" {
		chosen = append(chosen, saslWay{"tokenEndpoint", []string{"tokenEndpoint", "clientId", "clientSecret"}, []string{"scope"}})
	}
	if o.Credential != "" {
		chosen = append(chosen, saslWay{"credential", nil, credentialFields})
	}
	if len(chosen) != 1 {
		return saslWay{}, "oauthbearer needs one of token, tokenEndpoint and credential"
	}
	return chosen[0], ""
}

// credentialFields are checked by entra.
var credentialFields = []string{"credential", "scope", "tenantId", "clientId", "clientSecret", "certificateFile", "certificatePassword"}

func (o *SASLOptions) signIn() *entra.Settings {
	return &entra.Settings{
		Credential: o.Credential, TenantID: o.TenantID, ClientID: o.ClientID, ClientSecret: o.ClientSecret,
		CertificateFile: o.CertificateFile, CertificatePassword: o.CertificatePassword,
	}
}

// problems returns what is wrong with the options.
func (o *SASLOptions) problems() []hubferry.Problem {
	var list []hubferry.Problem
	bad := func(field, format string, args ...any) {
		list = append(list, hubferry.Problem{Field: "sasl." + field, Message: fmt.Sprintf(format, args...)})
	}
	known := []string{MechanismPlain, MechanismScramSHA256, MechanismScramSHA512, MechanismOAuthBearer}
	if !slices.Contains(known, o.Mechanism) {
		bad("mechanism", "%q is not one of %v", o.Mechanism, known)
		return list
	}
	way, wrong := o.way()
	if wrong != "" {
		bad("mechanism", "%s", wrong)
		return list
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"username", o.Username != ""},
		{"password", !o.Password.IsZero()},
		{"token", !o.Token.IsZero()},
		{"tokenEndpoint", o.TokenEndpoint != ""},
		{"scope", o.Scope != ""},
		{"credential", o.Credential != ""},
		{"tenantId", o.TenantID != ""},
		{"clientId", o.ClientID != ""},
		{"clientSecret", !o.ClientSecret.IsZero()},
		{"certificateFile", o.CertificateFile != ""},
		{"certificatePassword", !o.CertificatePassword.IsZero()},
	} {
		switch need := slices.Contains(way.need, f.name); {
		case need && !f.set:
			bad(f.name, "is required for %s", way.name)
		case f.set && !need && !slices.Contains(way.have, f.name):
			bad(f.name, "has no meaning for %s", way.name)
		}
	}
	if o.Credential != "" {
		for _, p := range o.signIn().Problems("") {
			bad(p.Field, "%s", p.Message)
		}
	}
	if o.TokenEndpoint != "" && !isTokenURL(o.TokenEndpoint) {
		bad("tokenEndpoint", "%q is no https URL", o.TokenEndpoint)
	}
	return list
}

// isTokenURL reports whether a secret may be sent there: over TLS, or within this machine.
func isTokenURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// mechanism returns how to sign in. Host is that of the first broker.
func (o *SASLOptions) mechanism(env hubferry.Env, host string) (sasl.Mechanism, error) {
	switch o.Mechanism {
	case MechanismScramSHA256:
		return scram.Auth{User: o.Username, Pass: o.Password.Reveal()}.AsSha256Mechanism(), nil
	case MechanismScramSHA512:
		return scram.Auth{User: o.Username, Pass: o.Password.Reveal()}.AsSha512Mechanism(), nil
	case MechanismOAuthBearer:
		return o.bearer(env, host)
	default:
		return plain.Auth{User: o.Username, Pass: o.Password.Reveal()}.AsMechanism(), nil
	}
}
