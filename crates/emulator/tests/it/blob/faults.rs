//! Scripted faults of containers, and a restart.

use super::{BLOCK_BLOB, CONTAINER, ContainerScene, END};
use std::time::Duration;
use twinroute_emulator::{BlobAnswer, ScriptedFaults};

#[tokio::test]
async fn faults_are_answered_before_access_and_as_often_as_told() {
    let scene = ContainerScene::set().await;
    let faults = scene.emulator.faults();
    let put = async || scene.put("b", &[], "1").await;
    let wrong = BlobAnswer::Status(500, "InternalError".to_owned(), None);
    faults.blobs(CONTAINER, wrong, 1);
    faults.blobs(CONTAINER, BlobAnswer::busy(Some(7)), 2);
    faults.blobs(CONTAINER, BlobAnswer::Full, 1);
    faults.blobs(CONTAINER, BlobAnswer::ContainerAbsent, 1);
    assert_eq!(put().await.refusal(), (500, "InternalError"));
    for _ in 0..2 {
        let busy = put().await;
        assert_eq!(busy.refusal(), (503, "ServerBusy"));
        assert_eq!(busy.header("retry-after"), Some("7"));
    }
    assert_eq!(put().await.refusal(), (409, "MemoryExtentStoreAtSizeLimit"));
    assert_eq!(put().await.refusal(), (404, "ContainerNotFound"));
    assert_eq!(put().await.status, 201);

    faults.blobs(CONTAINER, BlobAnswer::busy(None), ScriptedFaults::ALWAYS);
    for _ in 0..3 {
        let unsigned = scene.send("GET", CONTAINER, "", &[], "").await;
        assert_eq!(unsigned.refusal(), (503, "ServerBusy"));
    }
    assert_eq!(
        scene
            .emulator
            .blob_account()
            .blobs(CONTAINER)
            .unwrap()
            .len(),
        1
    );
    faults.clear_blobs(CONTAINER);
    assert_eq!(put().await.status, 201);
}

#[tokio::test]
async fn connections_end_before_or_after_the_blob_is_stored() {
    let scene = ContainerScene::set().await;
    let signed = scene.signed("w");
    let stored = || scene.emulator.blob_account().counts(CONTAINER).stored;
    let head = format!("PUT /devstoreaccount1/{CONTAINER}/b?{signed} HTTP/1.1\r\n");
    for (answer, expect) in [(BlobAnswer::Drop, 0), (BlobAnswer::StoreAndDrop, 1)] {
        scene.emulator.faults().blobs(CONTAINER, answer, 1);
        let answered = scene.send_raw(&head, &[BLOCK_BLOB], "1").await;
        assert!(answered.is_none(), "{answered:?}");
        assert_eq!(stored(), expect);
    }
    let late = BlobAnswer::AnswerAfter(Duration::from_millis(5));
    scene.emulator.faults().blobs(CONTAINER, late, 1);
    assert_eq!(scene.put("b", &[], "1").await.status, 201);
    scene
        .emulator
        .faults()
        .blobs(CONTAINER, BlobAnswer::Stall, 1);
    let stalled = scene.put("c", &[], "1");
    let stalled = tokio::time::timeout(Duration::from_millis(5), stalled).await;
    assert!(stalled.is_err(), "{stalled:?}");
    assert_eq!(stored(), 2);
}

#[tokio::test]
async fn a_restart_keeps_blobs_key_and_address() {
    let mut scene = ContainerScene::set().await;
    scene.put("b", &[], "1").await;
    let url = scene.emulator.container_sas_url(CONTAINER, "w", END);
    scene.emulator = scene.emulator.shutdown().await.restart().await.unwrap();
    assert_eq!(scene.emulator.container_sas_url(CONTAINER, "w", END), url);
    assert_eq!(scene.ask("GET", "/b", "", "").await.body, "1");
}
