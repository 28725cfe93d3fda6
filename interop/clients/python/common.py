"""What the blocking and the asyncio client share: arguments, answers and the count of a load run."""

import datetime
import json
import sys
import threading
from importlib.metadata import version as installed

from azure.eventhub import TransportType


def connection(conn, **extra):
    """The keyword arguments that every client of the SDK takes."""
    options = {
        "conn_str": conn["string"],
        "eventhub_name": conn["hub"],
        "retry_total": conn.get("retries", 1),
        "retry_backoff_factor": 0.2,
        "retry_backoff_max": 2,
        "auth_timeout": 10,
        **extra,
    }
    if conn.get("transport") == "websocket":
        options["transport_type"] = TransportType.AmqpOverWebsocket
    else:
        options["transport_type"] = TransportType.Amqp  # a custom endpoint address changes the default
    if conn.get("endpoint"):
        options["custom_endpoint_address"] = f"sb://{conn['endpoint']}"
    if conn.get("ca"):
        options["connection_verify"] = conn["ca"]
    return options


def fail(error):
    """How an exception of the SDK travels to the tests."""
    return {
        "class": type(error).__name__,
        "condition": str(getattr(error, "error", "") or ""),
        "text": str(error),
    }


def position(request):
    """The starting_position arguments for a request's position."""
    start = request.get("from") or {"kind": "earliest"}
    value = {
        "earliest": lambda: "-1",
        "latest": lambda: "@latest",
        "offset": lambda: start["value"],
        "sequence": lambda: int(start["value"]),
        "time": lambda: datetime.datetime.fromtimestamp(int(start["value"]) / 1000, datetime.timezone.utc),
    }[start["kind"]]()
    return {"starting_position": value, "starting_position_inclusive": bool(start.get("inclusive"))}


def target(request):
    """The create_batch and send arguments that name a partition or a key."""
    return {
        name: request[field]
        for name, field in (("partition_id", "partition"), ("partition_key", "key"))
        if request.get(field) is not None
    }


class TooLargeForBatch(Exception):
    """EventDataBatch.add refused an event that stands alone in its batch."""


class Tally:
    """What a load run has seen; every event carries its number in property n."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = set()
        self.last_of_key = {}
        self.acked = []
        self.errors = []
        self.sent_ms = 0
        self.doubled = 0
        self.disordered = 0

    def take(self, events):
        with self.lock:
            for event in events:
                n, key = event.properties[b"n"], event.partition_key
                if n in self.seen:
                    self.doubled += 1
                    continue
                self.seen.add(n)
                if self.last_of_key.get(key, -1) > n:
                    self.disordered += 1
                self.last_of_key[key] = n

    def note(self, error):
        with self.lock:
            if len(self.errors) < 20:
                self.errors.append(f"{type(error).__name__}: {error}")

    def missing(self):
        with self.lock:
            return sum(1 for n in self.acked if n not in self.seen)

    def result(self):
        return {
            "sent": len(self.acked),
            "sentMs": self.sent_ms,
            "received": len(self.seen),
            "lost": self.missing(),
            "doubled": self.doubled,
            "disordered": self.disordered,
            "errors": self.errors,
        }


def hub_info(p):
    """Hub properties for the answer."""
    return {
        "hubInfo": {
            "name": p["eventhub_name"],
            "createdMs": str(round(p["created_at"].timestamp() * 1000)),
            "partitions": p["partition_ids"],
        }
    }


def partition_info(p):
    """Partition properties for the answer."""
    return {
        "partitionInfo": {
            "hub": p["eventhub_name"],
            "id": p["id"],
            "begin": str(p["beginning_sequence_number"]),
            "last": str(p["last_enqueued_sequence_number"]),
            "lastOffset": p["last_enqueued_offset"],
            "lastTimeMs": str(round(p["last_enqueued_time_utc"].timestamp() * 1000)),
            "empty": p["is_empty"],
        }
    }


def version():
    """The SDK and its version."""
    return {"sdk": "azure-eventhub", "version": installed("azure-eventhub")}


_write_lock = threading.Lock()


def write(request, response):
    """Answer one request."""
    line = json.dumps({"id": request["id"], **response})
    with _write_lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
