//! What passes, what does not, and how much is held.

use super::super::scripted_peer::{self, AMQP_HEADER, SASL_HEADER, framed, sasl, symbol};
use super::*;
use proptest::prelude::*;

fn opening() -> Vec<u8> {
    [
        &SASL_HEADER[..],
        &sasl(code::SASL_MECHANISMS, &[&symbol("ANONYMOUS")]),
        &sasl(code::SASL_OUTCOME, &[&[0x50, 0]]),
        &AMQP_HEADER,
        &scripted_peer::frame(code::OPEN, &[&scripted_peer::string("p")]),
        &scripted_peer::frame(code::BEGIN, &[&[0x60, 0, 0]]),
        &scripted_peer::attach("s", 0),
        &scripted_peer::flow(0, 10),
        &framed(0, 0, &[]),
    ]
    .concat()
}

#[test]
fn nothing_is_changed_or_held_back_however_it_is_cut() {
    proptest!(|(cuts in prop::collection::vec(1_usize..60, 1..80))| {
        let all = opening();
        let (mut guard, mut passed, mut rest) = (PeerGuard::new(), Vec::new(), &all[..]);
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            guard.put(now).unwrap();
            passed.extend_from_slice(&guard.take(*cut + 7));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        passed.extend_from_slice(&guard.take(usize::MAX));
        prop_assert_eq!(passed, all);
        prop_assert_eq!(guard.held(), 0);
    });
}

#[test]
fn no_more_is_held_than_a_frame() {
    let mut guard = PeerGuard::new();
    guard.put(&opening()).unwrap();
    guard.take(usize::MAX);
    let large = framed(0, 0, &[0; 65_528]);
    for byte in &large[..large.len() - 1] {
        guard.put(&[*byte]).unwrap();
    }
    assert_eq!(guard.held(), 65_535);
    assert!(guard.take(usize::MAX).is_empty());
    // A body of zeroes is none.
    let error = guard.put(&[0]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the peer sent a performative without a numeric descriptor"
    );
    assert!(
        guard.put(&framed(0, 0, &[])).is_err(),
        "it does not recover"
    );
    assert_eq!(guard.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_we_send_and_time_make_room_for_answers() {
    let mut guard = PeerGuard::new();
    guard.put(&opening()).unwrap();
    let one = scripted_peer::disposition(0, 0);
    let answers = |guard: &mut PeerGuard, times: usize| guard.put(&one.repeat(times)).is_ok();
    // A sender of single messages, one disposition each, for as long as it likes.
    for _ in 0..100 {
        guard.sent(1_000);
        assert!(answers(&mut guard, 1_000));
        guard.take(usize::MAX);
    }
    // Heartbeats and flows of an idle year.
    let idle = [framed(0, 0, &[]), scripted_peer::flow(0, 10)].concat();
    for _ in 0..100_000 {
        tokio::time::advance(Duration::from_secs(300)).await;
        guard.put(&idle).unwrap();
        guard.take(usize::MAX);
    }
    assert!(!answers(&mut guard, 1_000_000));
}

#[test]
fn transfers_of_ours_are_counted_however_they_are_cut() {
    let transfer = [
        scripted_peer::frame(code::TRANSFER, &[&scripted_peer::uint(0)]),
        framed(0, 0, &[0, 0x53, 0x14, 0x45, 9, 9, 9]),
        framed(0, 0, &[]),
    ]
    .concat();
    let all = [opening(), transfer.repeat(3)].concat();
    for step in [1, 3, 8, 1_000] {
        let mut meter = TransferMeter::default();
        let transfers: u64 = all.chunks(step).map(|chunk| meter.count(chunk)).sum();
        assert_eq!(transfers, 6, "{step}");
    }
}
