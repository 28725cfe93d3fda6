package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/bench/internal/measure"
	"github.com/hubferry/hubferry/internal/keyhash"
)

const (
	hubName = "bench" // of both hubs
	keys    = 10_000
	warm    = 2 * time.Second
)

// bench is one run of the command.
type bench struct {
	settings *settings
	dir      string
	runs     int
	summary  measure.Summary
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// add notes a result.
func (b *bench) add(r measure.Result, err error) {
	if err != nil {
		r.Problem = err.Error()
	}
	b.say("%s: %s: %v %s", r.Case, r.Program, r.Figures, r.Problem)
	b.summary.Results = append(b.summary.Results, r)
}

// size measures all programs with bodies of one size.
func (b *bench) size(ctx context.Context, size int) (err error) {
	name := fmt.Sprintf("%d B", size)
	west, n, err := b.calibrate(ctx, size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, west.remove()) }()
	order, aa := measure.Turns(b.settings.programs, b.settings.rounds)
	rates := map[string]float64{}
	for i, program := range order {
		r := measure.Result{Case: name, Program: program, Again: i == aa, Figures: map[string]float64{}}
		pace, err := b.throughput(ctx, west, program, n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && pace.Events == 0 {
			err = fmt.Errorf("%d events were moved before it was measured", n)
		}
		if err == nil {
			rates[program] = pace.Rate()
			r.Figures = map[string]float64{
				"rate": pace.Rate(), "cpu": pace.CPUPerMillion(), "hubs": pace.Beside.Seconds() / float64(pace.Events) * 1e6,
				"peak": float64(pace.Peak) / (1 << 20), "startup": pace.Startup.Seconds(), "seconds": pace.Time.Seconds(),
			}
		}
		b.add(r, err)
	}
	for _, program := range b.settings.programs {
		rate := cmp.Or(b.settings.rate, rates[program]/10)
		if b.settings.latency == 0 || rate == 0 {
			continue
		}
		r := measure.Result{Case: name, Program: program, Figures: map[string]float64{}}
		l, err := b.latency(ctx, program, size, rate)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			r.Figures = map[string]float64{"p50": milliseconds(l.Quantile(0.5)), "p99": milliseconds(l.Quantile(0.99)), "p999": milliseconds(l.Quantile(0.999))}
		}
		b.say("%s: %s at %.0f events/s", name, program, rate)
		b.add(r, err)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// calibrate finds how many events the first program moves in a run, and returns a source
// that holds as many.
func (b *bench) calibrate(ctx context.Context, size int) (*namespace, int64, error) {
	const sample = 600_000
	n := int64(sample)
	for first := true; ; first = false {
		west, err := b.serve(ctx, "west")
		if err != nil {
			return nil, 0, err
		}
		b.say("%d B: a backlog of %d events", size, n)
		if err := west.fill(ctx, size, n, b.settings.partitions); err != nil {
			return nil, 0, errors.Join(err, west.remove())
		}
		if !first {
			return west, n, nil
		}
		pace, err := b.throughput(ctx, west, b.settings.programs[0], n)
		if err != nil {
			return nil, 0, errors.Join(fmt.Errorf("calibrate: %w", err), west.remove())
		}
		rate := pace.Rate()
		if pace.Events == 0 { // all has been moved before it counted
			rate = float64(n) / warm.Seconds()
		}
		most := b.settings.maxBytes / int64(size+100) // with its key and what a record takes beside
		want := int64(rate * (b.settings.length + warm).Seconds() * 1.2)
		if want <= sample {
			return west, n, nil
		}
		n = max(min(want, most), sample)
		if err := west.remove(); err != nil {
			return nil, 0, err
		}
	}
}

// throughput lets a program move the backlog.
func (b *bench) throughput(ctx context.Context, west *namespace, program string, n int64) (pace measure.Pace, err error) {
	east, err := b.serve(ctx, "east")
	if err != nil {
		return pace, err
	}
	defer func() { err = errors.Join(err, east.remove()) }()
	p, err := b.start(ctx, program, west, east)
	if err != nil {
		return pace, err
	}
	client, err := east.client()
	if err != nil {
		return pace, errors.Join(err, p.Stop())
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()
	m := measure.Meter{
		PID: p.PID, To: n, Warm: warm, For: b.settings.length, Ended: p.Ended, Every: 200 * time.Millisecond,
		Beside: []int{west.program.PID, east.program.PID},
		Count:  func(ctx context.Context) (int64, error) { return count(ctx, client, b.settings.partitions) },
	}
	pace, err = m.Run(ctx)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.Log())
	}
	if err = errors.Join(err, p.Stop()); err != nil {
		return pace, err
	}
	return pace, b.verify(ctx, client, n)
}

// count returns how many events a hub holds.
func count(ctx context.Context, client *azeventhubs.ConsumerClient, partitions int) (int64, error) {
	var sum int64
	for p := range partitions {
		info, err := client.GetPartitionProperties(ctx, fmt.Sprint(p), nil)
		if err != nil {
			return 0, err
		}
		sum += info.LastEnqueuedSequenceNumber + 1
	}
	return sum, nil
}

// verify reads the target: of every key the first events, in order, each once, in the
// partition that the key belongs to.
func (b *bench) verify(ctx context.Context, client *azeventhubs.ConsumerClient, n int64) error {
	next := make([]int64, keys)
	for k := range next {
		next[k] = int64(k)
	}
	var misplaced atomic.Int64
	err := readAll(ctx, client, b.settings.partitions, func(p int, e *azeventhubs.ReceivedEventData) {
		i := int64(binary.BigEndian.Uint64(e.Body))
		k := i % keys
		if partitionOf(k, b.settings.partitions) != p { // asked first: the partitions are read at the same time
			misplaced.Add(1)
			return
		}
		if i != next[k] || i >= n {
			misplaced.Add(1)
		}
		next[k] = i + keys
	})
	if bad := misplaced.Load(); err == nil && bad > 0 {
		err = fmt.Errorf("%d events are not where they belong", bad)
	}
	return err
}

// readAll reads what a hub holds now, all partitions at the same time.
func readAll(ctx context.Context, client *azeventhubs.ConsumerClient, partitions int, see func(p int, e *azeventhubs.ReceivedEventData)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	errs := make([]error, partitions)
	var wg sync.WaitGroup
	for p := range partitions {
		wg.Go(func() { errs[p] = readPartition(ctx, client, p, see) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func readPartition(ctx context.Context, client *azeventhubs.ConsumerClient, p int, see func(p int, e *azeventhubs.ReceivedEventData)) error {
	info, err := client.GetPartitionProperties(ctx, fmt.Sprint(p), nil)
	if err != nil || info.IsEmpty {
		return err
	}
	earliest := true
	r, err := client.NewPartitionClient(fmt.Sprint(p), &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{Earliest: &earliest}, Prefetch: 2000,
	})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close(ctx) }()
	for last := int64(-1); last < info.LastEnqueuedSequenceNumber; {
		events, err := r.ReceiveEvents(ctx, int(min(1000, info.LastEnqueuedSequenceNumber-last)), nil) // it waits for so many
		if err != nil {
			return fmt.Errorf("read partition %d back, after event %d of %d: %w", p, last, info.LastEnqueuedSequenceNumber, err)
		}
		for _, e := range events {
			last = e.SequenceNumber
			see(p, e)
		}
	}
	return nil
}

// key returns a key.
func key(k int64) string { return fmt.Sprintf("key-%d", k) }

// partitionOf returns where the events of a key belong.
func partitionOf(k int64, partitions int) int { return keyhash.EventHubs(key(k), partitions) }
