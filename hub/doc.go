// Package hub is an embedded server that speaks the protocol of Event Hubs:
// AMQP 1.0 over TCP, TLS or WebSockets, so that the SDKs of all languages reach
// it with a connection string that ends in UseDevelopmentEmulator=true.
//
// A [Server] holds namespaces; each has its own hubs, rules and listener:
//
//	s, err := hub.New(ctx, hub.Options{Namespaces: []hub.NamespaceOptions{{
//		Name: "west",
//		Hubs: []hub.HubOptions{{Name: "telemetry", Partitions: 8}},
//	}}})
//	...
//	ln, err := net.Listen("tcp", "127.0.0.1:0")
//	...
//	go s.Serve(ctx, ln, "west")
//	...
//	err = s.Close(ctx)
//
// One port takes everything: plain AMQP, AMQP over WebSockets (path
// /$servicebus/websocket), and, with [Options.TLS], both of them over TLS; the
// first bytes of a connection tell which it is.
//
// [Options.Blob] adds storage accounts for the checkpoint stores of the SDKs,
// each with a listener of its own: [Server.ServeBlob].
//
// # Delivery
//
// A send is answered when its events are as durable as the storage was asked to
// make them, see [Options]. A batch is stored in one partition, all of it or
// nothing. Sequence numbers start at 0 and have no gaps unless a hub is
// compacted; enqueued times never go back within a partition.
//
// # What it does not do
//
// The server checks the keys of shared access signatures but is made for
// development, tests and machines of one's own: it has no quotas of throughput,
// no Kafka endpoint and no geo-replication.
package hub
