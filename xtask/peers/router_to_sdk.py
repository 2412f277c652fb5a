"""Posts events of every type to the router and reads with the Azure clients what it sent.

Leaves what it expects in the file that the scene names, for `router_to_sdk.mjs`.
"""

import json
import threading
import time

import adt
from azure.eventhub import EventHubConsumerClient
from azure.servicebus import ServiceBusClient

ROUNDS = 30
WAIT_SECONDS_MAX = 30

scene = adt.scene()
hub, topic, grid = (scene[kind][0] for kind in ("hubs", "topics", "eventGridTopics"))


def post(events):
    """In all three content modes."""
    ingress = adt.Ingress(scene["ingress"])
    for one in events[:20]:
        ingress.post_one(one)
    for one in events[20:40]:
        ingress.post_binary(one)
    ingress.post_batch(events[40:])
    adt.ok(f"{len(events)} events posted")


def check_message(one, properties, content_type, body, name):
    attributes = one["attributes"]
    properties = {adt.text(key): adt.text(value) for key, value in properties.items()}
    assert properties == adt.application_properties(attributes), f"{name}: {properties}"
    assert adt.text(content_type) == attributes["datacontenttype"], f"{name}: {content_type}"
    assert body == one["data"].encode(), f"{name}: {body}"


def event_hub(by_id):
    events, done = [], threading.Event()
    consumer = EventHubConsumerClient.from_connection_string(
        hub["connectionString"], consumer_group="$Default", retry_total=0
    )
    partitions = consumer.get_partition_ids()
    assert len(partitions) == hub["partitions"], partitions

    def on_batch(context, batch):
        events.extend((context.partition_id, event) for event in batch)
        if len(events) >= len(by_id):
            done.set()

    thread = threading.Thread(
        target=consumer.receive_batch,
        kwargs={"on_event_batch": on_batch, "starting_position": "-1", "max_wait_time": 0.5},
        daemon=True,
    )
    thread.start()
    assert done.wait(WAIT_SECONDS_MAX), f"{len(events)} of {len(by_id)} events"
    # One more round, in which nothing may come any more.
    time.sleep(1)
    consumer.close()
    assert len(events) == len(by_id), len(events)
    partition_of, order = {}, {}
    for partition, event in events:
        one = by_id[adt.text(event.properties[b"cloudEvents:id"])]
        name = f"event hub, {one['attributes']['id']}"
        body = b"".join(event.body)
        check_message(one, event.properties, event.content_type, body, name)
        assert adt.bucket_of(adt.text(event.partition_key)) == one["key"], f"{name}: {event.partition_key}"
        assert partition_of.setdefault(one["key"], partition) == partition, name
        order.setdefault(one["twin"], []).append(one["attributes"]["id"])
    assert len(set(partition_of.values())) == len(partitions), partition_of
    assert all(ids == sorted(ids) for ids in order.values()), "a twin's events changed places"
    adt.ok(f"event hub: {len(events)} events, in order per twin, over all partitions")


def service_bus(by_id):
    messages = []
    with ServiceBusClient.from_connection_string(topic["connectionString"], retry_total=0) as client:
        with client.get_subscription_receiver(topic["name"], "python") as receiver:
            end = time.monotonic() + WAIT_SECONDS_MAX
            while len(messages) < len(by_id) and time.monotonic() < end:
                for message in receiver.receive_messages(max_message_count=100, max_wait_time=2):
                    messages.append(message)
                    receiver.complete_message(message)
            assert not receiver.receive_messages(max_message_count=1, max_wait_time=1)
    assert len(messages) == len(by_id), len(messages)
    for message in messages:
        one = by_id[adt.text(message.application_properties[b"cloudEvents:id"])]
        name = f"subscription, {one['attributes']['id']}"
        body = b"".join(message.body)
        check_message(one, message.application_properties, message.content_type, body, name)
        expected = adt.message_id(one["attributes"])
        assert message.message_id == expected, f"{name}: {message.message_id}"
    adt.ok(f"subscription: {len(messages)} messages completed, with stable ids")


def event_grid(by_id):
    answer = adt.get_text(grid["events"])
    events = [one["event"] for one in json.loads(answer)["events"]]
    assert len(events) == len(by_id), len(events)
    for event in events:
        one = by_id[event["id"]]
        attributes = {name: value for name, value in event.items() if name != "data"}
        assert attributes == one["attributes"], f"topic: {attributes}"
        assert f'"data":{one["data"]}' in answer, f"topic: changed data of {one['attributes']['id']}"
    adt.ok(f"Event Grid topic: {len(events)} events")


def main():
    events = adt.adt_events(ROUNDS)
    for one in events:
        one["messageId"] = adt.message_id(one["attributes"])
    with open(scene["expectations"], "w", encoding="utf-8") as file:
        json.dump(events, file)
    by_id = {one["attributes"]["id"]: one for one in events}
    post(events)
    # Service Bus and Event Grid hold what has arrived; the hub's reader waits for all.
    event_hub(by_id)
    service_bus(by_id)
    event_grid(by_id)


adt.run_check(main, seconds_max=100)
