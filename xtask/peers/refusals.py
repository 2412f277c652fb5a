"""azure-servicebus and azure-eventhub against what the stand-ins refuse, as the services do.

Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one line
`ok <name>` per passed check; ends with 1 and a reason on the first failure.
"""

import json
import threading
import time
import uuid
from contextlib import contextmanager

import adt
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventDataSendError, EventHubError
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage
from azure.servicebus import ServiceBusSubQueue
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    OperationTimeoutError,
    ServiceBusAuthorizationError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

WAIT_SECONDS_MAX = 10
OVER_THE_LIMIT = b"x" * 1_200_000

addresses = adt.scene()
hub, queue = addresses["hub"], addresses["queue"]
by_session, by_topic = addresses["sessionQueue"], addresses["sessionTopic"]
hurried = addresses["hurriedSessionQueue"]
run = uuid.uuid4().hex[:8]


@contextmanager
def refused(name, error, condition):
    """What is done within must fail with this error and name the condition."""
    try:
        yield
    except error as failure:
        assert condition in repr(failure) + str(failure), f"{name}: {failure!r}"
        adt.ok(name)
        return
    raise AssertionError(f"{name}: it was taken")


def bus(entity, key="connectionString"):
    return ServiceBusClient.from_connection_string(entity[key], retry_total=0)


def in_session(session, name="m"):
    return ServiceBusMessage(name, session_id=session, message_id=f"{run}-{name}")


def bodies(receiver, count):
    got, end = [], time.monotonic() + WAIT_SECONDS_MAX
    while len(got) < count and time.monotonic() < end:
        for message in receiver.receive_messages(max_message_count=count, max_wait_time=2):
            receiver.complete_message(message)
            got.append(str(message))
    assert len(got) == count, got
    return got


def kinds_of_receivers():
    plain = (bus(queue), lambda service: service.get_queue_receiver(queue["name"], session_id="s"))
    next_of_plain = (
        bus(queue),
        lambda service: service.get_queue_receiver(
            queue["name"], session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5),
    )
    sessions = (bus(by_session), lambda service: service.get_queue_receiver(by_session["name"]))
    subscription = (
        bus(by_topic),
        lambda service: service.get_subscription_receiver(
            by_topic["name"], by_topic["subscription"]),
    )
    for name, (client, receiver) in {
        "a session receiver on a queue without sessions": plain,
        "a receiver of the next session there": next_of_plain,
        "a plain receiver on a queue with sessions": sessions,
        "a plain receiver on a subscription with sessions": subscription,
    }.items():
        with client, refused(name, ServiceBusError, "not-allowed"):
            with receiver(client) as open_receiver:
                open_receiver.receive_messages(max_wait_time=1)


def sends_without_sessions():
    with bus(by_session) as service, service.get_queue_sender(by_session["name"]) as sender:
        with refused("a message without a session", ServiceBusError, "not-allowed"):
            sender.send_messages(ServiceBusMessage("x"))
    with bus(by_topic) as service:
        with service.get_topic_sender(by_topic["name"]) as sender:
            sender.send_messages([ServiceBusMessage("bare"), in_session(f"t-{run}", "kept")])
        with service.get_subscription_receiver(
            by_topic["name"], by_topic["subscription"], session_id=f"t-{run}"
        ) as receiver:
            assert bodies(receiver, 1) == ["kept"]
        with service.get_subscription_receiver(
            by_topic["name"], by_topic["subscription"], sub_queue=ServiceBusSubQueue.DEAD_LETTER
        ) as receiver:
            [dead] = receiver.receive_messages(max_wait_time=5)
            assert dead.dead_letter_reason == "Session ID is null.", dead.dead_letter_reason
            receiver.complete_message(dead)
    adt.ok("a topic takes it, and its subscription with sessions dead-letters it")


def locked_sessions():
    name = f"held-{run}"
    with bus(by_session) as service:
        with service.get_queue_receiver(by_session["name"], session_id=name):
            with refused("a session that is held", SessionCannotBeLockedError, "locked"):
                with service.get_queue_receiver(by_session["name"], session_id=name):
                    pass
        with refused("no session within the wait", OperationTimeoutError, "timeout"):
            started = time.monotonic()
            try:
                with service.get_queue_receiver(
                    by_session["name"], session_id=NEXT_AVAILABLE_SESSION, max_wait_time=2
                ):
                    pass
            finally:
                assert time.monotonic() - started > 1.5, "it was not waited"
        timer = threading.Timer(1.0, send_late, (f"late-{run}",))
        timer.start()
        with service.get_queue_receiver(
            by_session["name"], session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT_SECONDS_MAX
        ) as receiver:
            assert receiver.session.session_id == f"late-{run}", receiver.session.session_id
            assert bodies(receiver, 1) == ["late"]
        timer.join()
        adt.ok("the next session is waited for")


def send_late(session):
    with bus(by_session) as service, service.get_queue_sender(by_session["name"]) as sender:
        sender.send_messages(in_session(session, "late"))


def ended_locks():
    name = f"short-{run}"
    with bus(hurried) as service:
        with service.get_queue_sender(hurried["name"]) as sender:
            sender.send_messages(in_session(name))
        with service.get_queue_receiver(hurried["name"], session_id=name) as receiver:
            [message] = receiver.receive_messages(max_wait_time=5)
            before = receiver.session.locked_until_utc
            time.sleep(1)
            assert receiver.session.renew_lock() > before
            assert receiver.session.locked_until_utc > before
            adt.ok("a session lock is renewed")
            time.sleep(3)
            with refused("a session whose lock has ended", SessionLockLostError, "lock"):
                receiver.complete_message(message)
        with service.get_queue_receiver(hurried["name"], session_id=name) as receiver:
            [again] = receiver.receive_messages(max_wait_time=5)
            assert again.delivery_count == 1, again.delivery_count
            receiver.complete_message(again)
        adt.ok("the end of its lock counts as a delivery")


def limits():
    with bus(queue) as service, service.get_queue_sender(queue["name"]) as sender:
        with refused("a message over the limit", MessageSizeExceededError, "1048576"):
            sender.send_messages(ServiceBusMessage(OVER_THE_LIMIT))
        halves = [ServiceBusMessage(OVER_THE_LIMIT[:600_000]) for _ in range(2)]
        with refused("a list over the limit", MessageSizeExceededError, "1048576"):
            sender.send_messages(halves)
        properties = {"large": "x" * 40_000}
        with refused("a property over 32 KB", ServiceBusError, "out-of-range"):
            sender.send_messages(ServiceBusMessage("x", application_properties=properties))
        properties = {f"p{number}": "x" * 20_000 for number in range(4)}
        with refused("properties over 64 KB", ServiceBusError, "out-of-range"):
            sender.send_messages(ServiceBusMessage("x", application_properties=properties))
        sender.send_messages(ServiceBusMessage("the link is as it was", message_id=run))
    with bus(queue) as service, service.get_queue_receiver(queue["name"]) as receiver:
        assert bodies(receiver, 1) == ["the link is as it was"]
    adt.ok("and the same link goes on")
    producer = EventHubProducerClient.from_connection_string(
        hub["connectionString"], retry_total=0)
    with producer:
        with refused("an event over the limit", EventDataSendError, "MessageSizeExceeded"):
            producer.send_event(EventData(OVER_THE_LIMIT))
        with refused("a partition key of 129 characters", EventDataSendError, "out-of-range"):
            producer.send_event(EventData("x"), partition_key="k" * 129)
        producer.send_event(EventData(json.dumps({"run": run})), partition_key="k" * 128)
    adt.ok("a partition key of 128 characters is taken")


def read_hub(group, key="connectionString"):
    """Events of this run that a consumer group gives."""
    events, errors, done = [], [], threading.Event()
    consumer = EventHubConsumerClient.from_connection_string(
        hub[key], consumer_group=group, retry_total=0)

    def on_batch(_, batch):
        found = [event for event in batch if run in event.body_as_str()]
        events.extend(found)
        if found:
            done.set()

    def on_error(_, error):
        errors.append(error)
        done.set()

    thread = threading.Thread(
        target=consumer.receive_batch,
        kwargs={"on_event_batch": on_batch, "on_error": on_error, "starting_position": "-1",
                "max_wait_time": 0.5},
        daemon=True,
    )
    thread.start()
    done.wait(WAIT_SECONDS_MAX)
    consumer.close()
    if errors:
        raise errors[0]
    return events


def consumer_groups():
    for group in ("$Default", hub["consumerGroup"]):
        assert len(read_hub(group)) == 1, group
    adt.ok("each consumer group reads for itself")
    with refused("a consumer group that is not there", EventHubError, "not-found"):
        read_hub("absent")


def rights():
    with refused("sending with a key that may listen", EventHubError, "unauthorized-access"):
        with EventHubProducerClient.from_connection_string(
            hub["listens"], retry_total=0
        ) as producer:
            producer.send_event(EventData("x"))
    with refused("reading with a key that may send", EventHubError, "unauthorized-access"):
        read_hub("$Default", "sends")
    with bus(queue, "listens") as service, refused(
        "sending to a queue with a key that may listen", ServiceBusAuthorizationError, "Send"
    ), service.get_queue_sender(queue["name"]) as sender:
        sender.send_messages(ServiceBusMessage("x"))
    with bus(queue, "sends") as service, refused(
        "receiving from a queue with a key that may send", ServiceBusAuthorizationError, "Listen"
    ), service.get_queue_receiver(queue["name"]) as receiver:
        receiver.receive_messages(max_wait_time=1)


def main():
    kinds_of_receivers()
    sends_without_sessions()
    locked_sessions()
    ended_locks()
    limits()
    consumer_groups()
    rights()


adt.run_check(main, seconds_max=120)
