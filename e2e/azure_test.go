package e2e

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/audit/azure"
)

// sender sends numbered events with Microsoft's SDK, through restarts of the hub.
type sender struct {
	connection, hub string
	keys            int
	perSecond       int
	confirmed       atomic.Int64
}

// run sends n events: of every eleven one is keyless, the others have a key. A batch whose
// fate is unknown is sent again, so the hub may have more than n in the end.
func (s *sender) run(t *testing.T, n int) error {
	var client *azeventhubs.ProducerClient
	defer func() {
		if client != nil {
			_ = client.Close(t.Context())
		}
	}()
	const chunk = 500
	began := time.Now()
	for from := 0; from < n; from += chunk {
		batches := map[string][]*azeventhubs.EventData{}
		for i := from; i < min(n, from+chunk); i++ {
			key := ""
			if i%11 != 0 {
				key = fmt.Sprintf("key-%d", i%s.keys)
			}
			batches[key] = append(batches[key], &azeventhubs.EventData{
				Body: fmt.Appendf(nil, "event %d of %s", i, key), Properties: map[string]any{"number": int64(i), "key": key},
			})
		}
		for key, events := range batches {
			for attempt := 0; ; attempt++ {
				var err error
				if client == nil {
					client, err = azeventhubs.NewProducerClientFromConnectionString(s.connection, s.hub, &azeventhubs.ProducerClientOptions{
						RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1},
					})
				}
				if err == nil {
					if err = send(t, client, key, events); err == nil {
						break
					}
				}
				if attempt == 120 || t.Context().Err() != nil {
					return err
				}
				_ = client.Close(t.Context())
				client = nil
				time.Sleep(250 * time.Millisecond)
			}
			s.confirmed.Add(int64(len(events)))
		}
		time.Sleep(time.Until(began.Add(time.Duration(from+chunk) * time.Second / time.Duration(s.perSecond))))
	}
	return nil
}

func send(t *testing.T, client *azeventhubs.ProducerClient, key string, events []*azeventhubs.EventData) error {
	var options azeventhubs.EventDataBatchOptions
	if key != "" {
		options.PartitionKey = &key
	}
	batch, err := client.NewEventDataBatch(t.Context(), &options)
	if err != nil {
		return err
	}
	for _, e := range events {
		if err := batch.AddEventData(e, nil); err != nil {
			return err
		}
	}
	return client.SendEventDataBatch(t.Context(), batch, nil)
}

// total returns how many events a hub has, copies included.
func total(t *testing.T, connection, hub string) (int, error) {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(connection, hub, azeventhubs.DefaultConsumerGroup,
		&azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}})
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Close(t.Context()) }()
	properties, err := client.GetEventHubProperties(t.Context(), nil)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range properties.PartitionIDs {
		p, err := client.GetPartitionProperties(t.Context(), id, nil)
		if err != nil {
			return 0, err
		}
		n += int(p.LastEnqueuedSequenceNumber) + 1
	}
	return n, nil
}

// caughtUp waits until the target has at least as many events as the source, and no more
// have come for a second.
func caughtUp(t *testing.T, h *hubs, source, target string, within time.Duration) {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, within, "the target catches up", func() bool {
		there, err1 := total(t, h.west, source)
		arrived, err2 := total(t, h.east, target)
		if errors.Join(err1, err2) != nil {
			return false
		}
		if arrived != last {
			last, since = arrived, time.Now()
		}
		return arrived >= there && time.Since(since) > time.Second
	})
}

// settled compares both sides until nothing is missing, or nothing new has come for 15 s.
func settled(t *testing.T, h *hubs, source, target string) audit.Report {
	t.Helper()
	arrived := -1
	for since := time.Now(); ; time.Sleep(time.Second) {
		n, err := total(t, h.east, target)
		if err != nil {
			t.Fatal(err)
		}
		if n != arrived {
			arrived, since = n, time.Now()
		}
		r := compare(t, h, source, target)
		if r.Lost == 0 || time.Since(since) > 15*time.Second {
			return r
		}
	}
}

// compare reads both sides back with Microsoft's SDK.
func compare(t *testing.T, h *hubs, source, target string) audit.Report {
	t.Helper()
	in, sources, err := azure.ReadHub(t.Context(), h.west, source)
	if err != nil {
		t.Fatal(err)
	}
	out, targets, err := azure.ReadHub(t.Context(), h.east, target)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Compare(in, out, audit.Options{Source: h.place(source), SourcePartitions: sources, TargetPartitions: targets})
}
