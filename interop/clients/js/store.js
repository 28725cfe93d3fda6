// The operations of @azure/eventhubs-checkpointstore-blob.
"use strict";

const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const { ContainerClient } = require("@azure/storage-blob");

const ownerships = (records) => ({
  ownership: records.map((r) => ({ partition: r.partitionId, owner: r.ownerId, etag: r.etag ?? "" })),
});

async function store(request) {
  const blobs = new BlobCheckpointStore(new ContainerClient(request.blob, request.container));
  const names = { fullyQualifiedNamespace: request.namespace, eventHubName: request.hub, consumerGroup: request.group };
  const group = [request.namespace, request.hub, request.group];
  switch (request.action) {
    case "claim":
      return ownerships(
        await blobs.claimOwnership(
          request.records.map((r) => ({ ...names, partitionId: r.partition, ownerId: r.owner, etag: r.etag || undefined })),
        ),
      );
    case "owners":
      return ownerships(await blobs.listOwnership(...group));
    case "save": {
      const { partition, offset, sequence } = request.at;
      await blobs.updateCheckpoint({ ...names, partitionId: partition, offset, sequenceNumber: Number(sequence) });
      return {};
    }
    default:
      return {
        saved: (await blobs.listCheckpoints(...group)).map((c) => ({
          partition: c.partitionId,
          offset: String(c.offset),
          sequence: String(c.sequenceNumber),
        })),
      };
  }
}

module.exports = { store };
