package interop;

import com.azure.core.amqp.AmqpRetryMode;
import com.azure.core.amqp.AmqpRetryOptions;
import com.azure.core.amqp.AmqpTransportType;
import com.azure.core.amqp.exception.AmqpException;
import com.azure.messaging.eventhubs.EventHubClientBuilder;
import com.azure.messaging.eventhubs.models.CreateBatchOptions;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.SendOptions;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.time.Instant;

/** Makes the SDK's builders and options from a request. */
final class Clients {
    private Clients() {
    }

    static EventHubClientBuilder builder(JsonNode request) {
        JsonNode conn = request.get("conn");
        EventHubClientBuilder builder
            = new EventHubClientBuilder().connectionString(conn.get("string").asText(), conn.get("hub").asText())
                .retryOptions(retry(conn))
                .transportType(transport(conn))
                .consumerGroup(request.path("group").asText("$Default"));
        if (conn.hasNonNull("endpoint")) {
            builder.customEndpointAddress("https://" + conn.get("endpoint").asText());
        }
        return builder;
    }

    static AmqpTransportType transport(JsonNode conn) {
        return conn.path("transport").asText("").equals("websocket")
            ? AmqpTransportType.AMQP_WEB_SOCKETS : AmqpTransportType.AMQP;
    }

    static AmqpRetryOptions retry(JsonNode conn) {
        return new AmqpRetryOptions().setMode(AmqpRetryMode.FIXED)
            .setMaxRetries(conn.path("retries").asInt(1))
            .setDelay(Duration.ofMillis(300))
            .setTryTimeout(Duration.ofSeconds(10));
    }

    static EventPosition position(JsonNode from) {
        String value = from.path("value").asText("");
        boolean inclusive = from.path("inclusive").asBoolean();
        return switch (from.path("kind").asText("earliest")) {
            case "latest" -> EventPosition.latest();
            case "offset" -> {
                if (inclusive) {
                    throw new NotOffered("EventPosition has no inclusive offset");
                }
                yield EventPosition.fromOffsetString(value);
            }
            case "sequence" -> EventPosition.fromSequenceNumber(Long.parseLong(value), inclusive);
            case "time" -> EventPosition.fromEnqueuedTime(Instant.ofEpochMilli(Long.parseLong(value)));
            default -> EventPosition.earliest();
        };
    }

    static CreateBatchOptions batchOptions(JsonNode request) {
        CreateBatchOptions options = new CreateBatchOptions();
        if (request.hasNonNull("partition")) {
            options.setPartitionId(request.get("partition").asText());
        }
        if (request.hasNonNull("key")) {
            options.setPartitionKey(request.get("key").asText());
        }
        return options;
    }

    static SendOptions sendOptions(JsonNode request) {
        SendOptions options = new SendOptions();
        if (request.hasNonNull("partition")) {
            options.setPartitionId(request.get("partition").asText());
        }
        if (request.hasNonNull("key")) {
            options.setPartitionKey(request.get("key").asText());
        }
        return options;
    }

    /** How an exception of the SDK travels to the tests; the AMQP error is what counts, not what wraps it. */
    static ObjectNode fail(Throwable error) {
        for (Throwable e = error; e != null && e.getCause() != e; e = e.getCause()) {
            if (e instanceof AmqpException || e instanceof NotOffered) {
                error = e;
                break;
            }
        }
        ObjectNode out = JsonNodeFactory.instance.objectNode();
        out.put("class", error.getClass().getSimpleName());
        out.put("text", String.valueOf(error.getMessage()));
        if (error instanceof AmqpException amqp) {
            out.put("condition", amqp.getErrorCondition() == null ? "" : amqp.getErrorCondition().getErrorCondition());
            out.put("retryable", amqp.isTransient());
        }
        return out;
    }
}
