// Package hubferry is the contract of Hubferry, a replication engine for event
// streams: the nouns and the few interfaces that the engine, the drivers, the
// editors and the checkpoint stores share. It has no behaviour beyond that of its
// own values and imports the standard library only.
//
// # The picture
//
// A replication task reads events from one source hub, may edit and route them,
// and forwards them to one or more targets. One worker moves one source partition:
//
//	Source ─ Reader.Read ─▶ Editors ─▶ Router ─▶ lane of a target partition ─ Writer.Write ─▶ Target
//	   ▲                                                                          │
//	   └── Claim (who may read) ◀─ CheckpointStore ◀─ Claim.Save ◀─ low-water mark ◀┘
//
// Package engine is that loop. Packages under driver implement Source and Target,
// packages under checkpoint implement CheckpointStore, packages under edit
// implement Editor. None of them knows another.
//
// # The promises
//
// Code cites these by number; docs/guarantees.md tells the mechanism behind each.
//
//   - INV-1 durable before done: Writer.Write returns without error only when the
//     service has confirmed the events durably.
//   - INV-2 contiguous checkpoints: a checkpoint moves to an event only when that
//     event and all before it are confirmed at every target they were routed to,
//     or deliberately dropped or dead-lettered (and that is confirmed too).
//   - INV-3 repeat, never skip: after a crash, a kill, a lost connection or lost
//     ownership, work is repeated from the checkpoint, at most one window of it.
//   - INV-4 key order: at every target, first deliveries of the events of one key
//     from one source partition appear in source order.
//   - INV-5 payload fidelity: without an editor nothing of an event changes, and
//     nothing is invented; provenance is the only addition.
//   - INV-6 bounded memory: a slow target slows the source, it grows no buffer.
//   - INV-7 a gap is an error: events that the source no longer has are reported,
//     with the range where it is known.
//   - INV-8 secrets stay secret.
//   - INV-9 no claim, no write: no write starts and no checkpoint is saved once the
//     claim on a partition is lost or no longer certain.
//
// # Who owns which bytes
//
// A slice of events is valid during the call that it was passed to. The events in
// it, and all bytes reachable from them, are immutable, garbage-collected and never
// recycled: they may be kept. Who keeps a small part of an event for long (a key,
// say) clones it, because one key can pin a whole network buffer.
//
// Unless a comment says otherwise, a value of this package is used by one goroutine
// at a time, and every method that waits ends soon after its context does.
package hubferry
