// Package checkpoint shares the partitions of a hub among the instances of a
// replication task. Its Balancer is a hubferry.Coordinator over any
// hubferry.CheckpointStore; the stores are the packages below.
//
// # Records
//
// One ownership record per partition says who moves it, exactly as the event processors
// of the Azure SDKs write theirs: claimed and renewed by compare-and-set on the ETag,
// anybody's when it was not renewed for the expiry, free at once when its owner is "".
// The owner's name is "task/instance" (OwnerName), so that a group that belongs to
// another task or program is recognised and refused (G-10).
//
// A second, small group of records, named after the consumer group with "~hubferry"
// behind it, tells which instances are there, those too that own nothing yet. No
// Azure SDK looks there.
//
// # Leases
//
// A claim is certain until the expiry, less a margin, after the start of its last
// confirmed renewal, by the monotonic clock (G-9). Renewal is a goroutine of its own
// and does not wait for the code that moves events, nor for listings. When the lease
// runs out, another owner stands in the record, or the reader was pushed out by another
// epoch, Claim.Lost is closed, at once and for good.
//
// Others take a record over when it has expired. They never compare their own wall
// clock with the record's time: they use the store's clock where it has one (Clock),
// and otherwise, or when that clock is set, they watch the record for one whole expiry.
//
// # Sharing
//
// Every instance computes the same fair shares from the same records. One that has too
// much closes Claim.Ending of some claims; the engine finishes, saves and releases, and
// who has too little takes what is free. So between instances of Hubferry no partition
// is ever stolen and two leases are never certain at one time. The processors of the
// Azure SDKs know no such courtesy: they write their name over ours. We notice when
// their reader pushes ours out, at the latest with the next renewal, and a store that is
// Fenced refuses our checkpoints from that moment on. From them, when Options.Shared
// allows it, we steal in the same way.
package checkpoint
