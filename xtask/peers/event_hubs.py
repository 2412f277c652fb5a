"""azure-eventhub against the Event Hubs stand-in.

Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one line
`ok <name>` per passed check; ends with 1 and a reason on the first failure.
"""

import json
import logging
import os
import sys
import threading
import time
import uuid

from azure.eventhub import (
    EventData,
    EventHubConsumerClient,
    EventHubProducerClient,
    TransportType,
)
from azure.eventhub.exceptions import EventHubError

RUN_SECONDS_MAX = 120
WAIT_SECONDS_MAX = 20

addresses = json.loads(os.environ.get("TWINROUTE_EMULATOR") or sys.argv[1])
hub = addresses["hub"]
# The client logs the errors that these checks provoke.
logging.getLogger("azure").setLevel(logging.CRITICAL)
run = uuid.uuid4().hex
over = {}
if "websocket" in addresses:
    over = {
        "transport_type": TransportType.AmqpOverWebsocket,
        "custom_endpoint_address": f"sb://{addresses['websocket']}",
    }


def ok(name):
    print(f"ok event_hubs.py {name}", flush=True)


def producer(**options):
    return EventHubProducerClient.from_connection_string(
        hub["connectionString"], retry_total=0, **over, **options
    )


def of_this_run(event):
    properties = {text(name): text(value) for name, value in (event.properties or {}).items()}
    return properties.get("run") == run


def receive(partition, wanted=None, last=None, contexts=None, **options):
    """Reads a partition from its start, with receive_batch, until `wanted(events)` holds or the
    sequence number `last` has been seen. Events of earlier runs are left out."""
    events, done = [], threading.Event()
    options.setdefault("starting_position", "-1")
    consumer = EventHubConsumerClient.from_connection_string(
        hub["connectionString"], consumer_group="$Default", retry_total=0, **over
    )

    def on_batch(context, batch):
        if contexts is not None:
            contexts.append(context)
        events.extend(event for event in batch if of_this_run(event))
        if wanted and wanted(events):
            done.set()
        if last is not None and any(event.sequence_number >= last for event in batch):
            done.set()

    errors = []
    thread = threading.Thread(
        target=consumer.receive_batch,
        kwargs={
            "on_event_batch": on_batch,
            "on_error": lambda _context, error: errors.append(error),
            "partition_id": partition,
            "max_wait_time": 0.2,
            **options,
        },
        daemon=True,
    )
    thread.start()
    in_time = done.wait(WAIT_SECONDS_MAX)
    consumer.close()
    thread.join(5)
    assert in_time, f"partition {partition}: got {len(events)} events, errors {errors}"
    return events


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def event(body, **properties):
    data = EventData(body)
    data.properties = {"run": run, **properties}
    return data


def management():
    with producer() as client:
        properties = client.get_eventhub_properties()
        assert properties["eventhub_name"] == hub["name"], properties
        assert properties["partition_ids"] == ["0", "1", "2", "3"], properties
        partition = client.get_partition_properties("0")
        assert partition["id"] == "0" and "last_enqueued_sequence_number" in partition, partition
    ok("management")


def single_and_batch():
    with producer() as client:
        one = event(b'{"n":0}', **{"cloudEvents:type": "t", "number": 5})
        one.content_type = "application/json"
        one.message_id = "m-0"
        client.send_event(one, partition_id="1")
        ok("send_event")
        batch = client.create_batch(partition_id="1")
        for number in range(1, 101):
            batch.add(event(json.dumps({"n": number})))
        client.send_batch(batch)
        ok("send_batch")
    events = receive("1", lambda seen: len(seen) >= 101)
    assert [event.body_as_json()["n"] for event in events] == list(range(101))
    first = events[0]
    assert first.content_type == "application/json", first
    assert first.message_id == "m-0", first
    properties = {text(name): text(value) for name, value in first.properties.items()}
    assert properties == {"run": run, "cloudEvents:type": "t", "number": 5}, properties
    sequences = [event.sequence_number for event in events]
    assert sequences == list(range(sequences[0], sequences[0] + 101)), sequences
    assert all(event.offset is not None and event.enqueued_time for event in events)
    ok("receive_batch from the start")
    tail = receive("1", lambda seen: len(seen) >= 50, starting_position=sequences[50])
    assert tail[0].sequence_number == sequences[51]
    ok("receive_batch after a sequence number")
    tail = receive("1", lambda seen: len(seen) >= 50, starting_position=events[50].offset,
                   starting_position_inclusive=True)
    assert tail[0].sequence_number == sequences[50]
    ok("receive_batch from an offset")
    tail = receive("1", lambda seen: len(seen) >= 101, starting_position=first.enqueued_time,
                   starting_position_inclusive=True)
    assert tail[0].sequence_number == sequences[0]
    ok("receive_batch from a time")


def partition_key():
    with producer() as client:
        for number in range(3):
            client.send_event(event(str(number), part="key"), partition_key="twin-1")
        places = {}
        for partition in ("0", "1", "2", "3"):
            last = client.get_partition_properties(partition)["last_enqueued_sequence_number"]
            places[partition] = last
    holders = []
    for partition, last in places.items():
        if last < 0:
            continue
        seen = receive(partition, last=last)
        keyed = [event for event in seen if text(event.partition_key) == "twin-1"]
        if keyed:
            holders.append((partition, [event.body_as_str() for event in keyed]))
    assert [bodies for _, bodies in holders] == [["0", "1", "2"]], holders
    ok("partition key")


def large_event():
    body = os.urandom(300_000)
    with producer() as client:
        client.send_event(event(body), partition_id="2")
    seen = receive("2", lambda events: any(len(b"".join(e.body)) == len(body) for e in events))
    assert any(b"".join(event.body) == body for event in seen)
    ok("an event of many frames")


def last_enqueued():
    with producer() as client:
        last = client.get_partition_properties("1")["last_enqueued_sequence_number"]
    contexts = []
    receive("1", last=last, contexts=contexts, track_last_enqueued_event_properties=True)
    told = contexts[-1].last_enqueued_event_properties
    assert told["sequence_number"] == last and told["offset"] and told["enqueued_time"], told
    ok("last enqueued event properties")


def many():
    count = 5_000
    started = time.monotonic()
    with producer() as client:
        batch = client.create_batch(partition_id="3")
        for number in range(count):
            data = event(str(number), many="1")
            try:
                batch.add(data)
            except ValueError:
                client.send_batch(batch)
                batch = client.create_batch(partition_id="3")
                batch.add(data)
        client.send_batch(batch)
    sent = time.monotonic() - started

    def ours(events):
        return [e for e in events if any(text(k) == "many" for k in e.properties)]

    seen = ours(receive("3", lambda events: len(ours(events)) >= count))
    assert [event.body_as_str() for event in seen] == [str(number) for number in range(count)]
    print(f"   {count} events: sent in {sent:.1f} s, all in {time.monotonic() - started:.1f} s")
    ok("5000 events in order")


def epoch():
    stolen = threading.Event()
    clients = []

    def start(level, on_error):
        client = EventHubConsumerClient.from_connection_string(
            hub["connectionString"], consumer_group="$Default", retry_total=0, **over
        )
        clients.append(client)
        threading.Thread(
            target=client.receive_batch,
            kwargs={"on_event_batch": lambda *_: ready.set(), "on_error": on_error,
                    "partition_id": "0", "owner_level": level, "max_wait_time": 0.2,
                    "starting_position": "-1"},
            daemon=True,
        ).start()

    ready = threading.Event()
    start(1, lambda _context, error: stolen.set() if "stolen" in str(error) else None)
    assert ready.wait(WAIT_SECONDS_MAX)
    start(2, lambda *_: None)
    assert stolen.wait(WAIT_SECONDS_MAX), "the older reader was not disconnected"
    for client in clients:
        client.close()
    ok("a higher epoch steals")


def refused():
    wrong = hub["connectionString"].replace("SharedAccessKey=", "SharedAccessKey=x")
    client = EventHubProducerClient.from_connection_string(wrong, retry_total=0, **over)
    try:
        client.send_event(EventData("x"))
        raise AssertionError("a wrong key was taken")
    except EventHubError as error:
        assert "auth" in str(error).lower(), error
    finally:
        client.close()
    ok("a wrong key is refused")
    absent = hub["connectionString"].replace(f"EntityPath={hub['name']}", "EntityPath=absent")
    client = EventHubProducerClient.from_connection_string(absent, retry_total=0, **over)
    try:
        client.send_event(EventData("x"))
        raise AssertionError("an absent hub was taken")
    except EventHubError as error:
        assert "not" in str(error).lower(), error
    finally:
        client.close()
    ok("an absent hub is refused")


def main():
    for check in (
        management,
        single_and_batch,
        last_enqueued,
        partition_key,
        large_event,
        many,
        epoch,
        refused,
    ):
        check()


def give_up():
    print("timed out", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    watchdog = threading.Timer(RUN_SECONDS_MAX, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        main()
    except BaseException as error:  # every failure is told with its reason
        print(f"failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
