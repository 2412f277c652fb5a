//! What outlives a router.

use crate::{CollectingSink, closed, event};
use std::path::Path;
use std::time::Duration;
use tempfile::tempdir;
use twinroute::prelude::*;
use twinroute::status::JournalKind;

async fn start(folder: &Path, sink: impl Sink) -> Router {
    let builder = Router::builder().journal(folder).sink("archive", sink);
    let builder = builder.route("all", "archive", "true");
    builder.start().await.unwrap()
}

#[tokio::test]
async fn what_was_accepted_is_delivered_by_the_next_router() {
    let folder = tempdir().unwrap();
    let router = start(folder.path(), closed()).await;
    router.accept_batch([event(1), event(2)]).await.unwrap();
    let status = router.stop(Duration::ZERO).await;
    assert_eq!(status.journal.kind, JournalKind::Disk);
    let sink = CollectingSink::default();
    let router = start(folder.path(), sink.clone()).await;
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "2"]);
    router.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn the_last_clone_ends_its_tasks_and_closes_its_journal() {
    let folder = tempdir().unwrap();
    for round in 0..3 {
        let router = start(folder.path(), closed()).await;
        let clone = router.clone();
        drop(router);
        clone.accept(event(round)).await.unwrap();
        drop(clone);
        // The next one opens the same folder in the next line.
    }
    let sink = CollectingSink::default();
    let router = start(folder.path(), sink.clone()).await;
    router.settled().await;
    assert_eq!(sink.ids(), ["0", "1", "2"]);
    drop(router);
    let alive = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    for _ in 0..1_000 {
        if tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
            == 0
        {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{alive} tasks are left");
}

#[tokio::test]
async fn a_journal_that_is_open_elsewhere_is_refused_by_name() {
    let folder = tempdir().unwrap();
    let _first = start(folder.path(), closed()).await;
    let second = Router::builder().journal(folder.path()).start().await;
    let text = format!("{:?}", second.unwrap_err());
    assert!(text.contains("another process has it open"), "{text}");
}

#[tokio::test]
async fn the_room_on_disk_is_as_set() {
    let folder = tempdir().unwrap();
    let journal = JournalOptions::new(folder.path()).bytes_max(8 << 20);
    let router = Router::builder().journal(journal.segment_bytes(1 << 20));
    let router = router.start().await.unwrap();
    assert_eq!(router.status().journal.bytes_max, 8 << 20);
}
