use super::*;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use twinroute_router::Router;
use twinroute_router::sink::FaultKind;
use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};

/// Its router gives the status that tests change.
struct IdleSink;

impl Sink for IdleSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        ready(vec![DeliveryOutcome::Delivered; batch.len()]).boxed()
    }
}

/// A status with so many healthy endpoints.
fn status(endpoints: usize) -> RouterStatus {
    let router = Router::builder().default_instance("demo");
    let name = |number| format!("grid-{number:03}");
    let router = (0..endpoints).fold(router, |router, number| {
        router.sink(&name(number), IdleSink)
    });
    let status = router.build().expect("it is sound").status();
    let known = status.instances.iter().map(|known| known.endpoints.len());
    assert_eq!(known.sum::<usize>(), endpoints);
    status
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[tokio::test]
async fn trouble_is_summed_up_from_its_second_minute_on_and_no_longer_than_it_lasts() {
    let (mut status, start) = (status(2), Instant::now());
    let mut known = KnownTrouble::default();
    let mut check =
        |status: &RouterStatus, minute| known.check(status, start + minutes(minute)).lines;
    assert_eq!(check(&status, 0), []);
    let endpoint = &mut status.instances[0].endpoints[0];
    endpoint.state = EndpointState::Fault(FaultKind::Unreachable);
    "connect: refused".clone_into(&mut endpoint.last_error);
    (endpoint.queued, endpoint.queue_bytes) = (7, 700);
    endpoint.metrics.failed_attempts = 5;
    assert_eq!(check(&status, 1), [], "its lane has just said so");
    status.instances[0].endpoints[0].metrics.failed_attempts = 8;
    let expect = EndpointTrouble {
        endpoint: "demo/grid-000".to_owned(),
        state: EndpointState::Fault(FaultKind::Unreachable),
        lasts: minutes(1),
        new: FailureCounts {
            failed_attempts: 3,
            ..FailureCounts::default()
        },
        backlog: 7,
        backlog_bytes: 700,
        last_error: "connect: refused".to_owned(),
    };
    assert_eq!(check(&status, 2), [expect]);
    let lasts = check(&status, 9).remove(0).lasts;
    assert_eq!(lasts, minutes(8), "also while nothing is tried");
    status.instances[0].endpoints[0].state = EndpointState::Healthy;
    assert_eq!(check(&status, 10), []);
    assert_eq!(check(&status, 11), []);
}

/// Such an endpoint is healthy: each event fails alone.
#[tokio::test]
async fn events_that_fail_again_and_again_are_trouble_too() {
    let (mut status, start) = (status(1), Instant::now());
    let mut known = KnownTrouble::default();
    status.instances[0].endpoints[0].dead_letters.local = 100;
    let first = known.check(&status, start);
    assert_eq!(first, TroubleSummary::default(), "they are old");
    for minute in 1..4 {
        status.instances[0].endpoints[0].dead_letters.local += 2;
        status.instances[0].endpoints[0].discarded += 1;
        let lines = known.check(&status, start + minutes(minute)).lines;
        let counts: Vec<_> = lines.iter().map(|line| line.new).collect();
        let expect = FailureCounts {
            failed_attempts: 0,
            dead_letters: 2,
            discarded: 1,
        };
        let expect = if minute == 1 { vec![] } else { vec![expect] };
        assert_eq!(counts, expect, "minute {minute}");
    }
}

#[tokio::test]
async fn a_hundred_endpoints_in_trouble_are_eleven_lines_and_the_worst_come_first() {
    let (mut status, start) = (status(100), Instant::now());
    for (number, endpoint) in status.instances[0].endpoints.iter_mut().enumerate() {
        endpoint.state = EndpointState::Fault(FaultKind::Throttled);
        endpoint.queued = number as u64;
    }
    let mut known = KnownTrouble::default();
    known.check(&status, start);
    let summary = known.check(&status, start + minutes(1));
    let backlogs: Vec<u64> = summary.lines.iter().map(|line| line.backlog).collect();
    assert_eq!(backlogs, (90..100).rev().collect::<Vec<u64>>());
    assert_eq!(
        (summary.further, summary.further_backlog),
        (90, (0..90).sum())
    );
}

#[tokio::test]
async fn overload_is_summed_up_when_it_lasts() {
    let (mut status, start) = (status(0), Instant::now());
    let mut known = KnownTrouble::default();
    status.admission.refused = 3;
    status.admission.lasts_ms = 59_999;
    assert_eq!(known.check(&status, start).overload, None);
    status.admission.refused = 10;
    status.admission.lasts_ms = 119_999;
    let overload = known.check(&status, start + minutes(1)).overload;
    let expect = OverloadSummary {
        lasts: Duration::from_millis(119_999),
        refused: 7,
    };
    assert_eq!(overload, Some(expect));
}
