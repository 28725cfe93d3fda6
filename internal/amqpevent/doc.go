// Package amqpevent is the bridge between encoded AMQP messages, as Event Hubs and
// Service Bus carry them, and the events of package hubferry.
//
// Parse makes a Form of a received message: the encoded sections, checked and kept
// as they came. A Form is decoded only when somebody asks for the content of its
// event, so an event that nobody looks at goes from source to target with its
// sections untouched, whatever types they hold. Encoder is the other direction. It
// copies the sections of a Form, and encodes the Content of an event that was made or
// edited here, or that comes from another kind of service.
//
// # Mapping
//
//	AMQP                                   hubferry
//	annotation x-opt-partition-key         Event.Key, kind TextKey
//	annotation x-opt-kafka-key             Event.Key, kind ByteKey, if there is no
//	                                       partition key, or an equal one
//	annotation x-opt-sequence-number,
//	  x-opt-offset, x-opt-enqueued-time    Event.Pos, Event.Time
//	other message annotations              Content.Annotations; a name that is a number n
//	                                       appears as "ulong:n"
//	properties, header                     Content.Message, only fields that are present
//	application properties, footer         Content.Properties, Content.Footer
//	one data section                       Content.Body, BodyData
//	no body section, or an empty data      BodyNull; written as the second
//	  section and the property
//	  hubferry-null-body
//	property hubferry-repeated             the earlier values of repeated names, each
//	                                       with its place in the list
//	any other body                         BodyAMQP, encoded; also a value that is null
//	delivery annotations                   nothing: they are about one hop
//
// Annotations that the service assigns or that are about one link
// (x-opt-publisher-name, com.microsoft:producer-*) are not the producer's own and stay
// behind.
package amqpevent
