// Package sqlite is the checkpoint store of a single machine: one SQLite file beside the
// configuration. It is the default of "hubferry run".
//
// # Sharing
//
// Any number of processes on one machine may have the file open at once; that is how
// several of them share the partitions of a task. The file is in WAL mode, every write
// is one short immediate transaction, and who finds it locked waits and tries again, so
// there are no deadlocks. Saves of many partitions at one time become one transaction.
// A process may be killed at any moment: what was confirmed is there. With a power
// failure as well, because every transaction is synced to the disk.
//
// Do not put the file on a network file system: SQLite's locks and its shared memory do
// not work across machines, and two instances would each own everything. Open warns
// about those that it recognises (on Linux). Several machines need a store that they
// reach by network, such as a blob container.
//
// # Time
//
// The clock of the records is the machine's. Setting it forward by more than the margin
// of the leases, while one process starts and another holds partitions, lets the new one
// take them before the old one has noticed; the epoch of the readers then decides.
//
// # The file
//
// Table ownership has one row per partition and presence slot, table checkpoint one per
// partition. Times of ownership are microseconds since the Unix epoch, marks and states
// are JSON. The file says that it is ours (application_id) and which version its tables
// have (user_version): a newer one is refused, an older one is migrated. It holds no
// secrets, but is made readable for its owner only.
package sqlite
