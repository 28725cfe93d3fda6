package kafkatest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/hubferry/hubferry/internal/kafkatest"
)

var shared kafkatest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

func client(t *testing.T, opts ...kgo.Opt) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.RetryTimeout(time.Minute)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// Each listener lets in whom doc.go says, and those may do what it says.
func TestListeners(t *testing.T) {
	b := shared.Broker(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.CA())
	pair, err := tls.X509KeyPair(b.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	trust := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	show := trust.Clone()
	show.Certificates = []tls.Certificate{pair}
	token := func(user string) sasl.Mechanism {
		return oauth.Auth{Token: kafkatest.Token(user, time.Hour)}.AsMechanism()
	}
	for _, c := range []struct {
		name, addr string
		tls        *tls.Config
		sasl       sasl.Mechanism
		may        bool
	}{
		{"open", b.Addr(), nil, nil, true},
		{"plain", b.SASL(), nil, plain.Auth{User: kafkatest.User, Pass: kafkatest.Password}.AsMechanism(), true},
		{"plain guest", b.SASL(), nil, plain.Auth{User: kafkatest.Guest, Pass: kafkatest.Password}.AsMechanism(), false},
		{"wrong password", b.SASL(), nil, plain.Auth{User: kafkatest.User, Pass: "wrong"}.AsMechanism(), false},
		{"scram-sha-256", b.SASL(), nil, scram.Auth{User: kafkatest.User, Pass: kafkatest.Password}.AsSha256Mechanism(), true},
		{"scram-sha-512", b.SASLTLS(), trust, scram.Auth{User: kafkatest.User, Pass: kafkatest.Password}.AsSha512Mechanism(), true},
		{"oauthbearer", b.SASL(), nil, token(kafkatest.User), true},
		{"oauthbearer guest", b.SASLTLS(), trust, token(kafkatest.Guest), false},
		{"client certificate", b.TLS(), show, nil, true},
		{"no client certificate", b.TLS(), trust, nil, false},
	} {
		opts := []kgo.Opt{kgo.SeedBrokers(c.addr)}
		if !c.may {
			opts = append(opts, kgo.RetryTimeout(10*time.Second))
		}
		if c.tls != nil {
			opts = append(opts, kgo.DialTLSConfig(c.tls))
		}
		if c.sasl != nil {
			opts = append(opts, kgo.SASL(c.sasl))
		}
		_, err := client(t, opts...).CreateTopic(t.Context(), 1, 1, nil, strings.ReplaceAll(c.name, " ", "-"))
		if may := err == nil; may != c.may {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What was written is there after a stop and after a kill, at the same address; and a
// broker that is paused does not answer.
func TestRestart(t *testing.T) {
	b := kafkatest.Start(t, kafkatest.Options{})
	if _, err := client(t, kgo.SeedBrokers(b.Addr())).CreateTopic(t.Context(), 3, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func() error{"stop": b.Stop, "kill": b.Kill} {
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if conn, err := net.DialTimeout("tcp", b.Addr(), time.Second); err == nil {
			_ = conn.Close()
			t.Errorf("%s: somebody listens still", name)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatalf("start after %s: %v", name, err)
		}
		topics, err := client(t, kgo.SeedBrokers(b.Addr())).ListTopics(t.Context(), "kept")
		if err != nil || len(topics["kept"].Partitions) != 3 {
			t.Errorf("after %s: %v, %v", name, topics, err)
		}
	}
	if err := b.Pause(); err != nil {
		t.Fatal(err)
	}
	paused := client(t, kgo.SeedBrokers(b.Addr()), kgo.RequestTimeoutOverhead(time.Second))
	answered := make(chan error, 1)
	go func() {
		_, err := paused.ListTopics(t.Context())
		answered <- err
	}()
	select {
	case err := <-answered:
		if err == nil {
			t.Error("a paused broker answers")
		}
	case <-time.After(500 * time.Millisecond):
	}
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
}
