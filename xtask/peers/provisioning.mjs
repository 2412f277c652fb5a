// @azure/arm-deviceprovisioningservices leads the whole life of a provisioning service.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { IotDpsClient } from "@azure/arm-deviceprovisioningservices";
import { SUBSCRIPTION, all, credential, names, ok, options, refused, run, scene, wait } from "./arm.mjs";

const GROUP = "peers-rg";
const NAME = "peers-dps-javascript";

const client = new IotDpsClient(credential, SUBSCRIPTION, { ...options, apiVersion: "2022-12-12" });
const services = client.iotDpsResource;
const wanted = { location: "eastus", sku: { name: "S1", capacity: 1 }, properties: {} };

const put = (description, more) =>
  services.beginCreateOrUpdateAndWait(GROUP, NAME, description, { ...wait, ...more });

async function serviceLives() {
  assert.equal((await services.checkProvisioningServiceNameAvailability({ name: NAME })).nameAvailable, true);
  const made = await put(wanted);
  assert.equal(made.properties.state, "Active");
  assert.ok(made.etag && made.properties.idScope.startsWith("0ne"), JSON.stringify(made));
  assert.ok(names(await all(services.listBySubscription())).includes(NAME));
  assert.ok(names(await all(services.listByResourceGroup(GROUP))).includes(NAME));
  const changed = await put({ ...wanted, etag: made.etag, properties: { allocationPolicy: "Static" } });
  assert.equal(changed.properties.allocationPolicy, "Static");
  await refused(412, null, () => put({ ...wanted, etag: made.etag }));
  const ifMatch = { requestOptions: { customHeaders: { "If-Match": `"${changed.etag}"` } } };
  await put(wanted, ifMatch);
  await refused(412, null, () => put(wanted, ifMatch));
  const patched = await services.beginUpdateAndWait(GROUP, NAME, { tags: { a: "b" } }, wait);
  assert.deepEqual(patched.tags, { a: "b" });
  const keys = await all(services.listKeys(NAME, GROUP));
  assert.deepEqual(keys.map((key) => key.keyName), ["provisioningserviceowner"]);
  const one = await services.listKeysForKeyName(NAME, "provisioningserviceowner", GROUP);
  assert.equal(one.primaryKey, keys[0].primaryKey);
  assert.deepEqual(names(await all(services.listValidSkus(NAME, GROUP))), ["S1"]);
  ok("a service is created, found, changed where its etag is known, and its keys listed");
}

async function certificatesLive() {
  const certificates = client.dpsCertificate;
  const pem = readFileSync(scene.deviceCa, "utf8");
  const der = Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64");
  const made = await certificates.createOrUpdate(GROUP, NAME, "devices", { properties: { certificate: der } });
  assert.equal(made.properties.isVerified, false);
  assert.ok(made.properties.expiry instanceof Date && made.properties.thumbprint, JSON.stringify(made));
  assert.deepEqual(names((await certificates.list(GROUP, NAME)).value), ["devices"]);
  const code = await certificates.generateVerificationCode("devices", made.etag, GROUP, NAME);
  assert.ok(code.properties.verificationCode);
  await refused(412, null, () => certificates.delete(GROUP, made.etag, NAME, "devices"));
  await certificates.delete(GROUP, code.etag, NAME, "devices");
  await refused(404, null, () => certificates.get("devices", GROUP, NAME));
  ok("a certificate is stored, asked for proof and deleted");
}

async function connectionsLive() {
  const resources = await services.listPrivateLinkResources(GROUP, NAME);
  assert.equal(resources.value[0].properties.groupId, "iotDps");
  const properties = { privateLinkServiceConnectionState: { status: "Approved", description: "said so" } };
  await services.beginCreateOrUpdatePrivateEndpointConnectionAndWait(GROUP, NAME, "from-peers", { properties }, wait);
  const { body, ...listed } = await services.listPrivateEndpointConnections(GROUP, NAME);
  assert.ok(JSON.stringify([body, listed]).includes("from-peers"));
  await services.beginDeletePrivateEndpointConnectionAndWait(GROUP, NAME, "from-peers", wait);
  ok("a private endpoint connection is approved and deleted");
}

async function main() {
  await serviceLives();
  await certificatesLive();
  await connectionsLive();
  await services.beginDeleteAndWait(NAME, GROUP, wait);
  await refused(404, "ResourceNotFound", () => services.get(NAME, GROUP));
  ok("a service is deleted");
}

run(main, 80);
