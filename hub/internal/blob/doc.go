// Package blob serves what checkpoint stores use of Azure Blob Storage: an
// account with containers and small block blobs, over the REST API of the
// service (Microsoft's reference "Blob service REST API").
//
//	GET    /{account}?comp=list                              containers
//	PUT    /{account}/{container}?restype=container
//	GET    /{account}/{container}?restype=container          HEAD too
//	DELETE /{account}/{container}?restype=container
//	GET    /{account}/{container}?restype=container&comp=list
//	PUT    /{account}/{container}/{blob}                     block blobs
//	GET    /{account}/{container}/{blob}                     HEAD too; ranges
//	PUT    /{account}/{container}/{blob}?comp=metadata
//	GET    /{account}/{container}/{blob}?comp=metadata       HEAD too
//	DELETE /{account}/{container}/{blob}
//
// The account may stand in the host name instead of the path. Requests are
// signed with a key of the account (Shared Key, Shared Key Lite), or carry an
// account or service SAS; both are really checked. Conditions (If-Match and
// its kin), ETags, error codes and the texts that belong to them are those of
// the service.
//
// # What is stored
//
// Everything is in memory; with a folder each change is also a record of a
// log, see package seglog, written before the change can be seen. So what a
// client was told survives the death of the process, as does nothing else.
//
// # Not here
//
// Leases, snapshots, versions, blocks, page and append blobs, copies, tags,
// tiers, access policies, batches, encryption by customers' keys and everything
// else of the service are refused: with 501 NotImplemented where the service
// has an operation that this one has not, with 400 UnsupportedHeader where a
// header would change what an operation means.
package blob
