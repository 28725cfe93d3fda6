"""The operations of the protocol with azure-eventhub's blocking clients; every request runs in a thread."""

import itertools
import json
import os
import threading
import time

from azure.eventhub import EventHubConsumerClient, EventHubProducerClient

import common
import store
from values import decode_event, encode_event

_readers = {}
_numbers = itertools.count(1)


def _producer(conn, **extra):
    return EventHubProducerClient.from_connection_string(**common.connection(conn, **extra))


def _consumer(conn, group=None, **extra):
    options = common.connection(conn, **extra)
    return EventHubConsumerClient.from_connection_string(consumer_group=group or "$Default", **options)


class Reader:
    """Collects what one receive call delivers until it is asked for."""

    def __init__(self, request):
        self.events, self.error = [], None
        self.changed = threading.Condition()
        self.client = _consumer(request["conn"], request.get("group"))
        self.partition = request["partition"]
        self.thread = threading.Thread(target=self._run, args=(request,), daemon=True)
        self.thread.start()

    def _run(self, request):
        try:
            self.client.receive_batch(
                self._take,
                partition_id=self.partition,
                owner_level=request.get("epoch"),
                max_batch_size=100,
                max_wait_time=0.05,
                track_last_enqueued_event_properties=bool(request.get("metrics")),
                on_error=lambda context, error: self._fail(error),
                **common.position(request),
            )
        except Exception as error:  # the thread's end must reach who waits in read
            self._fail(error)

    def _take(self, context, events):
        with self.changed:
            for event in events:
                out = decode_event(event, self.partition)
                last = context.last_enqueued_event_properties if event.raw_amqp_message.delivery_annotations else None
                if last:
                    out["metrics"] = {"last": str(last["sequence_number"]), "lastOffset": last["offset"]}
                self.events.append(out)
            self.changed.notify_all()

    def _fail(self, error):
        with self.changed:
            self.error = self.error or common.fail(error)
            self.changed.notify_all()

    def read(self, count, wait_ms):
        with self.changed:
            self.changed.wait_for(lambda: len(self.events) >= count or self.error, wait_ms / 1000)
            events, self.events = self.events[:count], self.events[count:]
            return {"events": events, "error": self.error if len(events) < count else None}

    def close(self):
        self.client.close()
        self.thread.join(10)


def _hello(_):
    return common.version()


def _send(request):
    with _producer(request["conn"]) as producer:
        return {"sent": sum(_send_batch(producer, batch) for batch in request.get("batches") or [request])}


def _send_batch(producer, request):
    target = common.target(request)
    events = [encode_event(event) for event in request["events"]]
    if request.get("direct"):
        if len(events) == 1:
            producer.send_event(events[0], **target)
        else:
            producer.send_batch(events, **target)
        return len(events)
    batch = producer.create_batch(**target)
    for event in events:
        try:
            batch.add(event)
            continue
        except ValueError as error:
            if "size limit" not in str(error) or len(batch) == 0:
                raise common.TooLargeForBatch(str(error)) from error
        producer.send_batch(batch)
        batch = producer.create_batch(**target)
        batch.add(event)
    if len(batch) > 0:
        producer.send_batch(batch)
    return len(events)


def _buffered(request):
    lock, result, errors = threading.Lock(), {"sent": 0, "failed": 0}, []

    def on_success(events, _partition):
        with lock:
            result["sent"] += len(events)

    def on_error(events, _partition, error):
        with lock:
            result["failed"] += len(events)
            errors.append(common.fail(error))

    producer = _producer(
        request["conn"], buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=0.1
    )
    with producer:
        for event in request["events"]:
            producer.send_event(encode_event(event), **common.target(event))
        producer.flush(timeout=20)
    return {**result, "error": errors[0] if errors else None}


def _process(request):
    client = _consumer(request["conn"], request.get("group"), load_balancing_interval=0.3, load_balancing_strategy="greedy")
    events, errors, checkpoints, done = [], [], [0], threading.Event()
    lock = threading.Lock()

    def on_events(context, batch):
        with lock:
            events.extend(decode_event(event, context.partition_id) for event in batch)
            checkpoints[0] += len(batch) > 0
        if batch:
            context.update_checkpoint(batch[-1])
        if len(events) >= request["count"]:
            done.set()

    def on_error(_context, error):
        errors.append(common.fail(error))
        done.set()

    thread = threading.Thread(
        target=lambda: client.receive_batch(on_events, max_wait_time=0.05, starting_position="-1", on_error=on_error),
        daemon=True,
    )
    thread.start()
    done.wait(request["waitMs"] / 1000)
    client.close()
    thread.join(10)
    return {"events": events, "checkpoints": checkpoints[0], "error": errors[0] if errors else None}


def _load(request):
    from azure.eventhub import EventData

    tally = common.Tally()
    producer, consumer = _producer(request["conn"]), _consumer(request["conn"], request.get("group"))
    thread = threading.Thread(
        target=lambda: consumer.receive_batch(
            lambda _context, events: tally.take(events),
            max_wait_time=0.2,
            starting_position="-1",
            on_error=lambda _context, error: tally.note(error),
        ),
        daemon=True,
    )
    thread.start()
    body, total, n, lane = b"x" * request["size"], request["rate"] * request["seconds"], 0, 0
    started = time.monotonic()
    while n < total:
        due = min(total, int((time.monotonic() - started) * request["rate"]), n + 200)
        if due <= n:
            time.sleep(0.005)
            continue
        numbers, n = range(n, due), due
        try:
            batch = producer.create_batch(partition_key=f"key-{lane % 16}")
            lane += 1
            for k in numbers:
                event = EventData(body)
                event.properties = {"n": k}
                batch.add(event)
            producer.send_batch(batch)
            tally.acked.extend(numbers)
        except Exception as error:  # counted; what was not acknowledged is not expected
            tally.note(error)
    tally.sent_ms = round((time.monotonic() - started) * 1000)
    end = time.monotonic() + request["waitMs"] / 1000
    while time.monotonic() < end and tally.missing():
        time.sleep(0.05)
    consumer.close()
    thread.join(10)
    producer.close()
    return tally.result()


def _properties(request):
    with _consumer(request["conn"]) as consumer:
        return common.hub_info(consumer.get_eventhub_properties())


def _partition(request):
    with _consumer(request["conn"]) as consumer:
        return common.partition_info(consumer.get_partition_properties(request["partition"]))


def _store(request):
    from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore

    with BlobCheckpointStore.from_connection_string(request["blob"], request["container"]) as blobs:
        action = request["action"]
        if action == "claim":
            return store.ownerships(blobs.claim_ownership([store.ownership(request, r) for r in request["records"]]))
        if action == "owners":
            return store.ownerships(blobs.list_ownership(*store.group(request)))
        if action == "save":
            blobs.update_checkpoint(store.checkpoint(request))
            return {}
        return store.checkpoints(blobs.list_checkpoints(*store.group(request)))


def _open(request):
    name = f"r{next(_numbers)}"
    _readers[name] = Reader(request)
    return {"reader": name}


def _read(request):
    return _readers[request["reader"]].read(request["count"], request["waitMs"])


def _close(request):
    _readers.pop(request["reader"]).close()
    return {}


_OPERATIONS = {
    "hello": _hello,
    "send": _send,
    "buffered": _buffered,
    "process": _process,
    "load": _load,
    "properties": _properties,
    "partition": _partition,
    "store": _store,
    "open": _open,
    "read": _read,
    "close": _close,
}


def _answer(request):
    try:
        response = _OPERATIONS[request["op"]](request)
    except Exception as error:  # every failure is an answer
        response = {"error": common.fail(error)}
    common.write(request, response)


def serve(lines):
    """Answer every request in a thread of its own; end without waiting for readers that are still open."""
    threads = []
    for line in lines:
        thread = threading.Thread(target=_answer, args=(json.loads(line),), daemon=True)
        thread.start()
        threads = [t for t in threads if t.is_alive()] + [thread]
    for thread in threads:
        thread.join()
    os._exit(0)
