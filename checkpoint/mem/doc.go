// Package mem is a checkpoint store in memory, for tests and for programs that embed
// Hubferry and keep their progress elsewhere. It forgets everything when the process
// ends.
//
// Several balancers of one process share a store by sharing its data: New makes the
// data with a first handle, Handle makes further ones, as if each were a client of its
// own. A handle is closed by itself and has its own fault switch, with which a test
// delays operations, fails them, or loses the response of one that was done.
//
// Times come from one clock, the store's. It never jumps: it is the wall clock of the
// moment in which New was called, moved on by the monotonic clock.
package mem
