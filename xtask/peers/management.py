"""azure-mgmt-digitaltwins and azure-digitaltwins-core lead whole lives of instances, endpoints, event routes
and connections."""

import adt
import arm
from azure.digitaltwins.core import DigitalTwinsClient, DigitalTwinsEventRoute
from azure.digitaltwins.core._generated.models import EventRoutesListOptions
from azure.mgmt.digitaltwins import AzureDigitalTwinsManagementClient
from azure.mgmt.digitaltwins import models as m

GROUP = "peers-rg"
NAME = "peers-python"
USER = (f"/subscriptions/{arm.SUBSCRIPTION}/resourceGroups/ids/providers/"
        "Microsoft.ManagedIdentity/userAssignedIdentities/twins")
KEY = "a2V5LXRoYXQtbm9ib2R5LW1heS1zZWU="
NAMESPACE = "sb://contoso.servicebus.windows.net/"

client = AzureDigitalTwinsManagementClient(
    subscription_id=arm.SUBSCRIPTION, base_url=arm.scene["base"], **arm.options())
instances = client.digital_twins
endpoints = client.digital_twins_endpoint


def connection_string(entity):
    return f"Endpoint={NAMESPACE};SharedAccessKeyName=send;SharedAccessKey={KEY};EntityPath={entity}"


def instance_lives():
    request = m.CheckNameRequest(name=NAME, type="Microsoft.DigitalTwins/digitalTwinsInstances")
    free = instances.check_name_availability("westus2", request)
    assert free.name_available, free
    arm.refused(404, "ResourceGroupNotFound", instances.get, GROUP, NAME)
    arm.refused(400, "LocationRequired", instances.begin_create_or_update, GROUP, NAME,
                b'{"tags":{}}', content_type="application/json")
    wanted = m.DigitalTwinsDescription(
        location="West US 2", tags={"stage": "test"},
        identity=m.DigitalTwinsIdentity(type="SystemAssigned,UserAssigned",
                                        user_assigned_identities={USER: m.UserAssignedIdentity()}))
    poller = instances.begin_create_or_update(GROUP, NAME, wanted)
    made = poller.result()
    assert poller.status() == "Succeeded", poller.status()
    assert (made.name, made.location, made.tags) == (NAME, "westus2", {"stage": "test"}), made
    assert made.provisioning_state == "Succeeded" and made.host_name, made
    assert made.created_time and made.system_data.created_at, made
    assert made.identity.principal_id and made.identity.tenant_id, made.identity
    assert made.identity.user_assigned_identities[USER].client_id, made.identity
    taken = instances.check_name_availability("westus2", request)
    assert (taken.name_available, taken.reason) == (False, "AlreadyExists"), taken
    assert NAME in arm.names(instances.list()), "list"
    assert NAME in arm.names(instances.list_by_resource_group(GROUP.upper())), "list_by_resource_group"
    adt.ok("an instance is created, found and its name taken")

    patch = m.DigitalTwinsPatchDescription(tags={"stage": "live"})
    patched = instances.begin_update(GROUP, NAME, patch).result()
    assert patched.tags == {"stage": "live"} and patched.identity.principal_id, patched
    patch = m.DigitalTwinsPatchDescription(
        identity=m.DigitalTwinsIdentity(type="None"),
        properties=m.DigitalTwinsPatchProperties(public_network_access="Disabled"))
    patched = instances.begin_update(GROUP, NAME, patch).result()
    assert patched.identity is None and patched.public_network_access == "Disabled", patched
    assert patched.tags == {"stage": "live"}, patched.tags
    adt.ok("an instance is patched")

    elsewhere = m.DigitalTwinsDescription(location="eastus")
    arm.refused(409, "InvalidResourceLocation", instances.begin_create_or_update, GROUP, NAME, elsewhere)
    arm.refused(400, "InvalidResourceName", instances.begin_create_or_update, GROUP, "-x-", elsewhere)
    error = arm.refused(404, "ResourceNotFound", instances.get, GROUP, "nobody-knows")
    assert "nobody-knows" in error.error.message, error.error.message
    adt.ok("mistakes are told with their codes")
    return made


def endpoint(properties):
    return m.DigitalTwinsEndpointResource(properties=properties)


def endpoints_live():
    def put(name, properties):
        return endpoints.begin_create_or_update(GROUP, NAME, name, endpoint(properties)).result()

    secret = "https://contoso.blob.core.windows.net/letters?sv=2021-08-06&sr=c&sp=rw&se=2099-01-01T00:00:00Z&sig=c2ln"
    hub = put("hub", m.EventHub(connection_string_primary_key=connection_string("hub"),
                                connection_string_secondary_key=connection_string("hub"),
                                dead_letter_secret=secret))
    assert hub.properties.provisioning_state == "Succeeded", hub.properties
    assert hub.properties.authentication_type == "KeyBased", hub.properties
    put("topic", m.ServiceBus(primary_connection_string=connection_string("topic")))
    put("grid", m.EventGrid(topic_endpoint="https://t.westus2-1.eventgrid.azure.net/api/events",
                            access_key1=KEY, access_key2=KEY))
    by_identity = m.EventHub(authentication_type="IdentityBased", endpoint_uri=NAMESPACE, entity_path="hub",
                             dead_letter_uri="https://contoso.blob.core.windows.net/letters",
                             identity=m.ManagedIdentityReference(type="UserAssigned", user_assigned_identity=USER))
    put("hub-by-identity", by_identity)
    found = put("topic-by-identity", m.ServiceBus(
        authentication_type="IdentityBased", endpoint_uri=NAMESPACE, entity_path="topic"))
    assert (found.properties.endpoint_uri, found.properties.entity_path) == (NAMESPACE, "topic"), found
    listed = list(endpoints.list(GROUP, NAME))
    expected = ["grid", "hub", "hub-by-identity", "topic", "topic-by-identity"]
    assert arm.names(listed) == expected, arm.names(listed)
    adt.ok("endpoints of all types are created and listed")

    seen = str([one.serialize(keep_readonly=True) for one in listed])
    assert KEY not in seen and "c2ln" not in seen, "a secret is shown"
    hub = endpoints.get(GROUP, NAME, "hub")
    assert "***" in hub.properties.connection_string_primary_key, hub.properties
    assert hub.properties.dead_letter_secret, "a secret that was given is shown as a mask"
    topic = endpoints.get(GROUP, NAME, "TOPIC")
    assert topic.properties.secondary_connection_string is None, "a secret that was not given is absent"
    again = endpoints.begin_create_or_update(GROUP, NAME, "hub", hub).result()
    assert "***" in again.properties.connection_string_primary_key, again.properties
    arm.refused(400, None, endpoints.begin_create_or_update, GROUP, NAME, "other", hub)
    arm.refused(400, None, endpoints.begin_create_or_update, GROUP, NAME, "hub", endpoint(by_identity))
    arm.refused(400, None, endpoints.begin_create_or_update, GROUP, NAME, "lame", endpoint(m.EventHub()))
    arm.refused(404, "ParentResourceNotFound", endpoints.begin_create_or_update, GROUP, "nobody-knows",
                "hub", endpoint(by_identity))
    adt.ok("what was read is written back; masks of nothing, changes of authentication and lame ones are refused")


def event_routes_live(host_name):
    routes = DigitalTwinsClient(arm.url(host_name), **arm.options())
    # Closed to public networks since it was patched; the management API is not.
    arm.refused(403, "PublicNetworkAccessDisabled", routes.get_event_route, "route-0")
    opened = m.DigitalTwinsPatchDescription(
        properties=m.DigitalTwinsPatchProperties(public_network_access="Enabled"))
    instances.begin_update(GROUP, NAME, opened).result()
    arm.refused(404, "EventRouteNotFound", routes.get_event_route, "route-0")
    adt.ok("an instance that is closed to public networks refuses, and opens at once")
    for number in range(5):
        route = DigitalTwinsEventRoute(endpoint_name="hub", filter=f"$body.number = {number}")
        routes.upsert_event_route(f"route-{number}", route)
    options = EventRoutesListOptions(max_items_per_page=2)
    pages = [[route.id for route in page] for page in
             routes.list_event_routes(event_routes_list_options=options).by_page()]
    pages = [page for page in pages if page]
    assert pages == [["route-0", "route-1"], ["route-2", "route-3"], ["route-4"]], pages
    replaced = DigitalTwinsEventRoute(endpoint_name="topic", filter="type = 'microsoft.iot.telemetry'")
    routes.upsert_event_route("route-0", replaced)
    found = routes.get_event_route("route-0")
    assert (found.id, found.endpoint_name) == ("route-0", "topic"), found
    assert found.filter == replaced.filter, found.filter
    adt.ok("event routes are created, listed in pages and replaced")

    wrong = DigitalTwinsEventRoute(endpoint_name="hub", filter="type = 'a' AND AND true")
    error = arm.refused(400, "EventRouteFilterInvalid", routes.upsert_event_route, "wrong", wrong)
    assert "Position=16" in str(error), error
    nowhere = DigitalTwinsEventRoute(endpoint_name="nowhere", filter="true")
    arm.refused(400, "EventRouteEndpointInvalid", routes.upsert_event_route, "wrong", nowhere)
    arm.refused(404, "EventRouteNotFound", routes.get_event_route, "wrong")
    arm.refused(404, "EventRouteNotFound", routes.delete_event_route, "ROUTE-0")
    error = arm.refused(409, "Conflict", endpoints.begin_delete, GROUP, NAME, "hub")
    assert "route-1" in str(error), error
    for number in range(5):
        routes.delete_event_route(f"route-{number}")
    assert not list(routes.list_event_routes()), "routes are left"
    endpoints.begin_delete(GROUP, NAME, "hub").result()
    arm.refused(404, "ResourceNotFound", endpoints.get, GROUP, NAME, "hub")
    endpoints.begin_delete(GROUP, NAME, "hub").result()
    adt.ok("wrong routes are refused, endpoints in use kept, and all deleted")


def connections_live():
    resources = client.private_link_resources.list(GROUP, NAME).value
    one = client.private_link_resources.get(GROUP, NAME, resources[0].name)
    assert one.properties.group_id == resources[0].properties.group_id == "API", one
    connections = client.private_endpoint_connections
    for status in ["Pending", "Approved", "Rejected"]:
        state = m.ConnectionPropertiesPrivateLinkServiceConnectionState(status=status, description="said so")
        wanted = m.PrivateEndpointConnection(
            properties=m.ConnectionProperties(private_link_service_connection_state=state))
        found = connections.begin_create_or_update(GROUP, NAME, "from-peers", wanted).result()
        found = found.properties.private_link_service_connection_state
        assert found.status == status, found
    assert arm.names(connections.list(GROUP, NAME).value) == ["from-peers"], "list"
    shown = instances.get(GROUP, NAME).private_endpoint_connections
    assert arm.names(shown) == ["from-peers"], shown
    connections.begin_delete(GROUP, NAME, "from-peers").result()
    arm.refused(404, "ResourceNotFound", connections.get, GROUP, NAME, "from-peers")
    adt.ok("private endpoint connections are approved, rejected and deleted")

    series = client.time_series_database_connections
    below = f"/subscriptions/{arm.SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
    wanted = m.TimeSeriesDatabaseConnection(properties=m.AzureDataExplorerConnectionProperties(
        adx_endpoint_uri="https://c.westus2.kusto.windows.net", adx_database_name="twins",
        adx_resource_id=f"{below}/Microsoft.Kusto/clusters/c", event_hub_endpoint_uri=NAMESPACE,
        event_hub_entity_path="hub", event_hub_namespace_resource_id=f"{below}/Microsoft.EventHub/namespaces/n"))
    made = series.begin_create_or_update(GROUP, NAME, "history", wanted).result().properties
    assert (made.adx_table_name, made.event_hub_consumer_group) == ("AdtPropertyEvents", "$Default"), made
    assert arm.names(series.list(GROUP, NAME)) == ["history"], "list"
    series.begin_delete(GROUP, NAME, "history", cleanup_connection_artifacts="true").result()
    arm.refused(404, "ResourceNotFound", series.get, GROUP, NAME, "history")
    adt.ok("time series connections are created and deleted")


def main():
    operations = {operation.name for operation in client.operations.list()}
    assert "Microsoft.DigitalTwins/digitalTwinsInstances/write" in operations, operations
    made = instance_lives()
    endpoints_live()
    event_routes_live(made.host_name)
    connections_live()
    instances.begin_delete(GROUP, NAME).result()
    arm.refused(404, "ResourceNotFound", instances.get, GROUP, NAME)
    instances.begin_delete(GROUP, NAME).result()
    arm.refused(404, None, endpoints.get, GROUP, NAME, "topic")
    adt.ok("an instance is deleted with what belongs to it")


adt.run_check(main, seconds_max=100)
