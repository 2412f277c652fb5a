"""Posts events to the router and reads with Qpid Proton's client what it sent to Proton's broker."""

import adt
from proton import Timeout
from proton.utils import BlockingConnection

ROUNDS = 20
WAIT_SECONDS_MAX = 20

scene = adt.scene()


def body_bytes(message):
    return bytes(message.body)


def main():
    events = adt.adt_events(ROUNDS)
    by_id = {one["attributes"]["id"]: one for one in events}
    ingress = adt.Ingress(scene["ingress"])
    ingress.post_one(events[0])
    ingress.post_batch(events[1:])
    adt.ok(f"{len(events)} events posted")
    connection = BlockingConnection(scene["broker"], timeout=WAIT_SECONDS_MAX)
    receiver = connection.create_receiver(scene["queue"], credit=len(events) + 1)
    order = {}
    for _ in events:
        # The broker sends settled: there is nothing to accept.
        message = receiver.receive(timeout=WAIT_SECONDS_MAX)
        one = by_id.pop(message.properties["cloudEvents:id"])
        attributes = one["attributes"]
        expected = adt.application_properties(attributes)
        assert dict(message.properties) == expected, message.properties
        assert message.content_type == attributes["datacontenttype"], message.content_type
        assert body_bytes(message) == one["data"].encode(), message.body
        key = dict(message.annotations or {}).get("x-opt-partition-key")
        assert adt.bucket_of(key) == one["key"], key
        order.setdefault(one["twin"], []).append(attributes["id"])
    assert not by_id, sorted(by_id)
    assert all(ids == sorted(ids) for ids in order.values()), "a twin's events changed places"
    adt.ok(f"{len(events)} messages, byte for byte, in order per twin")
    try:
        raise AssertionError(f"one too many: {receiver.receive(timeout=1).properties}")
    except Timeout:
        adt.ok("and no more")
    connection.close()


adt.run_check(main, seconds_max=60)
