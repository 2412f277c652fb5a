use super::*;

const SECOND: i64 = 1_000;

fn retention(keep_bytes: u64, keep_for: Duration, needed: u64) -> SegmentRetention {
    let settings = JournalSettings {
        keep_bytes,
        keep_for,
        ..JournalSettings::default()
    };
    let created = (1..=4).map(|segment: u64| {
        (
            segment,
            Timestamp::from_unix_millis(segment as i64 * SECOND),
        )
    });
    SegmentRetention::new(&settings, needed, created.collect())
}

fn segments() -> BTreeMap<u64, u64> {
    (1..=4).map(|segment| (segment, 100)).collect()
}

#[test]
fn nothing_that_is_needed_goes() {
    let now = Timestamp::from_unix_millis(100 * SECOND);
    let none = retention(0, Duration::from_secs(1), 1);
    assert_eq!(none.surplus(&segments(), now), None);
    assert_eq!(none.bytes(&segments()), 0);
}

#[test]
fn the_oldest_goes_when_there_is_too_much() {
    let now = Timestamp::from_unix_millis(4 * SECOND);
    for (keep_bytes, expect) in [(0, Some(1)), (199, Some(1)), (200, None)] {
        let kept = retention(keep_bytes, Duration::ZERO, 3);
        assert_eq!(kept.surplus(&segments(), now), expect, "{keep_bytes}");
    }
}

#[test]
fn the_oldest_goes_when_its_last_event_is_too_old() {
    let kept = retention(1_000, Duration::from_secs(10), 3);
    // Segment 1 ended when segment 2 was begun, after two seconds.
    for (seconds, expect) in [(12, None), (13, Some(1))] {
        let now = Timestamp::from_unix_millis(seconds * SECOND);
        assert_eq!(kept.surplus(&segments(), now), expect, "{seconds}");
    }
}
