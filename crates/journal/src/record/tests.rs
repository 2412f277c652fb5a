use super::decode::UnknownRecord;
use super::*;
use crate::frame;
use crate::ledger::DiscardReason;
use proptest::prelude::*;
use std::time::Duration;
use twinroute_model::dead_letter::DeadLetterReason;

fn ledger() -> Ledger {
    let mut ledger = Ledger {
        matched: 9,
        replayed: 3,
        delivered: 4,
        dead_lettered: 1,
        dead_replayed: 2,
        ..Ledger::default()
    };
    ledger.discard_many(DiscardReason::Expired, 2);
    ledger.discard(DiscardReason::Lost);
    ledger
}

fn letter() -> Arc<DeadLetter> {
    Arc::new(DeadLetter {
        reason: DeadLetterReason::Exhausted,
        attempts: 30,
        died_at: Timestamp::from_unix_millis(1_700_000_100_000),
        last_attempt_at: None,
        outcome: "503: busy".into(),
    })
}

const AT: Timestamp = Timestamp::from_unix_millis(1_700_000_000_123);

/// One record of every kind.
fn samples() -> Vec<JournalRecord<'static>> {
    [of_the_log(), of_events(), of_deliveries(), of_files()].concat()
}

fn of_the_log() -> Vec<JournalRecord<'static>> {
    vec![
        JournalRecord::Segment(SegmentHead {
            id: 7,
            first_sequence: 100,
            created: AT,
            previous_segment: 6,
            previous_end: 4_096,
        }),
        JournalRecord::Group(GroupHead {
            number: 1,
            synced_segment: 6,
            synced_offset: 4_096,
            bytes: 512,
            first_sequence: 100,
            events: 2,
        }),
        JournalRecord::Binding {
            lane: 3,
            instance: "default",
            endpoint: "Hub-1",
        },
        JournalRecord::Counts {
            lane: 3,
            ledger: ledger(),
        },
        JournalRecord::Checkpoint {
            oldest_segment: 5,
            next_sequence: 100,
        },
        JournalRecord::ReportedCut(CutRange {
            segment: 6,
            from: 4_000,
            to: 4_096,
        }),
        JournalRecord::Closed { next_sequence: 102 },
    ]
}

fn of_files() -> Vec<JournalRecord<'static>> {
    let length = 64 << 20;
    let extent = |listed| JournalRecord::Extent { length, listed };
    vec![
        extent(true),
        extent(false),
        JournalRecord::Lost { deliveries: 410 },
        JournalRecord::Time(TimeRecord {
            now: 86_400_000,
            boot: 0x0123_4567_89ab_cdef,
            since_boot: 3_600_000,
        }),
        JournalRecord::AcceptedIn { time: 80_000_000 },
        JournalRecord::Clock { at: AT },
        JournalRecord::Origin {
            generation: 3,
            instance: "demo",
            caller: "press-7",
            address: Some(std::net::Ipv6Addr::LOCALHOST.into()),
        },
        JournalRecord::Origin {
            generation: 0,
            instance: "",
            caller: "",
            address: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        },
        JournalRecord::Failed {
            lane: 3,
            fault: FailedSendFault::Endpoint,
            text: "429: too many requests",
            sequences: vec![7, 9],
        },
        JournalRecord::Table {
            generation: 3,
            content: b"{}",
        },
        JournalRecord::Unmatched {
            event: AcceptedEvent {
                sequence: 0,
                accepted_at: AT,
                twin: Some(7),
                content: b"{}",
                stamp: None,
            },
        },
    ]
}

fn of_events() -> Vec<JournalRecord<'static>> {
    let retrying = OpenDelivery {
        attempts: 2,
        due: Some(AT),
        ..OpenDelivery::fresh(3)
    };
    let dead = OpenDelivery {
        dead: Some(letter()),
        ..OpenDelivery::fresh(4)
    };
    let event = AcceptedEvent {
        sequence: 100,
        accepted_at: AT,
        twin: Some(0x0123_4567_89ab_cdef),
        content: br#"{"specversion":"1.0"}"#,
        stamp: None,
    };
    vec![
        JournalRecord::Event {
            event,
            lanes: LaneList(&[[3, 0, 0, 0], [4, 0, 0, 0]]),
        },
        JournalRecord::Copy {
            event,
            lanes: vec![retrying, dead],
        },
        JournalRecord::Replay {
            event,
            lane: 4,
            replay_of: 99,
        },
    ]
}

fn of_deliveries() -> Vec<JournalRecord<'static>> {
    let every_settlement = [
        DeliverySettlement::Delivered,
        DeliverySettlement::DeadLettered,
        DeliverySettlement::Replayed,
    ]
    .into_iter()
    .chain(
        DiscardReason::ALL
            .into_iter()
            .map(DeliverySettlement::Discarded),
    );
    vec![
        JournalRecord::Dead {
            lane: 4,
            letter: letter(),
            sequences: vec![100, 7],
        },
        JournalRecord::State {
            lane: 4,
            state: LaneState {
                paused: true,
                still: Duration::from_millis(1_500),
                still_since: Some(AT),
            },
        },
        JournalRecord::Settle {
            lane: 4,
            settlements: (100..).zip(every_settlement).collect(),
        },
        JournalRecord::Attempt {
            sequence: 100,
            lane: 3,
            attempts: 2,
            due: Some(AT),
        },
    ]
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for record in samples() {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        frame::seal(&mut bytes, 7, 0);
        let frame = frame::read(&bytes, 0, 7).unwrap();
        assert_eq!(JournalRecord::decode(&frame).unwrap(), record);
    }
}

#[test]
fn a_body_cut_anywhere_is_refused_or_a_shorter_event() {
    for record in samples() {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let body = &bytes[frame::HEADER_BYTES..];
        for cut in 0..body.len() {
            let frame = frame::RecordFrame {
                version: frame::VERSION,
                kind: bytes[5],
                body: &body[..cut],
            };
            match JournalRecord::decode(&frame) {
                Err(_)
                | Ok(
                    JournalRecord::Event { .. }
                    | JournalRecord::Copy { .. }
                    | JournalRecord::Replay { .. }
                    | JournalRecord::Table { .. }
                    | JournalRecord::Unmatched { .. },
                ) => {}
                Ok(other) => panic!("{record:?} cut at {cut}: {other:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bodies_never_panic(kind in 0_u8..32, version in 0_u8..3, body: Vec<u8>) {
        let frame = frame::RecordFrame { version, kind, body: &body };
        if let Err(unknown) = JournalRecord::decode(&frame) {
            prop_assert_eq!(unknown, UnknownRecord { version, kind });
        }
    }
}

/// Kinds that are no longer written are still read.
#[test]
fn the_first_kinds_are_read() {
    let lines = include_str!("../../tests/data/records-1.txt").lines();
    let mut twins = Vec::new();
    for line in lines {
        let digits: Vec<_> = line.as_bytes().chunks(2).collect();
        let byte = |digits: &&[u8]| {
            let text = std::str::from_utf8(digits).unwrap();
            u8::from_str_radix(text, 16).unwrap()
        };
        let bytes: Vec<u8> = digits.iter().map(byte).collect();
        let frame = frame::read_at(&bytes, 7, 4_096).unwrap();
        match JournalRecord::decode(&frame).unwrap() {
            JournalRecord::Counts { ledger, .. } => {
                let mut known = ledger;
                (known.replayed, known.dead_replayed) = (3, 2);
                assert_eq!(known, self::ledger());
            }
            JournalRecord::Event { event, lanes } => {
                assert!(lanes.iter().eq([3, 4]));
                twins.push(event.twin);
            }
            JournalRecord::Copy { event, lanes } => {
                assert_eq!((lanes[0].attempts, lanes[1].attempts), (2, 0));
                twins.push(event.twin);
            }
            _ => {}
        }
    }
    assert_eq!(twins, [None, None]);
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
    expect_test::expect_file!["../../tests/data/records-2.txt"].assert_eq(&text);
}
