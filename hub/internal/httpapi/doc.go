// Package httpapi serves what of Event Hubs' HTTP API clients can use against
// the endpoint of a namespace: the management of event hubs and consumer
// groups in ATOM entries (api-version 2014-01 and later), and the health check
// of the official emulator.
//
//	GET    /health
//	GET    /$Resources/EventHubs                 $skip, $top
//	PUT    /{hub}                                If-Match: * changes one that exists
//	GET    /{hub}
//	DELETE /{hub}
//	GET    /{hub}/consumergroups
//	PUT    /{hub}/consumergroups/{group}
//	GET    /{hub}/consumergroups/{group}
//	DELETE /{hub}/consumergroups/{group}
//	GET    /{hub}/consumergroups/{group}/partitions
//	GET    /{hub}/consumergroups/{group}/partitions/{id}
//
// All but the health check need a shared access signature, in the header
// Authorization, of a rule with the right Manage. Element names, name spaces
// and their order are those of Microsoft's reference "Event Hubs management
// REST API"; errors are <Error><Code>…</Code><Detail>…</Detail></Error>.
//
// Not here: sending events over HTTPS (501), revoked publishers, and the Azure
// Resource Manager, which is another endpoint.
package httpapi
