"""The events that checks post, and small things that all checks in Python need."""

import base64
import hashlib
import http.client
import json
import os
import sys
import threading
import urllib.parse
import urllib.request

HOST = "peers.api.weu.digitaltwins.azure.net"
ANSWER_SECONDS_MAX = 30


def scene():
    """What `cargo xtask peers` tells a check."""
    return json.loads(os.environ.get("TWINROUTE_EMULATOR") or sys.argv[1])


def run_check(main, seconds_max):
    """Runs `main` with a time limit; a failure is told with its reason. Never returns: the
    clients leave threads behind that would keep the process."""

    def timed_out():
        print(f"timed out after {seconds_max} s", flush=True)
        os._exit(1)

    watchdog = threading.Timer(seconds_max, timed_out)
    watchdog.daemon = True
    watchdog.start()
    try:
        main()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)
    os._exit(0)


def ok(name):
    print(f"ok {os.path.basename(sys.argv[0])} {name}", flush=True)


def event(kind, number, twin, data, subject=None, dataschema=None, **more):
    """An event with its payload as text, which must arrive as it is."""
    telemetry = kind == "microsoft.iot.telemetry"
    attributes = {
        "specversion": "1.0",
        "id": f"peers-{number:04}",
        "type": kind,
        "source": f"{HOST}/digitaltwins/{twin}" if telemetry else HOST,
        "datacontenttype": "application/json",
        "traceparent": f"00-2aa957558db348f387ef704b{number:08x}-723b3f49efd2e445-01",
    }
    if not telemetry:
        attributes["time"] = "2021-12-09T20:28:53.2016395Z"
        attributes["subject"] = subject or twin
    if dataschema:
        attributes["dataschema"] = dataschema
    attributes.update(more)
    return {"attributes": attributes, "data": data, "twin": twin, "key": bucket(HOST, twin)}


def adt_events(rounds):
    """All seven types of Azure Digital Twins, with payloads that a JSON round trip would change:
    trailing zeros, integers beyond 64 bits, keys out of order and twice, spaces, escapes."""
    events = []
    for turn in range(rounds):
        twin = f"room{turn % 40}"
        edge = f"{twin}/relationships/contains-{turn}"
        body = f'{{"modelId":"dtmi:example:Room;1","patch":[{{"value":1.10,"path":"/t{turn}","op":"replace"}}]}}'
        lifecycle = f'{{ "$dtId" : "{twin}", "z":1, "a":2, "z":3, "big":123456789012345678901234567890,\n"n":{turn} }}'
        relation = f'{{"$relationshipId":"contains-{turn}","$etag":"W/\\"\\u00e9\\"","e":1E+2,"weight":-0.0}}'
        reading = f'{{"temperature":{20 + turn % 9}.50,"name":"Z\u00fcrich \U0001f321","wide":1.000000000000000000001}}'
        prefix = "Microsoft.DigitalTwins."
        at = turn * 7
        events += [
            event(prefix + "Twin.Create", at, twin, lifecycle),
            event(prefix + "Twin.Update", at + 1, twin, body),
            event(prefix + "Twin.Delete", at + 2, twin, lifecycle),
            event(prefix + "Relationship.Create", at + 3, twin, relation, edge),
            event(prefix + "Relationship.Update", at + 4, twin, body, edge),
            event(prefix + "Relationship.Delete", at + 5, twin, relation, edge),
            event("microsoft.iot.telemetry", at + 6, twin, reading,
                  dataschema="dtmi:example:Room;1"),
        ]
    return events


def structured(one):
    """CloudEvents JSON format, with the payload's text as it is."""
    head = json.dumps(one["attributes"])
    return f'{head[:-1]},"data":{one["data"]}}}'


class Ingress:
    """One connection to the router's ingress."""

    def __init__(self, url):
        address = urllib.parse.urlsplit(url).netloc
        self.connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS_MAX)

    def post(self, body, headers, path="/events"):
        self.connection.request("POST", path, body.encode(), headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        assert answer.status in (200, 202, 204), f"{answer.status}: {text}"

    def post_one(self, one, **headers):
        self.post(structured(one), {"content-type": "application/cloudevents+json", **headers})

    def post_batch(self, events, **headers):
        body = "[" + ",".join(map(structured, events)) + "]"
        self.post(body, {"content-type": "application/cloudevents-batch+json", **headers})

    def post_binary(self, one, **headers):
        attributes = dict(one["attributes"])
        headers["content-type"] = attributes.pop("datacontenttype")
        headers.update({f"ce-{name}": value for name, value in attributes.items()})
        self.post(one["data"], headers)


def message_id(attributes):
    digest = hashlib.sha256(f"{attributes['source']}\0{attributes['id']}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def bucket_of(key):
    """The bucket that a partition key is of: its number stands before the part that the hash was chosen by."""
    return key.split("-")[0]


def bucket(host, twin):
    """The bucket of a twin: FNV-1a of host and twin, mixed as MurmurHash3 does, one of 32."""
    value = 0xCBF29CE484222325
    for byte in host.encode() + b"\0" + twin.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD % 2**64
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 % 2**64
    return str((value ^ value >> 33) % 32)


def application_properties(attributes):
    """What the AMQP binding makes of attributes; `datacontenttype` is the content type. The event's trace goes on under
    the names that Azure's clients read."""
    properties = {
        f"cloudEvents:{name}": value
        for name, value in attributes.items() if name != "datacontenttype"
    }
    if "traceparent" in attributes:
        properties["traceparent"] = properties["Diagnostic-Id"] = attributes["traceparent"]
    return properties


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def get_text(url):
    with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as answer:
        return answer.read().decode()
