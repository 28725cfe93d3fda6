// Package azure reads hubs with Microsoft's own SDK (azeventhubs), for package audit. It
// uses none of Hubferry's drivers, so that a fault of theirs cannot hide itself.
package azure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/audit"
)

// ReadHub reads everything that a hub retains as of now, partition by partition. It uses
// the consumer group $Default without an epoch, so no other reader is disturbed. The
// records of one partition stand in its order. It also returns the number of partitions.
func ReadHub(ctx context.Context, connectionString, hub string) ([]audit.Record, int, error) {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(connectionString, hub, azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }() // all that was asked for has been read
	properties, err := client.GetEventHubProperties(ctx, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("read properties of %s: %w", hub, err)
	}
	var all []audit.Record
	for _, id := range properties.PartitionIDs {
		records, err := readPartition(ctx, client, id)
		if err != nil {
			return nil, 0, fmt.Errorf("read %s/%s: %w", hub, id, err)
		}
		all = append(all, records...)
	}
	return all, len(properties.PartitionIDs), nil
}

func readPartition(ctx context.Context, client *azeventhubs.ConsumerClient, id string) ([]audit.Record, error) {
	info, err := client.GetPartitionProperties(ctx, id, nil)
	if err != nil || info.IsEmpty {
		return nil, err
	}
	earliest := true
	p, err := client.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{Earliest: &earliest}, Prefetch: 2000,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close(context.WithoutCancel(ctx)) }() // as above
	var records []audit.Record
	for {
		waiting, cancel := context.WithTimeout(ctx, 2*time.Minute)
		events, err := p.ReceiveEvents(waiting, 1, nil)
		cancel()
		if err != nil && len(events) == 0 {
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("nothing arrived for two minutes, although event %d is there: %w", info.LastEnqueuedSequenceNumber, err)
			}
			return nil, err
		}
		for _, e := range events {
			records = append(records, Record(id, e))
			if e.SequenceNumber >= info.LastEnqueuedSequenceNumber {
				return records, nil
			}
		}
	}
}

// Record makes a record of an event.
func Record(partition string, e *azeventhubs.ReceivedEventData) audit.Record {
	r := audit.Record{
		Partition: partition, Sequence: e.SequenceNumber, Offset: e.Offset, Key: e.PartitionKey,
		Parts: map[string]string{}, Provenance: map[string]string{},
	}
	if e.EnqueuedTime != nil {
		r.Enqueued = *e.EnqueuedTime
	}
	m := e.RawAMQPMessage
	r.Parts["body"] = text(bodyOf(m))
	for name, v := range m.ApplicationProperties {
		if isProvenance(name) {
			r.Provenance[name] = fmt.Sprint(v)
			continue
		}
		r.Parts["property/"+name] = text(v)
	}
	for name, v := range m.MessageAnnotations {
		if s, ok := name.(string); ok && serviceOwned[s] {
			continue
		}
		r.Parts[fmt.Sprint("annotation/", name)] = text(v)
	}
	for name, v := range m.Footer {
		r.Parts[fmt.Sprint("footer/", name)] = text(v)
	}
	if m.Properties != nil {
		message(m.Properties, r.Parts)
	}
	return r
}

// serviceOwned are the annotations that the service writes (Event Hubs' AMQP protocol
// guide); the partition key has a field of its own.
var serviceOwned = map[string]bool{
	"x-opt-sequence-number": true, "x-opt-offset": true, "x-opt-enqueued-time": true,
	"x-opt-partition-key": true,
}

func isProvenance(name string) bool {
	switch name {
	case hubferry.ReplEnqueueTime, hubferry.ReplEnqueuedTime, hubferry.ReplSequence,
		hubferry.ReplOffset, hubferry.ReplSource, hubferry.ReplID:
		return true
	}
	return false
}

func bodyOf(m *azeventhubs.AMQPAnnotatedMessage) any {
	switch {
	case len(m.Body.Data) > 0:
		return m.Body.Data
	case len(m.Body.Sequence) > 0:
		return m.Body.Sequence
	default:
		return m.Body.Value
	}
}

// message notes the fields that are present.
func message(p *azeventhubs.AMQPAnnotatedMessageProperties, parts map[string]string) {
	for name, v := range map[string]any{
		"message-id": p.MessageID, "user-id": p.UserID, "to": p.To, "subject": p.Subject,
		"reply-to": p.ReplyTo, "correlation-id": p.CorrelationID, "content-type": p.ContentType,
		"content-encoding": p.ContentEncoding, "absolute-expiry-time": p.AbsoluteExpiryTime,
		"creation-time": p.CreationTime, "group-id": p.GroupID, "group-sequence": p.GroupSequence,
		"reply-to-group-id": p.ReplyToGroupID,
	} {
		if s := text(v); s != "<nil>" {
			parts["message/"+name] = s
		}
	}
}

// text writes a value with its type, so that equal texts mean equal values of one type.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "<nil>"
	case *string:
		return pointer(v)
	case *uint32:
		return pointer(v)
	case *time.Time:
		return pointer(v)
	case time.Time:
		return fmt.Sprintf("time %d", v.UnixNano())
	case []byte:
		if v == nil {
			return "<nil>"
		}
		return fmt.Sprintf("bytes %q", v)
	case string:
		return fmt.Sprintf("string %q", v)
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, fmt.Sprintf("%q=%s", k, text(v[k])))
		}
		return "map{" + strings.Join(parts, ",") + "}"
	case map[any]any:
		parts := make([]string, 0, len(v))
		for k := range v {
			parts = append(parts, text(k)+"="+text(v[k]))
		}
		slices.Sort(parts)
		return "map{" + strings.Join(parts, ",") + "}"
	case []any:
		return list(v)
	case [][]byte:
		return list(v)
	case [][]any:
		return list(v)
	default:
		return fmt.Sprintf("%T %v", v, v)
	}
}

func pointer[T any](v *T) string {
	if v == nil {
		return "<nil>"
	}
	return text(*v)
}

func list[T any](v []T) string {
	parts := make([]string, len(v))
	for i := range v {
		parts[i] = text(v[i])
	}
	return "[" + strings.Join(parts, ",") + "]"
}
