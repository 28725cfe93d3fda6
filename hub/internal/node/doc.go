// Package node speaks AMQP 1.0 as Event Hubs does: it takes connections and
// translates between frames and the hubs of one namespace (package entity).
//
// One goroutine reads a connection and one writes it. The reader handles
// frames in order; it never writes to the socket but leaves answers to the
// writer: encoded control frames in the outbox, flows and dispositions as
// marks that the writer turns into frames when it gets to them, so that many
// become one. The writer also pumps events: a link that has credit and
// something to send stands in the ready queue, and the writer copies stored
// bytes behind freshly written annotations into its buffer. Nothing is encoded
// twice and there is no goroutine per event.
//
// What a client can make the server hold is bounded: the outbox, the batches
// that wait for the disk, deliveries that are half received, answers for which
// it gives no credit. When one of them is full the reader stops reading, and a
// client that does not read is cut by the write deadline.
//
// Locks: conn.mu guards what reader, writer and the callbacks of entity share.
// It is never held while calling into entity or the socket. conn.readyMu is a
// leaf.
package node
