// Package entra signs in to Microsoft Entra ID. It holds what all connections to Azure share: the words of the setting
// "credential", which settings go with which word, and how a refusal is told from a bad network.
package entra

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/hubferry/hubferry"
)

// The values of Settings.Credential.
const (
	Default           = "default"
	ManagedIdentity   = "managed-identity"
	WorkloadIdentity  = "workload-identity"
	Environment       = "environment"
	AzureCLI          = "azure-cli"
	ClientSecret      = "client-secret"
	ClientCertificate = "client-certificate"
)

var known = []string{Default, ManagedIdentity, WorkloadIdentity, Environment, AzureCLI, ClientSecret, ClientCertificate}

// Settings say how to sign in. The names of the settings in a configuration are those of the fields, in camelCase.
type Settings struct {
	Credential          string // "" means Default
	TenantID            string
	ClientID            string
	ClientSecret        hubferry.Secret
	CertificateFile     string
	CertificatePassword hubferry.Secret
}

func (s *Settings) credential() string {
	if s.Credential == "" {
		return Default
	}
	return s.Credential
}

// fields are the settings that belong to some credentials only: those that need the setting, and those that may have it.
var fields = []struct {
	name       string
	set        func(s *Settings) bool
	need, have []string
}{
	{
		"tenantId", func(s *Settings) bool { return s.TenantID != "" },
		[]string{ClientSecret, ClientCertificate},
		[]string{WorkloadIdentity, AzureCLI, Default},
	},
	{
		"clientId", func(s *Settings) bool { return s.ClientID != "" },
		[]string{ClientSecret, ClientCertificate},
		[]string{WorkloadIdentity, ManagedIdentity},
	},
	{
		"clientSecret", func(s *Settings) bool { return !s.ClientSecret.IsZero() },
		[]string{ClientSecret},
		nil,
	},
	{
		"certificateFile", func(s *Settings) bool { return s.CertificateFile != "" },
		[]string{ClientCertificate},
		nil,
	},
	{
		"certificatePassword", func(s *Settings) bool { return !s.CertificatePassword.IsZero() },
		nil,
		[]string{ClientCertificate},
	},
}

// Problems returns all mistakes in the settings. Where something else proves who we are, such as a connection string,
// instead says what, and then any of the settings is a mistake.
func (s *Settings) Problems(instead string) []hubferry.Problem {
	var p []hubferry.Problem
	add := func(field, format string, args ...any) {
		p = append(p, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	credential := s.credential()
	switch {
	case instead != "":
		if s.Credential != "" {
			add("credential", "leave it out: %s", instead)
		}
		credential = ""
	case !slices.Contains(known, credential):
		add("credential", "%q is not known; use one of %s", credential, strings.Join(known, ", "))
		return p
	}
	for _, f := range fields {
		switch set := f.set(s); {
		case set && !slices.Contains(f.need, credential) && !slices.Contains(f.have, credential):
			add(f.name, "it is for credential %s only", strings.Join(slices.Concat(f.need, f.have), ", "))
		case !set && slices.Contains(f.need, credential):
			add(f.name, "credential %s needs it", credential)
		}
	}
	return p
}

// New returns the credential. It asks nobody yet. The certificate is read by Env.Fetch.
func New(s *Settings, env hubferry.Env) (azcore.TokenCredential, error) {
	c, err := s.make(env)
	if err != nil {
		return nil, fmt.Errorf("credential %s: %w", s.credential(), err)
	}
	return c, nil
}

func (s *Settings) make(env hubferry.Env) (azcore.TokenCredential, error) {
	switch s.credential() {
	case ManagedIdentity:
		var o azidentity.ManagedIdentityCredentialOptions
		if s.ClientID != "" {
			o.ID = azidentity.ClientID(s.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(&o)
	case WorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientID: s.ClientID, TenantID: s.TenantID})
	case Environment:
		return azidentity.NewEnvironmentCredential(nil)
	case AzureCLI:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: s.TenantID})
	case ClientSecret:
		return azidentity.NewClientSecretCredential(s.TenantID, s.ClientID, s.ClientSecret.Reveal(), nil)
	case ClientCertificate:
		return s.certificate(env)
	default:
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{TenantID: s.TenantID})
	}
}

func (s *Settings) certificate(env hubferry.Env) (azcore.TokenCredential, error) {
	read := env.Fetch
	if read == nil {
		read = os.ReadFile
	}
	data, err := read(s.CertificateFile)
	if err != nil {
		return nil, err
	}
	certs, key, err := azidentity.ParseCertificates(data, []byte(s.CertificatePassword.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.CertificateFile, err)
	}
	return azidentity.NewClientCertificateCredential(s.TenantID, s.ClientID, certs, key, nil)
}

// Explain makes an Error of what a credential returned. A refusal, and a credential that is not set up, say that they
// are not to be retried; the rest is the network. The roles are those that the identity needs.
func Explain(err error, roles string) *hubferry.Error {
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
		e.Hint = "check the settings of the credential; the identity needs the role " + roles
	}
	return e
}

// Failed reports whether an error comes from signing in.
func Failed(err error) bool {
	if _, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		return true
	}
	_, ok := errors.AsType[interface {
		error
		NonRetriable()
	}](err)
	return ok
}
