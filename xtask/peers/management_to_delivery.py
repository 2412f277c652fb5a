"""An instance, an endpoint and a route are put with the Azure clients; how long it takes from the endpoint's
PUT until an event is in the emulated event hub is told, and has a limit."""

import threading
import time

import adt
import arm
from azure.digitaltwins.core import DigitalTwinsClient, DigitalTwinsEventRoute
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.mgmt.digitaltwins import AzureDigitalTwinsManagementClient
from azure.mgmt.digitaltwins import models as m

GROUP = "peers-rg"
ROUNDS = 5
WANTED_SECONDS = 1.0
WAIT_SECONDS_MAX = 20
LOOK_EVERY_SECONDS = 0.01

scene = arm.scene
hub = scene["hubs"][0]
client = AzureDigitalTwinsManagementClient(
    subscription_id=arm.SUBSCRIPTION, base_url=scene["base"], **arm.options())
arrivals = {}
arrived = threading.Condition()


def read_hub():
    """A reader for each partition, and an event through each, so that no start of a reader is timed. With more
    than one event of credit the client holds events back as long as more of them come."""
    consumer = EventHubConsumerClient.from_connection_string(
        hub["connectionString"], consumer_group="$Default", retry_total=0)
    producer = EventHubProducerClient.from_connection_string(hub["connectionString"], retry_total=0)

    def on_event(_context, event):
        if event is not None:
            properties = {adt.text(name): adt.text(value) for name, value in event.properties.items()}
            with arrived:
                arrivals.setdefault(properties["cloudEvents:type"], time.monotonic())
                arrived.notify_all()

    for partition in consumer.get_partition_ids():
        threading.Thread(target=consumer.receive, daemon=True, kwargs={
            "on_event": on_event, "partition_id": partition, "starting_position": "-1",
            "prefetch": 1}).start()
        first = EventData(b"{}")
        first.properties = {"cloudEvents:type": f"first-{partition}"}
        producer.send_event(first, partition_id=partition)
        until(lambda kind=f"first-{partition}": kind in arrivals, f"partition {partition} is read")


def until(look, what):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not look():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(LOOK_EVERY_SECONDS)


def state(name):
    return client.digital_twins_endpoint.get(GROUP, scene["instance"], name).properties.provisioning_state


def one_round(number, routes, ingress):
    """Polls as fast as it may: the pollers of the client would wait a second at a time."""
    name, kind = f"hub-{number}", f"round-{number}"
    endpoint = m.DigitalTwinsEndpointResource(
        properties=m.EventHub(connection_string_primary_key=hub["connectionString"]))
    began = time.monotonic()
    client.digital_twins_endpoint.begin_create_or_update(GROUP, scene["instance"], name, endpoint, polling=False)
    until(lambda: state(name) == "Succeeded", f"{name} is {state(name)}")
    provisioned = time.monotonic()
    routes.upsert_event_route(name, DigitalTwinsEventRoute(endpoint_name=name, filter=f"type = '{kind}'"))
    routed = time.monotonic()
    posted = 0
    while kind not in arrivals:
        assert time.monotonic() - routed < WAIT_SECONDS_MAX, f"no event of {kind} arrived"
        ingress.post_one(adt.event(kind, number * 10_000 + posted, "room1", '{"n":1}'))
        posted += 1
        with arrived:
            arrived.wait_for(lambda: kind in arrivals, LOOK_EVERY_SECONDS)
    times = [provisioned - began, routed - began, arrivals[kind] - began]
    adt.ok(f"{name}: provisioned after {times[0] * 1000:.0f} ms, routed after {times[1] * 1000:.0f} ms, "
           f"first of {posted} events in the hub after {times[2] * 1000:.0f} ms")
    return times[2]


def main():
    read_hub()
    instance = m.DigitalTwinsDescription(location="westus2")
    made = client.digital_twins.begin_create_or_update(GROUP, scene["instance"], instance).result()
    routes = DigitalTwinsClient(arm.url(made.host_name), **arm.options())
    ingress = adt.Ingress(scene["ingress"])
    took = sorted(one_round(number, routes, ingress) for number in range(ROUNDS))
    adt.ok(f"from PUT to delivery: {[round(one * 1000) for one in took]} ms")
    middle = took[ROUNDS // 2]
    assert middle <= WANTED_SECONDS, f"the middle one of {ROUNDS} rounds took {middle:.2f} s"


adt.run_check(main, seconds_max=120)
