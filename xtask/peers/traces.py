"""A producer with a trace, an OpenTelemetry collector, Event Grid topics that refuse, and a reader of the hub.

Spans are decoded with `opentelemetry-proto`, the official package; then each trace is printed and checked from its
producer to what the destinations were given.
"""

import http.server
import json
import os
import threading
import time

import adt
from azure.eventhub import EventHubConsumerClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

WAIT_SECONDS_MAX = 30
KEY = "peers-key"
#: By header, and by extension: `PRODUCER` is the span of the producer in each.
HEADER_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
EVENT_TRACE = "0af7651916cd43dd8448eb211c80319c"
UNSAMPLED_TRACE = "9ad82f3577b34da6a3ce929d0e0e4711"
PRODUCER = "00f067aa0ba902b7"

scene = adt.scene()
spans, resources = [], []
#: What topics were given: (path, traceparent).
topic_requests = []
flaky_calls = []


class Servers(http.server.BaseHTTPRequestHandler):
    """The collector at `/v1/traces`; a topic that is busy once, and one that refuses every event."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer = 200, b""
        if self.path == "/v1/traces":
            assert self.headers["content-type"] == "application/x-protobuf", self.headers
            assert self.headers["api-key"] == KEY, self.headers
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                resources.append(attributes(resource.resource))
                for scope in resource.scope_spans:
                    assert scope.scope.name == "twinroute", scope.scope
                    spans.extend(scope.spans)
            answer = ExportTraceServiceResponse().SerializeToString()
        else:
            topic_requests.append((self.path.split("/")[1], self.headers["traceparent"]))
            if self.path.startswith("/refusing"):
                status = 400
            elif self.path.startswith("/busy"):
                flaky_calls.append(self.path)
                status = 503 if len(flaky_calls) == 1 else 200
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def attributes(holder):
    values = {}
    for one in holder.attributes:
        kind = one.value.WhichOneof("value")
        values[one.key] = getattr(one.value, kind)
    return values


def traceparent(trace, span, flags="01"):
    return f"00-{trace}-{span}-{flags}"


def await_that(what, holds):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not holds():
        assert time.monotonic() < end, f"{what}: {[span.name for span in spans]} {topic_requests}"
        time.sleep(0.05)


def ingress():
    """Its address, once there is a router."""
    await_that("the router", lambda: os.path.exists(scene["router"]))
    with open(scene["router"], encoding="utf-8") as file:
        return adt.Ingress(json.load(file)["ingress"])


def hub_messages(count):
    """Properties of what arrived at the hub, by the event's id."""
    messages, done = {}, threading.Event()
    consumer = EventHubConsumerClient.from_connection_string(
        scene["hubs"][0]["connectionString"], consumer_group="$Default", retry_total=0
    )

    def on_batch(_, batch):
        for event in batch:
            properties = {adt.text(key): adt.text(value) for key, value in event.properties.items()}
            messages[properties["cloudEvents:id"]] = properties
        if len(messages) >= count:
            done.set()

    thread = threading.Thread(
        target=consumer.receive_batch,
        kwargs={"on_event_batch": on_batch, "starting_position": "-1", "max_wait_time": 0.5},
        daemon=True,
    )
    thread.start()
    assert done.wait(WAIT_SECONDS_MAX), messages
    consumer.close()
    return messages


def shown(span):
    said = attributes(span)
    words = [span.name]
    words += [str(said[key]) for key in ("twinroute.endpoint", "twinroute.outcome") if key in said]
    if "twinroute.attempt" in said:
        words.append(f"attempt {said['twinroute.attempt']}")
    if span.status.code == Status.STATUS_CODE_ERROR:
        words.append(f"({span.status.message})")
    took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    return f"{' '.join(words)}  {span.span_id.hex()}  {took:.1f} ms"


def print_tree(trace, received):
    """A trace from its producer to what destinations were given."""
    own = sorted(of(trace), key=lambda span: (span.start_time_unix_nano, span.name))
    print(f"trace {trace}")
    print(f"  producer  {PRODUCER}")

    def below(parent, depth):
        for span in own:
            if span.parent_span_id.hex() != parent:
                continue
            print(f"{'  ' * depth}{shown(span)}")
            for who, context in received:
                if context == traceparent(trace, span.span_id.hex()):
                    print(f"{'  ' * (depth + 1)}{who} was given {context}")
            below(span.span_id.hex(), depth + 1)

    below(PRODUCER, 2)


def of(trace):
    return [span for span in spans if span.trace_id.hex() == trace]


def attempts(trace, endpoint):
    found = [span for span in of(trace) if span.name == "attempt"]
    found = [span for span in found if attributes(span)["twinroute.endpoint"] == endpoint]
    return sorted(found, key=lambda span: span.start_time_unix_nano)


def check_trace(trace, event_id, received):
    own = of(trace)
    assert len({span.span_id for span in own}) == len(own), "a span came twice"
    accept = [span for span in own if span.name == "accept"]
    assert len(accept) == 1, accept
    accept = accept[0]
    assert accept.parent_span_id.hex() == PRODUCER and accept.kind == Span.SPAN_KIND_SERVER
    assert attributes(accept)["cloudevents.event_id"] == event_id
    journal = [span for span in own if span.name == "journal"]
    assert [span.parent_span_id for span in journal] == [accept.span_id]
    outcomes = {}
    for endpoint in ("hub", "busy", "refusing"):
        found = attempts(trace, endpoint)
        assert all(span.parent_span_id == accept.span_id for span in found)
        assert all(span.kind == Span.SPAN_KIND_PRODUCER for span in found)
        outcomes[endpoint] = [attributes(span)["twinroute.outcome"] for span in found]
        given = [context for who, context in received if who == endpoint]
        wanted = [traceparent(trace, span.span_id.hex()) for span in found]
        assert sorted(given) == sorted(wanted), f"{endpoint}: {given}, spans {wanted}"
    assert outcomes["hub"] == ["delivered"], outcomes
    assert outcomes["refusing"] == ["rejected"], outcomes
    assert outcomes["busy"][-1] == "delivered", outcomes
    letters = [span for span in own if span.name == "dead letter"]
    assert [span.parent_span_id for span in letters] == [accept.span_id], letters
    assert attributes(letters[0])["twinroute.dead_letter.reason"] == "rejected"
    for span in own:
        assert span.start_time_unix_nano <= span.end_time_unix_nano, span
    return outcomes


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Servers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    producer = ingress()
    # The producer says it in a header; in the event; and that it records nothing.
    for event_id, trace, flags, place in (
        ("by-header", HEADER_TRACE, "01", "header"),
        ("by-event", EVENT_TRACE, "01", "event"),
        ("unsampled", UNSAMPLED_TRACE, "00", "header"),
    ):
        one = adt.event("Microsoft.DigitalTwins.Twin.Update", 1, f"twin-{event_id}", "{}", id=event_id)
        context = traceparent(trace, PRODUCER, flags)
        del one["attributes"]["traceparent"]
        headers = {}
        if place == "event":
            one["attributes"]["traceparent"] = context
        else:
            headers["traceparent"] = context
        producer.post_one(one, **headers)
        # One event a batch, so that each request has one trace.
        await_that(event_id, lambda: len(topic_requests) - len(flaky_calls[:1]) >= 2 * expected(event_id))
    adt.ok("three traces begun")
    messages = hub_messages(3)
    await_that("the spans", lambda: len(of(HEADER_TRACE)) >= 7 and len(of(EVENT_TRACE)) >= 6)
    hub = [("hub", properties["traceparent"]) for properties in messages.values()]
    received = hub + topic_requests
    for event_id, properties in messages.items():
        assert properties["Diagnostic-Id"] == properties["traceparent"], properties
        own = properties.get("cloudEvents:traceparent")
        assert own == (traceparent(EVENT_TRACE, PRODUCER) if event_id == "by-event" else None), own
    adt.ok("events stay as they were posted, with a context beside them")
    for trace, event_id in ((HEADER_TRACE, "by-header"), (EVENT_TRACE, "by-event")):
        print_tree(trace, received)
        mine = [(who, context) for who, context in received if context.split("-")[1] == trace]
        outcomes = check_trace(trace, event_id, mine)
        if event_id == "by-header":
            assert outcomes["busy"] == ["throttled", "delivered"], outcomes
        adt.ok(f"{event_id}: from the producer to the destinations")
    assert not of(UNSAMPLED_TRACE), of(UNSAMPLED_TRACE)
    given = {context for _, context in received if context.split("-")[1] == UNSAMPLED_TRACE}
    assert given == {traceparent(UNSAMPLED_TRACE, PRODUCER, "00")}, given
    adt.ok("unsampled: not recorded, and handed on as it came")
    assert {one["service.name"] for one in resources} == {"peers-router"}, resources
    text = b"".join(span.SerializeToString() for span in spans)
    for secret in (KEY.encode(), b"SharedAccessKey", b"a2V5"):
        assert secret not in text, secret
    adt.ok("no secret in a span")


def expected(event_id):
    return ("by-header", "by-event", "unsampled").index(event_id) + 1


adt.run_check(main, 120)
