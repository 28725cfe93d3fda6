// Package mem is a broker that lives in memory, and the driver for it. Tests of the
// engine, of editors and of whoever embeds them use it in the place of a service: it
// has everything that the contract knows, and it can be told to fail.
//
// # Configuration
//
// A Broker holds namespaces and their hubs; Broker.Create makes a hub. Driver returns
// the driver value for a broker, NewSource and NewTarget are the short way for tests.
// The broker starts no goroutine for itself and reads time from time.Now only, so it
// runs in a testing/synctest bubble.
//
// # Mapping
//
// An event is stored as its decoded Content, with its key and provenance; nothing is
// converted. With HubOptions.Encoded a reader hands events out as a *Form.
//
// # Delivery
//
// An event is durable when Write returns, for as long as the Broker lives.
//
// # Ordering
//
// A partition keeps the order in which it was written.
//
// # Limits
//
// An event takes as many bytes as Content.Size and its key say, provenance included.
// HubOptions.MaxEvent bounds that.
//
// # Faults
//
// Hub.Fail makes the next operations fail, wait or store late. Hub.Inject, Hub.Send and Hub.Dump go behind the driver's back.
//
// # Not supported
//
// Delivery counts and time to live of queues; transactions over two hubs.
package mem
