import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.*;

/**
 * The judge of what Hubferry does with Kafka: Apache's own client writes records of every shape and reads what became of
 * them. Nothing here knows Hubferry.
 *
 *   Records BROKER produce TOPIC          writes the records; prints their number
 *   Records BROKER dump TOPIC=COUNT...    prints COUNT records of each topic as lines of JSON, and what comes within a second more
 */
public class Records {
    static final long BEGIN = 1767323045006L; // 2026-01-02T03:04:05.006Z

    public static void main(String[] args) throws Exception {
        if (args[1].equals("produce")) {
            System.out.println(produce(args[0], args[2]));
        } else {
            for (int i = 2; i < args.length; i++) {
                String[] topic = args[i].split("=");
                dump(args[0], topic[0], Integer.parseInt(topic[1]));
            }
        }
    }

    static Properties properties(String broker) {
        Properties p = new Properties();
        p.put("bootstrap.servers", broker);
        return p;
    }

    static byte[] text(String s) {
        return s == null ? null : s.getBytes(StandardCharsets.UTF_8);
    }

    static Header header(String name, byte[] value) {
        return new RecordHeader(name, value);
    }

    /** Key, value and headers of each record. */
    static List<Object[]> shapes() {
        byte[] all = new byte[256];
        for (int i = 0; i < all.length; i++) all[i] = (byte) i;
        List<Object[]> shapes = new ArrayList<>();
        Header[] none = {};
        shapes.add(new Object[] {text("key"), text("value"), none});
        shapes.add(new Object[] {null, text("no key"), none});
        shapes.add(new Object[] {text(""), text("empty key"), none});
        shapes.add(new Object[] {new byte[] {(byte) 0xff, 0, 1}, text("binary key"), none});
        shapes.add(new Object[] {text("gone"), null, none});
        shapes.add(new Object[] {text("empty"), new byte[0], none});
        shapes.add(new Object[] {null, null, none});
        shapes.add(new Object[] {text("key"), all, new Header[] {header("bytes", all), header("text", text("Grüße 🚢"))}});
        shapes.add(new Object[] {text("repeated"), text("v"), new Header[] {
            header("a", text("1")), header("b", text("2")), header("a", text("3")), header("a", null), header("b", text("2"))}});
        shapes.add(new Object[] {text("gone"), null, new Header[] {header("why", text("deleted")), header("why", text("twice"))}});
        shapes.add(new Object[] {text("null"), text("v"), new Header[] {
            header("null", null), header("empty", new byte[0]), header("", text("no name")), header("ünïcode 🦀", text("x"))}});
        shapes.add(new Object[] {text("amqp"), text("v"), new Header[] {
            header("amqp-body", text("sections")), header("amqp-content-type", text("mine")), header("x-opt-partition-key", text("q"))}});
        byte[] large = new byte[300_000];
        new Random(1).nextBytes(large);
        shapes.add(new Object[] {text("large"), large, none});
        return shapes;
    }

    static int produce(String broker, String topic) throws Exception {
        int n = 0;
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            Properties p = properties(broker);
            p.put("compression.type", codec);
            p.put("linger.ms", "20");
            try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
                n = send(producer, topic, n);
            }
        }
        Properties p = properties(broker);
        p.put("transactional.id", "records");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            send(producer, topic, n); // nobody may see these
            producer.abortTransaction();
            producer.beginTransaction();
            n = send(producer, topic, n);
            producer.commitTransaction();
        }
        return n;
    }

    static int send(KafkaProducer<byte[], byte[]> producer, String topic, int n) throws Exception {
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        for (Object[] s : shapes()) {
            sent.add(producer.send(new ProducerRecord<>(topic, n % 4, BEGIN + n * 1001L, (byte[]) s[0], (byte[]) s[1], Arrays.asList((Header[]) s[2]))));
            n++;
        }
        producer.flush();
        for (var f : sent) f.get();
        return n;
    }

    static void dump(String broker, String topic, int count) {
        Properties p = properties(broker);
        p.put("isolation.level", "read_committed");
        p.put("auto.offset.reset", "earliest");
        StringBuilder out = new StringBuilder();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            long deadline = System.currentTimeMillis() + 120_000;
            while (partitions.isEmpty() && System.currentTimeMillis() < deadline) {
                Map<String, List<org.apache.kafka.common.PartitionInfo>> topics = consumer.listTopics();
                for (var info : topics.getOrDefault(topic, List.of())) partitions.add(new TopicPartition(topic, info.partition()));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            int n = 0;
            long more = 0; // when to stop after the last that is wanted
            while (System.currentTimeMillis() < deadline && (more == 0 || System.currentTimeMillis() < more)) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    line(out, r);
                    n++;
                }
                if (n >= count && more == 0) more = System.currentTimeMillis() + 1000;
            }
        }
        System.out.print(out);
    }

    static void line(StringBuilder out, ConsumerRecord<byte[], byte[]> r) {
        out.append("{\"topic\":\"").append(r.topic()).append("\",\"partition\":").append(r.partition()).append(",\"offset\":").append(r.offset());
        out.append(",\"timestamp\":").append(r.timestamp()).append(",\"timestampType\":\"").append(r.timestampType()).append('"');
        out.append(",\"key\":").append(base64(r.key())).append(",\"value\":").append(base64(r.value())).append(",\"headers\":[");
        String comma = "";
        for (Header h : r.headers()) {
            out.append(comma).append('[').append(base64(text(h.key()))).append(',').append(base64(h.value())).append(']');
            comma = ",";
        }
        out.append("]}\n");
    }

    static String base64(byte[] b) {
        return b == null ? "null" : '"' + Base64.getEncoder().encodeToString(b) + '"';
    }
}
