//! When a full disk gets room, and what is said of it.

use super::*;

/// A router that is not ready gets no events from whoever asks first, so room is made without one.
#[tokio::test]
async fn a_full_disk_gets_room_without_a_producer() {
    let sim = SimulatedDisk::default();
    let kinds = [EndpointKind::Down, EndpointKind::Healthy];
    let scene = DiskScene::on(&sim, &kinds);
    scene.post(0..400).await;
    scene.delivered(1, 0..400).await;
    let sim = after_crash(&sim, PowerLossRemains::All);
    drop(scene);
    sim.set_room(Some(0));
    let scene = DiskScene::on(&sim, &kinds);
    assert!(!scene.router.readiness().ready);
    let taken = scene.router.parts.disk().unwrap().usage().disk_bytes;
    sim.set_room(Some(taken + BESIDE_BYTES));
    scene.is_ready(true).await;
    scene.adds_up(400);
    let status = scene.status(0);
    let kept = status.dead_letters.local;
    assert!(status.discarded > 0 && kept > 200, "{status:?}");
    scene.delivered(1, 0..0).await;
    assert_eq!(scene.status(1).delivered, 400);
}

/// What was kept is there until the disk is full, and comes back from it: nothing is discarded before, or after.
#[tokio::test]
async fn a_disk_with_room_again_is_used_again() {
    let sim = disk_of(6);
    let scene = DiskScene::on(&sim, &[EndpointKind::Down, EndpointKind::Healthy]);
    scene.post(0..150).await;
    assert_eq!(scene.status(0).discarded, 0, "there was room for these");
    assert!(scene.disk_warnings().is_empty());
    scene.post(150..600).await;
    assert!(scene.status(0).discarded > 0);
    assert_eq!(scene.disk_warnings().len(), 1);
    assert!(scene.router.status().journal.disk_full);
    sim.set_room(None);
    let discarded = scene.status(0).discarded;
    scene.post(600..1_000).await;
    assert_eq!(scene.status(0).discarded, discarded, "there is room again");
    assert!(scene.disk_warnings().is_empty());
    assert!(!scene.router.status().journal.disk_full);
    scene.sinks[0].set_down(false);
    scene.router.endpoint(None, "end0").unwrap().retry_now();
    let kept = scene.status(0).dead_letters.local;
    let request = ReplayRequest {
        per_second: 10_000.0,
        ..ReplayRequest::default()
    };
    let replay = scene.router.replay(request).await.unwrap();
    let replay = ended(&scene.router, replay.number).await;
    assert_eq!(replay.delivered, kept, "{replay:?}");
}

/// Whatever else takes the disk takes what is given back too: shares are kept all the same.
#[tokio::test]
async fn a_disk_that_others_fill_does_not_empty_the_journal() {
    let sim = SimulatedDisk::default();
    let scene = DiskScene::on(&sim, &[EndpointKind::Down, EndpointKind::Healthy]);
    scene.post(0..600).await;
    let before = scene.status(0).dead_letters.local;
    // There is no room, and none comes of what goes.
    sim.set_room(Some(0));
    let mut refused = 0;
    let begun = Instant::now();
    for id in 600..900 {
        refused += usize::from(scene.accept(LARGE, id, "t").await.is_err());
    }
    assert!(refused > 100, "{refused}");
    let status = scene.status(0);
    let most = 60 * (2 + begun.elapsed().as_secs());
    assert!(status.discarded <= most, "{before} before: {status:?}");
    assert!(!scene.router.readiness().ready);
    sim.set_room(None);
    scene.post(900..950).await;
    assert!(scene.router.readiness().ready);
}

/// One warning, whether events are refused just now or not, and it names who has most.
#[tokio::test]
async fn a_disk_full_of_one_endpoints_dead_letters_is_warned_about_with_its_name() {
    let sim = disk_of(4);
    let scene = DiskScene::on(&sim, &[EndpointKind::Down, EndpointKind::Healthy]);
    assert!(scene.router.status().warnings.is_empty());
    scene.post(0..400).await;
    let check = |part: &str| {
        let warnings = scene.disk_warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let holder = "endpoint default/end0 has most of the journal";
        for part in [part, holder, "are dead letters that are kept here"] {
            assert!(
                warnings[0].contains(part),
                "{part:?} is not in: {warnings:?}"
            );
        }
    };
    check("the journal's disk is full before the journal is");
    // What others take is not given back by whoever has most.
    sim.set_room(Some(0));
    let last = Instant::now() + PATIENCE;
    while scene.router.readiness().ready {
        drop(scene.accept(LARGE, 600, "t").await);
        assert!(Instant::now() < last, "{:?}", scene.router.status());
    }
    check("the journal cannot be written, so events for all endpoints are refused");
}
