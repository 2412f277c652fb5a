//! Tables at widths of terminals.

use super::*;
use crate::cli::sample_status::{endpoint_json, status_json};
use expect_test::{Expect, expect};
use serde_json::json;
use twinroute_router::sink::FaultKind;
use twinroute_router::status::{EndpointState, LetterStoreState};

fn endpoint(state: &str, last_error: &str) -> EndpointStatus {
    let status = endpoint_json("hub-1", state, last_error);
    serde_json::from_value(status).unwrap()
}

#[test]
fn hidden_reasons_of_states_are_shown() {
    for state in [
        "failed",
        "waiting-for-secret",
        "unauthorized",
        "undefined",
        "gone",
    ] {
        assert_eq!(reasons(&endpoint(state, "why")), ["why"], "{state}");
    }
    // The last failure is shown also when it is over.
    assert_eq!(reasons(&endpoint("healthy", "why")), [""; 0]);
    let mut container = endpoint("healthy", "");
    container.dead_letters.store = LetterStoreState::Fault(FaultKind::Unauthorized);
    container.dead_letters.awaiting_upload = 2;
    container.dead_letters.last_error = "the SAS has expired".to_owned();
    let expect =
        "2 dead letters wait for their container, which is unauthorized: the SAS has expired";
    assert_eq!(reasons(&container), [expect]);
}

#[test]
fn hidden_reasons_of_an_endpoint_that_rejects_all_it_gets() {
    let mut all = endpoint("healthy", "http-400: no");
    all.dead_letters.local = 8;
    for in_a_row in [0, 8] {
        all.failed_in_a_row = in_a_row;
        let expect = "healthy, but the last 8 events became dead letters";
        assert_eq!(state(&all), expect);
        assert_eq!(reasons(&all), ["http-400: no"]);
    }
    (all.delivered, all.failed_in_a_row) = (1, 0);
    assert_eq!(state(&all), "healthy");
    assert_eq!(state(&endpoint("throttled", "")), "throttled");
}

#[test]
fn hidden_reasons_dead_letters_that_were_replayed_are_not_there_any_more() {
    let mut of = endpoint("healthy", "");
    assert_eq!(open_dead_letters(&of), "0");
    of.dead_letters.local = 16;
    assert_eq!(open_dead_letters(&of), "16");
    of.dead_letters.local = 0;
    of.dead_letters.replayed = 16;
    of.replayed = 16;
    assert_eq!(open_dead_letters(&of), "0/16");
    // A container keeps what was replayed from it.
    of.dead_letters.replayed = 0;
    of.dead_letters.uploaded = 16;
    of.replayed = 10;
    assert_eq!(open_dead_letters(&of), "6/16");
}

#[test]
fn ages_are_short() {
    for (millis, expect) in [
        (999, "0"),
        (119_999, "119s"),
        (120_000, "2m"),
        (7_200_000, "2h"),
        (172_800_000, "2d"),
    ] {
        assert_eq!(age(millis), expect);
    }
}

/// A plant of which one endpoint cannot be reached, one rejects what it gets, one is paused.
fn plant() -> RouterStatus {
    let mut down = endpoint_json(
        "alerts-topic",
        "unreachable",
        "connect: Connection refused (os error 111)",
    );
    down["address"] = json!("press.servicebus.windows.net:5671");
    down["since"] = json!("2026-11-27T08:24:17.19Z");
    down["failed_attempts"] = json!(12);
    down["backing_off_ms"] = json!(41_000);
    down["queued"] = json!(16);
    down["oldest_age_ms"] = json!(600_000);
    down["queue_bytes"] = json!(1 << 20);
    down["queue_bytes_max"] = json!(64 << 20);
    down["queue_events_max"] = json!(100_000);
    down["retry"]["when_full"] = json!("dead-letter-oldest");
    let mut rejects = endpoint_json("lifecycle-grid", "healthy", "http-400: no");
    rejects["dead_letters"]["local"] = json!(16);
    rejects["failed_in_a_row"] = json!(16);
    let mut fine = endpoint_json("telemetry-hub", "healthy", "");
    fine["delivered"] = json!(1_234_567);
    fine["latency_p50_ms"] = json!(2.5);
    let paused = endpoint_json("an-endpoint-with-a-name-that-is-long", "paused", "");
    let filter = "type = 'microsoft.iot.telemetry' AND $body.temperature > 27 AND subject = 'x'";
    let route =
        json!({ "id": "hot-rooms", "endpoint": "alerts-topic", "filter": filter, "matched": 16 });
    let instance = json!({
        "name": "plant-1", "endpoints": [down, paused, rejects, fine], "routes": [route],
    });
    serde_json::from_value(status_json(&json!([instance]))).unwrap()
}

fn check(status: &RouterStatus, columns: usize, rows: usize, fits: bool, expect: &Expect) {
    let selection = EndpointSelection::default();
    let columns = Some(columns);
    let view = TableView {
        screen: ScreenSize { columns, rows },
        selection: &selection,
        fits,
    };
    let text = draw(status, &view).to_string();
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= columns, "{widest:?}\n{text}");
    expect.assert_eq(&text);
}

#[test]
fn table_in_80_columns() {
    check(
        &plant(),
        80,
        24,
        false,
        &expect![[r#"
        table 1   accepted 0   unmatched 0   backlog 0 (0 B of 0 B)

        plant-1                  queued  delivered  dead letters  oldest  state
          alerts-topic               16          0             0     10m  unreachable
            connect: Connection refused (os error 111)
            press.servicebus.windows.net:5671, since 2026-11-27T08:24:17Z, 12 attempts,
                next attempt in 41s, queue full in 10h at this rate, then the oldest
                become dead letters
            to do: check the host's name, its port, firewalls between, and the service's
                health
          an-endpoint-with-a-…        0          0             0       0  paused
            to do: `twinroute endpoint resume` when it may be sent to again
          lifecycle-grid              0          0            16       0  healthy, but
            the last 16 events became dead letters
            http-400: no
            to do: see why with `twinroute deadletter list`, fix the cause, then
                `twinroute deadletter replay`
          telemetry-hub               0    1234567             0       0  healthy

          route               endpoint              matched  filter
          hot-rooms           alerts-topic               16  type = 'microsoft.iot.tele…
    "#]],
    );
}

#[test]
fn table_in_140_columns() {
    check(
        &plant(),
        140,
        50,
        false,
        &expect![[r#"
        table 1   accepted 0   unmatched 0   backlog 0 (0 B of 0 B)

        plant-1                 matched   queued  in flight  retrying  delivered  dead letters  discarded  oldest   p50 ms   p99 ms  state
          alerts-topic               16       16          0         0          0             0          0     10m      0.0      0.0  unreachable
            connect: Connection refused (os error 111)
            press.servicebus.windows.net:5671, since 2026-11-27T08:24:17Z, 12 attempts, next attempt in 41s, queue full in 10h at this rate, then
                the oldest become dead letters
            to do: check the host's name, its port, firewalls between, and the service's health
          an-endpoint-with-a-…       16        0          0         0          0             0          0       0      0.0      0.0  paused
            to do: `twinroute endpoint resume` when it may be sent to again
          lifecycle-grid             16        0          0         0          0            16          0       0      0.0      0.0  healthy, but
            the last 16 events became dead letters
            http-400: no
            to do: see why with `twinroute deadletter list`, fix the cause, then `twinroute deadletter replay`
          telemetry-hub              16        0          0         0    1234567             0          0       0      2.5      0.0  healthy

          route               endpoint              matched  filter
          hot-rooms           alerts-topic               16  type = 'microsoft.iot.telemetry' AND $body.temperature > 27…
    "#]],
    );
}

#[test]
fn ten_thousand_endpoints_are_one_screen() {
    let mut status = plant();
    let fine = status.instances[0].endpoints.pop().unwrap();
    let more = (0..9_997).map(|number| {
        let mut more = fine.clone();
        more.name = format!("hub-{number}");
        more
    });
    status.instances[0].endpoints.extend(more);
    check(
        &status,
        80,
        30,
        false,
        &expect![[r#"
            table 1   accepted 0   unmatched 0   backlog 0 (0 B of 0 B)

            10000 endpoints: 9998 healthy, 1 paused, 1 unreachable

            endpoint                 queued  delivered  dead letters  oldest  state
              alerts-topic               16          0             0     10m  unreachable
                connect: Connection refused (os error 111)
                press.servicebus.windows.net:5671, since 2026-11-27T08:24:17Z, 12 attempts,
                    next attempt in 41s, queue full in 10h at this rate, then the oldest
                    become dead letters
                to do: check the host's name, its port, firewalls between, and the service's
                    health
              an-endpoint-with-a-…        0          0             0       0  paused
                to do: `twinroute endpoint resume` when it may be sent to again
              lifecycle-grid              0          0            16       0  healthy, but
                the last 16 events became dead letters
                http-400: no
                to do: see why with `twinroute deadletter list`, fix the cause, then
                    `twinroute deadletter replay`
              hub-0                       0    1234567             0       0  healthy
              hub-1                       0    1234567             0       0  healthy
              hub-2                       0    1234567             0       0  healthy
              hub-3                       0    1234567             0       0  healthy
              hub-4                       0    1234567             0       0  healthy
              hub-5                       0    1234567             0       0  healthy
              hub-6                       0    1234567             0       0  healthy
              hub-7                       0    1234567             0       0  healthy
              and 9989 more: choose with --problems, --endpoint or --state, order them with
                  --sort, show them and their routes with --all
        "#]],
    );
}

#[test]
fn watched_table_fits_the_screen() {
    check(
        &plant(),
        80,
        16,
        true,
        &expect![[r#"
            table 1   accepted 0   unmatched 0   backlog 0 (0 B of 0 B)

            4 endpoints: 2 healthy, 1 paused, 1 unreachable

            endpoint                 queued  delivered  dead letters  oldest  state
              alerts-topic               16          0             0     10m  unreachable
                connect: Connection refused (os error 111)
                press.servicebus.windows.net:5671, since 2026-11-27T08:24:17Z, 12 attempts,
                    next attempt in 41s, queue full in 10h at this rate, then the oldest
                    become dead letters
                to do: check the host's name, its port, firewalls between, and the service's
                    health
              and 3 more: choose with --problems, --endpoint or --state, order them with
                  --sort, show them and their routes with --all
        "#]],
    );
}

#[test]
fn chosen_endpoints_are_shown_alone() {
    let chosen = |selection: EndpointSelection| {
        let mut status = plant();
        selection
            .apply(&mut status)
            .map_err(|error| error.to_string())?;
        let endpoints = status.instances.iter().flat_map(|one| &one.endpoints);
        Ok(endpoints.map(|one| one.name.clone()).collect::<Vec<_>>())
    };
    let none = EndpointSelection::default;
    let problems = EndpointSelection {
        problems: true,
        ..none()
    };
    let names = [
        "alerts-topic",
        "an-endpoint-with-a-name-that-is-long",
        "lifecycle-grid",
    ];
    assert_eq!(chosen(problems), Ok(names.map(str::to_owned).to_vec()));
    let state = EndpointSelection {
        state: vec![EndpointState::Paused],
        ..none()
    };
    assert_eq!(chosen(state), Ok(vec![names[1].to_owned()]));
    let sort = EndpointSelection {
        sort: Some(EndpointOrder::Delivered),
        ..none()
    };
    assert_eq!(chosen(sort).unwrap()[0], "telemetry-hub");
    let endpoint = EndpointSelection {
        endpoint: vec!["telemetry-hbu".to_owned()],
        ..none()
    };
    let expect = "endpoint telemetry-hbu: not found; did you mean telemetry-hub?";
    assert_eq!(chosen(endpoint), Err(expect.to_owned()));
}

#[test]
fn lines_are_broken_at_spaces_or_where_there_are_none() {
    assert_eq!(wrapped("  aa bb cc", Some(8)), ["  aa bb", "    cc"]);
    assert_eq!(wrapped("aaaaaaaaaaaa", Some(10)), ["aaaaaaaaaa", "    aa"]);
    assert_eq!(wrapped("grüße", Some(5)), ["grüße"]);
    assert_eq!(wrapped("a b", None), ["a b"]);
}
