// One member of the mixed fleet: an event processor of @azure/event-hubs with its Blob checkpoint store, as one would
// write it. It prints the body of each event that it has handled and then saves a checkpoint, until it is killed. Its
// settings are in the environment, by the names that the published samples use.
"use strict";

const { EventHubConsumerClient, earliestEventPosition } = require("@azure/event-hubs");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const { ContainerClient } = require("@azure/storage-blob");

const env = process.env;
const store = new BlobCheckpointStore(new ContainerClient(env.AZURE_STORAGE_CONN_STR, env.AZURE_STORAGE_CONTAINER));
const client = new EventHubConsumerClient("$Default", env.EVENT_HUB_CONN_STR, env.EVENT_HUB_NAME, store, {
  identifier: "js",
  loadBalancingOptions: {
    updateIntervalInMs: 1000 * env.INTERVAL,
    partitionOwnershipExpirationIntervalInMs: 1000 * env.EXPIRY,
  },
});
client.subscribe(
  {
    processEvents: async (events, context) => {
      if (events.length === 0) return;
      for (const event of events) console.log(String(event.body));
      await context.updateCheckpoint(events[events.length - 1]);
    },
    processError: async (error, context) => console.error(context.partitionId, error.name, error.message),
  },
  { startPosition: earliestEventPosition, skipParsingBodyAsJson: true, maxWaitTimeInSeconds: 1 },
);
