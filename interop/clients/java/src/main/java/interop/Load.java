package interop;

import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.EventDataBatch;
import com.azure.messaging.eventhubs.EventHubConsumerAsyncClient;
import com.azure.messaging.eventhubs.EventHubProducerClient;
import com.azure.messaging.eventhubs.models.CreateBatchOptions;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.util.retry.Retry;

/** Paced sends by key and one reader a partition, at the same time; every event carries its number in n. */
final class Load {
    private final Set<Integer> seen = new HashSet<>();
    private final Map<String, Integer> lastOfKey = new HashMap<>();
    private final List<Integer> acked = new ArrayList<>();
    private final ArrayNode errors = JsonNodeFactory.instance.arrayNode();
    private int doubled;
    private int disordered;

    private synchronized void take(EventData event) {
        int n = (Integer) event.getProperties().get("n");
        if (!seen.add(n)) {
            doubled++;
            return;
        }
        Integer last = lastOfKey.put(event.getPartitionKey(), n);
        if (last != null && last > n) {
            disordered++;
        }
    }

    private synchronized void note(Throwable error) {
        if (errors.size() < 20) {
            errors.add(Clients.fail(error).get("text").asText());
        }
    }

    private synchronized long missing() {
        return acked.stream().filter(n -> !seen.contains(n)).count();
    }

    ObjectNode run(JsonNode request) throws InterruptedException {
        EventHubConsumerAsyncClient consumer = Clients.builder(request).buildAsyncConsumerClient();
        EventHubProducerClient producer = Clients.builder(request).buildProducerClient();
        List<Disposable> subscriptions = new ArrayList<>();
        for (String partition : consumer.getPartitionIds().toIterable()) {
            // The SDK ends a receiver with its link and leaves it to the program to open another.
            AtomicReference<EventPosition> next = new AtomicReference<>(EventPosition.earliest());
            subscriptions.add(Flux.defer(() -> consumer.receiveFromPartition(partition, next.get()))
                .doOnNext(event -> next.set(EventPosition.fromSequenceNumber(event.getData().getSequenceNumber())))
                .doOnError(this::note)
                .retryWhen(Retry.fixedDelay(100, Duration.ofMillis(500)))
                .repeatWhen(ended -> ended.delayElements(Duration.ofMillis(500)))
                .subscribe(event -> take(event.getData()), this::note));
        }
        long started = System.nanoTime();
        send(request, producer, started);
        long sentMs = (System.nanoTime() - started) / 1_000_000;
        long end = System.nanoTime() + request.get("waitMs").asLong() * 1_000_000;
        while (System.nanoTime() < end && missing() > 0) {
            Thread.sleep(50);
        }
        subscriptions.forEach(Disposable::dispose);
        consumer.close();
        producer.close();
        ObjectNode out = JsonNodeFactory.instance.objectNode();
        out.put("sent", acked.size()).put("sentMs", sentMs).put("received", seen.size()).put("lost", missing());
        out.put("doubled", doubled).put("disordered", disordered).set("errors", errors);
        return out;
    }

    private void send(JsonNode request, EventHubProducerClient producer, long started) throws InterruptedException {
        byte[] body = new byte[request.get("size").asInt()];
        int rate = request.get("rate").asInt();
        int total = rate * request.get("seconds").asInt();
        int lane = 0;
        for (int n = 0; n < total;) {
            int due = (int) Math.min(Math.min(total, n + 200), (System.nanoTime() - started) * rate / 1_000_000_000L);
            if (due <= n) {
                Thread.sleep(5);
                continue;
            }
            List<Integer> numbers = new ArrayList<>();
            try {
                EventDataBatch batch
                    = producer.createBatch(new CreateBatchOptions().setPartitionKey("key-" + lane++ % 16));
                for (; n < due; n++) {
                    EventData event = new EventData(body);
                    event.getProperties().put("n", n);
                    batch.tryAdd(event);
                    numbers.add(n);
                }
                producer.send(batch);
                synchronized (this) {
                    acked.addAll(numbers);
                }
            } catch (RuntimeException e) {
                n = due;
                note(e);
            }
        }
    }
}
