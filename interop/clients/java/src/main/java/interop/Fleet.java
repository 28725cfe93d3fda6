package interop;

import com.azure.messaging.eventhubs.EventProcessorClientBuilder;
import com.azure.messaging.eventhubs.checkpointstore.blob.BlobCheckpointStore;
import com.azure.messaging.eventhubs.models.EventBatchContext;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.storage.blob.BlobContainerClientBuilder;
import java.time.Duration;

/**
 * One member of the mixed fleet: an event processor with the Blob checkpoint store, as one would write it. It prints the
 * body of each event that it has handled and then saves a checkpoint, until it is killed. Its settings are in the
 * environment, by the names that the published samples use.
 */
public final class Fleet {
    private Fleet() {
    }

    private static Duration seconds(String name) {
        return Duration.ofSeconds(Long.parseLong(System.getenv(name)));
    }

    public static void main(String[] args) throws InterruptedException {
        new EventProcessorClientBuilder()
            .connectionString(System.getenv("EVENT_HUB_CONN_STR"), System.getenv("EVENT_HUB_NAME"))
            // The store writes the name as it is given; the other languages write it in lower case.
            .consumerGroup("$default")
            .checkpointStore(new BlobCheckpointStore(new BlobContainerClientBuilder()
                .connectionString(System.getenv("AZURE_STORAGE_CONN_STR"))
                .containerName(System.getenv("AZURE_STORAGE_CONTAINER"))
                .buildAsyncClient()))
            .loadBalancingUpdateInterval(seconds("INTERVAL"))
            .partitionOwnershipExpirationInterval(seconds("EXPIRY"))
            .initialPartitionEventPosition(partition -> EventPosition.earliest())
            .processEventBatch(Fleet::handle, 50, Duration.ofSeconds(1))
            .processError(context -> System.err.println(context.getPartitionContext().getPartitionId() + " " + context.getThrowable()))
            .buildEventProcessorClient()
            .start();
        Thread.currentThread().join();
    }

    private static void handle(EventBatchContext context) {
        if (context.getEvents().isEmpty()) {
            return;
        }
        context.getEvents().forEach(event -> System.out.println(event.getBodyAsString()));
        context.updateCheckpoint();
    }
}
