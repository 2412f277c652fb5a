// @azure/event-hubs against the Event Hubs stand-in.
//
// Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one
// line `ok <name>` per passed check; ends with 1 and a reason on the first failure.

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import {
  EventHubConsumerClient,
  EventHubProducerClient,
  earliestEventPosition,
} from "@azure/event-hubs";

const RUN_MS_MAX = 120_000;
const WAIT_MS_MAX = 20_000;

const addresses = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const { name: hub, connectionString } = addresses.hub;
const run = randomUUID();
const options = { retryOptions: { maxRetries: 0, timeoutInMs: 10_000 } };

function ok(name) {
  console.log(`ok event_hubs.mjs ${name}`);
}

function event(body, properties = {}) {
  return { body, properties: { run, ...properties } };
}

/** Reads a partition from a position until `wanted(events)` holds. */
async function receive(partition, startPosition, wanted, extra = {}) {
  const consumer = new EventHubConsumerClient("$Default", connectionString, options);
  const events = [];
  let subscription;
  try {
    await new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`partition ${partition}: got ${events.length} events`)),
        WAIT_MS_MAX,
      );
      subscription = consumer.subscribe(
        partition,
        {
          processEvents: async (batch) => {
            events.push(...batch.filter((one) => one.properties?.run === run));
            if (wanted(events)) {
              clearTimeout(timer);
              resolve();
            }
          },
          processError: async (error) => reject(error),
        },
        { startPosition, maxBatchSize: 500, maxWaitTimeInSeconds: 1, ...extra },
      );
    });
  } finally {
    await subscription?.close();
    await consumer.close();
  }
  return events;
}

async function management(producer) {
  const properties = await producer.getEventHubProperties();
  assert.equal(properties.name, hub);
  assert.deepEqual(properties.partitionIds, ["0", "1", "2", "3"]);
  const partition = await producer.getPartitionProperties("0");
  assert.equal(partition.partitionId, "0");
  assert.equal(typeof partition.lastEnqueuedSequenceNumber, "number");
  ok("management");
}

async function sendAndReceive(producer) {
  const first = event({ n: 0 }, { "cloudEvents:type": "t", number: 5 });
  await producer.sendBatch([{ ...first, contentType: "application/json", messageId: "m-0" }], {
    partitionId: "1",
  });
  ok("sendBatch of one");
  const batch = await producer.createBatch({ partitionId: "1" });
  for (let n = 1; n <= 100; n++) assert.ok(batch.tryAdd(event({ n })));
  await producer.sendBatch(batch);
  ok("sendBatch of many");
  const all = await receive("1", earliestEventPosition, (events) => events.length >= 101);
  assert.deepEqual(all.map((one) => one.body.n), Array.from({ length: 101 }, (_, n) => n));
  assert.equal(all[0].contentType, "application/json");
  assert.equal(all[0].messageId, "m-0");
  assert.deepEqual(all[0].properties, { run, "cloudEvents:type": "t", number: 5 });
  assert.ok(all[0].enqueuedTimeUtc instanceof Date);
  ok("receive from the start");
  const middle = all[50];
  const enough = (events) => events.length >= 50;
  const after = await receive("1", { sequenceNumber: middle.sequenceNumber }, enough);
  assert.equal(after[0].sequenceNumber, all[51].sequenceNumber);
  ok("receive after a sequence number");
  const from = await receive("1", { offset: String(middle.offset), isInclusive: true }, enough);
  assert.equal(from[0].sequenceNumber, middle.sequenceNumber);
  ok("receive from an offset");
  const enqueuedOn = all[0].enqueuedTimeUtc.getTime() - 1;
  const since = await receive("1", { enqueuedOn }, enough);
  assert.equal(since[0].sequenceNumber, all[0].sequenceNumber);
  ok("receive from a time");
}

async function partitionKey(producer) {
  for (const n of [0, 1, 2]) await producer.sendBatch([event({ n })], { partitionKey: "twin-1" });
  const holders = [];
  for (const partition of ["0", "1", "2", "3"]) {
    const properties = await producer.getPartitionProperties(partition);
    if (properties.isEmpty) continue;
    let rounds = 0;
    const seen = await receive(partition, earliestEventPosition, (events) => {
      rounds += 1;
      const last = events.at(-1)?.sequenceNumber ?? -1;
      return last >= properties.lastEnqueuedSequenceNumber || rounds > 3;
    });
    const keyed = seen.filter((one) => one.partitionKey === "twin-1").map((one) => one.body.n);
    if (keyed.length > 0) holders.push(keyed);
  }
  assert.deepEqual(holders, [[0, 1, 2]]);
  ok("partition key");
}

async function largeEvent(producer) {
  const body = randomBytes(300_000);
  await producer.sendBatch([event(body)], { partitionId: "2" });
  const seen = await receive("2", earliestEventPosition, (events) => events.length >= 1);
  assert.ok(seen.some((one) => Buffer.isBuffer(one.body) && one.body.equals(body)));
  ok("an event of many frames");
}

async function epoch() {
  const clients = [];
  const start = (ownerLevel, handlers) => {
    const client = new EventHubConsumerClient("$Default", connectionString, options);
    clients.push(client);
    const quiet = { processEvents: async () => {}, processError: async () => {} };
    client.subscribe("0", { ...quiet, ...handlers }, {
      ownerLevel,
      startPosition: earliestEventPosition,
      maxWaitTimeInSeconds: 1,
    });
  };
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the older reader stays")), WAIT_MS_MAX);
    let second = false;
    start(1, {
      processEvents: async () => {
        if (!second) {
          second = true;
          start(2, {});
        }
      },
      processError: async (error) => {
        clearTimeout(timer);
        resolve(error);
      },
    });
  }).then((error) => assert.match(`${error.name} ${error.code} ${error.message}`, /epoch|stolen/i));
  for (const client of clients) await client.close();
  ok("a higher epoch steals");
}

async function refused() {
  const wrong = connectionString.replace("SharedAccessKey=", "SharedAccessKey=x");
  const absent = connectionString.replace(`EntityPath=${hub}`, "EntityPath=absent");
  for (const [name, changed, code] of [
    ["a wrong key is refused", wrong, /Unauthorized/],
    ["an absent hub is refused", absent, /NotFound/],
  ]) {
    const producer = new EventHubProducerClient(changed, options);
    const error = await producer.sendBatch([event("x")]).then(
      () => assert.fail(`${name}: it was taken`),
      (failure) => failure,
    );
    assert.match(String(error.code), code, String(error));
    await producer.close();
    ok(name);
  }
}

async function main() {
  const producer = new EventHubProducerClient(connectionString, options);
  await management(producer);
  await sendAndReceive(producer);
  await partitionKey(producer);
  await largeEvent(producer);
  await producer.close();
  await epoch();
  await refused();
}

const watchdog = setTimeout(() => {
  console.error("timed out");
  process.exit(1);
}, RUN_MS_MAX);
main().then(
  () => {
    clearTimeout(watchdog);
    process.exit(0);
  },
  (error) => {
    console.error(`failed: ${error?.stack ?? error}`);
    process.exit(1);
  },
);
