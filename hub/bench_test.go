package hub_test

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/amqp"
)

// These benchmarks report the CPU time of the whole process per event, user and
// system. The raw client does next to nothing for an event, so what it shows is
// the server; with Azure's client the difference is the client.

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func quiet(o *hub.Options) {
	o.Log, o.Trace, o.Faults = nil, nil, nil
	o.Dir = os.Getenv("HUB_BENCH_DIR") // empty: memory
}

// batchOf is a batch envelope with n events of the given size, as the Go client
// makes it.
func batchOf(n, size int) []byte {
	var b []byte
	message := amqp.AppendSection(nil, amqp.CodeProperties)
	message, mark := amqp.BeginList(message, 1)
	message = amqp.EndList(amqp.AppendString(message, "0f0e0d0c-0b0a-0908-0706-050403020100"), mark)
	message = amqp.AppendData(message, bytes.Repeat([]byte{'x'}, size))
	for range n {
		b = amqp.AppendData(b, message)
	}
	return b
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, n := range []int{1, 50} {
			b.Run(fmt.Sprintf("raw/%dB/batch=%d", size, n), func(b *testing.B) {
				s := start(b, quiet)
				c := dial(b, s.addr)
				_ = c.SetDeadline(time.Time{})
				c.open("root", rootKey)
				c.attachSender(0, "one/Partitions/0")
				payload := batchOf(n, size)
				done := make(chan struct{})
				go func() { // counts what is accepted
					defer close(done)
					for accepted := 0; accepted*n < b.N; {
						var p amqp.Disposition
						c.expect(&p)
						accepted += int(p.Last.Or(p.First)-p.First) + 1
					}
				}()
				began := cpu()
				b.ResetTimer()
				var out []byte
				for i := 0; i*n < b.N; i++ {
					out = transferFrame(out, 0, uint32(i), amqp.FormatBatch, payload)
					if len(out) > 128<<10 {
						c.send(out)
						out = out[:0]
					}
				}
				c.send(out)
				<-done
				b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/event")
			})
		}
		b.Run(fmt.Sprintf("azure/%dB", size), func(b *testing.B) {
			s := start(b, quiet)
			p := s.producer("one")
			event := &azeventhubs.EventData{Body: bytes.Repeat([]byte{'x'}, size)}
			send(b, p, azeventhubs.EventDataBatchOptions{}, event)
			began := cpu()
			b.ResetTimer()
			for i := 0; i < b.N; {
				batch, err := p.NewEventDataBatch(b.Context(), &azeventhubs.EventDataBatchOptions{PartitionID: new("0")})
				if err != nil {
					b.Fatal(err)
				}
				for range min(500, b.N-i) {
					if err := batch.AddEventData(event, nil); err != nil {
						b.Fatal(err)
					}
					i++
				}
				if err := p.SendEventDataBatch(b.Context(), batch, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/event")
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{100, 1024} {
		fill := func(b *testing.B, s *testServer) {
			p := s.producer("one")
			event := &azeventhubs.EventData{Body: bytes.Repeat([]byte{'x'}, size)}
			for i := 0; i < b.N; {
				batch, err := p.NewEventDataBatch(b.Context(), &azeventhubs.EventDataBatchOptions{PartitionID: new("0")})
				if err != nil {
					b.Fatal(err)
				}
				for range min(500, b.N-i) {
					if err := batch.AddEventData(event, nil); err != nil {
						b.Fatal(err)
					}
					i++
				}
				if err := p.SendEventDataBatch(b.Context(), batch, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(fmt.Sprintf("raw/%dB", size), func(b *testing.B) {
			s := start(b, quiet)
			fill(b, s)
			c := dial(b, s.addr)
			_ = c.SetDeadline(time.Time{})
			c.open("root", rootKey)
			c.attachReceiver(0, "one/ConsumerGroups/$Default/Partitions/0", nil)
			began := cpu()
			b.ResetTimer()
			c.credit(0, 0, uint32(b.N))
			for i := 0; i < b.N; {
				f, err := c.frames.Next()
				if err != nil {
					b.Fatal(err)
				}
				if code, _ := amqp.BodyCode(f.Body); code == amqp.CodeTransfer {
					i++
				}
			}
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/event")
		})
		b.Run(fmt.Sprintf("azure/%dB", size), func(b *testing.B) {
			s := start(b, quiet)
			fill(b, s)
			o := earliest()
			o.Prefetch = 2000
			r := receiver(b, s.consumer("one", "$Default"), "0", o)
			began := cpu()
			b.ResetTimer()
			for i := 0; i < b.N; {
				events, err := r.ReceiveEvents(b.Context(), min(1000, b.N-i), nil)
				if err != nil {
					b.Fatal(err)
				}
				i += len(events)
			}
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/event")
		})
	}
}
