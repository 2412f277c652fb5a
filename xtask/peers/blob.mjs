// @azure/storage-blob against the blob container stand-in.
//
// Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one
// line `ok <name>` per passed check; ends with 1 and a reason on the first failure.

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import {
  AccountSASPermissions,
  BlobSASPermissions,
  BlobServiceClient,
  ContainerClient,
  ContainerSASPermissions,
  generateAccountSASQueryParameters,
  generateBlobSASQueryParameters,
} from "@azure/storage-blob";

const RUN_MS_MAX = 60_000;

const addresses = JSON.parse(process.env.TWINROUTE_EMULATOR || process.argv[2]);
const scene = addresses.container;
const run = randomUUID();
const options = { retryOptions: { maxTries: 1 } };
const service = BlobServiceClient.fromConnectionString(scene.connectionString, options);
const inHours = (hours) => new Date(Date.now() + hours * 3_600_000);

function ok(name) {
  console.log(`ok blob.mjs ${name}`);
}

async function refused(name, status, code, call) {
  const error = await call().then(
    () => assert.fail(`${name}: it was taken`),
    (failure) => failure,
  );
  assert.deepEqual([error.statusCode, error.code], [status, code], `${name}: ${error}`);
  ok(name);
}

/** A container with a signature of its own. */
function container(permissions, more) {
  const values = {
    containerName: scene.name,
    permissions: ContainerSASPermissions.parse(permissions),
    expiresOn: inHours(1),
    ...more,
  };
  const sas = generateBlobSASQueryParameters(values, service.credential);
  return new ContainerClient(`${scene.url}?${sas}`, undefined, options);
}

function upload(client, name, text, conditions) {
  return client.getBlockBlobClient(name).upload(text, Buffer.byteLength(text), { conditions });
}

async function letters() {
  const client = new ContainerClient(scene.sasUrl, undefined, options);
  const blob = client.getBlockBlobClient(`${run}/2026/11/22/08/a b é.json`);
  const metadata = { deadletterreason: "Unauthorized", deliveryattempts: "3" };
  const conditions = { ifNoneMatch: "*" };
  const blobHTTPHeaders = { blobContentType: "application/json" };
  const put = await blob.upload("{}", 2, { conditions, metadata, blobHTTPHeaders });
  assert.ok(put.etag && put.lastModified && put.requestId && put.contentMD5);
  await refused("a second upload without overwriting", 409, "BlobAlreadyExists", () =>
    blob.upload("other", 5, { conditions }),
  );
  assert.equal((await blob.downloadToBuffer()).toString(), "{}");
  const part = await blob.download(1, 1);
  assert.equal(part.contentRange, "bytes 1-1/2");
  const properties = await blob.getProperties();
  assert.deepEqual(properties.metadata, metadata);
  assert.equal(properties.contentType, "application/json");
  assert.equal(properties.etag, put.etag);
  ok("an upload comes back with its metadata");
  await blob.delete();
  assert.equal(await blob.exists(), false);
  await refused("a deleted blob", 404, "BlobNotFound", () => blob.download());
}

async function listings() {
  const client = service.getContainerClient(`javascript-${run}`);
  await client.create({ metadata: { made: "here" } });
  assert.equal((await client.createIfNotExists()).succeeded, false);
  assert.deepEqual((await client.getProperties()).metadata, { made: "here" });
  const names = Array.from({ length: 25 }, (_, n) => `hub/${n % 3}/${n} &<é.json`).sort();
  for (const name of names) {
    await client.getBlockBlobClient(name).upload("x", 1, { metadata: { n: name.slice(4, 5) } });
  }
  const pages = [];
  const listing = client.listBlobsFlat({ includeMetadata: true }).byPage({ maxPageSize: 10 });
  for await (const page of listing) {
    pages.push(page.segment.blobItems);
  }
  assert.deepEqual(pages.map((page) => page.length), [10, 10, 5]);
  assert.deepEqual(pages.flat().map((blob) => blob.name), names);
  assert.deepEqual(pages[0][0].metadata, { n: "0" });
  assert.equal(pages[0][0].properties.contentLength, 1);
  const folders = [];
  for await (const item of client.listBlobsByHierarchy("/", { prefix: "hub/" })) {
    folders.push([item.kind, item.name]);
  }
  assert.deepEqual(folders, [0, 1, 2].map((n) => ["prefix", `hub/${n}/`]));
  ok("a container created by shared key, and its listings");
  await client.delete();
  await refused("an absent container", 404, "ContainerNotFound", () => upload(client, "x", "x"));
}

async function large() {
  const content = randomBytes(3 * 1024 * 1024 + 7);
  for (const [name, client] of [
    ["shared key", service.getContainerClient(scene.name)],
    ["a signature", new ContainerClient(scene.sasUrl, undefined, options)],
  ]) {
    const blob = client.getBlockBlobClient(`${run}/large ${name}`);
    await blob.uploadData(content, { maxSingleShotSize: 64 * 1024, blockSize: 256 * 1024, concurrency: 2 });
    const back = await blob.downloadToBuffer(0, undefined, { blockSize: 300 * 1024 });
    assert.ok(back.equals(content));
    ok(`an upload by blocks and a download by ranges, with ${name}`);
  }
}

async function signatures() {
  const letter = `${run}/by signature`;
  const denied = "AuthorizationPermissionMismatch";
  const failed = "AuthenticationFailed";
  for (const version of ["2018-11-09", "2020-10-02", "2020-12-06", undefined]) {
    const write = container("w", { version });
    await upload(write, letter, "1");
    await refused(`listing with a signature of ${version ?? "today"} that may only write`, 403, denied, () =>
      write.listBlobsFlat().next(),
    );
    await refused(`reading with it`, 403, denied, () => write.getBlobClient(letter).download());
  }
  const create = container("c");
  await upload(create, `${run}/created`, "1", { ifNoneMatch: "*" });
  await refused("a second upload where only creating is allowed", 403, "UnauthorizedBlobOverwrite", () =>
    upload(create, `${run}/created`, "2", { ifNoneMatch: "*" }),
  );
  const late = container("w", { startsOn: inHours(-2), expiresOn: inHours(-1) });
  await refused("an expired signature", 403, failed, () => upload(late, letter, "2"));
  const early = container("w", { startsOn: inHours(1), expiresOn: inHours(2) });
  await refused("a signature of tomorrow", 403, failed, () => upload(early, letter, "2"));
  const other = container("w", { containerName: "another" });
  await refused("a signature of another container", 403, failed, () => upload(other, letter, "2"));
  const forBlob = { blobName: letter, permissions: BlobSASPermissions.parse("r") };
  const one = container("r", forBlob);
  assert.equal((await one.getBlobClient(letter).downloadToBuffer()).toString(), "1");
  await refused("another blob with a signature for one", 403, failed, () =>
    one.getBlobClient(`${run}/created`).download(),
  );
  const values = {
    services: "bfqt",
    resourceTypes: "o",
    permissions: AccountSASPermissions.parse("w"),
    expiresOn: inHours(1),
  };
  const sas = generateAccountSASQueryParameters(values, service.credential);
  const client = new ContainerClient(`${scene.url}?${sas}`, undefined, options);
  await upload(client, letter, "3");
  await refused("listing with an account signature for objects", 403, "AuthorizationResourceTypeMismatch", () =>
    client.listBlobsFlat().next(),
  );
  ok("signatures for a container, a blob and the account");
}

async function main() {
  await letters();
  await listings();
  await large();
  await signatures();
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
