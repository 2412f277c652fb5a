//! The router on a journal that loses power, room and syncs.

use super::tests::{Script, endpoint_status, event};
use super::*;
use twinroute_model::clock::SystemClock;
use twinroute_retry::journal::sim::{Fault, Leaves, Sim};
use twinroute_retry::journal::{Recovered, Settings};

fn open(sim: &Sim) -> (Disk, Recovered) {
    let settings = Settings {
        segment_bytes: 64 << 10,
        commit_window: Duration::ZERO,
        retry_delay: Duration::from_secs(3_600),
        ..Settings::default()
    };
    Disk::open(settings, Arc::new(sim.clone()), Arc::new(SystemClock)).unwrap()
}

fn router(sim: &Sim, sink: &Script) -> Router {
    let (disk, recovered) = open(sim);
    Router::builder()
        .journal_on_disk(disk, recovered)
        .sink("only", sink.clone())
        .route("all", "only", "type = 'Microsoft.DigitalTwins.Twin.Update'")
        .build()
        .unwrap()
}

async fn accept(router: &Router, id: usize, level: AckLevel) -> Result<Accepted, AcceptError> {
    router.accept(None, vec![event(id, "a")], level).await
}

#[tokio::test]
async fn what_was_acknowledged_is_delivered_after_a_loss_of_power() {
    let (sim, sink) = (Sim::default(), Script::default());
    sink.set_down(true);
    let router_before = router(&sim, &sink);
    assert_eq!(router_before.default_level(), AckLevel::Durable);
    for id in 0..5 {
        accept(&router_before, id, AckLevel::Durable).await.unwrap();
    }
    let after_crash = sim.fork();
    after_crash.power_off();
    after_crash.power_on(Leaves::Nothing);

    let sink = Script::default();
    let router = router(&after_crash, &sink);
    router.settled().await;
    assert_eq!(sink.ids(), ["0", "1", "2", "3", "4"]);
    let status = endpoint_status(&router, "only");
    assert_eq!((status.matched, status.delivered), (5, 5));

    // What was settled stays settled, and a stop keeps what waits.
    sink.set_down(true);
    accept(&router, 5, AckLevel::Durable).await.unwrap();
    let last = router.stop(Duration::ZERO).await;
    let endpoint = &last.instances[0].endpoints[0];
    assert_eq!((endpoint.discarded, endpoint.unaccounted()), (0, 0));
    let sink = Script::default();
    let router = self::router(&after_crash.fork(), &sink);
    router.settled().await;
    assert_eq!(sink.ids(), ["5"]);
    assert_eq!(endpoint_status(&router, "only").delivered, 6);
}

#[tokio::test]
async fn a_failed_sync_refuses_until_a_restart() {
    let (sim, sink) = (Sim::default(), Script::default());
    let router = router(&sim, &sink);
    accept(&router, 0, AckLevel::Durable).await.unwrap();
    // The write of the group goes well, its sync does not.
    sim.fail_after(1, Fault::Error);
    let refused = accept(&router, 1, AckLevel::Durable).await.unwrap_err();
    assert!(
        refused.to_string().contains("poisoned until a restart"),
        "{refused}"
    );
    let refused = accept(&router, 2, AckLevel::Durable).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Journal { .. }), "{refused}");
    let readiness = router.readiness();
    assert!(
        !readiness.ready && readiness.reason.contains("poisoned"),
        "{readiness:?}"
    );
    router.settled().await;
    assert_eq!(sink.ids(), ["0"], "lanes send only what is synced");
}

#[tokio::test]
async fn events_acknowledged_in_memory_that_miss_the_disk_are_counted() {
    let (sim, sink) = (Sim::default(), Script::default());
    let router = router(&sim, &sink);
    accept(&router, 0, AckLevel::Durable).await.unwrap();
    sim.fail_after(0, Fault::Error);
    accept(&router, 1, AckLevel::Memory).await.unwrap();
    let counted = async {
        while router.status().journal.lost == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout_at(Instant::now() + Duration::from_secs(30), counted)
        .await
        .unwrap();
    assert_eq!(router.status().journal.lost, 1);
    assert!(!router.readiness().ready);
    assert_eq!(endpoint_status(&router, "only").matched, 1);
}

#[tokio::test]
async fn events_of_an_endpoint_that_is_gone_wait_in_sight() {
    let (sim, sink) = (Sim::default(), Script::default());
    sink.set_down(true);
    let router = router(&sim, &sink);
    accept(&router, 0, AckLevel::Durable).await.unwrap();
    router.stop(Duration::ZERO).await;
    let (disk, recovered) = open(&sim.fork());
    let without = Router::builder()
        .journal_on_disk(disk, recovered)
        .build()
        .unwrap();
    let orphan = endpoint_status(&without, "only");
    assert_eq!(
        (orphan.state.as_str(), orphan.queued, orphan.matched),
        ("undefined", 1, 1)
    );
}
