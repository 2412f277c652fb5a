// @azure/service-bus against the Service Bus stand-in.
//
// Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one
// line `ok <name>` per passed check; ends with 1 and a reason on the first failure.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import Long from "long";
import { ServiceBusClient } from "@azure/service-bus";

const RUN_MS_MAX = 120_000;
const WAIT_MS_MAX = 10_000;

const addresses = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const { topic, queue, sessionQueue, hurriedQueue } = addresses;
const run = randomUUID().slice(0, 8);
const options = { retryOptions: { maxRetries: 0, timeoutInMs: 10_000 } };

function ok(name) {
  console.log(`ok service_bus.mjs ${name}`);
}

function message(name, extra = {}) {
  return { body: { name }, messageId: `${run}-${name}`, applicationProperties: { run }, ...extra };
}

function names(messages) {
  return messages.map((one) => one.body.name);
}

/** Collects exactly `count` messages: one call may return fewer. */
async function receive(receiver, count) {
  const got = [];
  const end = Date.now() + WAIT_MS_MAX;
  while (got.length < count && Date.now() < end) {
    got.push(...(await receiver.receiveMessages(count - got.length, { maxWaitTimeInMs: 2_000 })));
  }
  assert.equal(got.length, count);
  return got;
}

async function drain(receiver) {
  while ((await receiver.receiveMessages(100, { maxWaitTimeInMs: 500 })).length > 0);
  await receiver.close();
}

async function emptyAll(client) {
  const receiveMode = "receiveAndDelete";
  for (const subscription of topic.subscriptions) {
    await drain(client.createReceiver(topic.name, subscription, { receiveMode }));
    await drain(
      client.createReceiver(topic.name, subscription, { receiveMode, subQueueType: "deadLetter" }),
    );
  }
  await drain(client.createReceiver(queue.name, { receiveMode }));
}

async function send(client) {
  const sender = client.createSender(topic.name);
  await sender.sendMessages(
    message("m0", {
      subject: "subj",
      correlationId: "corr",
      partitionKey: "pk",
      contentType: "application/cloudevents+json",
      applicationProperties: { run, number: 5 },
    }),
  );
  ok("send one");
  await sender.sendMessages([1, 2, 3].map((n) => message(`m${n}`)));
  ok("send a list");
  const batch = await sender.createMessageBatch();
  for (const n of [4, 5, 6]) assert.ok(batch.tryAddMessage(message(`m${n}`)));
  await sender.sendMessages(batch);
  ok("send a batch");
  await sender.close();
}

async function settle(client) {
  const [first] = topic.subscriptions;
  const receiver = client.createReceiver(topic.name, first);
  const all = [0, 1, 2, 3, 4, 5, 6].map((n) => `m${n}`);
  const peeked = await receiver.peekMessages(10, { fromSequenceNumber: Long.ZERO });
  assert.deepEqual(names(peeked), all);
  ok("peek");
  const got = await receive(receiver, 7);
  assert.deepEqual(names(got), all);
  const [one] = got;
  assert.equal(one.subject, "subj");
  assert.equal(one.correlationId, "corr");
  assert.equal(one.partitionKey, "pk");
  assert.equal(one.contentType, "application/cloudevents+json");
  assert.equal(one.messageId, `${run}-m0`);
  assert.deepEqual(one.applicationProperties, { run, number: 5 });
  assert.equal(one.deliveryCount, 0);
  assert.ok(one.lockToken && one.lockedUntilUtc instanceof Date);
  ok("receive peek-lock");
  const until = await receiver.renewMessageLock(one);
  assert.ok(until.getTime() >= one.enqueuedTimeUtc.getTime());
  ok("renew");
  for (const n of [0, 4, 5, 6]) await receiver.completeMessage(got[n]);
  ok("complete");
  await receiver.abandonMessage(got[1]);
  await receiver.deadLetterMessage(got[2], {
    deadLetterReason: "why",
    deadLetterErrorDescription: "desc",
  });
  await receiver.deferMessage(got[3]);
  const [again] = await receive(receiver, 1);
  assert.equal(again.body.name, "m1");
  assert.equal(again.deliveryCount, 1);
  await receiver.completeMessage(again);
  ok("abandon");
  const [deferred] = await receiver.receiveDeferredMessages(got[3].sequenceNumber);
  assert.equal(deferred.body.name, "m3");
  await receiver.completeMessage(deferred);
  ok("defer and receive deferred");
  assert.deepEqual(await receiver.receiveMessages(5, { maxWaitTimeInMs: 1_000 }), []);
  ok("nothing is left");
  await receiver.close();
  const deadLetters = client.createReceiver(topic.name, first, { subQueueType: "deadLetter" });
  const [dead] = await receive(deadLetters, 1);
  assert.equal(dead.body.name, "m2");
  assert.equal(dead.deadLetterReason, "why");
  assert.equal(dead.deadLetterErrorDescription, "desc");
  await deadLetters.completeMessage(dead);
  await deadLetters.close();
  ok("dead-letter queue");
}

async function receiveAndDelete(client) {
  const receiver = client.createReceiver(topic.name, topic.subscriptions[1], {
    receiveMode: "receiveAndDelete",
  });
  const got = await receive(receiver, 7);
  assert.deepEqual(names(got), [0, 1, 2, 3, 4, 5, 6].map((n) => `m${n}`));
  assert.deepEqual(await receiver.receiveMessages(5, { maxWaitTimeInMs: 1_000 }), []);
  await receiver.close();
  ok("receive-and-delete from the second subscription");
}

async function queueOfMany(client) {
  const count = 2_000;
  const started = Date.now();
  const sender = client.createSender(queue.name);
  let batch = await sender.createMessageBatch();
  for (let n = 0; n < count; n++) {
    if (!batch.tryAddMessage(message(String(n)))) {
      await sender.sendMessages(batch);
      batch = await sender.createMessageBatch();
      assert.ok(batch.tryAddMessage(message(String(n))));
    }
  }
  await sender.sendMessages(batch);
  await sender.close();
  const receiver = client.createReceiver(queue.name);
  const seen = [];
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${seen.length} of ${count}`)), 30_000);
    receiver.subscribe(
      {
        processMessage: async (one) => {
          seen.push(Number(one.body.name));
          if (seen.length === count) {
            clearTimeout(timer);
            resolve();
          }
        },
        processError: async ({ error }) => reject(error),
      },
      { maxConcurrentCalls: 100 },
    );
  });
  await receiver.close();
  assert.deepEqual([...seen].sort((a, b) => a - b), Array.from({ length: count }, (_, n) => n));
  console.log(`   ${count} messages through a queue in ${(Date.now() - started) / 1000} s`);
  ok("2000 messages through a queue");
}

async function lockExpiry(client) {
  const sender = client.createSender(hurriedQueue.name);
  await sender.sendMessages(message("late"));
  await sender.close();
  const lazy = { maxAutoLockRenewalDurationInMs: 0 };
  const receiver = client.createReceiver(hurriedQueue.name, lazy);
  const [first] = await receive(receiver, 1);
  const [again] = await receive(receiver, 1);
  assert.equal(again.messageId, first.messageId);
  assert.equal(again.deliveryCount, 1);
  await receiver.abandonMessage(again);
  await receiver.close();
  ok("an ended lock");
  const deadLetters = client.createReceiver(hurriedQueue.name, { subQueueType: "deadLetter" });
  const [dead] = await receive(deadLetters, 1);
  assert.equal(dead.deadLetterReason, "MaxDeliveryCountExceeded");
  await deadLetters.completeMessage(dead);
  await deadLetters.close();
  ok("the last delivery is dead-lettered");
}

async function sessions(client) {
  const sender = client.createSender(sessionQueue.name);
  await sender.sendMessages([0, 1, 2].map((n) => message(`a${n}`, { sessionId: `A-${run}` })));
  await sender.sendMessages(message("b0", { sessionId: `B-${run}` }));
  await sender.close();
  const named = await client.acceptSession(sessionQueue.name, `A-${run}`);
  const got = await receive(named, 3);
  assert.deepEqual(names(got), ["a0", "a1", "a2"]);
  await named.setSessionState({ half: true });
  assert.deepEqual(await named.getSessionState(), { half: true });
  assert.ok((await named.renewSessionLock()) instanceof Date);
  for (const one of got) await named.completeMessage(one);
  await named.setSessionState(null);
  await named.close();
  ok("a named session");
  const next = await client.acceptNextSession(sessionQueue.name);
  assert.equal(next.sessionId, `B-${run}`);
  await next.completeMessage((await receive(next, 1))[0]);
  await next.close();
  ok("the next session");
}

async function refused() {
  const wrong = topic.connectionString.replace("SharedAccessKey=", "SharedAccessKey=x");
  for (const [name, entity, connectionString, code] of [
    ["an absent topic is refused", "absent", topic.connectionString, "MessagingEntityNotFound"],
    ["a wrong key is refused", topic.name, wrong, "UnauthorizedAccess"],
  ]) {
    const plain = connectionString.replace(/;EntityPath=.*/, "");
    const client = new ServiceBusClient(plain, options);
    const error = await client.createSender(entity).sendMessages(message("x")).then(
      () => assert.fail(`${name}: it was taken`),
      (failure) => failure,
    );
    assert.equal(error.code, code, String(error));
    await client.close();
    ok(name);
  }
}

async function main() {
  const plain = topic.connectionString.replace(/;EntityPath=.*/, "");
  const client = new ServiceBusClient(plain, options);
  await emptyAll(client);
  await send(client);
  await settle(client);
  await receiveAndDelete(client);
  await queueOfMany(client);
  await lockExpiry(client);
  await sessions(client);
  await client.close();
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
