package eventhubs

import (
	"context"
	"net"
	"time"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// The interfaces in this file are what the driver needs of an AMQP client. There are two:
// goamqp.go stands on Azure's library, native.go on package amqpclient. Everything above them
// is the same for both.
//
// An error that tells what the peer said has an *ours.Error in its chain: errors.go goes by
// its condition. Messages are in their encoding, as they stand on the wire.

// transport is an open connection. It may be used by several goroutines.
type transport interface {
	// Done is closed when the connection is over.
	Done() <-chan struct{}
	Begin(ctx context.Context) (session, error)
	// Close says goodbye to the peer, as long as the context allows.
	Close(ctx context.Context) error
}

// session is one session.
type session interface {
	Sender(ctx context.Context, o linkOptions) (sender, error)
	Receiver(ctx context.Context, o linkOptions) (receiver, error)
	// Close ends the session with its links.
	Close(ctx context.Context) error
}

// linkOptions say how to attach a link.
type linkOptions struct {
	address      string
	settle       ours.Opt[uint8] // the sender's settle mode that is asked for
	capabilities []ours.Symbol   // that are asked for

	// of receivers
	limit      int64  // see receiver.Limit; 0: no limit
	target     string // names us
	selector   string // the filter, if there is one
	properties ours.Map
}

// sender is a link on which we send.
type sender interface {
	// MaxMessageSize is what the peer allows; 0 means that it has not said.
	MaxMessageSize() uint64
	// Alive reports whether the link is attached.
	Alive(ctx context.Context) bool
	// SendBatch sends the data sections of a batch and waits for the outcome. With an error
	// it reports whether the batch may have left as a whole, and has not necessarily done
	// with the memory that the batch stands in.
	SendBatch(ctx context.Context, batch []byte) (outcome ours.State, sent bool, err error)
	// SendRequest sends a message to a node. That the node takes it says nothing yet.
	SendRequest(ctx context.Context, r *request) error
}

// receiver is a link on which we receive. Receive and Take are used by one goroutine at a
// time. Each message has its bytes for itself.
type receiver interface {
	// Receive waits for messages. The caller lends a list that he has done with.
	Receive(ctx context.Context, spare [][]byte) ([][]byte, error)
	// Take is Receive without waiting; there may be none.
	Take(spare [][]byte) [][]byte
	// Credit allows the peer to send so many messages more.
	Credit(n uint32) error
	// Limit bounds the bytes of messages that may be on their way or wait, for a receiver
	// that was made with a limit. It also accounts for so many bytes of messages that the
	// caller holds no more. A message that is larger than the limit comes all the same, alone.
	Limit(limit, done int64)
}

// openOptions say how to open a connection over a stream of bytes.
type openOptions struct {
	container  string
	hostname   string
	idle       time.Duration // how long the peer may be silent
	properties ours.Map
	trace      func(line string) // nil: no tracing
}

// openTransport opens a connection with the client that the options name. It takes nc over,
// and closes it on an error.
func openTransport(ctx context.Context, client string, nc net.Conn, o *openOptions) (transport, error) {
	if client == ClientGoAMQP {
		return openGoAMQP(ctx, nc, o)
	}
	return openNative(ctx, nc, o)
}

// The settle modes that are asked for.
var (
	settleMixed   = ours.Some(ours.SenderMixed)
	settleSettled = ours.Some(ours.SenderSettled)
)
