// @azure/eventgrid against the Event Grid stand-in.
//
// Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one
// line `ok <name>` per passed check; ends with 1 and a reason on the first failure.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import {
  AzureKeyCredential,
  AzureSASCredential,
  EventGridPublisherClient,
  generateSharedAccessSignature,
} from "@azure/eventgrid";

const RUN_MS_MAX = 60_000;

const addresses = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const cloud = addresses.cloudEventsTopic;
const classic = addresses.eventGridTopic;
const run = randomUUID();

function ok(name) {
  console.log(`ok event_grid.mjs ${name}`);
}

function publisher(topic, schema, credential) {
  return new EventGridPublisherClient(
    topic.endpoint,
    schema,
    credential ?? new AzureKeyCredential(topic.key),
    { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } },
  );
}

async function received(topic) {
  const answer = await fetch(`${addresses.http}/events?topic=${topic.name}`);
  const { events } = await answer.json();
  return events.map((one) => one.event).filter((event) => event.id.startsWith(run));
}

function cloudEvent(n, data) {
  return { id: `${run}-${n}`, source: "/twins", type: "t", data };
}

async function refused(name, status, send) {
  const error = await send().then(
    () => assert.fail(`${name}: it was taken`),
    (failure) => failure,
  );
  assert.equal(error.statusCode, status, String(error));
  ok(name);
}

async function main() {
  const client = publisher(cloud, "CloudEvent");
  await client.send([{ ...cloudEvent(0, { n: 0 }), extensionAttributes: { traceparent: "00-x" } }]);
  await client.send([
    { ...cloudEvent(1, new Uint8Array([1, 2])), datacontenttype: "application/octet-stream" },
    cloudEvent(2, { n: 2 }),
  ]);
  const events = await received(cloud);
  assert.deepEqual(events.map((event) => event.id), [0, 1, 2].map((n) => `${run}-${n}`));
  assert.deepEqual(events[0].data, { n: 0 });
  assert.equal(events[0].traceparent, "00-x");
  assert.equal(events[1].data_base64, "AQI=");
  ok("CloudEvents");

  await publisher(classic, "EventGrid").send([
    { id: `${run}-0`, subject: "s", eventType: "t", dataVersion: "1", data: { n: 0 } },
  ]);
  const classicEvents = await received(classic);
  assert.equal(classicEvents.length, 1);
  assert.deepEqual(classicEvents[0].data, { n: 0 });
  ok("Event Grid events");

  const inAnHour = new Date(Date.now() + 3_600_000);
  const signature = (expiry) =>
    generateSharedAccessSignature(cloud.endpoint, new AzureKeyCredential(cloud.key), expiry);
  const token = await signature(inAnHour);
  await publisher(cloud, "CloudEvent", new AzureSASCredential(token)).send([cloudEvent("sas", {})]);
  assert.equal((await received(cloud)).at(-1).id, `${run}-sas`);
  ok("a shared access signature");

  const late = await signature(new Date(Date.now() - 3_600_000));
  await refused("an expired signature is refused", 401, () =>
    publisher(cloud, "CloudEvent", new AzureSASCredential(late)).send([cloudEvent("late", {})]),
  );
  await refused("a wrong key is refused", 401, () =>
    publisher(cloud, "CloudEvent", new AzureKeyCredential("d3Jvbmc=")).send([cloudEvent("x", {})]),
  );
  await refused("more than 1 MB is refused", 413, () =>
    client.send([cloudEvent("big", { text: "x".repeat(1024 * 1024) })]),
  );
  await refused("the wrong schema is refused", 400, () =>
    publisher(classic, "CloudEvent").send([cloudEvent("x", {})]),
  );
  const absent = { ...cloud, endpoint: `${addresses.http}/topics/absent/api/events` };
  await refused("an absent topic is refused", 404, () =>
    publisher(absent, "CloudEvent").send([cloudEvent("x", {})]),
  );
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
