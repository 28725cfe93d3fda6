// Package postgres is the checkpoint store in PostgreSQL, for several machines that have
// a database and no Blob storage. It needs PostgreSQL 12 or later, or a service that
// speaks like it.
//
// # The tables
//
// In a schema of their own, "hubferry" by default: ownership and checkpoint have one row
// per partition; etag is the sequence of ETags; version says which version the tables
// have. Open makes them and brings them up to date, one process at a time, unless the
// options leave that to an administrator; SQL returns the statements for him.
//
// # Consistency
//
// A claim is an INSERT that does nothing if there is a row, or an UPDATE of the row that
// has the ETag; several are one transaction, which is done wholly or not at all. SaveOwned
// is one statement that locks the ownership row against claims while it writes the
// checkpoint, so the store is checkpoint.Fenced. Whatever a process believes, the database
// decides.
//
// What certainly was not done is tried again (a connection that was closed before the
// statement was sent, a deadlock); what might have been done is an error that says so.
//
// # Time
//
// The clock of the records is the server's, in microseconds.
package postgres
