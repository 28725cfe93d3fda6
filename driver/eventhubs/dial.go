package eventhubs

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/coder/websocket"
	"golang.org/x/net/proxy"

	"github.com/hubferry/hubferry"
)

// dialer opens the byte stream to a namespace: TCP, TLS or WebSocket, through a proxy
// or not.
type dialer struct {
	address   string // host:port to connect to
	host      string // of the address
	secure    bool   // TLS; not for an emulator
	websocket bool
	tls       *tls.Config
	proxy     *url.URL // nil: none, or for WebSockets that of the environment
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
}

// webSocketPath and webSocketProtocol are what all Event Hubs SDKs ask for.
const (
	webSocketPath     = "/$servicebus/websocket"
	webSocketProtocol = "AMQPWSB10"
)

// newDialer prepares dialing. The host is that of the namespace, perhaps with a port.
func newDialer(o *ConnectionOptions, host string, emulator bool, env hubferry.Env) (*dialer, error) {
	name, port, err := splitEndpoint(host)
	if err != nil {
		return nil, err
	}
	d := &dialer{secure: !emulator, websocket: o.Transport == TransportWebSocket, dial: env.Dial}
	if d.dial == nil {
		d.dial = (&net.Dialer{}).DialContext
	}
	if o.CustomEndpoint != "" {
		custom, customPort, err := splitEndpoint(o.CustomEndpoint)
		if err != nil {
			return nil, err
		}
		name, port = custom, customPort
	}
	if port == "" {
		port = d.defaultPort()
	}
	d.host, d.address = name, net.JoinHostPort(name, port)
	if !o.Proxy.IsZero() {
		if d.proxy, err = proxyURL(o.Proxy); err != nil {
			return nil, err
		}
	}
	d.tls, err = tlsConfig(&o.TLS, name, env)
	return d, err
}

func (d *dialer) defaultPort() string {
	switch {
	case !d.secure:
		return "5672"
	case d.websocket:
		return "443"
	default:
		return "5671"
	}
}

func tlsConfig(o *TLSOptions, host string, env hubferry.Env) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		InsecureSkipVerify: o.InsecureSkipVerify, //nolint:gosec // asked for in the configuration, which warns
	}
	if o.ServerName != "" {
		c.ServerName = o.ServerName
	}
	if o.CAFile == "" {
		return c, nil
	}
	pem, err := readFile(env, o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read tls.caFile: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read tls.caFile: %s holds no certificate in PEM form", o.CAFile)
	}
	return c, nil
}

func readFile(env hubferry.Env, name string) ([]byte, error) {
	if env.Fetch != nil {
		return env.Fetch(name)
	}
	return os.ReadFile(name)
}

// open connects. The context is for connecting only; with the other one a WebSocket
// lives and ends.
func (d *dialer) open(ctx, life context.Context) (net.Conn, error) {
	if d.websocket {
		return d.openWebSocket(ctx, life)
	}
	c, err := d.openTCP(ctx, d.address)
	if err != nil || !d.secure {
		return c, err
	}
	secured := tls.Client(c, d.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, &handshakeError{err}
	}
	return secured, nil
}

// handshakeError is a TLS handshake that failed.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }

func (e *handshakeError) Unwrap() error { return e.err }

// openTCP connects to an address, through the proxy if there is one.
func (d *dialer) openTCP(ctx context.Context, address string) (net.Conn, error) {
	switch {
	case d.proxy == nil:
		return d.dial(ctx, "tcp", address)
	case d.proxy.Scheme == "socks5":
		return d.openSOCKS(ctx, address)
	default:
		return d.openTunnel(ctx, address)
	}
}

// forward makes the injected dial function a proxy.ContextDialer.
type forward func(ctx context.Context, network, addr string) (net.Conn, error)

func (f forward) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

// Dial is never called: package proxy prefers DialContext.
func (f forward) Dial(string, string) (net.Conn, error) { return nil, errors.ErrUnsupported }

func (d *dialer) openSOCKS(ctx context.Context, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if u := d.proxy.User; u != nil {
		password, _ := u.Password()
		auth = &proxy.Auth{User: u.Username(), Password: password}
	}
	s, err := proxy.SOCKS5("tcp", d.proxy.Host, auth, forward(d.dial))
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", d.proxy.Host, err)
	}
	cd, ok := s.(proxy.ContextDialer)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return cd.DialContext(ctx, "tcp", address)
}

// openTunnel asks an HTTP proxy for a tunnel (RFC 9110, 9.3.6).
func (d *dialer) openTunnel(ctx context.Context, address string) (net.Conn, error) {
	c, err := d.dial(ctx, "tcp", d.proxy.Host)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if d.proxy.Scheme == "https" {
		c = tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: d.proxy.Hostname(), RootCAs: d.tls.RootCAs})
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	err = connectThrough(ctx, c, d.proxy, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("proxy %s: %w", d.proxy.Host, err)
	}
	return c, nil
}

func connectThrough(ctx context.Context, c net.Conn, via *url.URL, address string) error {
	r := &http.Request{
		Method: http.MethodConnect, Host: address, Header: http.Header{},
		URL: &url.URL{Opaque: address},
	}
	if u := via.User; u != nil {
		password, _ := u.Password()
		token := base64.StdEncoding.EncodeToString([]byte(u.Username() + ":" + password))
		r.Header.Set("Proxy-Authorization", "Basic "+token)
	}
	if err := r.WithContext(ctx).Write(c); err != nil {
		return err
	}
	// The peer of a tunnel speaks second, so nothing of it can be read ahead here.
	resp, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &tunnelError{status: resp.StatusCode}
	}
	return nil
}

// tunnelError is the refusal of a proxy.
type tunnelError struct{ status int }

func (e *tunnelError) Error() string {
	return fmt.Sprintf("it refused the tunnel: %d %s", e.status, http.StatusText(e.status))
}

func (d *dialer) openWebSocket(ctx, life context.Context) (net.Conn, error) {
	// One request and one connection: nothing is pooled, nothing is left behind.
	t := &http.Transport{TLSClientConfig: d.tls.Clone(), DisableKeepAlives: true}
	t.TLSClientConfig.NextProtos = []string{"http/1.1"}
	if d.proxy == nil {
		t.DialContext = d.dial
		t.Proxy = http.ProxyFromEnvironment
	} else {
		t.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) { return d.openTCP(ctx, address) }
	}
	u := url.URL{Scheme: "wss", Host: d.address, Path: webSocketPath}
	if !d.secure {
		u.Scheme = "ws"
	}
	//nolint:bodyclose // after the upgrade the body is the connection
	c, _, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: t},
		Subprotocols: []string{webSocketProtocol},
	})
	if err != nil {
		return nil, err
	}
	return websocket.NetConn(life, c, websocket.MessageBinary), nil
}
