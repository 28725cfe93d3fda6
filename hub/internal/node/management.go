package node

import (
	"strconv"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file implements READ of hubs and partitions on $management, and nothing
// else of it. Rights come from a claim of the connection or from a token in the
// request (.NET sends it only there).

const (
	typeHub       = "com.microsoft:eventhub"
	typePartition = "com.microsoft:partition"
)

func (c *conn) management(r *request) response {
	if op := r.text("operation"); op != "READ" {
		return response{
			status: 501, condition: amqp.ErrNotImplemented,
			description: "The operation '" + op + "' is not supported by $management.",
		}
	}
	name := r.text("name")
	hub, err := c.ns.Hub(name)
	if err != nil {
		return failure(err)
	}
	if err := c.mayRead(r, name); err != nil {
		return failure(err)
	}
	switch kind := r.text("type"); kind {
	case typeHub:
		return response{status: 200, description: "OK", body: describeHub(hub)}
	case typePartition:
		part, err := hub.Partition(r.text("partition"))
		if err != nil {
			return failure(err)
		}
		return response{status: 200, description: "OK", body: describePartition(hub, part)}
	default:
		return badRequest("The type '" + kind + "' is not known.")
	}
}

// mayRead accepts Listen or Send on the hub.
func (c *conn) mayRead(r *request, hub string) error {
	address := entity.ParseAddress(hub)
	err := c.ns.Allow(&c.claims, address, entity.Listen)
	if err == nil || c.ns.Allow(&c.claims, address, entity.Send) == nil {
		return nil
	}
	if token := r.text("security_token"); token != "" {
		var claim entity.Claim
		if claim, err = c.ns.Authorize(token, hub); err == nil && claim.Rights != 0 {
			return nil
		}
	}
	return err
}

func describeHub(h *entity.Hub) []byte {
	b, mark := amqp.BeginMap(nil, 6)
	b = appendPair(b, "name", h.Name())
	b = appendPair(b, "type", typeHub)
	b = amqp.AppendTimestamp(amqp.AppendString(b, "created_at"), amqp.TimestampOf(h.CreatedAt()))
	b = amqp.AppendInt(amqp.AppendString(b, "partition_count"), int32(h.PartitionCount()))
	b = amqp.AppendStrings(amqp.AppendString(b, "partition_ids"), h.PartitionIDs())
	b = amqp.AppendInt(amqp.AppendString(b, "georeplication_factor"), 1)
	return amqp.EndMap(b, mark)
}

// never is what the service gives as the last enqueued time of a partition in
// which nothing was ever stored: 0001-01-01.
const never amqp.Timestamp = -62135596800000

func describePartition(h *entity.Hub, p *entity.Partition) []byte {
	info := p.Info()
	begin, last, lastTime := info.Begin, "-1", never
	if info.Last < 0 {
		begin = -1
	} else {
		last, lastTime = strconv.FormatInt(info.LastOffset, 10), amqp.Timestamp(info.LastEnqueued)
	}
	b, mark := amqp.BeginMap(nil, 9)
	b = appendPair(b, "name", h.Name())
	b = appendPair(b, "type", typePartition)
	b = appendPair(b, "partition", p.ID())
	b = amqp.AppendLong(amqp.AppendString(b, "begin_sequence_number"), begin)
	b = amqp.AppendLong(amqp.AppendString(b, "last_enqueued_sequence_number"), info.Last)
	b = appendPair(b, "last_enqueued_offset", last)
	b = amqp.AppendTimestamp(amqp.AppendString(b, "last_enqueued_time_utc"), lastTime)
	b = amqp.AppendBool(amqp.AppendString(b, "is_partition_empty"), info.Empty)
	b = amqp.AppendTimestamp(amqp.AppendString(b, "runtime_info_retrieval_time_utc"), amqp.TimestampOf(time.Now()))
	return amqp.EndMap(b, mark)
}

func appendPair(b []byte, name, value string) []byte {
	return amqp.AppendString(amqp.AppendString(b, name), value)
}
