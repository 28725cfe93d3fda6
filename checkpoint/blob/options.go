package blob

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/entra"
)

// Options is the configuration of the store. Container and one of ConnectionString and
// Account are required.
type Options struct {
	Container        string          `yaml:"container" jsonschema:"required" jsonschema_description:"The container. Microsoft advises one per consumer group, without soft delete, versioning or hierarchical namespace."`
	ConnectionString hubferry.Secret `yaml:"connectionString" jsonschema_description:"The connection string of a storage account, with a key or a shared access signature. Use it or account."`
	Account          string          `yaml:"account" jsonschema:"example=https://contoso.blob.core.windows.net" jsonschema_description:"The URL of the account's Blob service. Needs key, sas or credential."`
	Key              hubferry.Secret `yaml:"key" jsonschema_description:"An access key of the account."`
	SAS              hubferry.Secret `yaml:"sas" jsonschema_description:"A shared access signature, of the account or the container, that allows to read, write and list (and to create, with createContainer)."`

	Credential          string          `yaml:"credential" jsonschema:"enum=default,enum=managed-identity,enum=workload-identity,enum=environment,enum=azure-cli,enum=client-secret,enum=client-certificate,default=default" jsonschema_description:"How to sign in to Microsoft Entra ID when account is given without key and sas. The identity needs the role Storage Blob Data Contributor."`
	TenantID            string          `yaml:"tenantId" jsonschema_description:"The Microsoft Entra tenant, for client-secret and client-certificate; optional for workload-identity and azure-cli."`
	ClientID            string          `yaml:"clientId" jsonschema_description:"The application, for client-secret and client-certificate; the user-assigned identity, for managed-identity and workload-identity."`
	ClientSecret        hubferry.Secret `yaml:"clientSecret" jsonschema_description:"The secret of the application, for client-secret."`
	CertificateFile     string          `yaml:"certificateFile" jsonschema_description:"A PEM or PKCS#12 file with certificate and private key, for client-certificate."`
	CertificatePassword hubferry.Secret `yaml:"certificatePassword" jsonschema_description:"The password of certificateFile, if it has one."`

	CreateContainer bool       `yaml:"createContainer" jsonschema_description:"Create the container if it does not exist. Without it a missing container is an error."`
	SecondaryHost   string     `yaml:"secondaryHost" jsonschema:"example=contoso-secondary.blob.core.windows.net" jsonschema_description:"The host of the geo-redundant copy, to read checkpoints from while the account itself is away. Ownership is never read there: it would be old."`
	APIVersion      string     `yaml:"apiVersion" jsonschema:"example=2019-07-07" jsonschema_description:"The version of the service's interface (x-ms-version) to speak. The default is the newest that this program knows; Azure Stack Hub and emulators need an older one."`
	TLS             TLSOptions `yaml:"tls" jsonschema_description:"Settings of TLS, for endpoints with a certificate of their own."`
	Trace           bool       `yaml:"trace" jsonschema_description:"Log one line for each request, without secrets."`
}

// TLSOptions are settings of TLS.
type TLSOptions struct {
	CAFile             string `yaml:"caFile" jsonschema_description:"A PEM file with the certificate authorities to trust instead of the system's."`
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify" jsonschema_description:"Accept any certificate. Only for tests: anybody in between can read everything."`
}

var _ hubferry.Options = (*Options)(nil)

// signIn returns the settings that belong to the credential.
func (o *Options) signIn() *entra.Settings {
	return &entra.Settings{
		Credential: o.Credential, TenantID: o.TenantID, ClientID: o.ClientID, ClientSecret: o.ClientSecret,
		CertificateFile: o.CertificateFile, CertificatePassword: o.CertificatePassword,
	}
}

var (
	containerName = regexp.MustCompile(`^(\$root|[a-z0-9](-?[a-z0-9])*)$`)
	apiVersion    = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
)

// Validate implements hubferry.Options.
func (o *Options) Validate() []hubferry.Problem {
	var p []hubferry.Problem
	add := func(field, format string, args ...any) {
		p = append(p, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	switch n := len(o.Container); {
	case n == 0:
		add("container", "it is required")
	case !containerName.MatchString(o.Container) || o.Container != "$root" && (n < 3 || n > 63):
		add("container", "%q is no name of a container: 3 to 63 lower-case letters, digits and single hyphens", o.Container)
	}
	if o.SecondaryHost != "" && strings.ContainsAny(o.SecondaryHost, "/?# ") {
		add("secondaryHost", "%q is no host name; it looks like contoso-secondary.blob.core.windows.net", o.SecondaryHost)
	}
	if o.APIVersion != "" && !apiVersion.MatchString(o.APIVersion) {
		add("apiVersion", "%q is no version; it looks like 2019-07-07", o.APIVersion)
	}
	return append(p, o.validateAccess()...)
}

// validateAccess checks where the account is and what proves who we are.
func (o *Options) validateAccess() []hubferry.Problem {
	var p []hubferry.Problem
	add := func(field, format string, args ...any) {
		p = append(p, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	instead := ""
	switch {
	case o.ConnectionString.IsZero() && o.Account == "":
		add("", "set connectionString, or account with key, sas or credential")
	case !o.ConnectionString.IsZero():
		instead = "the connection string says it"
		if o.Account != "" {
			add("account", "leave it out: %s", instead)
		}
		if _, err := parseConnectionString(o.ConnectionString); err != nil {
			add("connectionString", "%v", err)
		}
	default:
		if _, err := parseAccount(o.Account); err != nil {
			add("account", "%v", err)
		}
	}
	for _, other := range []struct {
		field string
		set   bool
	}{{"key", !o.Key.IsZero()}, {"sas", !o.SAS.IsZero()}} {
		if !other.set {
			continue
		}
		if instead != "" {
			add(other.field, "leave it out: %s", instead)
		}
		instead = "there is a " + other.field
	}
	if instead == "" && strings.HasPrefix(o.Account, "http:") {
		add("account", "credential needs https")
	}
	return append(p, o.signIn().Problems(instead)...)
}

// access is where the container is, and what proves who we are.
type access struct {
	endpoint *url.URL // of the Blob service, with the signature if there is one
	account  string   // for a key
	key      hubferry.Secret
	signed   bool // the endpoint has a signature
}

// parseAccount checks the URL of an account.
func parseAccount(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		// Without the text: it may hold a signature.
		return nil, fmt.Errorf("it is no URL; it looks like https://contoso.blob.core.windows.net")
	case u.RawQuery != "":
		return nil, fmt.Errorf("it must have no query; a shared access signature belongs into sas")
	case u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("it must be a host, with a path at most")
	}
	return u, nil
}

// accountName finds the name of the account in its URL: the first label of the host, or
// the path where the host is an address or has a path (emulators, Azure Stack).
func accountName(u *url.URL) string {
	if path := strings.Trim(u.Path, "/"); path != "" {
		return path[strings.LastIndex(path, "/")+1:]
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	return strings.TrimSuffix(name, "-secondary")
}

// The account of Azurite and of the old storage emulator: public and the same everywhere.
const (
	developmentAccount  = "devstoreaccount1"
	developmentKey      = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	developmentEndpoint = "http://127.0.0.1:10000/devstoreaccount1"
)

// parseConnectionString takes a connection string apart. Its errors do not show it.
func parseConnectionString(secret hubferry.Secret) (access, error) {
	fields := map[string]string{}
	for part := range strings.SplitSeq(secret.Reveal(), ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return access{}, fmt.Errorf("a part of it has no =, as in AccountName=contoso;AccountKey=secret")
		}
		fields[strings.ToLower(name)] = value
	}
	if fields["usedevelopmentstorage"] == "true" {
		fields = map[string]string{"accountname": developmentAccount, "accountkey": developmentKey, "blobendpoint": developmentEndpoint}
	}
	a := access{account: fields["accountname"], key: hubferry.NewSecret(fields["accountkey"])}
	endpoint := fields["blobendpoint"]
	if endpoint == "" {
		if a.account == "" {
			return access{}, fmt.Errorf("it has neither AccountName nor BlobEndpoint")
		}
		scheme, suffix := fields["defaultendpointsprotocol"], fields["endpointsuffix"]
		if scheme == "" {
			scheme = "https"
		}
		if suffix == "" {
			suffix = "core.windows.net"
		}
		endpoint = scheme + "://" + a.account + ".blob." + suffix
	}
	u, err := parseAccount(endpoint)
	if err != nil {
		return access{}, fmt.Errorf("its BlobEndpoint: %w", err)
	}
	a.endpoint = u
	if sas := fields["sharedaccesssignature"]; sas != "" {
		u.RawQuery, a.signed = strings.TrimPrefix(sas, "?"), true
		return a, nil
	}
	if a.key.IsZero() || a.account == "" {
		return access{}, fmt.Errorf("it has neither AccountName and AccountKey nor SharedAccessSignature")
	}
	return a, nil
}

// access returns where to go and with what.
func (o *Options) access() (access, error) {
	if !o.ConnectionString.IsZero() {
		return parseConnectionString(o.ConnectionString)
	}
	u, err := parseAccount(o.Account)
	if err != nil {
		return access{}, err
	}
	a := access{endpoint: u, account: accountName(u), key: o.Key}
	if !o.SAS.IsZero() {
		u.RawQuery, a.signed = strings.TrimPrefix(o.SAS.Reveal(), "?"), true
	}
	return a, nil
}

// Kind returns the entry of this store for a list of stores.
func Kind() hubferry.StoreKind {
	return hubferry.StoreKind{
		Name:    "blob",
		Options: func() hubferry.Options { return new(Options) },
		Open: func(ctx context.Context, o hubferry.Options, env hubferry.Env) (hubferry.CheckpointStore, error) {
			return Open(ctx, *o.(*Options), env)
		},
	}
}
