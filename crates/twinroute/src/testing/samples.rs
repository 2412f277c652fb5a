//! Events to check a sink with. Each check has ids of its own, so that what arrived can be distinguished.

use crate::event::Event;
use crate::sink::Delivery;

/// The event of this number in a check; there are so many twins.
pub(super) fn numbered(check: &str, number: usize, twins: usize) -> Event {
    let builder = Event::builder()
        .id(&format!("{check}-{number}"))
        .source("twinroute.example/check")
        .event_type("Microsoft.DigitalTwins.Twin.Update")
        .subject(&format!("twin-{}", number % twins));
    let built = builder
        .json(format_args!("{{\"number\": {number}}}"))
        .build();
    built.expect("its attributes are legal")
}

/// Events of one check, of so many twins in turn.
pub(super) fn many(check: &str, events: usize, twins: usize) -> Vec<Event> {
    (0..events)
        .map(|number| numbered(check, number, twins))
        .collect()
}

/// Events that are legal and rare: every form of payload, names that mean something elsewhere.
pub(super) fn unusual(check: &str) -> Vec<Event> {
    let minimal = |name: &str| {
        let builder = Event::builder().id(&format!("{check}-{name}"));
        let builder = builder.source("twinroute.example/check");
        builder.event_type("t").subject("unusual")
    };
    let built = [
        minimal("none"),
        minimal("text").data("text/plain; charset=utf-8", "gr\u{fc}\u{df}e\nzwei"),
        minimal("bytes").data("application/octet-stream", vec![0, 0xff, b'\n']),
        minimal("json").json("{\n  \"a\": [1.10, 12345678901234567890123]\n}"),
        minimal("../../etc/passwd").json("1"),
        minimal("\"quoted\" \\ and 'so'; on %00").json("null"),
        minimal("\u{1f600}")
            .extension("site", "\u{65e5}\u{672c}")
            .json("\"\""),
        minimal("extended")
            .extension("number", -1)
            .extension("truth", true),
        minimal("large").json(format_args!("\"{}\"", "x".repeat(200_000))),
    ];
    let built = built.map(|builder| builder.build().expect("its attributes are legal"));
    built.into()
}

/// Events as a lane hands them to a sink.
pub(super) fn deliveries(events: &[Event]) -> Vec<Delivery> {
    let delivery = |(sequence, event): (u64, &Event)| Delivery::new(sequence, event.clone());
    (1..).zip(events).map(delivery).collect()
}
