package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry/bench/internal/measure"
)

// stroll is what was seen of a program at a given rate.
type stroll struct {
	latencies    measure.Latencies
	own, brokers float64 // CPU seconds in a second, of the program and of both brokers
}

// latency measures how long single events take at a given rate.
func (b *bench) latency(ctx context.Context, program string, size int, rate float64) (stroll, error) {
	if err := remake(ctx, b.from, b.settings.partitions); err != nil {
		return stroll{}, err
	}
	if err := remake(ctx, b.to, b.settings.partitions); err != nil {
		return stroll{}, err
	}
	p, err := b.start(ctx, program)
	if err != nil {
		return stroll{}, err
	}
	generating, stop := context.WithCancel(ctx)
	made := make(chan error, 1)
	ready := make(chan struct{})
	go func() { made <- b.generate(generating, size, rate, ready) }()
	seen, err := b.observe(ctx, p, ready)
	stop()
	if cause := <-made; cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.Log())
	}
	return seen, errors.Join(err, p.Stop())
}

// generate makes events at a rate, every few milliseconds some. Until the program is ready
// it makes few, so that nothing piles up.
func (b *bench) generate(ctx context.Context, size int, rate float64, ready <-chan struct{}) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.west.Addr()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	began, now := time.Now(), min(rate, 20)
	failed := make(chan error, 1)
	for i, made := int64(0), int64(0); ; {
		for due := int64(time.Since(began).Seconds() * now); made < due; made++ {
			r := b.record(i, size)
			i++
			binary.BigEndian.PutUint64(r.Value[8:], uint64(time.Now().UnixNano()))
			cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		}
		select {
		case <-ready:
			ready, began, made, now = nil, time.Now(), 0, rate
		case err := <-failed:
			return fmt.Errorf("generate: %w", err)
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// observe reads the target and looks at the clock. The first event says that the program is
// ready; five seconds later it is warm.
func (b *bench) observe(ctx context.Context, p *measure.Program, ready chan<- struct{}) (seen stroll, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+b.settings.latency)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.east.Addr()), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(50*time.Millisecond), kgo.FetchMinBytes(1), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return seen, err
	}
	defer cl.Close()
	var from, begin time.Time
	var before measure.Usages
	for {
		select {
		case <-p.Ended:
			return seen, errors.New("the program ended")
		default:
		}
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return seen, fmt.Errorf("read the target: %w", err)
		}
		now := time.Now()
		if from.IsZero() {
			close(ready)
			from = now.Add(5 * time.Second)
		}
		if now.Before(from) {
			continue
		}
		if begin.IsZero() {
			begin = now
			if before, err = measure.UsagesOf(p.PID, b.brokers()...); err != nil {
				return seen, err
			}
		}
		if took := now.Sub(begin); took > b.settings.latency {
			if len(seen.latencies) == 0 {
				return seen, fmt.Errorf("nothing has arrived in %s", took)
			}
			after, err := measure.UsagesOf(p.PID, b.brokers()...)
			seen.own = (after.Own.CPU - before.Own.CPU).Seconds() / took.Seconds()
			seen.brokers = (after.Beside - before.Beside).Seconds() / took.Seconds()
			return seen, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen.latencies = append(seen.latencies, now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(r.Value[8:])))))
		})
	}
}
