use super::*;
use proptest::prelude::*;

fn ledger() -> Ledger {
    let mut ledger = Ledger {
        matched: 9,
        delivered: 4,
        dead_lettered: 1,
        ..Ledger::default()
    };
    ledger.discard_many(Discard::Expired, 2);
    ledger.discard(Discard::Lost);
    ledger
}

/// One record of every kind.
fn samples() -> Vec<Record<'static>> {
    let at = Timestamp::from_unix_millis(1_700_000_000_123);
    let parked = Open {
        lane: 3,
        attempts: 2,
        due: Some(at),
    };
    let queued = Open {
        lane: 4,
        attempts: 0,
        due: None,
    };
    let every_fate = [Fate::Delivered, Fate::DeadLettered]
        .into_iter()
        .chain(Discard::ALL.into_iter().map(Fate::Discarded));
    vec![
        Record::Segment(Segment {
            id: 7,
            first_sequence: 100,
            created: at,
            previous_segment: 6,
            previous_end: 4_096,
        }),
        Record::Group(Group {
            number: 1,
            synced_segment: 6,
            synced_offset: 4_096,
            bytes: 512,
            first_sequence: 100,
            events: 2,
        }),
        Record::Binding {
            lane: 3,
            instance: "default",
            endpoint: "Hub-1",
        },
        Record::Counts {
            lane: 3,
            ledger: ledger(),
        },
        Record::Checkpoint {
            oldest_segment: 5,
            next_sequence: 100,
        },
        Record::Event {
            sequence: 100,
            accepted_at: at,
            lanes: vec![3, 4],
            json: br#"{"specversion":"1.0"}"#,
        },
        Record::Copy {
            sequence: 12,
            accepted_at: at,
            lanes: vec![parked, queued],
            json: br#"{"specversion":"1.0"}"#,
        },
        Record::Settle {
            lane: 4,
            fates: (100..).zip(every_fate).collect(),
        },
        Record::Attempt {
            sequence: 100,
            open: parked,
        },
        Record::Hole(Hole {
            segment: 6,
            from: 4_000,
            to: 4_096,
        }),
        Record::Closed { next_sequence: 102 },
    ]
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for record in samples() {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        frame::seal(&mut bytes, 7, 0);
        let frame = frame::read(&bytes, 0, 7).unwrap();
        assert_eq!(Record::decode(&frame).unwrap(), record);
    }
}

#[test]
fn a_body_cut_anywhere_is_refused_or_a_shorter_event() {
    for record in samples() {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let body = &bytes[frame::HEADER_BYTES..];
        for cut in 0..body.len() {
            let frame = frame::Frame {
                version: frame::VERSION,
                kind: bytes[5],
                body: &body[..cut],
            };
            match Record::decode(&frame) {
                Err(_) | Ok(Record::Event { .. } | Record::Copy { .. }) => {}
                Ok(other) => panic!("{record:?} cut at {cut}: {other:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bodies_never_panic(kind in 0_u8..12, version in 0_u8..3, body: Vec<u8>) {
        let frame = frame::Frame { version, kind, body: &body };
        if let Err(unknown) = Record::decode(&frame) {
            prop_assert_eq!(unknown, Unknown { version, kind });
        }
    }
}

/// The layout on disk: a changed byte here is a new version of the format.
#[test]
fn every_kind_has_its_bytes() {
    let mut text = String::new();
    for record in samples() {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        frame::seal(&mut bytes, 7, 4_096);
        for byte in bytes {
            text.push_str(&format!("{byte:02x}"));
        }
        text.push('\n');
    }
    expect_test::expect_file!["../../tests/data/records-1.txt"].assert_eq(&text);
}
