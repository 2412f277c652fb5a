// Reads with the Azure clients what the router sent; `router_to_sdk.py` posted it and left what is
// expected in the file that the scene names.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { EventHubConsumerClient, earliestEventPosition } from "@azure/event-hubs";
import { ServiceBusClient } from "@azure/service-bus";

const RUN_MS_MAX = 100_000;
const WAIT_MS_MAX = 30_000;

const scene = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const hub = scene.hubs[0];
const topic = scene.topics[0];
const options = { retryOptions: { maxRetries: 0, timeoutInMs: 10_000 } };
const expected = new Map(
  JSON.parse(readFileSync(scene.expectations, "utf8")).map((one) => [one.attributes.id, one]),
);

function ok(name) {
  console.log(`ok router_to_sdk.mjs ${name}`);
}

function checkMessage(properties, contentType, body) {
  const one = expected.get(properties["cloudEvents:id"]);
  assert.ok(one, JSON.stringify(properties));
  const { datacontenttype, ...attributes } = one.attributes;
  const prefixed = Object.entries(attributes).map(([name, value]) => [`cloudEvents:${name}`, value]);
  // The event's trace goes on under the names that these clients read.
  const context = ["traceparent", "Diagnostic-Id"].map((name) => [name, attributes.traceparent]);
  assert.deepEqual({ ...properties }, Object.fromEntries([...prefixed, ...context]));
  assert.equal(contentType, datacontenttype);
  assert.equal(Buffer.from(body).toString("utf8"), one.data);
  return one;
}

async function eventHub() {
  const consumer = new EventHubConsumerClient("$Default", hub.connectionString, options);
  const events = [];
  let subscription;
  try {
    await new Promise((resolve, reject) => {
      const late = () => reject(new Error(`${events.length} of ${expected.size} events`));
      const timer = setTimeout(late, WAIT_MS_MAX);
      subscription = consumer.subscribe(
        {
          processEvents: async (batch) => {
            events.push(...batch);
            if (events.length >= expected.size) {
              clearTimeout(timer);
              resolve();
            }
          },
          processError: async (error) => reject(error),
        },
        {
          startPosition: earliestEventPosition,
          maxBatchSize: 500,
          maxWaitTimeInSeconds: 1,
          skipParsingBodyAsJson: true,
        },
      );
    });
  } finally {
    await subscription?.close();
    await consumer.close();
  }
  assert.equal(events.length, expected.size);
  for (const event of events) {
    const one = checkMessage(event.properties, event.contentType, event.body);
    // The bucket stands before the part that its hash was chosen by.
    assert.equal(event.partitionKey.split("-")[0], one.key);
  }
  ok(`event hub: ${events.length} events`);
}

async function serviceBus() {
  const client = new ServiceBusClient(topic.connectionString, options);
  const receiver = client.createReceiver(topic.name, "javascript", { skipParsingBodyAsJson: true });
  const messages = [];
  const end = Date.now() + WAIT_MS_MAX;
  while (messages.length < expected.size && Date.now() < end) {
    for (const message of await receiver.receiveMessages(100, { maxWaitTimeInMs: 2_000 })) {
      messages.push(message);
      await receiver.completeMessage(message);
    }
  }
  assert.equal(messages.length, expected.size);
  for (const message of messages) {
    const { applicationProperties, contentType, body } = message;
    const one = checkMessage(applicationProperties, contentType, body);
    assert.equal(message.messageId, one.messageId);
  }
  assert.deepEqual(await receiver.peekMessages(1, { fromSequenceNumber: undefined }), []);
  await receiver.close();
  await client.close();
  ok(`subscription: ${messages.length} messages completed`);
}

async function main() {
  await eventHub();
  await serviceBus();
}

setTimeout(() => {
  console.log(`timed out after ${RUN_MS_MAX} ms`);
  process.exit(1);
}, RUN_MS_MAX).unref();

main().then(
  () => process.exit(0),
  (error) => {
    console.log(`${error.name}: ${String(error.message).split("\n").join(" | ")}`);
    process.exit(1);
  },
);
