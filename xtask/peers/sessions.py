"""Posts events to the router and reads, session by session, what it sent with `session = "twin"` to a queue
with sessions. Leaves what it posted in the file that the scene names, for `sessions.mjs`.
"""

import json
import time

import adt
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient
from azure.servicebus.exceptions import OperationTimeoutError, ServiceBusError

ROUNDS = 8
WAIT_SECONDS_MAX = 20

scene = adt.scene()
[queue] = scene["queues"]


def sessions(service):
    """The messages of each session, one after the other, until there is no more."""
    while True:
        try:
            with service.get_queue_receiver(
                queue["name"], session_id=NEXT_AVAILABLE_SESSION, max_wait_time=3
            ) as receiver:
                messages, end = [], time.monotonic() + WAIT_SECONDS_MAX
                while time.monotonic() < end:
                    part = receiver.receive_messages(max_message_count=100, max_wait_time=1)
                    if not part:
                        break
                    for message in part:
                        receiver.complete_message(message)
                    messages += part
                receiver.session.set_state(f"{len(messages)} read")
                yield receiver.session.session_id, messages
        except OperationTimeoutError:
            return


def main():
    events = adt.adt_events(ROUNDS)
    with open(scene["expectations"], "w", encoding="utf-8") as file:
        json.dump(events, file)
    ingress = adt.Ingress(scene["ingress"])
    ingress.post_one(events[0])
    ingress.post_batch(events[1:])
    adt.ok(f"{len(events)} events posted")
    by_id = {one["attributes"]["id"]: one for one in events}
    session_of = {}
    with ServiceBusClient.from_connection_string(queue["connectionString"], retry_total=0) as service:
        try:
            with service.get_queue_receiver(queue["name"]) as receiver:
                receiver.receive_messages(max_wait_time=1)
            raise AssertionError("a receiver without a session was let in")
        except ServiceBusError as error:
            assert "not-allowed" in str(error), error
        adt.ok("a receiver without a session is refused")
        for session, messages in sessions(service):
            ids = []
            for message in messages:
                assert message.session_id == session, message
                one = by_id.pop(adt.text(message.application_properties[b"cloudEvents:id"]))
                assert session_of.setdefault(one["twin"], session) == session, one
                ids.append(one["attributes"]["id"])
            twins = {twin for twin, known in session_of.items() if known == session}
            assert len(twins) == 1, f"session {session}: {twins}"
            assert ids == sorted(ids), f"session {session} is out of order: {ids}"
        assert not by_id, sorted(by_id)
        [session, *_] = session_of.values()
        with service.get_queue_receiver(queue["name"], session_id=session) as receiver:
            state = receiver.session.get_state()
            assert state.endswith(b" read"), state
    adt.ok(f"{len(events)} events in {len(session_of)} sessions, a twin each, in order")


adt.run_check(main, seconds_max=100)
