// Package functions understands replication apps of Azure Functions, as in Microsoft's
// replication samples: Read takes the files of such an app, Translate turns what triggers
// and binds into a configuration of ours. It opens nothing but files and reaches no
// service.
//
// The formats are those of the Functions host 4 (host.json version 2.0), of the Event Hubs
// extension 3 to 6 and of the Kafka extension 3 to 4, from their published references.
package functions
