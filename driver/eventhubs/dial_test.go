package eventhubs

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/hub"
)

// certificate makes a certificate for a name that signs itself.
func certificate(t testing.TB, name string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// tunnel is a proxy that speaks HTTP CONNECT and SOCKS5 and counts what goes through.
type tunnel struct {
	address string

	mu      sync.Mutex
	targets []string
}

const proxyUser, proxyPassword = "ferry", "pass-through-9"

func startTunnel(t *testing.T) *tunnel {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tunnel{address: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				if err := p.serve(c); err != nil {
					t.Logf("proxy: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return p
}

func (p *tunnel) serve(c net.Conn) error {
	in := bufio.NewReader(c)
	first, err := in.Peek(1)
	if err != nil {
		return err
	}
	shake := p.http
	if first[0] == 5 {
		shake = p.socks
	}
	target, err := shake(c, in)
	if err != nil || target == "" {
		return err
	}
	p.mu.Lock()
	p.targets = append(p.targets, target)
	p.mu.Unlock()
	out, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(c, out)
		_ = c.Close()
	}()
	_, _ = io.Copy(out, in)
	_ = out.Close()
	<-done
	return nil
}

func (p *tunnel) http(c net.Conn, in *bufio.Reader) (string, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return "", err
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword))
	answer := "HTTP/1.1 200 OK\r\n\r\n"
	target := r.Host
	if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != want {
		answer, target = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", ""
	}
	_, err = io.WriteString(c, answer)
	return target, err
}

// socks speaks as much of RFC 1928 and 1929 as is needed.
func (p *tunnel) socks(c net.Conn, in *bufio.Reader) (string, error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	read(int(read(2)[1]))                 // methods
	_, _ = c.Write([]byte{5, 2})          // user and password
	user := string(read(int(read(2)[1]))) // version, length
	pass := string(read(int(read(1)[0]))) // length
	if user != proxyUser || pass != proxyPassword {
		_, err := c.Write([]byte{1, 1})
		return "", err
	}
	_, _ = c.Write([]byte{1, 0})
	var host string
	switch head := read(4); head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	}
	port := binary.BigEndian.Uint16(read(2))
	_, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return net.JoinHostPort(host, itoa(int64(port))), err
}

// TestTransports sends and reads an event through every way to a namespace.
func TestTransports(t *testing.T) { eachClient(t, testTransports) }

func testTransports(t *testing.T) {
	cert, ca := certificate(t, "contoso.servicebus.windows.net")
	s := startServer(t, func(o *hub.Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	})
	p := startTunnel(t)
	secret := hubferry.NewSecret
	emulator := s.connString(testKeyName, testKey)
	cloud := "Endpoint=sb://contoso.servicebus.windows.net;SharedAccessKeyName=" + testKeyName + ";SharedAccessKey=" + testKey
	caFile := TLSOptions{CAFile: "ca.pem", ServerName: "contoso.servicebus.windows.net"}
	credentials := proxyUser + ":" + proxyPassword + "@"
	for _, c := range []struct {
		name    string
		o       ConnectionOptions
		through bool // the proxy
	}{
		{"amqp, plain", ConnectionOptions{ConnectionString: secret(emulator)}, false},
		{"websocket, plain", ConnectionOptions{ConnectionString: secret(emulator), Transport: TransportWebSocket}, false},
		{"amqp, TLS", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, TLS: caFile}, false},
		{"websocket, TLS", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: "https://" + s.address, TLS: caFile, Transport: TransportWebSocket}, false},
		{"TLS unverified", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, TLS: TLSOptions{InsecureSkipVerify: true}}, false},
		{"amqp, plain, HTTP proxy", ConnectionOptions{ConnectionString: secret(emulator), Proxy: secret("http://" + credentials + p.address)}, true},
		{"amqp, TLS, HTTP proxy", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, TLS: caFile, Proxy: secret("http://" + credentials + p.address)}, true},
		{"websocket, plain, HTTP proxy", ConnectionOptions{ConnectionString: secret(emulator), Transport: TransportWebSocket, Proxy: secret("http://" + credentials + p.address)}, true},
		{"websocket, TLS, HTTP proxy", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, TLS: caFile, Transport: TransportWebSocket, Proxy: secret("http://" + credentials + p.address)}, true},
		{"amqp, plain, SOCKS", ConnectionOptions{ConnectionString: secret(emulator), Proxy: secret("socks5://" + credentials + p.address)}, true},
		{"websocket, TLS, SOCKS", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, TLS: caFile, Transport: TransportWebSocket, Proxy: secret("socks5://" + credentials + p.address)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialed := 0
			env := hubferry.Env{
				Fetch: func(name string) ([]byte, error) {
					if name != "ca.pem" {
						return nil, errors.New("no such file")
					}
					return ca, nil
				},
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dialed++
					return (&net.Dialer{}).DialContext(ctx, network, addr)
				},
			}
			conn := connect(t, &c.o, env)
			before := len(rawReceive(t, s.address, "2"))
			w := openWriter(t, conn, &TargetOptions{})
			// More than a frame, so that frames are cut anywhere by what is below.
			big := strings.Repeat("x", 200_000)
			if _, err := w.Write(withTimeout(t), hubferry.Run{Partition: 2, Events: bodies("a", big)}); err != nil {
				t.Fatal(err)
			}
			events := readEvents(t, openSource(t, conn), 2, before+2)
			if got, err := events[before+1].Content(); err != nil || string(got.Body) != big {
				t.Errorf("the event changed, %v", err)
			}
			p.mu.Lock()
			through := len(p.targets) > 0
			p.targets = nil
			p.mu.Unlock()
			if through != c.through || dialed == 0 {
				t.Errorf("through the proxy: %v; dialed %d times with the function from outside", through, dialed)
			}
		})
	}
}

func TestTransportErrors(t *testing.T) { eachClient(t, testTransportErrors) }

func testTransportErrors(t *testing.T) {
	cert, _ := certificate(t, "contoso.servicebus.windows.net")
	_, other := certificate(t, "contoso.servicebus.windows.net")
	s := startServer(t, func(o *hub.Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	})
	plain := startPeer(t)
	p := startTunnel(t)
	secret := hubferry.NewSecret
	cloud := "Endpoint=sb://contoso.servicebus.windows.net;SharedAccessKeyName=" + testKeyName + ";SharedAccessKey=" + testKey
	for _, c := range []struct {
		name string
		o    ConnectionOptions
		kind hubferry.ErrorKind
		text string
	}{
		{"unknown authority", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, TLS: TLSOptions{CAFile: "other.pem", ServerName: "contoso.servicebus.windows.net"}}, hubferry.Unauthorized, "tls.caFile"},
		{"unknown authority, websocket", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, Transport: TransportWebSocket}, hubferry.Unauthorized, ""},
		{"no TLS there", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: plain.address}, hubferry.Transient, ""},
		{"nobody there", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: "127.0.0.1:1"}, hubferry.Transient, "127.0.0.1:1"},
		{"proxy refuses", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, Proxy: secret("http://ferry:wr0ng@" + p.address)}, hubferry.Unauthorized, "user and password"},
		{"proxy refuses, SOCKS", ConnectionOptions{ConnectionString: secret(cloud), CustomEndpoint: s.address, Proxy: secret("socks5://ferry:wr0ng@" + p.address)}, hubferry.Transient, ""},
		{"no websocket there", ConnectionOptions{ConnectionString: secret(s.connString(testKeyName, testKey)), CustomEndpoint: p.address, Transport: TransportWebSocket}, hubferry.Transient, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := hubferry.Env{Fetch: func(string) ([]byte, error) { return other, nil }}
			conn := connect(t, &c.o, env)
			_, err := openSource(t, conn).Partitions(withTimeout(t))
			e := asError(t, err)
			if e.Kind != c.kind || !strings.Contains(e.Error(), c.text) {
				t.Errorf("kind %v: %v", e.Kind, e)
			}
			for _, secret := range []string{testKey, "wr0ng"} {
				if strings.Contains(e.Error(), secret) {
					t.Errorf("the error shows a secret: %v", e)
				}
			}
		})
	}
	bad := &ConnectionOptions{Namespace: "x", TLS: TLSOptions{CAFile: "nothing.pem"}}
	if _, err := Connect(t.Context(), bad, hubferry.Env{Fetch: func(string) ([]byte, error) { return []byte("x"), nil }}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a caFile without a certificate: %v", err)
	}
}
