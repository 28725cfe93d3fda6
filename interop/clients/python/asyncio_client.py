"""The operations of the protocol with azure-eventhub's asyncio clients; every request is a task."""

import asyncio
import itertools
import json
import os
import time

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

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
        self.client = _consumer(request["conn"], request.get("group"))
        self.partition = request["partition"]
        self.task = asyncio.create_task(self._run(request))

    async def _run(self, request):
        try:
            await self.client.receive_batch(
                self._take,
                partition_id=self.partition,
                owner_level=request.get("epoch"),
                max_batch_size=100,
                max_wait_time=0.05,
                track_last_enqueued_event_properties=bool(request.get("metrics")),
                on_error=self._fail,
                **common.position(request),
            )
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the task's end must reach who waits in read
            await self._fail(None, error)

    async def _take(self, context, events):
        for event in events:
            out = decode_event(event, self.partition)
            last = context.last_enqueued_event_properties if event.raw_amqp_message.delivery_annotations else None
            if last:
                out["metrics"] = {"last": str(last["sequence_number"]), "lastOffset": last["offset"]}
            self.events.append(out)

    async def _fail(self, _context, error):
        self.error = self.error or common.fail(error)

    async def read(self, count, wait_ms):
        end = time.monotonic() + wait_ms / 1000
        while len(self.events) < count and not self.error and time.monotonic() < end:
            await asyncio.sleep(0.005)
        events, self.events = self.events[:count], self.events[count:]
        return {"events": events, "error": self.error if len(events) < count else None}

    async def close(self):
        await self.client.close()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def _hello(_):
    return common.version()


async def _send(request):
    async with _producer(request["conn"]) as producer:
        return {"sent": sum([await _send_batch(producer, batch) for batch in request.get("batches") or [request]])}


async def _send_batch(producer, request):
    target = common.target(request)
    events = [encode_event(event) for event in request["events"]]
    if request.get("direct"):
        if len(events) == 1:
            await producer.send_event(events[0], **target)
        else:
            await producer.send_batch(events, **target)
        return len(events)
    batch = await producer.create_batch(**target)
    for event in events:
        try:
            batch.add(event)
            continue
        except ValueError as error:
            if "size limit" not in str(error) or len(batch) == 0:
                raise common.TooLargeForBatch(str(error)) from error
        await producer.send_batch(batch)
        batch = await producer.create_batch(**target)
        batch.add(event)
    if len(batch) > 0:
        await producer.send_batch(batch)
    return len(events)


async def _buffered(request):
    result, errors = {"sent": 0, "failed": 0}, []

    async def on_success(events, _partition):
        result["sent"] += len(events)

    async def on_error(events, _partition, error):
        result["failed"] += len(events)
        errors.append(common.fail(error))

    producer = _producer(
        request["conn"], buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=0.1
    )
    async with producer:
        for event in request["events"]:
            await producer.send_event(encode_event(event), **common.target(event))
        await producer.flush(timeout=20)
    return {**result, "error": errors[0] if errors else None}


async def _stop(task, client):
    await client.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _process(request):
    client = _consumer(request["conn"], request.get("group"), load_balancing_interval=0.3, load_balancing_strategy="greedy")
    events, errors, checkpoints = [], [], [0]

    async def on_events(context, batch):
        events.extend(decode_event(event, context.partition_id) for event in batch)
        if batch:
            await context.update_checkpoint(batch[-1])
            checkpoints[0] += 1

    async def on_error(_context, error):
        errors.append(common.fail(error))

    task = asyncio.create_task(
        client.receive_batch(on_events, max_wait_time=0.05, starting_position="-1", on_error=on_error)
    )
    end = time.monotonic() + request["waitMs"] / 1000
    while len(events) < request["count"] and not errors and time.monotonic() < end:
        await asyncio.sleep(0.01)
    await _stop(task, client)
    return {"events": events, "checkpoints": checkpoints[0], "error": errors[0] if errors else None}


async def _load(request):
    tally = common.Tally()
    producer, consumer = _producer(request["conn"]), _consumer(request["conn"], request.get("group"))

    async def on_events(_context, events):
        tally.take(events)

    async def on_error(_context, error):
        tally.note(error)

    task = asyncio.create_task(
        consumer.receive_batch(on_events, max_wait_time=0.2, starting_position="-1", on_error=on_error)
    )
    body, total, n, lane = b"x" * request["size"], request["rate"] * request["seconds"], 0, 0
    started = time.monotonic()
    while n < total:
        due = min(total, int((time.monotonic() - started) * request["rate"]), n + 200)
        if due <= n:
            await asyncio.sleep(0.005)
            continue
        numbers, n = range(n, due), due
        try:
            batch = await producer.create_batch(partition_key=f"key-{lane % 16}")
            lane += 1
            for k in numbers:
                event = EventData(body)
                event.properties = {"n": k}
                batch.add(event)
            await producer.send_batch(batch)
            tally.acked.extend(numbers)
        except Exception as error:  # counted; what was not acknowledged is not expected
            tally.note(error)
    tally.sent_ms = round((time.monotonic() - started) * 1000)
    end = time.monotonic() + request["waitMs"] / 1000
    while time.monotonic() < end and tally.missing():
        await asyncio.sleep(0.05)
    await _stop(task, consumer)
    await producer.close()
    return tally.result()


async def _properties(request):
    async with _consumer(request["conn"]) as consumer:
        return common.hub_info(await consumer.get_eventhub_properties())


async def _partition(request):
    async with _consumer(request["conn"]) as consumer:
        return common.partition_info(await consumer.get_partition_properties(request["partition"]))


async def _store(request):
    from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

    async with BlobCheckpointStore.from_connection_string(request["blob"], request["container"]) as blobs:
        action = request["action"]
        if action == "claim":
            records = [store.ownership(request, r) for r in request["records"]]
            return store.ownerships(await blobs.claim_ownership(records))
        if action == "owners":
            return store.ownerships(await blobs.list_ownership(*store.group(request)))
        if action == "save":
            await blobs.update_checkpoint(store.checkpoint(request))
            return {}
        return store.checkpoints(await blobs.list_checkpoints(*store.group(request)))


async def _open(request):
    name = f"r{next(_numbers)}"
    _readers[name] = Reader(request)
    return {"reader": name}


async def _read(request):
    return await _readers[request["reader"]].read(request["count"], request["waitMs"])


async def _close(request):
    await _readers.pop(request["reader"]).close()
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


async def _answer(request):
    try:
        response = await _OPERATIONS[request["op"]](request)
    except Exception as error:  # every failure is an answer
        response = {"error": common.fail(error)}
    common.write(request, response)


async def _serve(lines):
    loop, tasks = asyncio.get_running_loop(), set()
    while line := await loop.run_in_executor(None, lines.readline):
        task = asyncio.create_task(_answer(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    os._exit(0)


def serve(lines):
    """Answer every request in a task; end without waiting for readers that are still open."""
    asyncio.run(_serve(lines))
