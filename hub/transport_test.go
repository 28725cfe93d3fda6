package hub_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"

	"github.com/hubferry/hubferry/hub"
)

// certificate makes a certificate for 127.0.0.1 and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// One port takes plain AMQP, TLS, and WebSockets over either.
func TestTransports(t *testing.T) {
	cert, pool := certificate(t)
	s := start(t, func(o *hub.Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	})
	trust := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	overWebSocket := func(scheme, path, protocol string) func(context.Context, azeventhubs.WebSocketConnParams) (net.Conn, error) {
		return func(ctx context.Context, _ azeventhubs.WebSocketConnParams) (net.Conn, error) {
			transport := &http.Transport{TLSClientConfig: trust}
			t.Cleanup(transport.CloseIdleConnections)
			ws, _, err := websocket.Dial(ctx, //nolint:bodyclose // the library documents that there is nothing to close
				scheme+"://"+s.addr+path, &websocket.DialOptions{
					HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{protocol},
				})
			if err != nil {
				return nil, err
			}
			if got := ws.Subprotocol(); got != protocol {
				t.Errorf("subprotocol %q, want %q", got, protocol)
			}
			return websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary), nil
		}
	}
	emulator := s.connection("one", "root", rootKey)
	cloud := strings.Replace(emulator, "UseDevelopmentEmulator=true;", "", 1)
	for name, tc := range map[string]struct {
		connection string
		options    azeventhubs.ProducerClientOptions
	}{
		"plain":     {emulator, azeventhubs.ProducerClientOptions{}},
		"tls":       {cloud, azeventhubs.ProducerClientOptions{TLSConfig: trust}},
		"websocket": {emulator, azeventhubs.ProducerClientOptions{NewWebSocketConn: overWebSocket("ws", "/$servicebus/websocket", "AMQPWSB10")}},
		"websocket with a slash": {emulator, azeventhubs.ProducerClientOptions{
			NewWebSocketConn: overWebSocket("ws", "/$servicebus/websocket/", "amqp"),
		}},
		"websocket over tls": {cloud, azeventhubs.ProducerClientOptions{NewWebSocketConn: overWebSocket("wss", "/$servicebus/websocket", "AMQPWSB10")}},
	} {
		t.Run(name, func(t *testing.T) {
			o := tc.options
			o.RetryOptions = noRetry
			p, err := azeventhubs.NewProducerClientFromConnectionString(tc.connection, "", &o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close(context.Background()) }()
			c, err := azeventhubs.NewConsumerClientFromConnectionString(tc.connection, "", "$Default", &azeventhubs.ConsumerClientOptions{
				RetryOptions: noRetry, TLSConfig: o.TLSConfig, NewWebSocketConn: o.NewWebSocketConn,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close(context.Background()) }()
			before, err := p.GetPartitionProperties(t.Context(), "0", nil)
			if err != nil {
				t.Fatal(err)
			}
			large := &azeventhubs.EventData{Body: make([]byte, 300_000)}
			send(t, p, azeventhubs.EventDataBatchOptions{}, append(texts(3, "%d"), large)...)
			earlier := int(before.LastEnqueuedSequenceNumber) + 1
			got := receive(t, receiver(t, c, "0", earliest()), earlier+4)[earlier:]
			if string(got[2].Body) != "2" || len(got[3].Body) != 300_000 {
				t.Errorf("got %d events", len(got))
			}
		})
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	s := start(t, nil)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/$servicebus/other": http.StatusNotFound, "/$servicebus/websocket": http.StatusUpgradeRequired} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// What was confirmed is there after a restart, and clients find their way back.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, func(o *hub.Options) { o.Dir = dir })
	retry := azeventhubs.RetryOptions{MaxRetries: 20, RetryDelay: 5 * time.Millisecond, MaxRetryDelay: 50 * time.Millisecond}
	p, err := azeventhubs.NewProducerClientFromConnectionString(s.connection("one", "root", rootKey), "", &azeventhubs.ProducerClientOptions{RetryOptions: retry})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(context.Background()) }()
	c, err := azeventhubs.NewConsumerClientFromConnectionString(s.connection("one", "root", rootKey), "", "$Default", &azeventhubs.ConsumerClientOptions{RetryOptions: retry})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	r := receiver(t, c, "0", earliest())
	send(t, p, azeventhubs.EventDataBatchOptions{PartitionKey: new("key")}, texts(3, "before %d")...)
	if got := receive(t, r, 3)[2]; string(got.Body) != "before 2" {
		t.Fatalf("got %q", got.Body)
	}
	s.stop()
	s = startAt(t, s.addr, func(o *hub.Options) { o.Dir = dir })
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(2, "after %d")...)
	for i, e := range receive(t, r, 2) {
		if string(e.Body) != "after "+strconv.Itoa(i) || e.SequenceNumber != int64(3+i) {
			t.Errorf("got %q with sequence %d", e.Body, e.SequenceNumber)
		}
	}
	all := receive(t, receiver(t, s.consumer("one", "$Default"), "0", earliest()), 5)
	if string(all[0].Body) != "before 0" || all[0].PartitionKey == nil || *all[0].PartitionKey != "key" {
		t.Errorf("first event %q, key %v", all[0].Body, all[0].PartitionKey)
	}
}
