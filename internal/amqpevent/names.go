package amqpevent

import (
	"strconv"
	"strings"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqp"
)

// The message annotations of Event Hubs.
const (
	annSequence  = "x-opt-sequence-number"
	annOffset    = "x-opt-offset"
	annTime      = "x-opt-enqueued-time"
	annKey       = "x-opt-partition-key"
	annKafkaKey  = "x-opt-kafka-key" // on events that came in through the Kafka endpoint
	annPublisher = "x-opt-publisher-name"

	// What an idempotent producer puts on each event of its own link.
	annProducer = "com.microsoft:producer-"
)

// The delivery annotations of a receiver with runtime metrics.
const (
	metricSequence = "last_enqueued_sequence_number"
	metricOffset   = "last_enqueued_offset"
)

// serviceOwned reports whether an annotation is not the producer's own. The Kafka key
// is the producer's unless it is the key of the event.
func serviceOwned(name []byte, key hubferry.Key) bool {
	switch string(name) {
	case annSequence, annOffset, annTime, annKey, annPublisher:
		return true
	case annKafkaKey:
		return key.Kind == hubferry.ByteKey
	}
	return len(name) > len(annProducer) && string(name[:len(annProducer)]) == annProducer
}

// numberPrefix marks the name of an annotation whose key is a number.
const numberPrefix = "ulong:"

// annotationName returns the name of an annotation by its encoded key, a symbol or,
// reserved by the specification and never seen, a ulong.
func annotationName(key amqp.Raw) string {
	d := amqp.NewDecoder(key)
	if b := readText(&d); b != nil {
		return string(b)
	}
	d = amqp.NewDecoder(key)
	return numberPrefix + strconv.FormatUint(d.Uint(), 10)
}

func appendAnnotationName(dst []byte, name string) []byte {
	if digits, ok := strings.CutPrefix(name, numberPrefix); ok {
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
			return amqp.AppendUlong(dst, n)
		}
	}
	return amqp.AppendSymbol(dst, amqp.Symbol(name))
}

// propertyNames are the fields of the properties section, in order (AMQP 1.0, part 3,
// 3.2.4).
var propertyNames = [...]string{
	hubferry.MessageID, hubferry.UserID, hubferry.To, hubferry.Subject, hubferry.ReplyTo,
	hubferry.CorrelationID, hubferry.ContentType, hubferry.ContentEncoding,
	hubferry.AbsoluteExpiryTime, hubferry.CreationTime, hubferry.GroupID,
	hubferry.GroupSequence, hubferry.ReplyToGroupID,
}

// headerNames are the fields of the header section, in order (3.2.1).
var headerNames = [...]string{
	hubferry.Durable, hubferry.Priority, hubferry.TTL, hubferry.FirstAcquirer, hubferry.DeliveryCount,
}
