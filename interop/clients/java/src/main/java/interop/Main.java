package interop;

import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.EventDataBatch;
import com.azure.messaging.eventhubs.EventHubBufferedProducerClient;
import com.azure.messaging.eventhubs.EventHubBufferedProducerClientBuilder;
import com.azure.messaging.eventhubs.EventHubConsumerClient;
import com.azure.messaging.eventhubs.EventHubProducerClient;
import com.azure.messaging.eventhubs.EventHubProperties;
import com.azure.messaging.eventhubs.EventProcessorClient;
import com.azure.messaging.eventhubs.EventProcessorClientBuilder;
import com.azure.messaging.eventhubs.LoadBalancingStrategy;
import com.azure.messaging.eventhubs.PartitionProperties;
import com.azure.messaging.eventhubs.models.EventBatchContext;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Drives azure-messaging-eventhubs for the interop tests. One JSON request a line on stdin, one JSON answer a line on
 * stdout; the protocol stands in interop/doc.go. Every request runs in a thread of its own.
 */
public final class Main {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, Reader> READERS = new ConcurrentHashMap<>();
    private static final AtomicInteger NEXT = new AtomicInteger();

    private Main() {
    }

    /** An operation of the protocol. */
    private interface Operation {
        ObjectNode run(JsonNode request) throws Exception;
    }

    private static final Map<String, Operation> OPERATIONS = Map.ofEntries(Map.entry("hello", r -> hello()),
        Map.entry("send", Main::send), Map.entry("buffered", Main::buffered), Map.entry("process", Main::process),
        Map.entry("load", r -> new Load().run(r)), Map.entry("properties", Main::properties),
        Map.entry("partition", Main::partition), Map.entry("store", Store::run), Map.entry("open", Main::open),
        Map.entry("read",
            r -> READERS.get(r.get("reader").asText()).read(r.get("count").asInt(), r.get("waitMs").asLong())),
        Map.entry("close", Main::close));

    /** Serves requests until stdin ends. */
    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err); // stdout carries the protocol only
        trust(System.getenv("HUBFERRY_INTEROP_CA"));
        ExecutorService threads = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode request = JSON.readTree(line);
            threads.execute(() -> answer(request, out));
        }
        threads.shutdown();
        threads.awaitTermination(1, TimeUnit.MINUTES);
        System.exit(0);
    }

    private static void answer(JsonNode request, PrintStream out) {
        ObjectNode response;
        try {
            response = OPERATIONS.get(request.get("op").asText()).run(request);
        } catch (Throwable e) {
            response = node();
            response.set("error", Clients.fail(e));
        }
        response.set("id", request.get("id"));
        byte[] line = (response + "\n").getBytes(StandardCharsets.UTF_8);
        synchronized (out) {
            out.write(line, 0, line.length);
            out.flush();
        }
    }

    /** The SDK verifies with the default SSLContext, so the certificate to trust goes there. */
    private static void trust(String pem) throws Exception {
        if (pem == null || pem.isEmpty()) {
            return;
        }
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = new FileInputStream(pem)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        SSLContext.setDefault(context);
    }

    private static ObjectNode node() {
        return JsonNodeFactory.instance.objectNode();
    }

    private static ObjectNode hello() throws Exception {
        java.util.Properties p = new java.util.Properties();
        try (InputStream in = Main.class.getResourceAsStream("/azure-messaging-eventhubs.properties")) {
            p.load(in);
        }
        return node().put("sdk", "azure-messaging-eventhubs").put("version", p.getProperty("version"));
    }

    private static ObjectNode send(JsonNode request) {
        try (EventHubProducerClient producer = Clients.builder(request).buildProducerClient()) {
            int sent = 0;
            if (!request.hasNonNull("batches")) {
                return node().put("sent", sendBatch(producer, request));
            }
            for (JsonNode batch : request.get("batches")) {
                sent += sendBatch(producer, batch);
            }
            return node().put("sent", sent);
        }
    }

    private static int sendBatch(EventHubProducerClient producer, JsonNode request) {
        List<EventData> events = new ArrayList<>();
        request.get("events").forEach(event -> events.add(Values.encodeEvent(event)));
        if (request.path("direct").asBoolean()) {
            producer.send(events, Clients.sendOptions(request));
            return events.size();
        }
        EventDataBatch batch = producer.createBatch(Clients.batchOptions(request));
        for (EventData event : events) {
            if (batch.tryAdd(event)) {
                continue;
            }
            if (batch.getCount() > 0) {
                producer.send(batch);
                batch = producer.createBatch(Clients.batchOptions(request));
            }
            if (!batch.tryAdd(event)) {
                throw new TooLargeForBatch();
            }
        }
        if (batch.getCount() > 0) {
            producer.send(batch);
        }
        return events.size();
    }

    /** tryAdd refused an event that stands alone in its batch. */
    private static final class TooLargeForBatch extends RuntimeException {
        private static final long serialVersionUID = 1L;

        TooLargeForBatch() {
            super("tryAdd refused an event");
        }
    }

    private static ObjectNode buffered(JsonNode request) {
        JsonNode conn = request.get("conn");
        AtomicInteger sent = new AtomicInteger();
        AtomicInteger failed = new AtomicInteger();
        AtomicReference<ObjectNode> error = new AtomicReference<>();
        try (EventHubBufferedProducerClient producer = new EventHubBufferedProducerClientBuilder()
            .connectionString(conn.get("string").asText(), conn.get("hub").asText())
            .retryOptions(Clients.retry(conn))
            .transportType(Clients.transport(conn))
            .maxWaitTime(Duration.ofMillis(100))
            .onSendBatchSucceeded(context -> context.getEvents().forEach(e -> sent.incrementAndGet()))
            .onSendBatchFailed(context -> {
                context.getEvents().forEach(e -> failed.incrementAndGet());
                error.set(Clients.fail(context.getThrowable()));
            })
            .buildClient()) {
            for (JsonNode event : request.get("events")) {
                producer.enqueueEvent(Values.encodeEvent(event), Clients.sendOptions(event));
            }
            producer.flush();
        }
        ObjectNode out = node().put("sent", sent.get()).put("failed", failed.get());
        if (error.get() != null) {
            out.set("error", error.get());
        }
        return out;
    }

    private static ObjectNode process(JsonNode request) throws InterruptedException {
        JsonNode conn = request.get("conn");
        MemoryStore store = new MemoryStore();
        ObjectNode out = node();
        ArrayNode events = out.putArray("events");
        EventProcessorClient processor = new EventProcessorClientBuilder()
            .connectionString(conn.get("string").asText(), conn.get("hub").asText())
            .retryOptions(Clients.retry(conn))
            .transportType(Clients.transport(conn))
            .consumerGroup(request.path("group").asText("$Default"))
            .checkpointStore(store)
            .loadBalancingStrategy(LoadBalancingStrategy.GREEDY)
            .loadBalancingUpdateInterval(Duration.ofMillis(500))
            .initialPartitionEventPosition(partition -> EventPosition.earliest())
            .processEventBatch(context -> collect(context, events), 50, Duration.ofMillis(50))
            .processError(context -> {
                synchronized (events) {
                    out.set("error", Clients.fail(context.getThrowable()));
                }
            })
            .buildEventProcessorClient();
        processor.start();
        long end = System.nanoTime() + request.get("waitMs").asLong() * 1_000_000;
        while (System.nanoTime() < end) {
            synchronized (events) {
                if (events.size() >= request.get("count").asInt() || out.has("error")) {
                    break;
                }
            }
            Thread.sleep(10);
        }
        ObjectNode answer;
        synchronized (events) { // what stopping complains about is no answer
            answer = out.deepCopy();
        }
        // Stopping waits up to the try time-out for an answer that it has itself cut off; nobody needs to wait with it.
        Thread stopping = new Thread(processor::stop);
        stopping.setDaemon(true);
        stopping.start();
        return answer.put("checkpoints", store.checkpointed());
    }

    private static void collect(EventBatchContext context, ArrayNode events) {
        if (context.getEvents().isEmpty()) {
            return;
        }
        context.updateCheckpoint();
        synchronized (events) {
            context.getEvents().forEach(event -> events
                .add(Values.decodeEvent(event, context.getPartitionContext().getPartitionId(), null)));
        }
    }

    private static ObjectNode properties(JsonNode request) {
        try (EventHubConsumerClient consumer = Clients.builder(request).buildConsumerClient()) {
            EventHubProperties p = consumer.getEventHubProperties();
            ObjectNode out = node();
            ObjectNode info = out.putObject("hubInfo").put("name", p.getName())
                .put("createdMs", String.valueOf(p.getCreatedAt().toEpochMilli()));
            ArrayNode ids = info.putArray("partitions");
            p.getPartitionIds().forEach(ids::add);
            return out;
        }
    }

    private static ObjectNode partition(JsonNode request) {
        try (EventHubConsumerClient consumer = Clients.builder(request).buildConsumerClient()) {
            PartitionProperties p = consumer.getPartitionProperties(request.get("partition").asText());
            ObjectNode out = node();
            out.putObject("partitionInfo").put("hub", p.getEventHubName()).put("id", p.getId())
                .put("begin", String.valueOf(p.getBeginningSequenceNumber()))
                .put("last", String.valueOf(p.getLastEnqueuedSequenceNumber()))
                .put("lastOffset", p.getLastEnqueuedOffset())
                .put("lastTimeMs", String.valueOf(p.getLastEnqueuedTime().toEpochMilli()))
                .put("empty", p.isEmpty());
            return out;
        }
    }

    private static ObjectNode open(JsonNode request) {
        String id = "r" + NEXT.incrementAndGet();
        READERS.put(id, new Reader(request));
        return node().put("reader", id);
    }

    private static ObjectNode close(JsonNode request) {
        READERS.remove(request.get("reader").asText()).close();
        return node();
    }
}
