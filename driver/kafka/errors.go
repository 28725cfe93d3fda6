package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// classify turns an error of franz-go or of a broker into one of the contract. A context
// that is over stays what it is.
func classify(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.ErrClientClosed):
		return hubferry.ErrClosed
	}
	if _, ok := errors.AsType[*hubferry.Error](err); ok {
		return err
	}
	kind, hint := kindOf(err)
	return &hubferry.Error{Kind: kind, Op: op, Err: err, Hint: hint}
}

// kindOf returns the class of an error and what the operator can do.
func kindOf(err error) (hubferry.ErrorKind, string) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return hubferry.Transient, ""
	}
	if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		return hubferry.Gap, "the broker lost records that were read before"
	}
	if _, ok := errors.AsType[*kgo.ErrFirstReadEOF](err); ok {
		return hubferry.Transient, "the broker closed the connection at once: does it ask for TLS or SASL, or for none?"
	}
	e, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return hubferry.Transient, "" // the network, mostly
	}
	if k, ok := kinds[e.Code]; ok {
		return k.kind, k.hint
	}
	if e.Retriable {
		return hubferry.Transient, ""
	}
	return hubferry.Fatal, ""
}

type kindAndHint struct {
	kind hubferry.ErrorKind
	hint string
}

// kinds are the classes of broker errors that Retriable does not tell.
var kinds = map[int16]kindAndHint{
	kerr.UnknownTopicOrPartition.Code:            {hubferry.NotFound, "create the topic"},
	kerr.UnknownTopicID.Code:                     {hubferry.NotFound, "the topic was deleted"},
	kerr.InconsistentTopicID.Code:                {hubferry.NotFound, "the topic was deleted and created again"},
	kerr.InvalidTopicException.Code:              {hubferry.NotFound, "no topic can have that name"},
	kerr.TopicAuthorizationFailed.Code:           {hubferry.Unauthorized, "give the user access to the topic"},
	kerr.GroupAuthorizationFailed.Code:           {hubferry.Unauthorized, "give the user access to the group"},
	kerr.ClusterAuthorizationFailed.Code:         {hubferry.Unauthorized, "give the user IdempotentWrite on the cluster"},
	kerr.TransactionalIDAuthorizationFailed.Code: {hubferry.Unauthorized, "give the user access to the transactional id"},
	kerr.SaslAuthenticationFailed.Code:           {hubferry.Unauthorized, "set the connection's sasl.username and sasl.password"},
	kerr.UnsupportedSaslMechanism.Code:           {hubferry.Unauthorized, "set the connection's sasl.mechanism to one that the brokers offer"},
	kerr.IllegalSaslState.Code:                   {hubferry.Unauthorized, "set the connection's sasl"},
	kerr.MessageTooLarge.Code:                    {hubferry.TooLarge, "raise the topic's max.message.bytes and the connection's maxMessageBytes"},
	kerr.RecordListTooLarge.Code:                 {hubferry.TooLarge, "raise the topic's segment.bytes"},
	kerr.InvalidRecord.Code:                      {hubferry.Refused, "does a compacted topic get an event without a key?"},
	kerr.UnsupportedCompressionType.Code:         {hubferry.Fatal, "the service does not take that compression: set the target's compression, to none or gzip for instance"},
	kerr.UnsupportedForMessageFormat.Code:        {hubferry.Fatal, "the topic has a message format from before Kafka 0.11, or the service takes no idempotent producers: for them set the target's idempotence: off"},
	kerr.InvalidTimestamp.Code:                   {hubferry.Refused, "the topic takes no timestamps so far from now"},
	kerr.InconsistentGroupProtocol.Code:          {hubferry.Fatal, "members of another task or program have the group: stop them, or set another consumerGroup; with shared: true it is shared with programs that rebalance cooperatively (cooperative-sticky)"},
	kerr.GroupMaxSizeReached.Code:                {hubferry.Fatal, "the brokers allow no more members in a group (group.max.size)"},
	kerr.InvalidSessionTimeout.Code:              {hubferry.Fatal, "the brokers allow another range of sessionTimeout (group.min.session.timeout.ms, group.max.session.timeout.ms)"},
	kerr.FencedInstanceID.Code:                   {hubferry.Fatal, "another instance has the same instanceId"},
	kerr.InvalidGroupID.Code:                     {hubferry.Fatal, "no group can have that name"},
	kerr.UnknownMemberID.Code:                    {hubferry.Transient, ""}, // who was away for too long joins again
	kerr.IllegalGeneration.Code:                  {hubferry.Transient, ""},
	kerr.ThrottlingQuotaExceeded.Code:            {hubferry.Throttled, ""},
	kerr.OffsetOutOfRange.Code:                   {hubferry.Gap, "the topic does not hold the position any more"},
	kerr.NotEnoughReplicasAfterAppend.Code:       {hubferry.Transient, "bring the topic's replicas back"},
	kerr.UnknownServerError.Code:                 {hubferry.Transient, ""},
	kerr.OutOfOrderSequenceNumber.Code:           {hubferry.Transient, ""},
	kerr.UnknownProducerID.Code:                  {hubferry.Transient, ""},
	kerr.InvalidProducerEpoch.Code:               {hubferry.Transient, ""},
	kerr.KafkaStorageError.Code:                  {hubferry.Transient, ""},
}

// at adds the place to an error about one event.
func at(place *hubferry.Place, err error) error {
	e, ok := errors.AsType[*hubferry.Error](err)
	if !ok {
		return err
	}
	own := *e
	own.Place = place
	return &own
}
