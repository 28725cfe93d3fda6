package interop;

import com.azure.core.amqp.models.AmqpAddress;
import com.azure.core.amqp.models.AmqpAnnotatedMessage;
import com.azure.core.amqp.models.AmqpMessageBody;
import com.azure.core.amqp.models.AmqpMessageId;
import com.azure.core.amqp.models.AmqpMessageProperties;
import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.models.LastEnqueuedEventProperties;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Date;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.qpid.proton.amqp.Binary;
import org.apache.qpid.proton.amqp.Decimal128;
import org.apache.qpid.proton.amqp.Decimal32;
import org.apache.qpid.proton.amqp.Decimal64;
import org.apache.qpid.proton.amqp.Symbol;
import org.apache.qpid.proton.amqp.UnsignedByte;
import org.apache.qpid.proton.amqp.UnsignedInteger;
import org.apache.qpid.proton.amqp.UnsignedLong;
import org.apache.qpid.proton.amqp.UnsignedShort;

/** Converts between the protocol's typed values and what azure-messaging-eventhubs takes and gives. */
final class Values {
    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
    private static final Set<String> SERVICE
        = Set.of("x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key");

    private Values() {
    }

    /** The object that proton-j writes with exactly the wanted AMQP type. */
    static Object encode(JsonNode value) {
        String type = value.get("t").asText();
        JsonNode v = value.get("v");
        String text = v == null ? "" : v.asText();
        return switch (type) {
            case "null" -> null;
            case "boolean" -> v.asBoolean();
            case "ubyte" -> UnsignedByte.valueOf((byte) Integer.parseInt(text));
            case "ushort" -> UnsignedShort.valueOf((short) Integer.parseInt(text));
            case "uint" -> UnsignedInteger.valueOf(Long.parseLong(text));
            case "ulong" -> UnsignedLong.valueOf(text);
            case "byte" -> Byte.valueOf(text);
            case "short" -> Short.valueOf(text);
            case "int" -> Integer.valueOf(text);
            case "long" -> Long.valueOf(text);
            case "float" -> Float.intBitsToFloat(Integer.parseUnsignedInt(text, 16));
            case "double" -> Double.longBitsToDouble(Long.parseUnsignedLong(text, 16));
            case "decimal32" -> new Decimal32(Integer.parseUnsignedInt(text, 16));
            case "decimal64" -> new Decimal64(Long.parseUnsignedLong(text, 16));
            case "decimal128" -> new Decimal128(HexFormat.of().parseHex(text));
            case "char" -> character(Integer.parseInt(text));
            case "timestamp" -> new Date(Long.parseLong(text));
            case "uuid" -> UUID.fromString(text);
            case "binary" -> new Binary(Base64.getDecoder().decode(text));
            case "string" -> text;
            case "symbol" -> Symbol.valueOf(text);
            case "list" -> {
                List<Object> list = new ArrayList<>();
                v.forEach(item -> list.add(encode(item)));
                yield list;
            }
            case "map" -> {
                Map<Object, Object> map = new LinkedHashMap<>();
                v.forEach(pair -> map.put(encode(pair.get(0)), encode(pair.get(1))));
                yield map;
            }
            default -> throw new NotOffered("proton-j has no type " + type);
        };
    }

    private static Character character(int codePoint) {
        if (codePoint > Character.MAX_VALUE) {
            throw new NotOffered("a Java char holds no code point beyond 65535");
        }
        return (char) codePoint;
    }

    /** Reports a value as the SDK shows it; proton-j keeps every AMQP type apart. */
    static ObjectNode decode(Object value) {
        if (value == null) {
            return JSON.objectNode().put("t", "null");
        } else if (value instanceof Boolean b) {
            return JSON.objectNode().put("t", "boolean").put("v", b);
        } else if (value instanceof Float f) {
            return typed("float", String.format("%08x", Float.floatToRawIntBits(f)));
        } else if (value instanceof Double d) {
            return typed("double", String.format("%016x", Double.doubleToRawLongBits(d)));
        } else if (value instanceof Decimal32 d) {
            return typed("decimal32", String.format("%08x", d.getBits()));
        } else if (value instanceof Decimal64 d) {
            return typed("decimal64", String.format("%016x", d.getBits()));
        } else if (value instanceof Decimal128 d) {
            return typed("decimal128", HexFormat.of().formatHex(d.asBytes()));
        } else if (value instanceof Character c) {
            return typed("char", String.valueOf((int) c));
        } else if (value instanceof Date d) {
            return typed("timestamp", String.valueOf(d.getTime()));
        } else if (value instanceof Binary b) {
            byte[] bytes = Arrays.copyOfRange(b.getArray(), b.getArrayOffset(), b.getArrayOffset() + b.getLength());
            return typed("binary", Base64.getEncoder().encodeToString(bytes));
        } else if (value instanceof List<?> list) {
            ArrayNode items = JSON.arrayNode();
            list.forEach(item -> items.add(decode(item)));
            return JSON.objectNode().put("t", "list").set("v", items);
        } else if (value instanceof Map<?, ?> map) {
            ArrayNode pairs = JSON.arrayNode();
            map.forEach((k, v) -> pairs.add(JSON.arrayNode().add(decode(k)).add(decode(v))));
            return JSON.objectNode().put("t", "map").set("v", pairs);
        }
        String type = NAMES.get(value.getClass());
        return typed(type == null ? value.getClass().getName() : type, value.toString());
    }

    private static final Map<Class<?>, String> NAMES = Map.ofEntries(Map.entry(UnsignedByte.class, "ubyte"),
        Map.entry(UnsignedShort.class, "ushort"), Map.entry(UnsignedInteger.class, "uint"),
        Map.entry(UnsignedLong.class, "ulong"), Map.entry(Byte.class, "byte"), Map.entry(Short.class, "short"),
        Map.entry(Integer.class, "int"), Map.entry(Long.class, "long"), Map.entry(UUID.class, "uuid"),
        Map.entry(String.class, "string"), Map.entry(Symbol.class, "symbol"));

    private static ObjectNode typed(String type, String text) {
        return JSON.objectNode().put("t", type).put("v", text);
    }

    /** Makes the event that a request describes. */
    static EventData encodeEvent(JsonNode event) {
        if (event.hasNonNull("amqpValue") || event.hasNonNull("amqpSequence") || event.hasNonNull("data")) {
            throw new NotOffered("the SDK sends one data section only");
        }
        byte[] body = Base64.getDecoder().decode(event.path("body").asText(""));
        EventData data = new EventData(body);
        AmqpAnnotatedMessage raw = data.getRawAmqpMessage();
        each(event, "properties", (name, value) -> data.getProperties().put(name, encode(value)));
        each(event, "annotations", (name, value) -> raw.getMessageAnnotations().put(name, encode(value)));
        each(event, "footer", (name, value) -> raw.getFooter().put(name, encode(value)));
        each(event, "message", (name, value) -> setMessage(raw.getProperties(), name, value));
        return data;
    }

    private interface Pair {
        void take(String name, JsonNode value);
    }

    private static void each(JsonNode event, String field, Pair pair) {
        event.path(field).forEach(item -> pair.take(item.get(0).asText(), item.get(1)));
    }

    private static void setMessage(AmqpMessageProperties p, String name, JsonNode value) {
        String text = value.get("v").asText();
        if (name.endsWith("-id") && !name.contains("group") && !name.equals("user-id")
            && !value.get("t").asText().equals("string")) {
            throw new NotOffered("the SDK writes ids as strings");
        }
        switch (name) {
            case "message-id" -> p.setMessageId(new AmqpMessageId(text));
            case "user-id" -> p.setUserId(Base64.getDecoder().decode(text));
            case "to" -> p.setTo(new AmqpAddress(text));
            case "subject" -> p.setSubject(text);
            case "reply-to" -> p.setReplyTo(new AmqpAddress(text));
            case "correlation-id" -> p.setCorrelationId(new AmqpMessageId(text));
            case "content-type" -> p.setContentType(text);
            case "content-encoding" -> p.setContentEncoding(text);
            case "absolute-expiry-time" -> p.setAbsoluteExpiryTime(time(text));
            case "creation-time" -> p.setCreationTime(time(text));
            case "group-id" -> p.setGroupId(text);
            case "group-sequence" -> p.setGroupSequence(Long.parseLong(text));
            case "reply-to-group-id" -> p.setReplyToGroupId(text);
            default -> throw new NotOffered(name);
        }
    }

    private static OffsetDateTime time(String ms) {
        return Instant.ofEpochMilli(Long.parseLong(ms)).atOffset(ZoneOffset.UTC);
    }

    /** Reports a received event with everything that the SDK shows of it. */
    static ObjectNode decodeEvent(EventData event, String partition, LastEnqueuedEventProperties last) {
        AmqpAnnotatedMessage raw = event.getRawAmqpMessage();
        ObjectNode out = JSON.objectNode();
        out.put("body", Base64.getEncoder().encodeToString(event.getBody()));
        out.set("properties", pairs(event.getProperties()));
        out.set("message", message(raw.getProperties()));
        Map<String, Object> own = new LinkedHashMap<>(raw.getMessageAnnotations());
        own.keySet().removeAll(SERVICE);
        out.set("annotations", pairs(own));
        out.set("footer", pairs(raw.getFooter()));
        out.put("partition", partition);
        out.put("seq", String.valueOf(event.getSequenceNumber()));
        out.put("offset", event.getOffsetString());
        out.put("enqueuedMs", String.valueOf(event.getEnqueuedTime().toEpochMilli()));
        if (event.getPartitionKey() != null) {
            out.put("key", event.getPartitionKey());
        }
        if (last != null) {
            out.putObject("metrics").put("last", String.valueOf(last.getSequenceNumber()))
                .put("lastOffset", last.getOffsetString());
        }
        return out;
    }

    private static ArrayNode message(AmqpMessageProperties p) {
        ArrayNode out = JSON.arrayNode();
        add(out, "message-id", p.getMessageId() == null ? null : p.getMessageId().toString());
        add(out, "user-id", p.getUserId() == null || p.getUserId().length == 0 ? null : new Binary(p.getUserId()));
        add(out, "to", p.getTo() == null ? null : p.getTo().toString());
        add(out, "subject", p.getSubject());
        add(out, "reply-to", p.getReplyTo() == null ? null : p.getReplyTo().toString());
        add(out, "correlation-id", p.getCorrelationId() == null ? null : p.getCorrelationId().toString());
        add(out, "content-type", p.getContentType());
        add(out, "content-encoding", p.getContentEncoding());
        add(out, "absolute-expiry-time", date(p.getAbsoluteExpiryTime()));
        add(out, "creation-time", date(p.getCreationTime()));
        add(out, "group-id", p.getGroupId());
        add(out, "group-sequence", p.getGroupSequence());
        add(out, "reply-to-group-id", p.getReplyToGroupId());
        return out;
    }

    private static Date date(OffsetDateTime time) {
        return time == null ? null : Date.from(time.toInstant());
    }

    private static void add(ArrayNode out, String name, Object value) {
        if (value != null) {
            out.add(JSON.arrayNode().add(name).add(decode(value)));
        }
    }

    private static ArrayNode pairs(Map<String, Object> map) {
        ArrayNode out = JSON.arrayNode();
        map.forEach((name, value) -> out.add(JSON.arrayNode().add(name).add(decode(value))));
        return out;
    }
}
