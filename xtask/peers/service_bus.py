"""azure-servicebus against the Service Bus stand-in.

Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one line
`ok <name>` per passed check; ends with 1 and a reason on the first failure.
"""

import json
import os
import sys
import threading
import time
import uuid

from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
    TransportType,
)
from azure.servicebus.exceptions import (
    MessagingEntityNotFoundError,
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusConnectionError,
    ServiceBusError,
)

RUN_SECONDS_MAX = 150
WAIT_SECONDS_MAX = 10

addresses = json.loads(os.environ.get("TWINROUTE_EMULATOR") or sys.argv[1])
topic = addresses["topic"]
queue = addresses["queue"]
run = uuid.uuid4().hex[:8]
over = {}
refused_as = ServiceBusAuthenticationError
if "websocket" in addresses:
    over = {
        "transport_type": TransportType.AmqpOverWebsocket,
        "custom_endpoint_address": f"sb://{addresses['websocket']}",
    }
    # What the client makes of a refused token wherever it has a custom endpoint.
    refused_as = ServiceBusConnectionError


def ok(name):
    print(f"ok service_bus.py {name}", flush=True)


def client(entity):
    return ServiceBusClient.from_connection_string(
        entity["connectionString"], retry_total=0, **over
    )


def message(name, **options):
    return ServiceBusMessage(
        json.dumps({"name": name}), message_id=f"{run}-{name}",
        application_properties={"run": run}, **options
    )


def names(messages):
    return [json.loads(str(one))["name"] for one in messages]


def receive(receiver, count):
    """Collects exactly `count` messages: one call may return fewer."""
    got, end = [], time.monotonic() + WAIT_SECONDS_MAX
    while len(got) < count and time.monotonic() < end:
        got += receiver.receive_messages(max_message_count=count - len(got), max_wait_time=2)
    assert len(got) == count, f"{len(got)} of {count} messages"
    return got


def drain(receiver):
    while receiver.receive_messages(max_message_count=100, max_wait_time=0.5):
        pass


def empty_all():
    delete = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    with client(topic) as service:
        for subscription in topic["subscriptions"]:
            for sub_queue in (None, ServiceBusSubQueue.DEAD_LETTER):
                with service.get_subscription_receiver(
                    topic["name"], subscription, receive_mode=delete, sub_queue=sub_queue
                ) as receiver:
                    drain(receiver)
    with client(queue) as service:
        with service.get_queue_receiver(queue["name"], receive_mode=delete) as receiver:
            drain(receiver)


def send():
    with client(topic) as service, service.get_topic_sender(topic["name"]) as sender:
        single = message("m0", subject="subj", correlation_id="corr", partition_key="pk",
                         content_type="application/cloudevents+json")
        single.application_properties["number"] = 5
        sender.send_messages(single)
        ok("send one")
        sender.send_messages([message(f"m{number}") for number in range(1, 4)])
        ok("send a list")
        batch = sender.create_message_batch()
        for number in range(4, 7):
            batch.add_message(message(f"m{number}"))
        sender.send_messages(batch)
        ok("send a batch")


def settle(service):
    first = topic["subscriptions"][0]
    with service.get_subscription_receiver(topic["name"], first) as receiver:
        peeked = receiver.peek_messages(max_message_count=10)
        assert names(peeked) == [f"m{number}" for number in range(7)], names(peeked)
        ok("peek")
        got = receive(receiver, 7)
        assert names(got) == [f"m{number}" for number in range(7)], names(got)
        one = got[0]
        assert one.subject == "subj" and one.correlation_id == "corr", one
        assert one.content_type == "application/cloudevents+json", one
        assert one.partition_key == "pk" and one.message_id == f"{run}-m0", one
        assert one.application_properties == {b"run": run.encode(), b"number": 5}, one
        assert one.delivery_count == 0 and one.lock_token and one.locked_until_utc, one
        ok("receive peek-lock")
        until = receiver.renew_message_lock(one)
        assert until and until >= one.enqueued_time_utc
        ok("renew")
        receiver.complete_message(one)
        receiver.complete_message(got[4])
        receiver.complete_message(got[5])
        receiver.complete_message(got[6])
        ok("complete")
        receiver.abandon_message(got[1])
        receiver.dead_letter_message(got[2], reason="why", error_description="desc")
        receiver.defer_message(got[3])
        again = receive(receiver, 1)[0]
        assert names([again]) == ["m1"] and again.delivery_count == 1, again
        receiver.complete_message(again)
        ok("abandon")
        deferred = receiver.receive_deferred_messages([got[3].sequence_number])
        assert names(deferred) == ["m3"], deferred
        receiver.complete_message(deferred[0])
        ok("defer and receive deferred")
        assert not receiver.receive_messages(max_message_count=5, max_wait_time=1)
        ok("nothing is left")
    with service.get_subscription_receiver(
        topic["name"], first, sub_queue=ServiceBusSubQueue.DEAD_LETTER
    ) as receiver:
        dead = receive(receiver, 1)[0]
        assert names([dead]) == ["m2"], dead
        assert dead.dead_letter_reason == "why", dead.dead_letter_reason
        assert dead.dead_letter_error_description == "desc", dead
        receiver.complete_message(dead)
    ok("dead-letter queue")


def receive_and_delete(service):
    with service.get_subscription_receiver(
        topic["name"], topic["subscriptions"][1],
        receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE,
    ) as receiver:
        got = receive(receiver, 7)
        assert names(got) == [f"m{number}" for number in range(7)], names(got)
        assert not receiver.receive_messages(max_message_count=5, max_wait_time=1)
    ok("receive-and-delete from the second subscription")


def queue_of_many():
    count = 2_000
    with client(queue) as service:
        started = time.monotonic()
        with service.get_queue_sender(queue["name"]) as sender:
            batch = sender.create_message_batch()
            for number in range(count):
                one = message(str(number))
                try:
                    batch.add_message(one)
                except ValueError:
                    sender.send_messages(batch)
                    batch = sender.create_message_batch()
                    batch.add_message(one)
            sender.send_messages(batch)
        got = []
        with service.get_queue_receiver(queue["name"], prefetch_count=200) as receiver:
            while len(got) < count:
                part = receiver.receive_messages(max_message_count=200, max_wait_time=3)
                assert part, f"{len(got)} of {count} messages"
                for one in part:
                    receiver.complete_message(one)
                got += part
        assert sorted(names(got), key=int) == [str(number) for number in range(count)]
        print(f"   {count} messages sent, received and completed in "
              f"{time.monotonic() - started:.1f} s")
    ok("2000 messages through a queue")


def lock_expiry():
    hurried = addresses["hurriedQueue"]
    with client(hurried) as service:
        with service.get_queue_sender(hurried["name"]) as sender:
            sender.send_messages(message("late"))
        with service.get_queue_receiver(hurried["name"]) as receiver:
            first = receive(receiver, 1)[0]
            again = receive(receiver, 1)[0]
            assert again.message_id == first.message_id and again.delivery_count == 1, again
            try:
                receiver.complete_message(first)
                raise AssertionError("a lost lock was accepted")
            except ServiceBusError as error:
                assert "lock" in str(error).lower(), error
            receiver.abandon_message(again)
        ok("an ended lock")
        with service.get_queue_receiver(
            hurried["name"], sub_queue=ServiceBusSubQueue.DEAD_LETTER
        ) as receiver:
            dead = receive(receiver, 1)[0]
            assert dead.dead_letter_reason == "MaxDeliveryCountExceeded", dead.dead_letter_reason
            receiver.complete_message(dead)
        ok("the last delivery is dead-lettered")


def sessions():
    by_session = addresses["sessionQueue"]
    with client(by_session) as service:
        with service.get_queue_sender(by_session["name"]) as sender:
            sender.send_messages([message(f"a{n}", session_id=f"A-{run}") for n in range(3)])
            sender.send_messages([message("b0", session_id=f"B-{run}")])
        with service.get_queue_receiver(by_session["name"], session_id=f"A-{run}") as receiver:
            got = receive(receiver, 3)
            assert names(got) == ["a0", "a1", "a2"], names(got)
            receiver.session.set_state("half")
            assert receiver.session.get_state() == b"half", receiver.session.get_state()
            assert receiver.session.renew_lock()
            for one in got:
                receiver.complete_message(one)
            receiver.session.set_state(None)
        ok("a named session")
        with service.get_queue_receiver(
            by_session["name"], session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5
        ) as receiver:
            assert receiver.session.session_id == f"B-{run}", receiver.session.session_id
            receiver.complete_message(receive(receiver, 1)[0])
        ok("the next session")
        try:
            with service.get_queue_receiver(
                by_session["name"], session_id=NEXT_AVAILABLE_SESSION, max_wait_time=2
            ) as receiver:
                raise AssertionError("there was no session")
        except OperationTimeoutError:
            ok("no session is free")


def refused():
    absent = dict(topic, name="absent")
    absent["connectionString"] = topic["connectionString"].replace(
        f"EntityPath={topic['name']}", "EntityPath=absent")
    with client(absent) as service:
        try:
            with service.get_topic_sender("absent") as sender:
                sender.send_messages(message("x"))
            raise AssertionError("an absent topic was taken")
        except MessagingEntityNotFoundError:
            ok("an absent topic is refused")
    wrong = dict(topic)
    wrong["connectionString"] = topic["connectionString"].replace(
        "SharedAccessKey=", "SharedAccessKey=x")
    with client(wrong) as service:
        try:
            with service.get_topic_sender(topic["name"]) as sender:
                sender.send_messages(message("x"))
            raise AssertionError("a wrong key was taken")
        except refused_as:
            ok("a wrong key is refused")


def main():
    empty_all()
    send()
    with client(topic) as service:
        settle(service)
        receive_and_delete(service)
    queue_of_many()
    lock_expiry()
    sessions()
    refused()


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
