//! Screens of `twinroute top`, and what keys do.

use super::*;
use crate::cli::sample_status::{endpoint_json, status_json};
use expect_test::{Expect, expect};
use serde_json::json;
use twinroute_router::status::RouterStatus;

/// Second `n` of a plant: each second 10 events come, and one endpoint takes them.
fn second(n: u64) -> RouterStatus {
    let mut down = endpoint_json("alerts-topic", "unreachable", "connect: refused");
    down["address"] = json!("press.servicebus.windows.net:5671");
    down["since"] = json!("2026-11-27T08:24:17.19Z");
    down["failed_attempts"] = json!(12);
    down["backing_off_ms"] = json!(41_000);
    down["matched"] = json!(10 * n);
    down["queued"] = json!(10 * n);
    down["oldest_age_ms"] = json!(1_000 * n);
    down["dead_letters"]["local"] = json!(3);
    let mut fine = endpoint_json("telemetry-hub", "healthy", "");
    fine["matched"] = json!(n * n);
    fine["delivered"] = json!(n * n);
    fine["latency_p50_ms"] = json!(2.5);
    let paused = endpoint_json("archive", "paused", "");
    let instance = json!({ "name": "plant-1", "endpoints": [down, paused, fine], "routes": [] });
    let mut status = status_json(&json!([instance]));
    status["journal"]["accepted"] = json!(10 * n);
    serde_json::from_value(status).unwrap()
}

fn watched() -> TopState {
    let mut state = TopState::new();
    for n in 1..=20 {
        state.update(second(n), Duration::from_secs(1));
    }
    state
}

fn check(state: &TopState, columns: u16, rows: u16, expect: &Expect) {
    expect.assert_eq(&screen(state, columns, rows));
}

#[test]
fn list_in_80_by_24() {
    check(
        &watched(),
        80,
        24,
        &expect![[r#"
            table 1  accepted 200 (10/s)  unmatched 0  backlog 0 (0 B)  by state

            endpoint                 state          in/s  out/s  backlog   dead trend
            alerts-topic             unreachable      10      0      200      3 ▁▁▁▁▁▁▁▁▁▁▁▁
            archive                  paused            0      0        0      0 ▁▁▁▁▁▁▁▁▁▁▁▁
            telemetry-hub            healthy          39     39        0      0 ▄▄▄▅▅▅▆▆▆▇▇█

















            ↑↓ choose  ⏎ more  p pause/resume  r retry  R replay  s sort  ! problems  q quit
        "#]],
    );
}

#[test]
fn list_on_a_wide_terminal() {
    check(
        &watched(),
        140,
        10,
        &expect![[r#"
            table 1  accepted 200 (10/s)  unmatched 0  backlog 0 (0 B)  by state

            endpoint                       state          in/s  out/s  backlog   dead  retrying  oldest   p50 ms   p99 ms trend
            alerts-topic                   unreachable      10      0      200      3         0     20s      0.0      0.0 ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
            archive                        paused            0      0        0      0         0       0      0.0      0.0 ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
            telemetry-hub                  healthy          39     39        0      0         0       0      2.5      0.0 ▁▁▂▂▂▃▃▄▄▄▅▅▅▆▆▆▇▇█



            ↑↓ choose  ⏎ more  p pause/resume  r retry  R replay  s sort  ! problems  q quit
        "#]],
    );
}

#[test]
fn detail_in_80_by_24() {
    let mut state = watched();
    assert_eq!(state.press(TopKey::Enter), None);
    check(
        &state,
        80,
        24,
        &expect![[r#"
            table 1  accepted 200 (10/s)  unmatched 0  backlog 0 (0 B)  by state

            ┌ plant-1/alerts-topic ────────────────────────────────────────────────────────┐
            │EventHub  press.servicebus.windows.net:5671  unreachable                      │
            │matched 200  replayed 0  delivered 0  discarded 0                             │
            │queued 200  in flight 0  retrying 0  oldest 20s  0 B of 0 B                   │
            │dead letters: uploaded 0  waiting for upload 0  here 3  replayed 0            │
            │latency p50 0.0 ms, p99 0.0 ms  batches in flight at most 1                   │
            │connect: refused                                                              │
            │press.servicebus.windows.net:5671, since 2026-11-27T08:24:17Z, 12 attempts,   │
            │next attempt in 41s                                                           │
            │to do: check the host's name, its port, firewalls between, and the service's  │
            │health                                                                        │
            │                                                                              │
            └──────────────────────────────────────────────────────────────────────────────┘
            ┌ matched 10/s, at most 10/s ──────────────────────────────────────────────────┐
            │███████████████████                                                           │
            │███████████████████                                                           │
            └──────────────────────────────────────────────────────────────────────────────┘
            ┌ delivered 0/s, at most 0/s ──────────────────────────────────────────────────┐
            │                                                                              │
            │                                                                              │
            └──────────────────────────────────────────────────────────────────────────────┘
            esc back  ↑↓ next  p pause/resume  r retry  R replay dead letters  q quit
        "#]],
    );
}

#[test]
fn keys_steer_the_chosen_endpoint() {
    let mut state = watched();
    let post = |request: Option<TopRequest>| match request {
        Some(TopRequest::Post(path, body, _)) => (path, body),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        post(state.press(TopKey::Char('p'))).0,
        "/endpoints/plant-1/alerts-topic/pause"
    );
    assert_eq!(
        post(state.press(TopKey::Char('r'))).0,
        "/endpoints/plant-1/alerts-topic/retry-now"
    );
    assert_eq!(state.press(TopKey::Down), None);
    assert_eq!(
        post(state.press(TopKey::Char('p'))).0,
        "/endpoints/plant-1/archive/resume"
    );
    // It has none.
    assert_eq!(state.press(TopKey::Char('R')), None);
    assert_eq!(
        state.message,
        "plant-1/archive: no dead letters are kept here"
    );
    assert_eq!(state.press(TopKey::Up), None);
    for (key, expect) in [('n', None), ('y', Some("/replays"))] {
        assert_eq!(state.press(TopKey::Char('R')), None);
        assert!(
            state
                .message
                .starts_with("replay 3 dead letters of plant-1/alerts-topic?")
        );
        let request = state.press(TopKey::Char(key));
        match expect {
            None => assert_eq!(request, None),
            Some(path) => {
                let (asked, body) = post(request);
                assert_eq!(asked, path);
                let query = r#"{"query":{"endpoint":"alerts-topic","instance":"plant-1"}}"#;
                assert_eq!(body, query);
            }
        }
    }
    assert_eq!(state.press(TopKey::Char('q')), Some(TopRequest::Quit));
}

#[test]
fn rates_are_of_one_second_however_long_it_took() {
    let mut state = TopState::new();
    state.update(second(1), Duration::ZERO);
    state.update(second(3), Duration::from_secs(2));
    assert_eq!(state.accepted_rate, 10);
    let rates = &state.rates[&("plant-1".to_owned(), "alerts-topic".to_owned())];
    assert_eq!(rates.came, [10]);
}
