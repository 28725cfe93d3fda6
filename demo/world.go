package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/demo/data"
	"github.com/hubferry/hubferry/hub"
)

// dataset is real data on its way to one hub.
type dataset struct {
	hub   string
	lines [][]byte
	keys  []string
}

// datasets splits the data that the program carries.
func datasets() ([]dataset, error) {
	sets := []dataset{{hub: "flights"}, {hub: "earthquakes"}}
	for i, raw := range [][]byte{data.Flights, data.Earthquakes} {
		s := &sets[i]
		for line := range bytes.Lines(raw) {
			var e struct {
				Origin     string `json:"origin"`
				Properties struct {
					Net string `json:"net"`
				} `json:"properties"`
			}
			line = bytes.TrimSpace(line)
			if len(line) == 0 {
				continue
			}
			if err := json.Unmarshal(line, &e); err != nil {
				return nil, fmt.Errorf("%s line %d: %w", s.hub, len(s.lines)+1, err)
			}
			s.lines = append(s.lines, line)
			s.keys = append(s.keys, e.Origin+e.Properties.Net)
		}
	}
	return sets, nil
}

// world is the two namespaces and Microsoft's clients to them.
type world struct {
	sets       []dataset
	west, east string // connection strings
	address    string // of west

	server    *hub.Server
	faults    *hub.Faults
	producers []*azeventhubs.ProducerClient
	watchers  map[string][]*azeventhubs.ConsumerClient // by namespace, one for each dataset
	done      atomic.Int64
	end       context.CancelFunc
}

// newWorld starts both namespaces on free ports of loopback, in memory.
func newWorld(ctx context.Context, sets []dataset) (*world, error) {
	w := &world{sets: sets, faults: &hub.Faults{}, watchers: map[string][]*azeventhubs.ConsumerClient{}}
	options := hub.Options{Faults: w.faults}
	for _, name := range []string{"west", "east"} {
		n := hub.NamespaceOptions{Name: name}
		for _, s := range sets {
			n.Hubs = append(n.Hubs, hub.HubOptions{Name: s.hub, Partitions: partitions, ConsumerGroups: []string{"hubferry"}})
		}
		options.Namespaces = append(options.Namespaces, n)
	}
	var err error
	if w.server, err = hub.New(ctx, options); err != nil {
		return nil, err
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.end = cancel
	addresses := map[string]string{}
	for _, n := range options.Namespaces {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			w.close(ctx)
			return nil, err
		}
		addresses[n.Name] = ln.Addr().String()
		go func() { _ = w.server.Serve(serving, ln, n.Name) }() // ends with close
	}
	w.west, w.east, w.address = hub.ConnectionString(addresses["west"], hub.DefaultRule(), ""), hub.ConnectionString(addresses["east"], hub.DefaultRule(), ""), addresses["west"]
	if err := w.connect(); err != nil {
		w.close(ctx)
		return nil, err
	}
	return w, nil
}

// connect makes Microsoft's clients.
func (w *world) connect() error {
	for _, s := range w.sets {
		p, err := azeventhubs.NewProducerClientFromConnectionString(w.west, s.hub, nil)
		if err != nil {
			return err
		}
		w.producers = append(w.producers, p)
	}
	return nil
}

func (w *world) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, p := range w.producers {
		_ = p.Close(ctx) // the server goes next
	}
	w.unwatch(ctx, "west")
	w.unwatch(ctx, "east")
	_ = w.server.Close(ctx) // it holds nothing that outlives it
	w.end()
}

// config is a configuration as a user would write it; only the balancing is quicker, so
// that a killed process's partitions are free within seconds.
func (w *world) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
connections:
  west: { eventhubs: { connectionString: "%s" } }
  east: { eventhubs: { connectionString: "%s" } }
defaults:
  window: { events: %d }
  checkpointEvery: { events: 100, time: 1s }
  balance: { interval: 500ms, expiry: 3s }
tasks:
`, w.west, w.east, window)
	for _, s := range w.sets {
		fmt.Fprintf(&b, "  %s:\n    source: { hub: west/%s, consumerGroup: hubferry }\n    target: east/%s\n", s.hub, s.hub, s.hub)
	}
	return b.String()
}

// place returns the canonical name of a hub of west, as repl-source has it.
func (w *world) place(hub string) string { return w.address + "/" + hub }

func (w *world) total() int {
	n := 0
	for _, s := range w.sets {
		n += len(s.lines)
	}
	return n
}

// sent returns how many events west has confirmed.
func (w *world) sent() int { return int(w.done.Load()) }

// cut breaks every connection to both namespaces.
func (w *world) cut() int { return w.faults.Cut("west") + w.faults.Cut("east") }

// watch makes a client for each hub of a namespace, unless they are there.
func (w *world) watch(namespace, address string) error {
	if len(w.watchers[namespace]) > 0 {
		return nil
	}
	for _, s := range w.sets {
		c, err := azeventhubs.NewConsumerClientFromConnectionString(address, s.hub, azeventhubs.DefaultConsumerGroup,
			&azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}})
		if err != nil {
			return err
		}
		w.watchers[namespace] = append(w.watchers[namespace], c)
	}
	return nil
}

// unwatch closes them. After its connection was cut, azeventhubs 2.0.2 answers every
// later question about properties with the same error, so clients are made anew then.
func (w *world) unwatch(ctx context.Context, namespace string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, c := range w.watchers[namespace] {
		_ = c.Close(ctx) // nothing is lost with it
	}
	delete(w.watchers, namespace)
}

// count returns how many events are in a namespace, copies included.
func (w *world) count(ctx context.Context, namespace string) (int, error) {
	address := w.east
	if namespace == "west" {
		address = w.west
	}
	if err := w.watch(namespace, address); err != nil {
		return 0, err
	}
	n := 0
	for i, c := range w.watchers[namespace] {
		for p := range partitions {
			info, err := c.GetPartitionProperties(ctx, fmt.Sprint(p), nil)
			if err != nil {
				w.unwatch(ctx, namespace)
				return 0, fmt.Errorf("look at %s/%s: %w", namespace, w.sets[i].hub, err)
			}
			n += int(info.LastEnqueuedSequenceNumber) + 1
		}
	}
	return n, nil
}

// send sends all data to west, a slice of every hub at a time, keyed.
func (w *world) send(ctx context.Context, rate int) error {
	const slices = 40
	began := time.Now()
	for i := range slices {
		for s := range w.sets {
			n := len(w.sets[s].lines)
			if err := w.sendSlice(ctx, s, n*i/slices, n*(i+1)/slices); err != nil {
				return err
			}
		}
		due := began.Add(time.Duration(float64(w.sent()) / float64(rate) * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sendSlice sends the lines of one slice: one batch per key, as the SDK has it.
func (w *world) sendSlice(ctx context.Context, set, from, to int) error {
	s := &w.sets[set]
	batches := map[string]*azeventhubs.EventDataBatch{}
	contentType := "application/json"
	for i := from; i < to; i++ {
		key := s.keys[i]
		event := &azeventhubs.EventData{
			Body: s.lines[i], ContentType: &contentType,
			Properties: map[string]any{"dataset": s.hub, "line": int64(i + 1), "ratio": float64(i) / float64(len(s.lines)), "last": i == len(s.lines)-1},
		}
		for {
			batch := batches[key]
			if batch == nil {
				var err error
				if batch, err = w.producers[set].NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: &key}); err != nil {
					return err
				}
				batches[key] = batch
			}
			err := batch.AddEventData(event, nil)
			if errors.Is(err, azeventhubs.ErrEventDataTooLarge) && batch.NumEvents() > 0 {
				if err := w.flush(ctx, set, batch); err != nil {
					return err
				}
				delete(batches, key)
				continue
			}
			if err != nil {
				return err
			}
			break
		}
	}
	for _, batch := range batches {
		if err := w.flush(ctx, set, batch); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) flush(ctx context.Context, set int, batch *azeventhubs.EventDataBatch) error {
	if err := w.producers[set].SendEventDataBatch(ctx, batch, nil); err != nil {
		return err
	}
	w.done.Add(int64(batch.NumEvents()))
	return nil
}
