"""Reads with the Azure clients all that the emulator holds now, and leaves the ids of the events per
endpoint in the file that the scene names."""

import json
import threading

import adt
from azure.eventhub import EventHubConsumerClient
from azure.servicebus import ServiceBusClient, ServiceBusReceiveMode

WAIT_SECONDS_MAX = 30

scene = adt.scene()
hub, topic, grid = (scene[kind][0] for kind in ("hubs", "topics", "eventGridTopics"))


def event_id(properties):
    return adt.text(properties[b"cloudEvents:id"])


def event_hub():
    """Reads every partition up to what is its last event when this begins."""
    ids, done = [], threading.Event()
    consumer = EventHubConsumerClient.from_connection_string(
        hub["connectionString"], consumer_group="$Default", retry_total=0
    )
    last = {}
    for partition in consumer.get_partition_ids():
        about = consumer.get_partition_properties(partition)
        if not about["is_empty"]:
            last[partition] = about["last_enqueued_sequence_number"]
    if not last:
        consumer.close()
        return ids

    def on_batch(context, batch):
        ids.extend(event_id(event.properties) for event in batch)
        partition = context.partition_id
        if batch and batch[-1].sequence_number >= last.get(partition, -1):
            last.pop(partition, None)
        if not last:
            done.set()

    threading.Thread(
        target=consumer.receive_batch,
        kwargs={"on_event_batch": on_batch, "starting_position": "-1", "max_wait_time": 0.5},
        daemon=True,
    ).start()
    assert done.wait(WAIT_SECONDS_MAX), f"partitions not read to their end: {last}"
    consumer.close()
    return ids


def service_bus():
    ids = []
    with ServiceBusClient.from_connection_string(topic["connectionString"], retry_total=0) as client:
        mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
        with client.get_subscription_receiver(topic["name"], "python", receive_mode=mode) as receiver:
            while batch := receiver.receive_messages(max_message_count=500, max_wait_time=1):
                ids += [event_id(message.application_properties) for message in batch]
    return ids


def event_grid():
    return [one["event"]["id"] for one in json.loads(adt.get_text(grid["events"]))["events"]]


def main():
    arrived = {"hub": event_hub(), "topic": service_bus(), "grid": event_grid()}
    with open(scene["arrived"], "w", encoding="utf-8") as file:
        json.dump(arrived, file)
    adt.ok(", ".join(f"{name} {len(ids)}" for name, ids in arrived.items()))


adt.run_check(main, seconds_max=60)
