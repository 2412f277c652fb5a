// @azure/eventgrid publishes to the router's ingress instead of to Event Grid: only its URL changes.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  AzureKeyCredential,
  AzureSASCredential,
  EventGridPublisherClient,
  generateSharedAccessSignature,
} from "@azure/eventgrid";

const RUN_MS_MAX = 50_000;
const WAIT_MS_MAX = 20_000;

const scene = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const endpoint = `${scene.ingress}/api/events`;
const topic = scene.eventGridTopics[0];
const run = randomUUID();

function ok(name) {
  console.log(`ok publishers.mjs ${name}`);
}

function publisher(schema, credential) {
  const options = { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } };
  return new EventGridPublisherClient(endpoint, schema, credential, options);
}

function cloudEvent(name, data, more = {}) {
  return { id: `${run}-${name}`, source: "/twins", type: "t", data, ...more };
}

async function signature(hours) {
  const expiry = new Date(Date.now() + hours * 3_600_000);
  const key = new AzureKeyCredential(scene.accessKey);
  return new AzureSASCredential(await generateSharedAccessSignature(endpoint, key, expiry));
}

/** The events of this run by the end of their ids, once there are so many. */
async function arrived(count) {
  const end = Date.now() + WAIT_MS_MAX;
  for (;;) {
    const { events } = await (await fetch(topic.events)).json();
    const own = events.map((one) => one.event).filter((event) => event.id.startsWith(run));
    if (own.length >= count || Date.now() > end) {
      assert.equal(own.length, count);
      return Object.fromEntries(own.map((event) => [event.id.slice(run.length + 1), event]));
    }
    await delay(50);
  }
}

async function refused(name, credential) {
  const error = await publisher("CloudEvent", credential)
    .send([cloudEvent("refused", {})])
    .then(
      () => assert.fail(`${name}: it was taken`),
      (failure) => failure,
    );
  assert.equal(error.statusCode, 401, String(error));
  ok(name);
}

async function main() {
  const key = new AzureKeyCredential(scene.accessKey);
  const byKey = publisher("CloudEvent", key);
  await byKey.send([
    cloudEvent("one", { n: 1 }, { subject: "room1", extensionAttributes: { traceparent: "00-x" } }),
    cloudEvent("raw", new Uint8Array([0, 255]), { datacontenttype: "application/octet-stream" }),
  ]);
  await publisher("EventGrid", key).send([
    {
      id: `${run}-classic`,
      subject: "room2",
      eventType: "classic",
      dataVersion: "2",
      data: { n: 2 },
    },
  ]);
  const bySignature = publisher("CloudEvent", await signature(1));
  await bySignature.send([cloudEvent("signed", { n: 3 })]);
  const { one, raw, classic, signed } = await arrived(4);
  assert.deepEqual([one.data, one.subject, one.traceparent], [{ n: 1 }, "room1", "00-x"]);
  assert.equal(raw.data_base64, "AP8=");
  assert.deepEqual(signed.data, { n: 3 });
  ok("CloudEvents with a key and with a signature");
  assert.deepEqual([classic.type, classic.subject, classic.data], ["classic", "room2", { n: 2 }]);
  ok("Event Grid events");
  await refused("a wrong key is refused", new AzureKeyCredential("d3Jvbmc="));
  await refused("an expired signature is refused", await signature(-1));
  await arrived(4);
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
