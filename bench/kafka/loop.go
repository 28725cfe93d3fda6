package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// loopCommand is the first argument that makes this program the bare loop.
const loopCommand = "loop"

// withHeaders is the argument that makes the loop add headers.
const withHeaders = "headers"

// loop consumes and produces until it is told to stop. It keeps no position, adds nothing
// to a record unless it is told to, and waits for nothing: it is what the client library can
// do.
func loop(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("loop needs the addresses of both brokers")
	}
	stamped := len(args) > 2 && args[2] == withHeaders
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	in, err := kgo.NewClient(kgo.SeedBrokers(args[0]), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := kgo.NewClient(
		kgo.SeedBrokers(args[1]), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(100_000),
	)
	if err != nil {
		return err
	}
	defer out.Close()
	failed := make(chan error, 1)
	for {
		fetches := in.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			headers := r.Headers
			if stamped {
				headers = append(headers, stamp(r)...)
			}
			out.Produce(ctx, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: headers, Timestamp: r.Timestamp}, func(_ *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		})
		select {
		case err := <-failed:
			return err
		default:
		}
	}
}

// stamp returns headers as hubferry adds them, so that the brokers have as much to do.
func stamp(r *kgo.Record) []kgo.RecordHeader {
	offset := strconv.AppendInt(nil, r.Offset, 10)
	return []kgo.RecordHeader{
		{Key: hubferry.ReplEnqueueTime, Value: r.Timestamp.UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z")},
		{Key: hubferry.ReplSequence, Value: offset},
		{Key: hubferry.ReplOffset, Value: offset},
		{Key: hubferry.ReplSource, Value: fmt.Appendf(nil, "4L6g3nShT-eMCtK--X86sw/%s/%d", r.Topic, r.Partition)},
		{Key: hubferry.ReplID, Value: []byte("bench-1/bench/0")},
	}
}
