// Drives @azure/event-hubs for the interop tests. One JSON request a line on stdin, one JSON answer a line
// on stdout; the protocol stands in interop/doc.go. Requests run concurrently, each with clients of its own.
"use strict";

const readline = require("node:readline");
const WebSocket = require("ws");
const {
  EventHubProducerClient,
  EventHubConsumerClient,
  EventHubBufferedProducerClient,
  earliestEventPosition,
  latestEventPosition,
} = require("@azure/event-hubs");
const { store } = require("./store.js");
const { decodeEvent, encodeEvent } = require("./values.js");

const version = require("@azure/event-hubs/package.json").version;
const readers = new Map();
let nextReader = 1;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function options(conn) {
  const o = {
    retryOptions: { maxRetries: conn.retries ?? 1, retryDelayInMs: 300, timeoutInMs: 10000 },
  };
  if (conn.identifier) o.identifier = conn.identifier;
  if (conn.endpoint) o.customEndpointAddress = `https://${conn.endpoint}`;
  if (conn.transport === "websocket") o.webSocketOptions = { webSocket: WebSocket };
  return o;
}

function producerOf(conn) {
  return new EventHubProducerClient(conn.string, conn.hub, options(conn));
}

function consumerOf(conn, group, extra) {
  return new EventHubConsumerClient(group || "$Default", conn.string, conn.hub, { ...options(conn), ...extra });
}

function fail(error) {
  if (error && error.name === "AggregateError" && error.errors?.length) error = error.errors[0];
  return {
    class: String(error?.name ?? "Error"),
    condition: String(error?.code ?? ""),
    text: String(error?.message ?? error),
    retryable: Boolean(error?.retryable),
  };
}

function startPosition(from) {
  switch (from?.kind) {
    case "latest":
      return latestEventPosition;
    case "offset":
      return { offset: from.value, isInclusive: Boolean(from.inclusive) };
    case "sequence":
      return { sequenceNumber: Number(from.value), isInclusive: Boolean(from.inclusive) };
    case "time":
      return { enqueuedOn: new Date(Number(from.value)) };
    default:
      return earliestEventPosition;
  }
}

// Reader collects what one subscription delivers until it is asked for.
class Reader {
  constructor(request) {
    this.events = [];
    this.error = undefined;
    this.client = consumerOf(request.conn, request.group);
    this.subscription = this.client.subscribe(
      request.partition,
      {
        processEvents: async (events, context) => {
          for (const event of events) this.events.push(decodeEvent(event, request.partition, request.metrics && context.lastEnqueuedEventProperties));
        },
        processError: async (error) => {
          this.error ??= fail(error);
        },
      },
      {
        startPosition: startPosition(request.from),
        ownerLevel: request.epoch ?? undefined,
        skipParsingBodyAsJson: true,
        trackLastEnqueuedEventProperties: Boolean(request.metrics),
        maxBatchSize: 100,
        maxWaitTimeInSeconds: 0.05,
      },
    );
  }

  async read(count, waitMs) {
    const end = Date.now() + waitMs;
    while (this.events.length < count && !this.error && Date.now() < end) await sleep(5);
    const events = this.events.splice(0, count);
    return { events, error: events.length < count ? this.error : undefined };
  }

  async close() {
    await this.subscription.close();
    await this.client.close();
  }
}

async function sendEvents(producer, request) {
  if (request.batches) {
    let sent = 0;
    for (const batch of request.batches) sent += (await sendEvents(producer, batch)).sent;
    return { sent };
  }
  const target = {};
  if (request.partition != null) target.partitionId = request.partition;
  if (request.key != null) target.partitionKey = request.key;
  const events = request.events.map((event) => encodeEvent(event, request.key));
  if (request.direct) {
    await producer.sendBatch(events, target);
    return { sent: events.length };
  }
  let batch = await producer.createBatch(target);
  for (const event of events) {
    if (batch.tryAdd(event)) continue;
    if (batch.count === 0) {
      throw Object.assign(new Error("tryAdd refused an event"), { name: "TooLargeForBatch" });
    }
    await producer.sendBatch(batch);
    batch = await producer.createBatch(target);
    if (!batch.tryAdd(event)) {
      throw Object.assign(new Error("tryAdd refused an event"), { name: "TooLargeForBatch" });
    }
  }
  if (batch.count > 0) await producer.sendBatch(batch);
  return { sent: events.length };
}

// load: paced sends by key and one reader a partition, at the same time.
async function load(request) {
  const producer = producerOf(request.conn);
  const consumer = consumerOf(request.conn, request.group);
  const seen = new Map();
  const lastOfKey = new Map();
  const result = { sent: 0, received: 0, doubled: 0, disordered: 0, errors: [] };
  const note = (error) => {
    if (result.errors.length < 20) result.errors.push(fail(error).text);
  };
  const subscription = consumer.subscribe(
    {
      processEvents: async (events) => {
        for (const event of events) {
          const n = event.properties.n;
          if (seen.has(n)) {
            result.doubled++;
            continue;
          }
          seen.set(n, true);
          result.received++;
          if ((lastOfKey.get(event.partitionKey) ?? -1) > n) result.disordered++;
          lastOfKey.set(event.partitionKey, n);
        }
      },
      processError: async (error) => note(error),
    },
    { startPosition: earliestEventPosition, maxBatchSize: 200, maxWaitTimeInSeconds: 0.2 },
  );
  const body = Buffer.alloc(request.size, 120);
  const started = Date.now();
  const total = request.rate * request.seconds;
  const acked = [];
  let n = 0;
  let lane = 0;
  while (n < total) {
    const due = Math.min(total, Math.floor(((Date.now() - started) / 1000) * request.rate));
    if (due <= n) {
      await sleep(5);
      continue;
    }
    const numbers = [];
    while (n < due && numbers.length < 200) numbers.push(n++);
    try {
      const batch = await producer.createBatch({ partitionKey: `key-${lane++ % 16}` });
      for (const k of numbers) batch.tryAdd({ body, properties: { n: k } });
      await producer.sendBatch(batch);
      result.sent += numbers.length;
      acked.push(...numbers);
    } catch (error) {
      note(error);
    }
  }
  result.sentMs = Date.now() - started;
  const end = Date.now() + request.waitMs;
  while (Date.now() < end && acked.some((k) => !seen.has(k))) await sleep(20);
  result.lost = acked.filter((k) => !seen.has(k)).length;
  await subscription.close();
  await consumer.close();
  await producer.close();
  return result;
}

// process runs the SDK's event processor over all partitions with its own in-memory checkpoint store.
async function processAll(request) {
  const consumer = consumerOf(request.conn, request.group, { loadBalancingOptions: { strategy: "greedy", updateIntervalInMs: 200 } });
  const events = [];
  let checkpoints = 0;
  let error;
  const subscription = consumer.subscribe(
    {
      processEvents: async (batch, context) => {
        for (const event of batch) events.push(decodeEvent(event, context.partitionId));
        if (batch.length > 0) {
          await context.updateCheckpoint(batch[batch.length - 1]);
          checkpoints++;
        }
      },
      processError: async (e) => {
        error ??= fail(e);
      },
    },
    { startPosition: earliestEventPosition, skipParsingBodyAsJson: true, maxBatchSize: 50, maxWaitTimeInSeconds: 0.05 },
  );
  const end = Date.now() + request.waitMs;
  while (events.length < request.count && !error && Date.now() < end) await sleep(5);
  await subscription.close();
  await consumer.close();
  return { events, checkpoints, error };
}

async function buffered(request) {
  const result = { sent: 0, failed: 0 };
  let error;
  const producer = new EventHubBufferedProducerClient(request.conn.string, request.conn.hub, {
    ...options(request.conn),
    maxWaitTimeInMs: 100,
    onSendEventsSuccessHandler: (context) => {
      result.sent += context.events.length;
    },
    onSendEventsErrorHandler: (context) => {
      result.failed += context.events.length;
      error ??= fail(context.error);
    },
  });
  for (const event of request.events) {
    const target = {};
    if (event.partition != null) target.partitionId = event.partition;
    if (event.key != null) target.partitionKey = event.key;
    await producer.enqueueEvent(encodeEvent(event), target);
  }
  await producer.close({ flush: true });
  return { ...result, error };
}

async function withClient(client, use) {
  try {
    return await use(client);
  } finally {
    await client.close().catch(() => {});
  }
}

const operations = {
  hello: async () => ({ sdk: "@azure/event-hubs", version }),
  send: (request) => withClient(producerOf(request.conn), (producer) => sendEvents(producer, request)),
  buffered,
  load,
  process: processAll,
  store,
  properties: (request) =>
    withClient(consumerOf(request.conn), async (consumer) => {
      const p = await consumer.getEventHubProperties();
      return { hubInfo: { name: p.name, createdMs: String(p.createdOn.getTime()), partitions: p.partitionIds } };
    }),
  partition: (request) =>
    withClient(consumerOf(request.conn), async (consumer) => {
      const p = await consumer.getPartitionProperties(request.partition);
      return {
        partitionInfo: {
          hub: p.eventHubName,
          id: p.partitionId,
          begin: String(p.beginningSequenceNumber),
          last: String(p.lastEnqueuedSequenceNumber),
          lastOffset: String(p.lastEnqueuedOffset),
          lastTimeMs: String(p.lastEnqueuedOnUtc.getTime()),
          empty: p.isEmpty,
        },
      };
    }),
  open: async (request) => {
    const id = `r${nextReader++}`;
    readers.set(id, new Reader(request));
    return { reader: id };
  },
  read: async (request) => readers.get(request.reader).read(request.count, request.waitMs),
  close: async (request) => {
    const reader = readers.get(request.reader);
    readers.delete(request.reader);
    await reader.close();
    return {};
  },
};

async function answer(line) {
  const request = JSON.parse(line);
  let response;
  try {
    response = await operations[request.op](request);
  } catch (error) {
    response = { error: fail(error) };
  }
  process.stdout.write(JSON.stringify({ id: request.id, ...response }) + "\n");
}

// A socket that dies while nobody waits on it must not end the process; the operation that needs it will fail.
process.on("unhandledRejection", (error) => console.error("unhandled:", error));
process.on("uncaughtException", (error) => console.error("uncaught:", error));
const running = new Set();
readline
  .createInterface({ input: process.stdin, crlfDelay: Infinity })
  .on("line", (line) => {
    const done = answer(line).finally(() => running.delete(done));
    running.add(done);
  })
  .on("close", () => Promise.all(running).then(() => process.exit(0)));
