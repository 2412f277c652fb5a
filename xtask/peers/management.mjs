// @azure/arm-digitaltwins and @azure/digital-twins-core lead whole lives of instances, endpoints, event routes
// and connections.

import assert from "node:assert/strict";
import { AzureDigitalTwinsManagementClient } from "@azure/arm-digitaltwins";
import { DigitalTwinsClient } from "@azure/digital-twins-core";
import { SUBSCRIPTION, all, credential, names, ok, options, refused, run, wait } from "./arm.mjs";

const GROUP = "peers-rg";
const NAME = "peers-javascript";
const KEY = "a2V5LXRoYXQtbm9ib2R5LW1heS1zZWU=";
const NAMESPACE = "sb://contoso.servicebus.windows.net/";

const client = new AzureDigitalTwinsManagementClient(credential, SUBSCRIPTION, options);
const instances = client.digitalTwins;
const endpoints = client.digitalTwinsEndpoint;
const connectionString = (entity) =>
  `Endpoint=${NAMESPACE};SharedAccessKeyName=send;SharedAccessKey=${KEY};EntityPath=${entity}`;

async function instanceLives() {
  const asked = { name: NAME, type: "Microsoft.DigitalTwins/digitalTwinsInstances" };
  assert.equal((await instances.checkNameAvailability("westus2", asked)).nameAvailable, true);
  const wanted = { location: "westus2", tags: { stage: "test" }, identity: { type: "SystemAssigned" } };
  const made = await instances.beginCreateOrUpdateAndWait(GROUP, NAME, wanted, wait);
  assert.equal(made.provisioningState, "Succeeded");
  assert.deepEqual(made.tags, { stage: "test" });
  assert.ok(made.hostName && made.identity.principalId && made.createdTime instanceof Date, JSON.stringify(made));
  const taken = await instances.checkNameAvailability("westus2", asked);
  assert.deepEqual([taken.nameAvailable, taken.reason], [false, "AlreadyExists"]);
  assert.ok(names(await all(instances.list())).includes(NAME));
  assert.ok(names(await all(instances.listByResourceGroup(GROUP))).includes(NAME));
  const patch = { tags: { stage: "live" }, properties: { publicNetworkAccess: "Disabled" } };
  const patched = await instances.beginUpdateAndWait(GROUP, NAME, patch, wait);
  assert.deepEqual(patched.tags, { stage: "live" });
  assert.equal(patched.publicNetworkAccess, "Disabled");
  ok("an instance is created, found, patched and its name taken");
  const elsewhere = { location: "eastus" };
  await refused(409, "InvalidResourceLocation", () =>
    instances.beginCreateOrUpdateAndWait(GROUP, NAME, elsewhere, wait));
  await refused(404, "ResourceNotFound", () => instances.get(GROUP, "nobody-knows"));
  ok("mistakes are told with their codes");
  return made;
}

async function endpointsLive() {
  const put = (name, properties) =>
    endpoints.beginCreateOrUpdateAndWait(GROUP, NAME, name, { properties }, wait);
  const hub = await put("hub", { endpointType: "EventHub", connectionStringPrimaryKey: connectionString("hub") });
  assert.equal(hub.properties.provisioningState, "Succeeded");
  await put("topic", { endpointType: "ServiceBus", primaryConnectionString: connectionString("topic") });
  const topicEndpoint = "https://t.westus2-1.eventgrid.azure.net/api/events";
  const grid = await put("grid", { endpointType: "EventGrid", topicEndpoint, accessKey1: KEY });
  assert.equal(grid.properties.topicEndpoint, topicEndpoint);
  const byIdentity = {
    endpointType: "ServiceBus", authenticationType: "IdentityBased", endpointUri: NAMESPACE, entityPath: "topic",
  };
  await put("by-identity", byIdentity);
  const listed = await all(endpoints.list(GROUP, NAME));
  assert.deepEqual(names(listed), ["by-identity", "grid", "hub", "topic"]);
  assert.ok(!JSON.stringify(listed).includes(KEY), "a secret is shown");
  ok("endpoints of all types are created and listed");
  const masked = await endpoints.get(GROUP, NAME, "topic");
  assert.ok(masked.properties.primaryConnectionString.includes("***"));
  await put("topic", masked.properties);
  await refused(400, null, () => put("other", masked.properties));
  await refused(400, null, () => put("topic", byIdentity));
  await refused(400, null, () => put("lame", { endpointType: "EventHub" }));
  ok("what was read is written back; masks of nothing, changes of authentication and lame ones are refused");
}

async function eventRoutesLive(hostName) {
  const routes = new DigitalTwinsClient(`https://${hostName}`, credential);
  // Closed to public networks since it was patched; the management API is not.
  await refused(403, "PublicNetworkAccessDisabled", () => routes.getEventRoute("route-0"));
  const opened = { properties: { publicNetworkAccess: "Enabled" } };
  await instances.beginUpdateAndWait(GROUP, NAME, opened, wait);
  await refused(404, null, () => routes.getEventRoute("route-0"));
  ok("an instance that is closed to public networks refuses, and opens at once");
  for (let number = 0; number < 5; number += 1) {
    await routes.upsertEventRoute(`route-${number}`, "hub", `$body.number = ${number}`);
  }
  const pages = [];
  // What `listEventRoutes` is told of a page's size itself is not sent.
  for await (const page of routes.listEventRoutes().byPage({ maxPageSize: 2 })) pages.push(page);
  const ids = pages.map((page) => (page.value ?? page).map((route) => route.id)).filter((page) => page.length);
  assert.deepEqual(ids, [["route-0", "route-1"], ["route-2", "route-3"], ["route-4"]]);
  await routes.upsertEventRoute("route-0", "topic", "true");
  const found = await routes.getEventRoute("route-0");
  assert.deepEqual([found.id, found.endpointName, found.filter], ["route-0", "topic", "true"]);
  ok("event routes are created, listed in pages and replaced");
  const code = (error) => error.details?.error?.code ?? error.response?.parsedBody?.error?.code;
  const wrong = await refused(400, null, () => routes.upsertEventRoute("wrong", "hub", "type = 'a' AND AND true"));
  assert.ok(JSON.stringify([wrong.message, wrong.details, wrong.response?.bodyAsText]).includes("Position=16"), wrong);
  assert.equal(code(wrong), "EventRouteFilterInvalid");
  await refused(400, null, () => routes.upsertEventRoute("wrong", "nowhere", "true"));
  await refused(404, null, () => routes.getEventRoute("wrong"));
  await refused(409, "Conflict", () => endpoints.beginDeleteAndWait(GROUP, NAME, "hub", wait));
  for (let number = 0; number < 5; number += 1) await routes.deleteEventRoute(`route-${number}`);
  await endpoints.beginDeleteAndWait(GROUP, NAME, "hub", wait);
  await refused(404, "ResourceNotFound", () => endpoints.get(GROUP, NAME, "hub"));
  ok("wrong routes are refused, endpoints in use kept, and all deleted");
}

async function connectionsLive() {
  const resources = await client.privateLinkResources.list(GROUP, NAME);
  assert.equal(resources.value[0].properties.groupId, "API");
  const connections = client.privateEndpointConnections;
  for (const status of ["Approved", "Rejected"]) {
    const properties = { privateLinkServiceConnectionState: { status, description: "said so" } };
    const found = await connections.beginCreateOrUpdateAndWait(GROUP, NAME, "from-peers", { properties }, wait);
    assert.equal(found.properties.privateLinkServiceConnectionState.status, status);
  }
  await connections.beginDeleteAndWait(GROUP, NAME, "from-peers", wait);
  await refused(404, "ResourceNotFound", () => connections.get(GROUP, NAME, "from-peers"));
  const below = `/subscriptions/${SUBSCRIPTION}/resourceGroups/${GROUP}/providers`;
  const properties = {
    connectionType: "AzureDataExplorer", adxEndpointUri: "https://c.westus2.kusto.windows.net",
    adxDatabaseName: "twins", adxResourceId: `${below}/Microsoft.Kusto/clusters/c`,
    eventHubEndpointUri: NAMESPACE, eventHubEntityPath: "hub",
    eventHubNamespaceResourceId: `${below}/Microsoft.EventHub/namespaces/n`,
  };
  const series = client.timeSeriesDatabaseConnections;
  const made = await series.beginCreateOrUpdateAndWait(GROUP, NAME, "history", { properties }, wait);
  assert.equal(made.properties.adxTableName, "AdtPropertyEvents");
  await series.beginDeleteAndWait(GROUP, NAME, "history", wait);
  ok("private endpoint and time series connections are created and deleted");
}

async function main() {
  const made = await instanceLives();
  await endpointsLive();
  await eventRoutesLive(made.hostName);
  await connectionsLive();
  await instances.beginDeleteAndWait(GROUP, NAME, wait);
  await refused(404, "ResourceNotFound", () => instances.get(GROUP, NAME));
  ok("an instance is deleted");
}

run(main, 100);
