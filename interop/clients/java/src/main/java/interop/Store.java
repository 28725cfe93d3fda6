package interop;

import com.azure.messaging.eventhubs.checkpointstore.blob.BlobCheckpointStore;
import com.azure.messaging.eventhubs.models.Checkpoint;
import com.azure.messaging.eventhubs.models.PartitionOwnership;
import com.azure.storage.blob.BlobContainerClientBuilder;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import reactor.core.publisher.Flux;

/** The operations of azure-messaging-eventhubs-checkpointstore-blob. */
final class Store {
    private static final Duration WAIT = Duration.ofSeconds(30);

    private Store() {
    }

    static ObjectNode run(JsonNode request) {
        BlobCheckpointStore store = new BlobCheckpointStore(new BlobContainerClientBuilder()
            .connectionString(request.get("blob").asText())
            .containerName(request.get("container").asText())
            .buildAsyncClient());
        String namespace = request.get("namespace").asText();
        String hub = request.get("hub").asText();
        String group = request.get("group").asText();
        switch (request.get("action").asText()) {
            case "claim":
                List<PartitionOwnership> wanted = new ArrayList<>();
                for (JsonNode record : request.get("records")) {
                    PartitionOwnership one = new PartitionOwnership().setFullyQualifiedNamespace(namespace)
                        .setEventHubName(hub)
                        .setConsumerGroup(group)
                        .setPartitionId(record.get("partition").asText())
                        .setOwnerId(record.get("owner").asText());
                    if (!record.path("etag").asText().isEmpty()) {
                        one.setETag(record.get("etag").asText());
                    }
                    wanted.add(one);
                }
                return ownerships(store.claimOwnership(wanted));
            case "owners":
                return ownerships(store.listOwnership(namespace, hub, group));
            case "save":
                JsonNode at = request.get("at");
                store.updateCheckpoint(new Checkpoint().setFullyQualifiedNamespace(namespace)
                    .setEventHubName(hub)
                    .setConsumerGroup(group)
                    .setPartitionId(at.get("partition").asText())
                    .setOffsetString(at.get("offset").asText())
                    .setSequenceNumber(at.get("sequence").asLong())).block(WAIT);
                return JsonNodeFactory.instance.objectNode();
            default:
                ObjectNode out = JsonNodeFactory.instance.objectNode();
                ArrayNode saved = out.putArray("saved");
                for (Checkpoint c : store.listCheckpoints(namespace, hub, group).collectList().block(WAIT)) {
                    saved.addObject().put("partition", c.getPartitionId())
                        .put("offset", String.valueOf(c.getOffsetString()))
                        .put("sequence", String.valueOf(c.getSequenceNumber()));
                }
                return out;
        }
    }

    private static ObjectNode ownerships(Flux<PartitionOwnership> records) {
        ObjectNode out = JsonNodeFactory.instance.objectNode();
        ArrayNode list = out.putArray("ownership");
        for (PartitionOwnership o : records.collectList().block(WAIT)) {
            list.addObject().put("partition", o.getPartitionId())
                .put("owner", o.getOwnerId() == null ? "" : o.getOwnerId())
                .put("etag", o.getETag() == null ? "" : o.getETag());
        }
        return out;
    }
}
