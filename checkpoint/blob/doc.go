// Package blob is the checkpoint store in Azure Blob Storage: in one container, in the
// format that the event processors of the Azure SDKs (.NET, Java, Python, JavaScript, Go)
// use, so that all of them can share a consumer group and go on from each other's
// checkpoints.
//
// # The blobs
//
//	{namespace}/{hub}/{group}/ownership/{partition}    ours and the SDKs'
//	{namespace}/{hub}/{group}/checkpoint/{partition}   ours and the SDKs'
//	{namespace}/{hub}/{group}/hubferry/{partition}     ours alone
//	{namespace}/{hub}/{group}/ownership~hubferry/{n}   ours alone: who takes part
//
// Namespace, hub and group are written in lower case, as .NET, Python and JavaScript do;
// Go and Java write them as they are configured. The values of the first two are in their
// metadata: ownerid; sequencenumber and offset. The third holds the rest of a
// hubferry.Checkpoint as JSON, in the metadata key "hubferry", or in its body when it is
// large. It names its checkpoint, is written after it, and what it says of other events
// counts only when the checkpoint is that one or a later one.
//
// A character that the SDKs would not write (an upper-case letter, as in the name of a
// Kafka topic; a slash) is percent-encoded, so that different groups never meet.
//
// # Reading
//
// Each blob is read on its own: what is wrong with one is the error of its partition
// alone. Metadata keys of any case are understood, also those of older SDKs, and
// placeholders for a missing value ("", "None", "no offset") are known for what they are.
// Names in another case than ours are reported in the log, and their checkpoints are used
// for partitions that have none in lower case.
//
// # Writing
//
// A claim is a conditional write: creation with If-None-Match "*", otherwise metadata
// with If-Match. It is tried once: a second try could not tell a lost race from its own
// first success. SaveCheckpoint is unconditional, as in the SDKs. SaveForward, which the
// balancer uses, is conditional on the version that this handle has seen, and so never
// moves a checkpoint back, however late a request arrives.
//
// Every try is bounded, and nothing is repeated that might have been done, so that the
// caller's lease stays honest (G-9). Where the service says that it is busy, all requests
// of the handle wait as long as it asks.
//
// # Time
//
// The clock of the records is the service's, in whole seconds.
package blob
