package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

func connect(t testing.TB, o *kafka.ConnectionOptions, env hubferry.Env) hubferry.Connection {
	t.Helper()
	env.Log = slog.New(slog.DiscardHandler)
	c, err := kafka.Driver().Connect(t.Context(), o, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

func source(t *testing.T, c hubferry.Connection) (hubferry.Source, hubferry.PartitionInfo) {
	t.Helper()
	s, err := c.Source(t.Context(), topicName, &kafka.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	infos, err := s.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, infos[0]
}

func writer(t *testing.T, c hubferry.Connection) hubferry.Writer {
	t.Helper()
	return writerOf(t, c, topicName)
}

func writerOf(t *testing.T, c hubferry.Connection, topic string) hubferry.Writer {
	t.Helper()
	target, err := c.Target(t.Context(), &kafka.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close(context.WithoutCancel(t.Context())) })
	w, err := target.Open(t.Context(), topic, hubferry.Trail{Mode: hubferry.TrailNone})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func sized(n int) *hubferry.Event {
	e := hubferry.NewEvent(&hubferry.Content{Body: make([]byte, n)})
	return &e
}

// Next passes the control records at the end of a transaction, and the records of one
// that was aborted, so that the lag becomes zero.
func TestNextPassesControlRecords(t *testing.T) {
	c := newCluster(t)
	cl := c.client(t, kgo.TransactionalID("tx"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topicName, Value: []byte("v")}, &kgo.Record{Topic: topicName, Value: []byte("w")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	s, info := source(t, connect(t, c.options(), hubferry.Env{}))
	r, err := s.Open(t.Context(), info.Place, info.Begin, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longWait)
	defer cancel()
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 100, Bytes: 1 << 20}}
	for n := 0; b.Next.Sequence < info.End.Sequence; n += len(b.Events) {
		if err := r.Read(ctx, &b); err != nil {
			t.Fatalf("Next is %d, the end %d: %v", b.Next.Sequence, info.End.Sequence, err)
		}
		if n > 2 {
			t.Errorf("%d events were read, 2 are committed", n)
		}
	}
	if info.End.Sequence != 5 || b.End.Sequence != 5 {
		t.Errorf("the partition ends at %d, the batch says %d", info.End.Sequence, b.End.Sequence)
	}
}

// A topic's own limit is the broker's to enforce, and on a whole batch. The receipt names
// the event all the same.
func TestBrokerRefusesOneOfABatch(t *testing.T) {
	c := newCluster(t)
	if err := c.DeleteTopic(topicName); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(topicName, 1, map[string]string{"max.message.bytes": "2000"}); err != nil {
		t.Fatal(err)
	}
	w := writer(t, connect(t, c.options(), hubferry.Env{}))
	events := []*hubferry.Event{sized(900), sized(900), sized(900), sized(3000), sized(10)}
	receipt, err := w.Write(t.Context(), hubferry.Run{Events: events})
	if hubferry.KindOf(err) != hubferry.TooLarge || receipt.N != 3 {
		t.Errorf("receipt %+v, %v", receipt, err)
	}
	if n := len(c.dump(t, 0)); n != 3 {
		t.Errorf("%d events are there", n)
	}
}

func TestGapNamesItsRange(t *testing.T) {
	c := newCluster(t)
	var events []hubferry.Event
	for range 10 {
		events = append(events, *sized(1))
	}
	c.inject(t, 0, events)
	if err := c.DeleteRecords(topicName, 0, 6); err != nil {
		t.Fatal(err)
	}
	s, info := source(t, connect(t, c.options(), hubferry.Env{}))
	r, err := s.Open(t.Context(), info.Place, hubferry.Position{Sequence: 2}, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longWait)
	defer cancel()
	err = r.Read(ctx, &hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}})
	e, ok := err.(*hubferry.Error) //nolint:errorlint // the driver returns it bare
	if !ok || e.Kind != hubferry.Gap || e.From != 3 || e.To != 5 {
		t.Errorf("%#v", err)
	}
}

func TestScramAndTLS(t *testing.T) {
	cert, pemText := certificate(t)
	c := newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	o := c.options()
	o.TLS = &kafka.TLSOptions{CAFile: "ca.pem"}
	o.SASL.Mechanism = kafka.MechanismScramSHA256
	dialled := false
	namespace, err := connect(t, o, hubferry.Env{
		Fetch: func(string) ([]byte, error) { return pemText, nil },
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled = true
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}).Namespace(t.Context())
	if err != nil || namespace == "" || !dialled {
		t.Errorf("namespace %q, %v; dialled through Env.Dial: %v", namespace, err, dialled)
	}
	o.TLS = &kafka.TLSOptions{}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := connect(t, o, hubferry.Env{}).Namespace(ctx); err == nil {
		t.Error("a certificate of an unknown authority was accepted")
	}
}

func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
