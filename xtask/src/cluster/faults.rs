//! Nodes that are killed under load.

use super::load::LogLoad;
use super::scene::{ClusterScene, PARTITIONS};
use crate::tally::CheckTally;
use anyhow::{bail, ensure};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use twinroute_jetstream::JetStreamLog;
use twinroute_journal::{
    ClusterKey, ClusterLog as _, ClusterLogError, PartitionNumber, RecordAppend, RecordSubject,
};

/// Far above the 4 to 10 s that an election or the start of all nodes takes.
const RECOVERS_MAX: Duration = Duration::from_secs(90);
/// Acknowledgements after a fault that show that it is over.
const PROGRESS: u64 = 20;

/// One round on a cluster of its own.
pub(super) fn run(scene: &mut ClusterScene, tally: &mut CheckTally, round: u32) {
    let cluster = format!("faults-{round}");
    let mut log = None;
    tally.step(&format!("round {round}: cluster"), || {
        let mut settings = scene.settings(&cluster);
        settings.request_max = Duration::from_secs(2);
        log = Some(Arc::new(scene.open(&settings)?));
        Ok(())
    });
    let Some(log) = log else {
        return;
    };
    let stream = format!("TR_{cluster}_P00");
    let faults: [(&str, NodeFault); 3] = [
        ("leader-killed", leader_killed),
        ("majority-killed", majority_killed),
        ("all-killed", all_killed),
    ];
    for (name, fault) in faults {
        let mut result = String::new();
        let passed = tally.step(&format!("round {round}: {name}"), || {
            let run = format!("{round}-{name}");
            let load = LogLoad::start(&scene.runtime, &log, &run, PARTITIONS);
            scene
                .runtime
                .block_on(load.progress(PROGRESS, RECOVERS_MAX))?;
            fault(scene, &log, &load, &stream)?;
            let verdict = scene.runtime.block_on(load.judge(&run))?;
            result = format!(
                "{} acknowledged, 0 lost, 0 twice, {} repeated; longest pause {:.1} s",
                verdict.acknowledged,
                verdict.repeated,
                verdict.pause.as_secs_f64()
            );
            Ok(())
        });
        if passed {
            println!("   {result}");
        }
    }
}

type NodeFault = fn(&mut ClusterScene, &JetStreamLog, &LogLoad, &str) -> anyhow::Result<()>;

fn leader_killed(
    scene: &mut ClusterScene,
    _log: &JetStreamLog,
    load: &LogLoad,
    stream: &str,
) -> anyhow::Result<()> {
    let leader = scene.leader(stream)?;
    scene.nodes[leader].kill()?;
    scene
        .runtime
        .block_on(load.progress(PROGRESS, RECOVERS_MAX))?;
    scene.start_node(leader)?;
    scene.leader(stream)?;
    scene
        .runtime
        .block_on(load.progress(PROGRESS, RECOVERS_MAX))
}

/// A leader without a majority must answer nothing that another might have changed.
fn majority_killed(
    scene: &mut ClusterScene,
    log: &JetStreamLog,
    load: &LogLoad,
    stream: &str,
) -> anyhow::Result<()> {
    let leader = scene.leader(stream)?;
    let killed: Vec<usize> = (0..scene.nodes.len())
        .filter(|node| *node != leader)
        .collect();
    for node in &killed {
        scene.nodes[*node].kill()?;
    }
    scene.runtime.block_on(nothing_is_answered(log))?;
    for node in killed {
        scene.start_node(node)?;
    }
    scene.leader(stream)?;
    scene
        .runtime
        .block_on(load.progress(PROGRESS, RECOVERS_MAX))
}

fn all_killed(
    scene: &mut ClusterScene,
    _log: &JetStreamLog,
    load: &LogLoad,
    stream: &str,
) -> anyhow::Result<()> {
    for node in &mut scene.nodes {
        node.kill()?;
    }
    for node in 0..scene.nodes.len() {
        scene.start_node(node)?;
    }
    scene.leader(stream)?;
    scene
        .runtime
        .block_on(load.progress(PROGRESS, RECOVERS_MAX))
}

/// Waits until the log refuses to answer for a partition and an entry, and then sees an append refused too.
async fn nothing_is_answered(log: &JetStreamLog) -> anyhow::Result<()> {
    let partition = PartitionNumber::all(1).next().expect("there is a first");
    let key = ClusterKey::Lease(partition);
    let deadline = Instant::now() + RECOVERS_MAX;
    loop {
        let (bounds, entry) = tokio::join!(log.bounds(partition), log.entry(&key));
        let silent = |error: &ClusterLogError| matches!(error, ClusterLogError::Unavailable(_));
        let bounds = bounds.map(drop);
        let entry = entry.map(drop);
        for error in [&bounds, &entry]
            .into_iter()
            .filter_map(|answer| answer.as_ref().err())
        {
            ensure!(silent(error), "{error}");
        }
        if bounds.is_err() && entry.is_err() {
            break;
        }
        if Instant::now() > deadline {
            bail!("a node without a majority goes on answering");
        }
        sleep(Duration::from_millis(100)).await;
    }
    let append = RecordAppend {
        partition,
        subject: RecordSubject::Settlements,
        message_id: "minority".into(),
        // Cannot be: whatever comes of it, no record does.
        expected: Some(u64::MAX >> 1),
        bytes: "minority".into(),
    };
    match log.append(append).await {
        Err(ClusterLogError::Unavailable(_) | ClusterLogError::Conflict { .. }) => Ok(()),
        answer => bail!("without a majority an append is answered: {answer:?}"),
    }
}
