// @azure/service-bus and @azure/event-hubs against what the stand-ins refuse, as the services do.
//
// Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one
// line `ok <name>` per passed check; ends with 1 and a reason on the first failure.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import {
  EventHubConsumerClient,
  EventHubProducerClient,
  earliestEventPosition,
} from "@azure/event-hubs";
import { ServiceBusClient } from "@azure/service-bus";

const RUN_MS_MAX = 120_000;
const WAIT_MS_MAX = 10_000;
const OVER_THE_LIMIT = Buffer.alloc(1_200_000, "x");

const addresses = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const { hub, queue, sessionQueue, sessionTopic, hurriedSessionQueue: hurried } = addresses;
const run = randomUUID().slice(0, 8);
const options = { retryOptions: { maxRetries: 0, timeoutInMs: 5_000 } };

function ok(name) {
  console.log(`ok refusals.mjs ${name}`);
}

/** What is done must fail with this code, or with its name in the message. */
async function refused(name, expected, act) {
  const failure = await act().then(
    () => assert.fail(`${name}: it was taken`),
    (error) => error,
  );
  const text = `${failure.code} ${failure.message}`;
  assert.ok(text.includes(expected), `${name}: ${text}`);
  ok(name);
}

async function bus(connectionString, act) {
  const client = new ServiceBusClient(connectionString.replace(/;EntityPath=.*/, ""), options);
  try {
    await act(client);
  } finally {
    await client.close();
  }
}

const inSession = (sessionId, body = "m") => ({ body, sessionId, messageId: `${run}-${body}` });

async function kindsOfReceivers(client) {
  const plain = "InvalidOperationError";
  // What this client makes of any refused receiver of a named session.
  const named = "SessionCannotBeLocked";
  await refused("a session receiver on a queue without sessions", named, () =>
    client.acceptSession(queue.name, "s"),
  );
  await refused("a receiver of the next session there", plain, () =>
    client.acceptNextSession(queue.name),
  );
  for (const [name, receiver] of [
    ["a plain receiver on a queue with sessions", client.createReceiver(sessionQueue.name)],
    [
      "a plain receiver on a subscription with sessions",
      client.createReceiver(sessionTopic.name, sessionTopic.subscription),
    ],
  ]) {
    await refused(name, plain, () => receiver.receiveMessages(1, { maxWaitTimeInMs: 1_000 }));
    await receiver.close();
  }
}

async function sessions(client) {
  const sender = client.createSender(sessionQueue.name);
  await refused("a message without a session", "InvalidOperationError", () =>
    sender.sendMessages({ body: "x" }),
  );
  const held = await client.acceptSession(sessionQueue.name, `held-${run}`);
  await refused("a session that is held", "SessionCannotBeLocked", () =>
    client.acceptSession(sessionQueue.name, `held-${run}`),
  );
  await held.close();
  const late = pause(1_000).then(() => sender.sendMessages(inSession(`late-${run}`, "late")));
  const next = await client.acceptNextSession(sessionQueue.name);
  assert.equal(next.sessionId, `late-${run}`);
  const [message] = await next.receiveMessages(1, { maxWaitTimeInMs: WAIT_MS_MAX });
  await next.completeMessage(message);
  await next.close();
  await late;
  await sender.close();
  ok("the next session is waited for");
}

async function endedLocks(client) {
  const sender = client.createSender(hurried.name);
  await sender.sendMessages(inSession(`short-${run}`));
  await sender.close();
  const lazy = { maxAutoLockRenewalDurationInMs: 0 };
  const receiver = await client.acceptSession(hurried.name, `short-${run}`, lazy);
  const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: WAIT_MS_MAX });
  const before = receiver.sessionLockedUntilUtc;
  await pause(1_000);
  assert.ok((await receiver.renewSessionLock()) > before);
  ok("a session lock is renewed");
  await pause(3_000);
  await refused("a session whose lock has ended", "SessionLockLost", () =>
    receiver.completeMessage(message),
  );
  await receiver.close();
  const again = await client.acceptSession(hurried.name, `short-${run}`);
  const [second] = await again.receiveMessages(1, { maxWaitTimeInMs: WAIT_MS_MAX });
  assert.equal(second.deliveryCount, 1);
  await again.completeMessage(second);
  await again.close();
  ok("the end of its lock counts as a delivery");
}

async function limits(client) {
  const sender = client.createSender(queue.name);
  await refused("a message over the limit", "MessageSizeExceeded", () =>
    sender.sendMessages({ body: OVER_THE_LIMIT }),
  );
  const applicationProperties = { large: "x".repeat(40_000) };
  await refused("a property over 32 KB", "ArgumentOutOfRangeError", () =>
    sender.sendMessages({ body: "x", applicationProperties }),
  );
  await sender.sendMessages({ body: "the link is as it was", messageId: run });
  await sender.close();
  const receiver = client.createReceiver(queue.name);
  const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: WAIT_MS_MAX });
  assert.equal(message.body, "the link is as it was");
  await receiver.completeMessage(message);
  await receiver.close();
  ok("and the same link goes on");
}

async function events() {
  const producer = new EventHubProducerClient(hub.connectionString, options);
  await refused("an event over the limit", "MessageTooLargeError", () =>
    producer.sendBatch([{ body: OVER_THE_LIMIT }]),
  );
  await refused("a partition key of 129 characters", "ArgumentOutOfRangeError", () =>
    producer.sendBatch([{ body: "x" }], { partitionKey: "k".repeat(129) }),
  );
  await producer.sendBatch([{ body: { run } }], { partitionKey: "k".repeat(128) });
  await producer.close();
  ok("a partition key of 128 characters is taken");
}

/** The first event of this run that a consumer group gives. */
async function firstOfRun(group, connectionString = hub.connectionString) {
  const consumer = new EventHubConsumerClient(group, connectionString, options);
  let subscription;
  try {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nothing came")), WAIT_MS_MAX);
      subscription = consumer.subscribe(
        {
          processEvents: async (batch) => {
            const found = batch.find((event) => event.body?.run === run);
            if (found) {
              clearTimeout(timer);
              resolve(found);
            }
          },
          processError: async (error) => {
            clearTimeout(timer);
            reject(error);
          },
        },
        { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1 },
      );
    });
  } finally {
    await subscription?.close();
    await consumer.close();
  }
}

async function consumerGroups() {
  for (const group of ["$Default", hub.consumerGroup]) await firstOfRun(group);
  ok("each consumer group reads for itself");
  await refused("a consumer group that is not there", "MessagingEntityNotFoundError", () =>
    firstOfRun("absent"),
  );
}

async function rights() {
  const producer = new EventHubProducerClient(hub.listens, options);
  await refused("sending with a key that may listen", "UnauthorizedError", () =>
    producer.sendBatch([{ body: "x" }]),
  );
  await producer.close();
  await refused("reading with a key that may send", "UnauthorizedError", () =>
    firstOfRun("$Default", hub.sends),
  );
  await bus(queue.listens, (client) =>
    refused("sending to a queue with a key that may listen", "UnauthorizedAccess", () =>
      client.createSender(queue.name).sendMessages({ body: "x" }),
    ),
  );
  await bus(queue.sends, (client) =>
    refused("receiving from a queue with a key that may send", "UnauthorizedAccess", () =>
      client.createReceiver(queue.name).receiveMessages(1, { maxWaitTimeInMs: 1_000 }),
    ),
  );
}

async function main() {
  await bus(queue.connectionString, async (client) => {
    await kindsOfReceivers(client);
    await sessions(client);
    await endedLocks(client);
    await limits(client);
  });
  await events();
  await consumerGroups();
  await rights();
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
