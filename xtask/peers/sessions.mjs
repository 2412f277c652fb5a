// Reads, session by session, what the router sent with `session = "twin"` to a subscription with sessions.
// `sessions.py` posted it and left what is expected in the file that the scene names.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ServiceBusClient } from "@azure/service-bus";

const RUN_MS_MAX = 100_000;

const scene = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const topic = scene.topics[0];
const [subscription] = topic.sessionSubscriptions;
const options = { retryOptions: { maxRetries: 0, timeoutInMs: 3_000 } };
const expected = new Map(
  JSON.parse(readFileSync(scene.expectations, "utf8")).map((one) => [one.attributes.id, one]),
);

async function readSession(receiver) {
  const ids = [];
  const twins = new Set();
  for (;;) {
    const part = await receiver.receiveMessages(100, { maxWaitTimeInMs: 1_000 });
    if (part.length === 0) break;
    for (const message of part) {
      assert.equal(message.sessionId, receiver.sessionId);
      const id = message.applicationProperties["cloudEvents:id"];
      const one = expected.get(id);
      assert.ok(one, `${id} came twice, or was not posted`);
      expected.delete(id);
      ids.push(id);
      twins.add(one.twin);
      await receiver.completeMessage(message);
    }
  }
  assert.equal(twins.size, 1, `session ${receiver.sessionId}: ${[...twins]}`);
  assert.deepEqual(ids, [...ids].sort(), `session ${receiver.sessionId} is out of order`);
  return [...twins][0];
}

async function main() {
  const client = new ServiceBusClient(
    topic.connectionString.replace(/;EntityPath=.*/, ""),
    options,
  );
  const count = expected.size;
  const twins = [];
  while (expected.size > 0) {
    const receiver = await client.acceptNextSession(topic.name, subscription);
    twins.push(await readSession(receiver));
    await receiver.close();
  }
  assert.equal(new Set(twins).size, twins.length, "a twin had two sessions");
  await client.close();
  console.log(`ok sessions.mjs ${count} events in ${twins.length} sessions, a twin each, in order`);
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
