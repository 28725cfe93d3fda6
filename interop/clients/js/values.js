// Converts between the protocol's typed values and what @azure/event-hubs takes and gives.
"use strict";

const { types } = require("rhea-promise");

function bytes64(n, signed) {
  const b = Buffer.alloc(8);
  if (signed) b.writeBigInt64BE(BigInt(n));
  else b.writeBigUInt64BE(BigInt(n));
  return b;
}

function bits(hex) {
  return Buffer.from(hex, "hex");
}

// encodeValue makes the typed value that rhea writes with exactly the wanted AMQP type.
function encodeValue(value) {
  switch (value.t) {
    case "null":
      return null;
    case "boolean":
      return value.v;
    case "ubyte":
      return types.wrap_ubyte(Number(value.v));
    case "ushort":
      return types.wrap_ushort(Number(value.v));
    case "uint":
      return types.wrap_uint(Number(value.v));
    case "ulong":
      return types.wrap_ulong(bytes64(value.v, false));
    case "byte":
      return types.wrap_byte(Number(value.v));
    case "short":
      return types.wrap_short(Number(value.v));
    case "int":
      return types.wrap_int(Number(value.v));
    case "long":
      return types.wrap_long(bytes64(value.v, true));
    case "float":
      return types.wrap_float(bits(value.v).readFloatBE());
    case "double":
      return types.wrap_double(bits(value.v).readDoubleBE());
    case "char":
      return types.wrap_char(Number(value.v));
    case "timestamp":
      return types.wrap_timestamp(Number(value.v));
    case "uuid":
      return types.wrap_uuid(Buffer.from(value.v.replaceAll("-", ""), "hex"));
    case "binary":
      return types.wrap_binary(Buffer.from(value.v, "base64"));
    case "string":
      return value.v;
    case "symbol":
      return types.wrap_symbol(value.v);
    case "list":
      return types.wrap_list(value.v.map(encodeValue));
    case "map":
      return types.wrap_map_as_map(value.v.map(([k, v]) => [encodeValue(k), encodeValue(v)]));
    default:
      throw Object.assign(new Error(`rhea has no type ${value.t}`), { name: "NotOffered" });
  }
}

// decodeValue reports a value as rhea shows it: numbers without their width, symbols as strings, uuids as bytes.
function decodeValue(value) {
  if (value === null || value === undefined) return { t: "null" };
  if (typeof value === "boolean") return { t: "boolean", v: value };
  if (typeof value === "number") return { t: "number", v: Object.is(value, -0) ? "-0" : String(value) };
  if (typeof value === "string") return { t: "string", v: value };
  if (value instanceof Date) return { t: "timestamp", v: String(value.getTime()) };
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) {
    return { t: "binary", v: Buffer.from(value).toString("base64") };
  }
  if (Array.isArray(value)) return { t: "list", v: value.map(decodeValue) };
  return { t: "map", v: Object.entries(value).map(([k, v]) => [{ t: "string", v: k }, decodeValue(v)]) };
}

const messageNames = {
  "message-id": "messageId",
  "user-id": "userId",
  to: "to",
  subject: "subject",
  "reply-to": "replyTo",
  "correlation-id": "correlationId",
  "content-type": "contentType",
  "content-encoding": "contentEncoding",
  "absolute-expiry-time": "absoluteExpiryTime",
  "creation-time": "creationTime",
  "group-id": "groupId",
  "group-sequence": "groupSequence",
  "reply-to-group-id": "replyToGroupId",
};

const simpleNames = new Set(["message-id", "correlation-id", "content-type"]);

// Fields of the properties section have a fixed AMQP type, so rhea wants plain values, except for the two ids.
function messageValue(name, value) {
  if (name === "message-id" || name === "correlation-id") return encodeValue(value);
  if (value.t === "binary") return Buffer.from(value.v, "base64");
  if (value.t === "timestamp" || value.t === "uint") return Number(value.v);
  return value.v;
}

function entries(pairs) {
  return Object.fromEntries((pairs ?? []).map(([name, value]) => [name, encodeValue(value)]));
}

// encodeEvent makes an EventData where its fields suffice and an AmqpAnnotatedMessage otherwise. The SDK adds
// the key annotation to EventData only, so an annotated message brings it along.
function encodeEvent(event, key) {
  const message = event.message ?? [];
  const simple =
    !event.annotations &&
    !event.data &&
    !event.amqpValue &&
    !event.amqpSequence &&
    !event.footer &&
    message.every(([name, value]) => simpleNames.has(name) && value.t === "string");
  if (simple) {
    const data = { body: Buffer.from(event.body ?? "", "base64") };
    if (event.properties) data.properties = entries(event.properties);
    for (const [name, value] of message) data[messageNames[name]] = value.v;
    return data;
  }
  const annotated = { bodyType: "data", body: Buffer.from(event.body ?? "", "base64") };
  if (event.amqpValue) Object.assign(annotated, { bodyType: "value", body: encodeValue(event.amqpValue) });
  if (event.amqpSequence) Object.assign(annotated, { bodyType: "sequence", body: event.amqpSequence.map(encodeValue) });
  if (event.data) throw Object.assign(new Error("one data section only"), { name: "NotOffered" });
  if (event.properties) annotated.applicationProperties = entries(event.properties);
  if (event.footer) annotated.footer = entries(event.footer);
  annotated.messageAnnotations = entries(event.annotations);
  if (key != null) annotated.messageAnnotations["x-opt-partition-key"] = key;
  if (message.length > 0) {
    annotated.properties = Object.fromEntries(message.map(([name, value]) => [messageNames[name], messageValue(name, value)]));
  }
  return annotated;
}

const service = new Set(["x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key"]);

function pairs(object) {
  return Object.entries(object ?? {}).map(([name, value]) => [name, decodeValue(value)]);
}

function decodeBody(raw, event) {
  switch (raw.bodyType) {
    case "value":
      return { amqpValue: decodeValue(event.body) };
    case "sequence":
      return { amqpSequence: event.body.map(decodeValue) };
    default:
      if (Array.isArray(event.body)) return { data: event.body.map((b) => Buffer.from(b).toString("base64")) };
      return { body: Buffer.from(event.body ?? "").toString("base64") };
  }
}

function decodeEvent(event, partition, last) {
  const raw = event.getRawAmqpMessage();
  const message = [];
  for (const [name, field] of Object.entries(messageNames)) {
    const value = raw.properties?.[field];
    if (value !== undefined && value !== null) message.push([name, decodeValue(value)]);
  }
  const out = {
    ...decodeBody(raw, event),
    properties: pairs(raw.applicationProperties),
    message,
    annotations: pairs(raw.messageAnnotations).filter(([name]) => !service.has(name)),
    footer: pairs(raw.footer),
    partition,
    seq: String(event.sequenceNumber),
    offset: String(event.offset),
    enqueuedMs: String(event.enqueuedTimeUtc.getTime()),
  };
  if (event.partitionKey != null) out.key = event.partitionKey;
  if (last) out.metrics = { last: String(last.sequenceNumber), lastOffset: String(last.offset) };
  return out;
}

module.exports = { encodeEvent, decodeEvent };
