package interop;

import com.azure.messaging.eventhubs.CheckpointStore;
import com.azure.messaging.eventhubs.models.Checkpoint;
import com.azure.messaging.eventhubs.models.PartitionOwnership;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** A checkpoint store for one processor run; the SDK itself brings only one over blobs. */
final class MemoryStore implements CheckpointStore {
    private final Map<String, PartitionOwnership> owned = new ConcurrentHashMap<>();
    private final Map<String, Checkpoint> checkpoints = new ConcurrentHashMap<>();

    int checkpointed() {
        return checkpoints.size();
    }

    @Override
    public Flux<PartitionOwnership> listOwnership(String namespace, String hub, String group) {
        return Flux.fromIterable(owned.values());
    }

    @Override
    public synchronized Flux<PartitionOwnership> claimOwnership(List<PartitionOwnership> wanted) {
        List<PartitionOwnership> got = new ArrayList<>();
        for (PartitionOwnership want : wanted) {
            PartitionOwnership current = owned.get(want.getPartitionId());
            if (current == null || Objects.equals(current.getETag(), want.getETag())) {
                want.setETag(UUID.randomUUID().toString()).setLastModifiedTime(System.currentTimeMillis());
                owned.put(want.getPartitionId(), want);
                got.add(want);
            }
        }
        return Flux.fromIterable(got);
    }

    @Override
    public Flux<Checkpoint> listCheckpoints(String namespace, String hub, String group) {
        return Flux.fromIterable(checkpoints.values());
    }

    @Override
    public Mono<Void> updateCheckpoint(Checkpoint checkpoint) {
        checkpoints.put(checkpoint.getPartitionId(), checkpoint);
        return Mono.empty();
    }
}
