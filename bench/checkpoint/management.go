package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hubferry/hubferry/bench/internal/measure"
	"github.com/hubferry/hubferry/hub"
)

var wideFigures = []measure.Figure{
	{Name: "minute", Title: "reads/min", Format: "%.0f"},
	{Name: "mean", Title: "reads/s", Format: "%.1f"},
	{Name: "peak", Title: "most in a second", Format: "%.0f"},
	{Name: "whole", Title: "most in 10 s, per second", Format: "%.1f"},
}

// meter counts management reads by second.
type meter struct {
	mu      sync.Mutex
	seconds map[int64]int
}

// note takes a line of the hub's trace.
func (m *meter) note(line string) {
	if !strings.Contains(line, "<- ") || !strings.Contains(line, `operation="READ"`) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seconds[time.Now().Unix()]++
}

// figures are those of the time from one second to another.
func (m *meter) figures(from, to int64) map[string]float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all, peak, whole int
	for at := from; at < to; at++ {
		all += m.seconds[at]
		peak = max(peak, m.seconds[at])
		ten := 0
		for i := at; i < min(at+10, to); i++ {
			ten += m.seconds[i]
		}
		whole = max(whole, ten)
	}
	seconds := float64(to - from)
	return map[string]float64{"minute": float64(all) / seconds * 60, "mean": float64(all) / seconds, "peak": float64(peak), "whole": float64(whole) / 10}
}

// management counts the reads of one process of hubferry on a wide hub, and of a second one that takes half of it.
func (b *bench) management(ctx context.Context) (results []measure.Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{seconds: map[int64]int{}}
	w, err := b.serveWide(ctx, m)
	if err != nil {
		cancel()
		return nil, err
	}
	failed := make(chan error, 1)
	var running []*measure.Program
	defer func() {
		cancel()
		for _, p := range running {
			err = errors.Join(err, p.Stop())
		}
		err = errors.Join(err, w.close(ctx))
	}()
	phase := func(name string, length time.Duration) error {
		from := time.Now().Unix()
		err := wait(ctx, length, running, failed)
		results = append(results, measure.Result{Case: name, Program: "hubferry", Figures: m.figures(from, time.Now().Unix())})
		return err
	}
	join := func() error {
		p, err := b.start(ctx, fmt.Sprintf("wide%d", len(running)), w.config)
		if err == nil {
			running = append(running, p)
		}
		return err
	}
	if err := join(); err != nil {
		return nil, err
	}
	if err := phase("one process starts", b.length); err != nil {
		return nil, err
	}
	if err := phase("at rest", b.length/2); err != nil {
		return nil, err
	}
	go func() {
		failed <- generate(ctx, w.local, &place{workload: workload{partitions: b.wide, rate: sendsPerSecond}, hub: "wide"})
	}()
	if err := phase(fmt.Sprintf("%d events/s to all partitions", sendsPerSecond), b.length/2); err != nil {
		return nil, err
	}
	if err := join(); err != nil {
		return nil, err
	}
	if err := phase("a second process joins", b.length); err != nil {
		return nil, err
	}
	return results, phase("two processes", b.length/2)
}

// wideHub is a hub that looks like one in the cloud.
type wideHub struct {
	*service
	local  string // connection string of this machine
	config string // of hubferry
}

func (b *bench) serveWide(ctx context.Context, m *meter) (*wideHub, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	account := hub.AccountOptions{Containers: []string{"wide"}}
	namespace := hub.NamespaceOptions{Name: "bench", Hubs: []hub.HubOptions{{Name: "wide", Partitions: b.wide}, {Name: "widecopy", Partitions: b.wide}}}
	server, err := hub.New(ctx, hub.Options{
		Namespaces: []hub.NamespaceOptions{namespace}, Blob: []hub.AccountOptions{account}, Trace: m.note,
		Limits: hub.Limits{Partitions: max(32, b.wide)},
		TLS:    &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		return nil, err
	}
	w := &wideHub{service: &service{server: server}}
	address, err := listen(ctx, func(l net.Listener) error { return server.Serve(ctx, l, namespace.Name) })
	if err != nil {
		return nil, errors.Join(err, w.close(ctx))
	}
	blobs, err := listen(ctx, func(l net.Listener) error { return server.ServeBlob(ctx, l, hub.PublishedAccount) })
	if err != nil {
		return nil, errors.Join(err, w.close(ctx))
	}
	const rule = ";SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE"
	w.local = "Endpoint=sb://" + address + rule + ";UseDevelopmentEmulator=true"
	w.config = fmt.Sprintf(`version: 1
connections:
  bench: { eventhubs: { connectionString: %q, customEndpoint: %q, tls: { insecureSkipVerify: true } } }
checkpoints: { blob: { connectionString: %q, container: wide } }
tasks:
  copy: { source: { hub: bench/wide, consumerGroup: $Default, start: latest }, target: bench/widecopy, delivery: effectively-once, balance: { strategy: greedy } }
`, "Endpoint=sb://bench.example"+rule, address, account.ConnectionString(blobs))
	return w, nil
}

// selfSigned makes a certificate that nobody checks.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"bench.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
