// Package demo is the first five minutes with Hubferry: real events travel from one
// Event Hubs namespace to another, through a kill -9 of the replicating process and cut
// connections, and both sides are read back and compared.
//
// Sending, reading back and counting are done with Microsoft's own SDK, so that the
// report is not Hubferry's word about itself. Both namespaces are embedded hubs on
// loopback; the replicating process is the same program, started as a user would.
package demo
