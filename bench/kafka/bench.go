package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry/bench/internal/measure"
	"github.com/hubferry/hubferry/internal/kafkatest"
)

// topic is the name of both topics.
const topic = "bench"

// bench is one run of the command.
type bench struct {
	settings *settings
	dir      string
	west     *kafkatest.Broker
	east     *kafkatest.Broker
	from, to *kgo.Client
	runs     int
	summary  measure.Summary
}

func newBench(ctx context.Context, s *settings, dir string) (*bench, error) {
	b := &bench{settings: s, dir: dir, summary: measure.Summary{Figures: figures, Subject: s.programs[0], Machine: measure.Machine()}}
	options := kafkatest.Options{Heap: s.heap, JVM: []string{}, Properties: map[string]string{"log.cleaner.dedupe.buffer.size": "134217728"}}
	var err error
	if b.west, err = kafkatest.Launch(ctx, options); err != nil {
		return nil, err
	}
	if b.east, err = kafkatest.Launch(ctx, options); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if b.from, err = kgo.NewClient(kgo.SeedBrokers(b.west.Addr()), kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner())); err == nil {
		b.to, err = kgo.NewClient(kgo.SeedBrokers(b.east.Addr()))
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) close() error {
	var err error
	for _, cl := range []*kgo.Client{b.from, b.to} {
		if cl != nil {
			cl.Close()
		}
	}
	for _, broker := range []*kafkatest.Broker{b.west, b.east} {
		if broker != nil {
			err = errors.Join(err, broker.Remove())
		}
	}
	return err
}

// brokers are the processes of both.
func (b *bench) brokers() []int { return []int{b.west.PID(), b.east.PID()} }

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// size measures all programs with values of one size.
func (b *bench) size(ctx context.Context, size int) error {
	name := fmt.Sprintf("%d B", size)
	rate := b.settings.rate
	if b.settings.rounds > 0 {
		slowest, err := b.backlog(ctx, name, size)
		if err != nil {
			return err
		}
		rate = cmp.Or(rate, slowest/10)
	}
	if b.settings.latency == 0 || rate == 0 {
		return nil
	}
	for _, program := range b.settings.programs { // the brokers compile what they run, and see warmUp
		_, err := b.latency(ctx, program, size, rate)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.say("%s: %s: warming up: %v", name, program, err)
		}
	}
	for _, program := range b.settings.programs {
		r := measure.Result{Case: name, Program: program, Figures: map[string]float64{}}
		l, err := b.latency(ctx, program, size, rate)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			r.Problem = err.Error()
		default:
			r.Figures = map[string]float64{
				"p50": milliseconds(l.latencies.Quantile(0.5)), "p99": milliseconds(l.latencies.Quantile(0.99)),
				"stroll": 100 * l.own, "strollBrokers": 100 * l.brokers,
			}
		}
		b.say("%s: %s at %.0f events/s: %v %s", name, program, rate, r.Figures, r.Problem)
		b.summary.Results = append(b.summary.Results, r)
	}
	return nil
}

// backlog lets all programs move a backlog in turns, and returns the lowest rate.
func (b *bench) backlog(ctx context.Context, name string, size int) (slowest float64, err error) {
	n, err := b.calibrate(ctx, size)
	if err != nil {
		return 0, err
	}
	b.say("%s: a backlog of %d events", name, n)
	if err := b.fill(ctx, size, n); err != nil {
		return 0, err
	}
	if err := b.warmUp(ctx, name, n); err != nil {
		return 0, err
	}
	order, aa := measure.Turns(b.settings.programs, b.settings.rounds)
	for i, program := range order {
		r := measure.Result{Case: name, Program: program, Again: i == aa, Figures: map[string]float64{}}
		pace, err := b.throughput(ctx, program, n)
		if err != nil {
			if ctx.Err() != nil {
				return 0, err
			}
			r.Problem = err.Error()
		} else {
			r.Figures = map[string]float64{
				"rate": pace.Rate(), "cpu": pace.CPUPerMillion(), "peak": float64(pace.Peak) / (1 << 20), "brokers": pace.Beside.Seconds() / float64(pace.Events) * 1e6,
				"startup": pace.Startup.Seconds(), "seconds": pace.Time.Seconds(),
			}
			if slowest == 0 || pace.Rate() < slowest {
				slowest = pace.Rate()
			}
		}
		b.say("%s: %s: %v %s", name, program, r.Figures, r.Problem)
		b.summary.Results = append(b.summary.Results, r)
	}
	return slowest, nil
}

// warmUp lets the first program move the backlog until the brokers need no less for it than
// the time before: a virtual machine gets memory that it has not used for a while from its
// host again, page by page, and whoever runs first would pay for that.
func (b *bench) warmUp(ctx context.Context, name string, n int64) error {
	const mostRuns = 5
	before := math.Inf(1)
	for range mostRuns {
		pace, err := b.throughput(ctx, b.settings.programs[0], n)
		if err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		b.say("%s: warming up: %.0f events/s, %.1f s of the brokers' CPU", name, pace.Rate(), pace.Beside.Seconds())
		if pace.Beside.Seconds() > 0.9*before {
			break
		}
		before = pace.Beside.Seconds()
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// calibrate finds how many events the bare loop moves in a run. Before, every program moves
// something, so that the brokers have compiled what they need for each.
func (b *bench) calibrate(ctx context.Context, size int) (int64, error) {
	const sample = 400_000
	if err := b.fill(ctx, size, sample); err != nil {
		return 0, err
	}
	for _, program := range b.settings.programs {
		if _, err := b.throughput(ctx, program, sample); err != nil && ctx.Err() != nil {
			return 0, err // a program that cannot do it says so in its turn
		}
	}
	pace, err := b.throughput(ctx, "loop", sample)
	if err != nil {
		return 0, fmt.Errorf("calibrate: %w", err)
	}
	most := b.settings.maxBytes / int64(size+70) // with its key and what a record takes beside
	return max(min(int64(pace.Rate()*b.settings.length.Seconds()*10/9), most), sample), nil
}

// fill makes the source topic anew with so many records. The first eight bytes of a value
// are its number, the next eight a time for latencies.
func (b *bench) fill(ctx context.Context, size int, n int64) error {
	if err := remake(ctx, b.from, b.settings.partitions); err != nil {
		return err
	}
	failed := make(chan error, 1)
	for i := range n {
		b.from.Produce(ctx, b.record(i, size), func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := b.from.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return fmt.Errorf("fill the source: %w", err)
	default:
		return nil
	}
}

// record makes a record. Ten thousand keys, in the partitions in turn.
func (b *bench) record(i int64, size int) *kgo.Record {
	value := make([]byte, size)
	binary.BigEndian.PutUint64(value, uint64(i))
	return &kgo.Record{Topic: topic, Partition: int32(i % int64(b.settings.partitions)), Key: fmt.Appendf(nil, "key-%d", i%10_000), Value: value}
}

// remake deletes the topic with all others of the cluster, and makes it anew.
func remake(ctx context.Context, cl *kgo.Client, partitions int) error {
	admin := kadm.NewClient(cl)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	if names := topics.Names(); len(names) > 0 {
		if err := deleteTopics(ctx, admin, names); err != nil {
			return err
		}
	}
	cl.PurgeTopicsFromClient(topic)
	_, err = admin.CreateTopic(ctx, int32(partitions), 1, map[string]*string{"segment.bytes": new("268435456")}, topic)
	return err
}

// deleteTopics deletes topics and waits until they are gone.
func deleteTopics(ctx context.Context, admin *kadm.Client, names []string) error {
	if _, err := admin.DeleteTopics(ctx, names...); err != nil {
		return err
	}
	for {
		left, err := admin.ListTopics(ctx)
		if err != nil {
			return err
		}
		if len(left.Names()) == 0 {
			return nil
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// throughput lets a program move the backlog.
func (b *bench) throughput(ctx context.Context, program string, n int64) (measure.Pace, error) {
	if err := remake(ctx, b.to, b.settings.partitions); err != nil {
		return measure.Pace{}, err
	}
	p, err := b.start(ctx, program)
	if err != nil {
		return measure.Pace{}, err
	}
	admin := kadm.NewClient(b.to)
	m := measure.Meter{PID: p.PID, Beside: b.brokers(), From: n / 10, To: n, Ended: p.Ended, Count: func(ctx context.Context) (int64, error) {
		list, err := admin.ListEndOffsets(ctx, topic)
		var sum int64
		list.Each(func(o kadm.ListedOffset) { sum += max(o.Offset, 0) })
		return sum, err
	}}
	pace, err := m.Run(ctx)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.Log())
	}
	if err = errors.Join(err, p.Stop()); err != nil {
		return pace, err
	}
	return pace, b.verify(ctx, n)
}

// verify reads the target with a plain consumer: every record once, in the order of its
// partition.
func (b *bench) verify(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.east.Addr()), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer cl.Close()
	next := make([]int64, b.settings.partitions)
	for p := range next {
		next[p] = int64(p)
	}
	var seen, misplaced int64
	for seen < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the target back, after %d of %d events: %w", seen, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen++
			if i := int64(binary.BigEndian.Uint64(r.Value)); i != next[r.Partition] {
				misplaced++
			}
			next[r.Partition] += int64(len(next))
		})
	}
	if seen != n || misplaced > 0 {
		return fmt.Errorf("%d events arrived of %d, %d of them not where they belong", seen, n, misplaced)
	}
	return nil
}
