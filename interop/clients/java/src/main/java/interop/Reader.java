package interop;

import com.azure.messaging.eventhubs.EventHubConsumerAsyncClient;
import com.azure.messaging.eventhubs.models.PartitionEvent;
import com.azure.messaging.eventhubs.models.ReceiveOptions;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayDeque;
import java.util.Deque;
import reactor.core.Disposable;

/** Collects what one subscription delivers until it is asked for. */
final class Reader implements AutoCloseable {
    private final Deque<ObjectNode> events = new ArrayDeque<>();
    private final EventHubConsumerAsyncClient client;
    private final Disposable subscription;
    private ObjectNode error;

    Reader(JsonNode request) {
        ReceiveOptions options = new ReceiveOptions();
        if (request.hasNonNull("epoch")) {
            options.setOwnerLevel(request.get("epoch").asLong());
        }
        options.setTrackLastEnqueuedEventProperties(request.path("metrics").asBoolean());
        client = Clients.builder(request).buildAsyncConsumerClient();
        subscription = client
            .receiveFromPartition(request.get("partition").asText(), Clients.position(request.path("from")), options)
            .subscribe(this::take, this::fail);
    }

    private synchronized void take(PartitionEvent event) {
        events.add(Values.decodeEvent(event.getData(), event.getPartitionContext().getPartitionId(),
            event.getLastEnqueuedEventProperties()));
        notifyAll();
    }

    private synchronized void fail(Throwable cause) {
        error = Clients.fail(cause);
        notifyAll();
    }

    /** Waits for count events, an error, or the end of the time. */
    synchronized ObjectNode read(int count, long waitMs) throws InterruptedException {
        long end = System.nanoTime() + waitMs * 1_000_000;
        while (events.size() < count && error == null) {
            long left = (end - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                break;
            }
            wait(left);
        }
        ObjectNode out = JsonNodeFactory.instance.objectNode();
        ArrayNode list = out.putArray("events");
        while (list.size() < count && !events.isEmpty()) {
            list.add(events.poll());
        }
        if (list.size() < count && error != null) {
            out.set("error", error);
        }
        return out;
    }

    @Override
    public void close() {
        subscription.dispose();
        client.close();
    }
}
