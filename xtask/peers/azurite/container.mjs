// @azure/storage-blob beside the router's dead letters, both against Azurite.
//
// The scene comes as JSON in the variable TWINROUTE_EMULATOR: `step`, `account` (a URL), `key`, and what
// the step needs. `prepare` creates a container and prints SAS URIs as one line of JSON, `create` creates
// another container, `judge` compares blobs with what they should be, `judgeRouter` those that a running
// router wrote at times of its own; both print one line `ok <name>` per passed check. Ends with 1 and a
// reason on the first failure.

import assert from "node:assert/strict";
import {
  ContainerSASPermissions,
  ContainerClient,
  StorageSharedKeyCredential,
  generateBlobSASQueryParameters,
} from "@azure/storage-blob";

const RUN_MS_MAX = 60_000;
setTimeout(() => {
  console.log("container.mjs took too long");
  process.exit(1);
}, RUN_MS_MAX).unref();

const scene = JSON.parse(process.env.TWINROUTE_EMULATOR);
const account = new URL(scene.account).pathname.slice(1);
const credential = new StorageSharedKeyCredential(account, scene.key);
const HOUR = 3_600_000;

function container(name) {
  return new ContainerClient(`${scene.account}/${name}`, credential);
}

function sas(containerName, permissions, from, to) {
  const token = generateBlobSASQueryParameters(
    {
      containerName,
      permissions: ContainerSASPermissions.parse(permissions),
      startsOn: new Date(Date.now() + from),
      expiresOn: new Date(Date.now() + to),
    },
    credential,
  );
  return `${scene.account}/${containerName}?${token}`;
}

async function prepare() {
  await container("dead").create();
  const valid = (permissions, name = "dead") => sas(name, permissions, -HOUR, HOUR);
  // Another letter at the start, since the last one does not use all of its bits.
  const wrong = valid("w").replace(/sig=(%..|.)/, (_, first) => (first === "A" ? "sig=B" : "sig=A"));
  const uris = {
    write: valid("w"),
    create: valid("c"),
    read: valid("r"),
    all: valid("rwl"),
    createWrite: valid("cw"),
    readList: valid("rl"),
    wrong,
    expired: sas("dead", "w", -2 * HOUR, -HOUR),
    early: sas("dead", "w", HOUR, 2 * HOUR),
    missing: valid("w", "later"),
  };
  console.log(JSON.stringify(uris));
}

function ok(name) {
  console.log(`ok container.mjs ${name}`);
}

async function judge() {
  const dead = container("dead");
  const names = [];
  for await (const blob of dead.listBlobsFlat()) {
    names.push(blob.name);
  }
  assert.deepEqual(names, scene.blobs.map((blob) => blob.name).sort());
  ok("these names and no others");
  for (const expected of scene.blobs) {
    const blob = dead.getBlockBlobClient(expected.name);
    assert.equal((await blob.downloadToBuffer()).toString(), expected.content, expected.name);
    const properties = await blob.getProperties();
    assert.equal(properties.contentType, "application/cloudevents+json");
    assert.deepEqual(properties.metadata, expected.metadata, expected.name);
  }
  ok("bytes, content type and metadata");
}

// `containers` has the container's name by endpoint, `events` what was posted to each, after `from` (ms).
async function judgeRouter() {
  for (const [endpoint, name] of Object.entries(scene.containers)) {
    const names = [];
    for await (const blob of container(name).listBlobsFlat({ prefix: `${endpoint}/` })) {
      names.push(blob.name);
    }
    const left = new Set(names);
    for (const { id, content } of scene.events) {
      left.delete(await judgeLetter(container(name), endpoint, id, content, names));
    }
    assert.deepEqual([...left], [], `${endpoint}: more blobs than events`);
    ok(`${names.length} dead letters of ${endpoint}: names, bytes, content type and metadata`);
  }
}

async function judgeLetter(dead, endpoint, id, content, names) {
  const file = `${encodeURIComponent(id)}.json`;
  const name = names.find((name) => name.endsWith(`/${file}`));
  assert.ok(name, `${endpoint}: no blob of event ${id} among [${names}]`);
  const blob = dead.getBlockBlobClient(name);
  assert.equal((await blob.downloadToBuffer()).toString(), content, name);
  const properties = await blob.getProperties();
  assert.equal(properties.contentType, "application/cloudevents+json", name);
  const { publishtime, lastdeliveryattempttime, twinrouteoutcome, ...rest } = properties.metadata;
  assert.deepEqual(
    rest,
    {
      deadletterreason: "rejected",
      deliveryattempts: "1",
      lastdeliveryoutcome: "BadRequest",
      twinrouteendpoint: endpoint,
      twinrouteinstance: scene.instance,
      twinroutereason: "rejected",
    },
    name,
  );
  assert.match(twinrouteoutcome, /^http-400\b/, name);
  const accepted = Date.parse(publishtime);
  const tried = Date.parse(lastdeliveryattempttime);
  const times = `${name}: from ${scene.from}, accepted ${publishtime}, tried ${lastdeliveryattempttime}`;
  assert.ok(scene.from <= accepted && accepted <= tried && tried <= Date.now(), times);
  // An event dies when its refusal is read: a moment after the attempt, so perhaps in the next hour.
  const folders = [tried, tried + 60_000].map((moment) =>
    new Date(moment).toISOString().slice(0, 13).replace(/[-T]/g, "/"),
  );
  const right = folders.map((folder) => `${endpoint}/${folder}/${file}`);
  assert.ok(right.includes(name), `${name} should be ${right[0]}`);
  return name;
}

const steps = {
  prepare,
  create: () => container("later").create(),
  judge,
  judgeRouter,
};

try {
  await steps[scene.step]();
  process.exit(0);
} catch (error) {
  console.log(error.stack ?? "");
  const reason = String(error.message ?? error).replace(/\s+/g, " ");
  console.log(`container.mjs ${scene.step}: ${reason}`);
  process.exit(1);
}
