// Package entity holds what an Event Hubs namespace consists of: rules with
// keys, hubs, consumer groups, partitions and the receivers on them. It knows
// no wire format: the AMQP node and the management API translate for it.
//
// Errors that a client should see are of type [*Error] and carry the AMQP
// condition, the status code of a request-response reply and the service's
// own text; send them as they are. Any other error is a fault of the server
// ([AsError] turns it into one that can be sent).
//
// All types may be used concurrently unless their documentation says
// otherwise. Nothing here waits for a client.
package entity
