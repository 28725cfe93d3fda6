package blob

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/entra"
)

// Bounds of one try. A lease is short, so a try that hangs must not eat it (G-9).
const (
	tryTimeout    = 10 * time.Second
	readRetries   = 2
	retryDelay    = 200 * time.Millisecond
	maxRetryDelay = 2 * time.Second
	connections   = 32
)

// client reaches one container.
type client struct {
	container *container.Client
	secondary *container.Client // nil if there is none
	transport *http.Transport
	gate      gate
	clock     clock
}

// newClient prepares a client; it asks nobody yet.
func newClient(o *Options, env hubferry.Env) (*client, error) {
	a, err := o.access()
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(o, env)
	if err != nil {
		return nil, err
	}
	c := &client{transport: transport}
	var credential azcore.TokenCredential
	if !a.signed && a.key.IsZero() {
		if credential, err = entra.New(o.signIn(), env); err != nil {
			return nil, err
		}
	}
	endpoint := a.endpoint.JoinPath(o.Container)
	primary := &observer{gate: &c.gate, clock: &c.clock, trace: traceLine(o, env)}
	if c.container, err = c.open(endpoint, a, credential, o.APIVersion, primary); err != nil {
		return nil, err
	}
	if o.SecondaryHost != "" {
		other := *endpoint
		other.Host = o.SecondaryHost
		if c.secondary, err = c.open(&other, a, credential, o.APIVersion, &observer{trace: primary.trace}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// open makes azblob's client for one URL.
func (c *client) open(u *url.URL, a access, credential azcore.TokenCredential, speak string, o *observer) (*container.Client, error) {
	options := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: &http.Client{Transport: c.transport},
		Retry: policy.RetryOptions{
			MaxRetries: readRetries, TryTimeout: tryTimeout, RetryDelay: retryDelay, MaxRetryDelay: maxRetryDelay,
		},
		Telemetry: policy.TelemetryOptions{ApplicationID: "hubferry"},
	}}
	if speak != "" {
		options.PerCallPolicies = append(options.PerCallPolicies, version(speak))
	}
	options.PerRetryPolicies = append(options.PerRetryPolicies, o)
	switch {
	case a.signed:
		return container.NewClientWithNoCredential(u.String(), options)
	case !a.key.IsZero():
		key, err := container.NewSharedKeyCredential(a.account, a.key.Reveal())
		if err != nil {
			return nil, errors.New("the access key is not valid base64")
		}
		return container.NewClientWithSharedKeyCredential(u.String(), key, options)
	default:
		return container.NewClient(u.String(), credential, options)
	}
}

// newTransport makes connections of our own, so that Close can end them.
func newTransport(o *Options, env hubferry.Env) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = connections, connections
	t.TLSClientConfig = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: o.TLS.InsecureSkipVerify, //nolint:gosec // asked for in the configuration, which warns
	}
	if env.Dial != nil {
		t.DialContext = env.Dial
	}
	if o.TLS.CAFile == "" {
		return t, nil
	}
	read := env.Fetch
	if read == nil {
		read = os.ReadFile
	}
	pem, err := read(o.TLS.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read tls.caFile: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read tls.caFile: %s holds no certificate in PEM form", o.TLS.CAFile)
	}
	return t, nil
}

// once returns a context whose requests are tried once. A conditional write that is
// repeated after a lost answer would find its own success and take it for a lost race.
func once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1, TryTimeout: tryTimeout})
}
