// Package amqpclient is the client's side of AMQP 1.0 on the codec of package amqp: one
// connection with its sessions and links. It moves encoded messages and looks into none of
// them. It retries nothing, and what ends a link, a session or a connection is an *EndError
// with what the peer has said.
//
// # How it works
//
// A connection has two goroutines. One reads: it takes all frames that a read of the socket
// has brought, copies the messages in them to memory of the link that they are for, and wakes
// those who wait once it has handled what was at hand. One writes: it gathers what was left
// for it (control frames in an outbox, credit as marks, deliveries in the queues of senders)
// into one buffer and writes that with one call. So what many do at a time costs few system
// calls, and nobody who uses a link ever waits for the network while holding a lock.
//
// The deadline of a caller's context holds for the network, too: a delivery whose last frame
// has not left by then is withdrawn or aborted, and a write that holds it then, because the
// network takes nothing, ends the connection.
//
// # Memory
//
// A received message is its receiver's alone and never written again. Messages that come
// together share one allocation, of what was read ahead and at most 32 KiB, so that keeping
// one of them can keep the others, of the same link, too. How much can wait is bounded by the
// credit that the user of a link has given.
//
// # Locks
//
// Conn.mu guards all state that reader, writer and callers share, except for the queue of a
// Receiver, which has a lock of its own. Neither is held over anything that waits, and of the
// two Receiver.mu is taken first or alone.
package amqpclient
