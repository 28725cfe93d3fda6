package eventhubs

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/entra"
)

// The values of ConnectionOptions.Credential.
const (
	CredentialDefault           = entra.Default
	CredentialManagedIdentity   = entra.ManagedIdentity
	CredentialWorkloadIdentity  = entra.WorkloadIdentity
	CredentialEnvironment       = entra.Environment
	CredentialAzureCLI          = entra.AzureCLI
	CredentialClientSecret      = entra.ClientSecret
	CredentialClientCertificate = entra.ClientCertificate
)

// The values of ConnectionOptions.Transport.
const (
	TransportAMQP      = "amqp"
	TransportWebSocket = "websocket"
)

// The values of ConnectionOptions.Client.
const (
	ClientGoAMQP = "go-amqp"
	ClientNative = "native"
)

// Defaults and bounds of the options.
const (
	defaultPrefetch    = 2000
	maxPrefetch        = 5000 // go-amqp's session window
	defaultIdleTimeout = time.Minute
	minIdleTimeout     = 2 * time.Second
	defaultSendTimeout = time.Minute
	defaultTailGroup   = "$Default"
	minMessageCap      = 4 << 10
)

// ConnectionOptions say how to reach a namespace. Either ConnectionString or Namespace
// is required.
type ConnectionOptions struct {
	ConnectionString hubferry.Secret `yaml:"connectionString" jsonschema_description:"The connection string of a namespace or a hub, as the portal, the emulator or 'hubferry hub env' prints it. Use it or namespace."`
	Namespace        string          `yaml:"namespace" jsonschema_description:"The fully qualified namespace, such as contoso.servicebus.windows.net. Needs a credential of Microsoft Entra ID."`

	Credential          string          `yaml:"credential" jsonschema:"enum=default,enum=managed-identity,enum=workload-identity,enum=environment,enum=azure-cli,enum=client-secret,enum=client-certificate,default=default" jsonschema_description:"How to sign in when namespace is given. 'default' tries the environment, workload identity, managed identity and developer tools in turn."`
	TenantID            string          `yaml:"tenantId" jsonschema_description:"The Microsoft Entra tenant, for client-secret and client-certificate; optional for workload-identity and azure-cli."`
	ClientID            string          `yaml:"clientId" jsonschema_description:"The application, for client-secret and client-certificate; the user-assigned identity, for managed-identity and workload-identity."`
	ClientSecret        hubferry.Secret `yaml:"clientSecret" jsonschema_description:"The secret of the application, for client-secret."`
	CertificateFile     string          `yaml:"certificateFile" jsonschema_description:"A PEM or PKCS#12 file with certificate and private key, for client-certificate."`
	CertificatePassword hubferry.Secret `yaml:"certificatePassword" jsonschema_description:"The password of certificateFile, if it has one."`

	Transport      string          `yaml:"transport" jsonschema:"enum=amqp,enum=websocket,default=amqp" jsonschema_description:"'amqp' is port 5671 (5672 for an emulator); 'websocket' goes through port 443, where firewalls allow nothing else."`
	CustomEndpoint string          `yaml:"customEndpoint" jsonschema_description:"Another host, with or without a port, to connect to: an application gateway or a private address. Tokens still name the namespace."`
	TLS            TLSOptions      `yaml:"tls" jsonschema_description:"Settings of TLS, for endpoints with a certificate of their own."`
	Proxy          hubferry.Secret `yaml:"proxy" jsonschema_description:"The URL of a proxy: http://, https:// or socks5://, with user and password if it asks for them. With transport websocket the default is that of HTTPS_PROXY."`

	Client      string        `yaml:"client" jsonschema:"enum=native,enum=go-amqp,default=native" jsonschema_description:"The AMQP client: 'native' is the program's own, which takes less CPU for each event; 'go-amqp' is Azure's library."`
	ID          string        `yaml:"id" jsonschema_description:"Overrides the identity of the namespace in provenance and checkpoints. Set it where one namespace is reached under several names."`
	IdleTimeout time.Duration `yaml:"idleTimeout" jsonschema:"default=1m" jsonschema_description:"A connection that was silent for so long is dead. At least 2s."`
	Trace       bool          `yaml:"trace" jsonschema_description:"Log one line for each AMQP frame, without secrets and without bodies."`
}

// TLSOptions are settings of TLS.
type TLSOptions struct {
	CAFile             string `yaml:"caFile" jsonschema_description:"A PEM file with the certificate authorities to trust instead of the system's."`
	ServerName         string `yaml:"serverName" jsonschema_description:"The name that the server's certificate must have; the default is the host that is connected to."`
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify" jsonschema_description:"Accept any certificate. Only for tests: anybody in between can read everything."`
}

// SourceOptions say how to read a hub.
type SourceOptions struct {
	ConsumerGroup string `yaml:"consumerGroup" jsonschema:"required" jsonschema_description:"The consumer group, which belongs to this task alone. There is no default, so that two tasks never share $Default by accident."`
	Prefetch      int    `yaml:"prefetch" jsonschema:"default=2000" jsonschema_description:"How many events of a partition may be on their way ahead of their use, at most 5000. Fewer when they are large, so that the memory budget holds."`
	OwnerLevel    int64  `yaml:"ownerLevel" jsonschema:"default=0" jsonschema_description:"The least epoch to open receivers with. Raise it to take a consumer group over from a program that uses a higher one."`
	Compacted     bool   `yaml:"compacted" jsonschema_description:"The hub is compacted: its sequence numbers have holes that are no gaps."`
}

// TargetOptions say how to write to hubs.
type TargetOptions struct {
	MaxMessageSize    int           `yaml:"maxMessageSize" jsonschema_description:"The largest batch to send, in bytes. The default is what the service allows; a larger value has no effect."`
	SendTimeout       time.Duration `yaml:"sendTimeout" jsonschema:"default=1m" jsonschema_description:"How long a batch may wait for the service's answer. Then its outcome is unknown. With delivery effectively-once a take-over after a crash waits so long, too, so all instances need the same."`
	TailConsumerGroup string        `yaml:"tailConsumerGroup" jsonschema:"default=$Default" jsonschema_description:"The consumer group with which the end of the target is read, with delivery effectively-once, to find what was already delivered. Nobody may hold it with an epoch."`
}

var (
	_ hubferry.Options = (*ConnectionOptions)(nil)
	_ hubferry.Options = (*SourceOptions)(nil)
	_ hubferry.Options = (*TargetOptions)(nil)
)

// problems gathers mistakes.
type problems []hubferry.Problem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
}

// Validate implements hubferry.Options.
func (o *ConnectionOptions) Validate() []hubferry.Problem {
	var p problems
	switch {
	case o.ConnectionString.IsZero() && o.Namespace == "":
		p.add("", "set connectionString, or namespace with a credential")
	case !o.ConnectionString.IsZero() && o.Namespace != "":
		p.add("namespace", "leave it out: the connection string names the namespace")
	}
	if !o.ConnectionString.IsZero() {
		if _, err := parseConnString(o.ConnectionString.Reveal()); err != nil {
			p.add("connectionString", "%v", err)
		}
	}
	if o.Namespace != "" {
		if _, _, err := splitHost(o.Namespace); err != nil {
			p.add("namespace", "%v; it looks like contoso.servicebus.windows.net", err)
		}
	}
	instead := ""
	if !o.ConnectionString.IsZero() {
		instead = "the connection string has a key"
	}
	p = append(p, o.signIn().Problems(instead)...)
	o.validateTransport(&p)
	return p
}

// signIn returns the settings that belong to the credential.
func (o *ConnectionOptions) signIn() *entra.Settings {
	return &entra.Settings{
		Credential: o.Credential, TenantID: o.TenantID, ClientID: o.ClientID, ClientSecret: o.ClientSecret,
		CertificateFile: o.CertificateFile, CertificatePassword: o.CertificatePassword,
	}
}

func (o *ConnectionOptions) validateTransport(p *problems) {
	switch o.Transport {
	case "", TransportAMQP, TransportWebSocket:
	default:
		p.add("transport", "%q is not known; use %s or %s", o.Transport, TransportAMQP, TransportWebSocket)
	}
	switch o.Client {
	case "", ClientGoAMQP, ClientNative:
	default:
		p.add("client", "%q is not known; use %s or %s", o.Client, ClientGoAMQP, ClientNative)
	}
	if o.CustomEndpoint != "" {
		if _, _, err := splitEndpoint(o.CustomEndpoint); err != nil {
			p.add("customEndpoint", "%v; it looks like gateway.contoso.com or 10.0.0.4:5671", err)
		}
	}
	if !o.Proxy.IsZero() {
		if _, err := proxyURL(o.Proxy); err != nil {
			p.add("proxy", "%v", err)
		}
	}
	if o.IdleTimeout != 0 && o.IdleTimeout < minIdleTimeout {
		p.add("idleTimeout", "%v is too short; at least %v", o.IdleTimeout, minIdleTimeout)
	}
}

// Validate implements hubferry.Options.
func (o *SourceOptions) Validate() []hubferry.Problem {
	var p problems
	if o.ConsumerGroup == "" {
		p.add("consumerGroup", "it is required; make a consumer group for this task alone")
	}
	checkGroup(&p, "consumerGroup", o.ConsumerGroup)
	if o.Prefetch < 0 || o.Prefetch > maxPrefetch {
		p.add("prefetch", "%d is out of range; 1 to %d, or leave it out for %d", o.Prefetch, maxPrefetch, defaultPrefetch)
	}
	if o.OwnerLevel < 0 {
		p.add("ownerLevel", "%d is negative", o.OwnerLevel)
	}
	return p
}

// Validate implements hubferry.Options.
func (o *TargetOptions) Validate() []hubferry.Problem {
	var p problems
	if o.MaxMessageSize != 0 && o.MaxMessageSize < minMessageCap {
		p.add("maxMessageSize", "%d is too small; at least %d", o.MaxMessageSize, minMessageCap)
	}
	if o.SendTimeout < 0 {
		p.add("sendTimeout", "%v is negative", o.SendTimeout)
	}
	checkGroup(&p, "tailConsumerGroup", o.TailConsumerGroup)
	return p
}

func checkGroup(p *problems, field, group string) {
	if strings.ContainsAny(group, "/?#") {
		p.add(field, "%q is no name of a consumer group", group)
	}
}

// splitHost takes a host with or without a port apart.
func splitHost(s string) (host, port string, err error) {
	if strings.Contains(s, "://") {
		return "", "", fmt.Errorf("%q has a scheme; write the host only", s)
	}
	u, err := url.Parse("sb://" + s)
	if err != nil || u.Hostname() == "" || u.Host != s {
		return "", "", fmt.Errorf("%q is no host name", s)
	}
	return checkPort(u)
}

// splitEndpoint is splitHost for a value that may be a URL.
func splitEndpoint(s string) (host, port string, err error) {
	if !strings.Contains(s, "://") {
		return splitHost(s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return "", "", fmt.Errorf("%q is no URL of a host", s)
	}
	return checkPort(u)
}

func checkPort(u *url.URL) (host, port string, err error) {
	if port = u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", "", fmt.Errorf("%s is no port", port)
		}
	}
	return u.Hostname(), port, nil
}

// proxyURL parses the URL of a proxy. Its errors do not show the URL, which may hold a
// password.
func proxyURL(s hubferry.Secret) (*url.URL, error) {
	u, err := url.Parse(s.Reveal())
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("it is no URL; it looks like http://proxy:3128")
	}
	switch u.Scheme {
	case "http", "https", "socks5":
	default:
		return nil, fmt.Errorf("the scheme %q is not known; use http, https or socks5", u.Scheme)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme])
	}
	return u, nil
}
