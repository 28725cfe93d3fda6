// Package amqp encodes and decodes AMQP 1.0: the type system, frames,
// performatives, SASL frames, message sections and the batch envelope of
// Event Hubs. It is pure: apart from a FrameReader over an io.Reader it does no
// I/O, starts no goroutine and keeps no state, so a server and a client can be
// built on it alike.
//
// Encoding appends to a slice that the caller owns (Append functions) and
// writes every composite with its full field list: explicit nulls, no trimmed
// tail, a small-ulong descriptor. Some clients index fields without looking at
// the count, and the real service writes full lists too. Decoding is liberal:
// trimmed tails, list0, symbolic descriptors, any valid width of a number, and
// a single symbol where an array is usual.
//
// Decoding is made for hostile input. It never panics, never allocates by a
// length or a count that the input merely claims, and bounds nesting. What a
// decoder returns as []byte points into the input and is valid as long as that
// is; strings and decoded values are copies.
//
// Source of the encodings: OASIS AMQP 1.0, parts 1 (types), 2 (transport),
// 3 (messaging) and 5 (security).
package amqp
