"""Converts between the protocol's typed values and what azure-eventhub takes and gives."""

import base64
import struct
import uuid
from decimal import Decimal

from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType


class NotOffered(Exception):
    """The SDK has no way to do this."""


_INTEGERS = {"ubyte", "ushort", "uint", "ulong", "byte", "short", "int", "long", "timestamp"}


def _typed(name, value):
    """The form in which the SDK's encoder takes a value with an explicit AMQP type."""
    return {"TYPE": name.upper(), "VALUE": value}


def encode_value(value):
    """Make the typed value that the SDK writes with exactly the wanted AMQP type."""
    kind, v = value["t"], value.get("v")
    if kind == "null":
        return None
    if kind in ("boolean", "string"):
        return v
    if kind in _INTEGERS:
        return _typed(kind, int(v))
    if kind == "float":
        return _typed("float", struct.unpack(">f", bytes.fromhex(v))[0])
    if kind == "double":
        return struct.unpack(">d", bytes.fromhex(v))[0]
    if kind == "uuid":
        return uuid.UUID(v)
    if kind == "binary":
        return base64.b64decode(v)
    if kind == "symbol":
        return _typed("symbol", v)
    if kind == "list":
        return _typed("list", [encode_value(x) for x in v])
    if kind == "map":
        return _typed("map", [(encode_value(k), encode_value(x)) for k, x in v])
    raise NotOffered(f"azure-eventhub cannot write {kind}")


def _natural(value):
    """A body's outermost value must be a plain list or dict: the SDK takes a typed one for a map there."""
    if value["t"] == "map":
        return {k["v"]: encode_value(v) for k, v in value["v"]}
    if value["t"] == "list":
        return [encode_value(x) for x in value["v"]]
    return encode_value(value)


def decode_value(value):
    """Report a value as the SDK shows it: integers without width, and text and bytes alike as bytes."""
    if value is None:
        return {"t": "null"}
    if isinstance(value, bool):
        return {"t": "boolean", "v": value}
    if isinstance(value, int):
        return {"t": "integer", "v": str(value)}
    if isinstance(value, float):
        return {"t": "double", "v": struct.pack(">d", value).hex()}
    if isinstance(value, bytes):
        return {"t": "binary", "v": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return {"t": "string", "v": value}
    if isinstance(value, uuid.UUID):
        return {"t": "uuid", "v": str(value)}
    if isinstance(value, Decimal):
        return {"t": "decimal", "v": str(value)}
    if isinstance(value, list):
        return {"t": "list", "v": [decode_value(x) for x in value]}
    return {"t": "map", "v": [[decode_value(k), decode_value(x)] for k, x in value.items()]}


_MESSAGE = [
    "message-id", "user-id", "to", "subject", "reply-to", "correlation-id", "content-type", "content-encoding",
    "absolute-expiry-time", "creation-time", "group-id", "group-sequence", "reply-to-group-id",
]


def _message_value(name, value):
    """The properties section has fixed types, so the SDK wants plain values there."""
    kind, v = value["t"], value.get("v")
    if kind in _INTEGERS:
        return int(v)
    if kind == "binary":
        return base64.b64decode(v)
    if kind == "uuid":
        return uuid.UUID(v)
    return v


def _pairs(pairs):
    return {name: encode_value(value) for name, value in pairs or []}


def encode_event(event):
    """Make an EventData where its fields suffice and an AmqpAnnotatedMessage otherwise."""
    message = event.get("message") or []
    simple = all(name in ("message-id", "correlation-id", "content-type") for name, _ in message)
    if simple and not any(event.get(k) for k in ("annotations", "data", "amqpValue", "amqpSequence", "footer")):
        data = EventData(base64.b64decode(event.get("body", "")))
        if event.get("properties"):
            data.properties = _pairs(event["properties"])
        for name, value in message:
            setattr(data, name.replace("-", "_"), _message_value(name, value))
        return data
    if event.get("amqpValue"):
        body = {"value_body": _natural(event["amqpValue"])}
    elif event.get("amqpSequence"):
        body = {"sequence_body": [[encode_value(x) for x in event["amqpSequence"]]]}
    elif event.get("data"):
        body = {"data_body": [base64.b64decode(x) for x in event["data"]]}
    else:
        body = {"data_body": base64.b64decode(event.get("body", ""))}
    annotations = _pairs(event.get("annotations"))
    return AmqpAnnotatedMessage(
        **body,
        application_properties=_pairs(event.get("properties")),
        annotations=annotations,
        footer=_pairs(event.get("footer")) or None,
        properties={name.replace("-", "_"): _message_value(name, value) for name, value in message},
    )


_SERVICE = {b"x-opt-sequence-number", b"x-opt-offset", b"x-opt-enqueued-time", b"x-opt-partition-key"}


def _shown(mapping):
    return [[k.decode() if isinstance(k, bytes) else str(k), decode_value(v)] for k, v in (mapping or {}).items()]


def _body(raw):
    if raw.body_type == AmqpMessageBodyType.VALUE:
        return {"amqpValue": decode_value(raw.body)}
    sections = list(raw.body)
    if raw.body_type == AmqpMessageBodyType.SEQUENCE:
        return {"amqpSequence": [decode_value(x) for section in sections for x in section]}
    if len(sections) == 1:
        return {"body": base64.b64encode(sections[0]).decode()}
    return {"data": [base64.b64encode(x).decode() for x in sections]}


def decode_event(event, partition):
    """Report a received event with everything that the SDK shows of it."""
    raw = event.raw_amqp_message
    message = []
    for name in _MESSAGE:
        value = getattr(raw.properties, name.replace("-", "_"), None) if raw.properties else None
        if value is not None:
            message.append([name, decode_value(value)])
    out = _body(raw)
    out.update(
        properties=_shown(raw.application_properties),
        message=message,
        annotations=[[k.decode(), decode_value(v)] for k, v in (raw.annotations or {}).items() if k not in _SERVICE],
        footer=_shown(raw.footer),
        partition=partition,
        seq=str(event.sequence_number),
        offset=event.offset,
        enqueuedMs=str((raw.annotations or {}).get(b"x-opt-enqueued-time")),
    )
    if event.partition_key is not None:
        out["key"] = event.partition_key.decode()
    return out
