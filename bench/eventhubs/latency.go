package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/bench/internal/measure"
)

// settled is how long after its first event a program is warm.
const settled = 5 * time.Second

// latency measures how long single events take at a given rate: between the times at which
// the two hubs took them.
func (b *bench) latency(ctx context.Context, program string, size int, rate float64) (l measure.Latencies, err error) {
	west, err := b.serve(ctx, "west")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, west.remove()) }()
	east, err := b.serve(ctx, "east")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, east.remove()) }()
	from, err := west.client()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.Close(ctx)) }()
	to, err := east.client()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.Close(ctx)) }()
	p, err := b.start(ctx, program, west, east)
	if err != nil {
		return nil, err
	}
	warmed, n, err := b.load(ctx, west, to, size, rate)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, p.Log()), p.Stop())
	}
	if err := p.Stop(); err != nil {
		return nil, err
	}
	return b.compare(ctx, from, to, warmed, n)
}

// load generates events until they have been measured for long enough and all have arrived.
// It returns since when the program was warm, and how many events there are.
func (b *bench) load(ctx context.Context, west *namespace, to *azeventhubs.ConsumerClient, size int, rate float64) (warmed time.Time, n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+b.settings.latency)
	defer cancel()
	generating, stop := context.WithCancel(ctx)
	defer stop()
	type made struct {
		n   int64
		err error
	}
	done := make(chan made, 1)
	ready := make(chan struct{})
	go func() {
		n, err := west.generate(generating, size, rate, b.settings.partitions, ready)
		done <- made{n, err}
	}()
	if err := b.await(ctx, to, 1); err != nil {
		return warmed, 0, err
	}
	close(ready)
	warmed = time.Now().Add(settled)
	var m made
	select {
	case <-time.After(settled + b.settings.latency):
		stop()
		m = <-done
	case m = <-done:
	}
	if m.err != nil {
		return warmed, 0, m.err
	}
	return warmed, m.n, b.await(ctx, to, m.n)
}

// await waits until a hub holds so many events.
func (b *bench) await(ctx context.Context, client *azeventhubs.ConsumerClient, n int64) error {
	for {
		have, err := count(ctx, client, b.settings.partitions)
		if err != nil || have >= n {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events have arrived: %w", have, n, ctx.Err())
		}
	}
}

// compare reads both hubs, with n events each, and returns how long those took that began
// when the program was warm.
func (b *bench) compare(ctx context.Context, from, to *azeventhubs.ConsumerClient, warmed time.Time, n int64) (measure.Latencies, error) {
	times := make([][2]time.Time, n) // each event is in one partition of each hub
	for side, client := range []*azeventhubs.ConsumerClient{from, to} {
		err := readAll(ctx, client, b.settings.partitions, func(_ int, e *azeventhubs.ReceivedEventData) {
			if i := binary.BigEndian.Uint64(e.Body); i < uint64(n) && e.EnqueuedTime != nil {
				times[i][side] = *e.EnqueuedTime
			}
		})
		if err != nil {
			return nil, err
		}
	}
	var l measure.Latencies
	for i := range times {
		t := &times[i]
		if t[0].IsZero() || t[1].IsZero() {
			return nil, fmt.Errorf("event %d of %d is missing", i, n)
		}
		if t[0].After(warmed) {
			l = append(l, t[1].Sub(t[0]))
		}
	}
	return l, nil
}
