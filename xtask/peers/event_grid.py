"""azure-eventgrid against the Event Grid stand-in.

Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one line
`ok <name>` per passed check; ends with 1 and a reason on the first failure.
"""

import datetime
import json
import os
import sys
import threading
import urllib.request
import uuid

from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas

RUN_SECONDS_MAX = 60

addresses = json.loads(os.environ.get("TWINROUTE_EMULATOR") or sys.argv[1])
cloud = addresses["cloudEventsTopic"]
classic = addresses["eventGridTopic"]
run = uuid.uuid4().hex


def ok(name):
    print(f"ok event_grid.py {name}", flush=True)


def publisher(topic, credential=None):
    credential = credential or AzureKeyCredential(topic["key"])
    return EventGridPublisherClient(topic["endpoint"], credential, retry_total=0)


def received(topic):
    address = f"{addresses['http']}/events?topic={topic['name']}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        events = json.load(answer)["events"]
    return [one["event"] for one in events if run in one["event"]["id"]]


def cloud_events():
    with publisher(cloud) as client:
        client.send(CloudEvent(source="/twins", type="t", id=f"{run}-0", data={"n": 0},
                               extensions={"traceparent": "00-x"}))
        ok("one CloudEvent")
        client.send([CloudEvent(source="/twins", type="t", id=f"{run}-{n}", data=b"raw")
                     for n in (1, 2)])
        ok("a list of CloudEvents")
    events = received(cloud)
    assert [event["id"] for event in events] == [f"{run}-{n}" for n in range(3)], events
    assert events[0]["data"] == {"n": 0} and events[0]["traceparent"] == "00-x", events[0]
    assert events[1]["data_base64"] == "cmF3", events[1]
    ok("CloudEvents are read back")


def classic_events():
    with publisher(classic) as client:
        client.send([EventGridEvent(subject="s", event_type="t", data={"n": n},
                                    data_version="1", id=f"{run}-{n}") for n in range(2)])
    events = received(classic)
    assert [event["id"] for event in events] == [f"{run}-0", f"{run}-1"], events
    assert events[1]["data"] == {"n": 1} and events[1]["eventType"] == "t", events
    ok("Event Grid events")


def sas():
    expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    token = generate_sas(cloud["endpoint"], cloud["key"], expiry)
    with publisher(cloud, AzureSasCredential(token)) as client:
        client.send(CloudEvent(source="/twins", type="t", id=f"{run}-sas", data=1))
    assert received(cloud)[-1]["id"] == f"{run}-sas"
    ok("a shared access signature")
    late = generate_sas(cloud["endpoint"], cloud["key"], expiry - datetime.timedelta(hours=2))
    refused(publisher(cloud, AzureSasCredential(late)), 401, "an expired signature is refused")


def refused(client, status, name, size=1):
    try:
        client.send(CloudEvent(source="/twins", type="t", data="x" * size))
        raise AssertionError(f"{name}: it was taken")
    except HttpResponseError as error:
        # The client raises a new error without the response for an absent topic.
        assert error.status_code == status or isinstance(error, ResourceNotFoundError), error
        assert isinstance(error, ResourceNotFoundError) == (status == 404), error
        assert isinstance(error, ClientAuthenticationError) == (status == 401), error
    finally:
        client.close()
    ok(name)


def main():
    cloud_events()
    classic_events()
    sas()
    refused(publisher(cloud, AzureKeyCredential("d3Jvbmc=")), 401, "a wrong key is refused")
    refused(publisher(cloud), 413, "more than 1 MB is refused", 1024 * 1024)
    refused(publisher(classic), 400, "the wrong schema is refused")
    absent = dict(cloud, endpoint=f"{addresses['http']}/topics/absent/api/events")
    refused(publisher(absent), 404, "an absent topic is refused")


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
