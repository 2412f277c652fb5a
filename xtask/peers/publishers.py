"""azure-eventgrid publishes to the router's ingress instead of to Event Grid: only its URL changes."""

import datetime
import json
import time
import uuid

import adt
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas

WAIT_SECONDS_MAX = 20

scene = adt.scene()
endpoint = scene["ingress"] + "/api/events"
topic = scene["eventGridTopics"][0]
run = uuid.uuid4().hex


def publisher(credential):
    return EventGridPublisherClient(endpoint, credential, retry_total=0)


def signature(hours):
    expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
    return AzureSasCredential(generate_sas(endpoint, scene["accessKey"], expiry))


def arrived(count):
    """The events of this run by the end of their ids, once there are so many."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        events = [one["event"] for one in json.loads(adt.get_text(topic["events"]))["events"]]
        events = {one["id"].removeprefix(run): one for one in events if one["id"].startswith(run)}
        if len(events) >= count or time.monotonic() > end:
            assert len(events) == count, sorted(events)
            return events
        time.sleep(0.05)


def cloud_event(name, data, **more):
    return CloudEvent(source="/twins", type="t", id=run + name, data=data, **more)


def refused(name, credential):
    try:
        publisher(credential).send(cloud_event("-refused", {}))
    except ClientAuthenticationError as error:
        assert error.status_code == 401, error
        adt.ok(name)
    else:
        raise AssertionError(f"{name}: it was taken")


def main():
    by_key = publisher(AzureKeyCredential(scene["accessKey"]))
    by_key.send(cloud_event("-one", {"n": 1}, subject="room1", extensions={"traceparent": "00-x"}))
    by_key.send([cloud_event("-raw", b"\x00\xff"), cloud_event("-text", "plain")])
    by_key.send([EventGridEvent(subject="room2", event_type="classic", data_version="2",
                                data={"n": 2}, id=run + "-classic")])
    publisher(signature(1)).send(cloud_event("-signed", None))
    events = arrived(5)
    one = events["-one"]
    assert (one["data"], one["subject"], one["traceparent"]) == ({"n": 1}, "room1", "00-x"), one
    assert one["source"] == "/twins" and one["type"] == "t", one
    assert events["-raw"]["data_base64"] == "AP8=", events["-raw"]
    assert events["-text"]["data"] == "plain", events["-text"]
    adt.ok("CloudEvents with a key and with a signature")
    classic = events["-classic"]
    assert (classic["type"], classic["subject"]) == ("classic", "room2"), classic
    assert classic["data"] == {"n": 2} and classic["dataversion"] == "2", classic
    adt.ok("Event Grid events")
    refused("a wrong key is refused", AzureKeyCredential("d3Jvbmc="))
    refused("an expired signature is refused", signature(-1))
    arrived(5)


adt.run_check(main, seconds_max=50)
