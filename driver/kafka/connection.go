package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
)

var (
	_ hubferry.Connection = (*connection)(nil)
	_ hubferry.Selecting  = (*connection)(nil)
)

// connection is a configured way to a cluster. Its own client asks for metadata and
// offsets; readers and targets have theirs.
type connection struct {
	options *ConnectionOptions
	env     hubferry.Env
	base    []kgo.Opt
	client  *kgo.Client
	admin   *kadm.Client
	once    sync.Once
	done    chan struct{}
	pumps   atomic.Int32 // of all sources, which share the budget
	seen    sync.Map     // names of topics that were there, to tell that one was deleted

	reads, writes atomic.Bool // it has sources, targets
	batchesOnce   sync.Once
	batches       *memory
}

func newConnection(o *ConnectionOptions, env hubferry.Env) (*connection, error) {
	o, err := o.resolved()
	if err != nil {
		return nil, err
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	env.Log = env.Log.With("component", "kafka")
	c := &connection{options: o, env: env, done: make(chan struct{})}
	seeds := make([]string, len(o.Brokers))
	for i, b := range o.Brokers {
		seeds[i] = withPort(b)
	}
	dial, err := dialer(o.TLS, env)
	if err != nil {
		return nil, err
	}
	c.base = []kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID(cmp.Or(o.ClientID, "hubferry-"+env.Instance)), kgo.Dialer(dial),
		kgo.RetryTimeout(5 * time.Second), // an outage is the engine's business soon
		kgo.RetryBackoffFn(backoff),
	}
	if o.SASL != nil {
		host, _, _ := net.SplitHostPort(seeds[0])
		mechanism, err := o.SASL.mechanism(env, host)
		if err != nil {
			return nil, err
		}
		c.base = append(c.base, kgo.SASL(mechanism))
	}
	if c.client, err = c.newClient(); err != nil {
		return nil, err
	}
	c.admin = kadm.NewClient(c.client)
	return c, nil
}

// newClient makes a client with the connection's options and more. It dials nothing yet.
func (c *connection) newClient(more ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, c.base...), more...)...)
	if err != nil {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: "make a Kafka client", Err: err}
	}
	return cl, nil
}

// backoff is how long franz-go waits before it repeats a request for the n-th time. It is
// short: what lasts is seen and waited for by the engine.
func backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 10), time.Second)
	return d/2 + rand.N(d/2)
}

// dialer returns how to reach a broker: through Env.Dial if there is one, and with TLS
// if it is asked for.
func dialer(o *TLSOptions, env hubferry.Env) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	dial := env.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if o == nil {
		return dial, nil
	}
	config, err := tlsConfig(o, env)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		if own.ServerName == "" {
			own.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(conn, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return secure, nil
	}, nil
}

func tlsConfig(o *TLSOptions, env hubferry.Env) (*tls.Config, error) {
	fetch := env.Fetch
	if fetch == nil {
		fetch = os.ReadFile
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: o.ServerName,
		InsecureSkipVerify: o.InsecureSkipVerify, //nolint:gosec // the operator asked for it, for tests
	}
	if o.CAFile != "" {
		pem, err := fetch(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read tls.caFile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read tls.caFile: %s holds no PEM certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		cert, err := fetch(o.CertFile)
		if err != nil {
			return nil, fmt.Errorf("read tls.certFile: %w", err)
		}
		key, err := fetch(o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read tls.keyFile: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read tls.certFile and tls.keyFile: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// namespace returns the canonical identity of the cluster (G-1).
func (c *connection) namespace(cluster *string) (string, error) {
	switch {
	case c.options.ID != "":
		return c.options.ID, nil
	case cluster != nil && *cluster != "":
		return *cluster, nil
	}
	return "", &hubferry.Error{
		Kind: hubferry.Fatal, Op: "ask for the cluster id",
		Err: errors.New("the cluster has none"), Hint: "set the connection's id",
	}
}

// Namespace implements hubferry.Connection.
func (c *connection) Namespace(ctx context.Context) (string, error) {
	if c.options.ID != "" {
		return c.options.ID, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return "", classify("ask for the cluster id", err)
	}
	return c.namespace(resp.ClusterID)
}

// Source implements hubferry.Connection.
func (c *connection) Source(ctx context.Context, hub string, o hubferry.Options) (hubferry.Source, error) {
	return c.SourceOf(ctx, hubferry.Selection{Hubs: []string{hub}}, o)
}

// SourceOf implements hubferry.Selecting.
func (c *connection) SourceOf(_ context.Context, sel hubferry.Selection, o hubferry.Options) (hubferry.Source, error) {
	options, ok := o.(*SourceOptions)
	if !ok {
		return nil, fmt.Errorf("open a source: options are %T, not *kafka.SourceOptions", o)
	}
	topics, err := newSelection(sel)
	if err != nil {
		return nil, err
	}
	c.reads.Store(true)
	s := newSource(c, options, topics)
	if options.ConsumerGroup == "" || options.Checkpoints == CheckpointsStore {
		return s, nil
	}
	return &groupSource{s}, nil
}

// Target implements hubferry.Connection.
func (c *connection) Target(ctx context.Context, o hubferry.Options) (hubferry.Target, error) {
	own, ok := o.(*TargetOptions)
	if !ok {
		return nil, fmt.Errorf("open a target: options are %T, not *kafka.TargetOptions", o)
	}
	c.writes.Store(true)
	return newTarget(ctx, c, *own)
}

func (c *connection) pumpCount() int { return int(c.pumps.Load()) }

// Close implements hubferry.Connection.
func (c *connection) Close(context.Context) error {
	c.once.Do(func() {
		close(c.done)
		c.client.Close()
	})
	return nil
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
