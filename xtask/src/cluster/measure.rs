//! How fast the log appends, and how long an append takes.

use super::scene::{ClusterScene, PARTITIONS};
use anyhow::ensure;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_jetstream::{JetStreamLog, PartitionLimits};
use twinroute_journal::{ClusterLog as _, PartitionNumber, RecordAppend, RecordSubject};

/// Record bytes, and how many appenders each partition has.
const CASES: [(usize, u32); 5] = [
    (1_024, 1),
    (1_024, 16),
    (16 << 10, 4),
    (64 << 10, 4),
    (256 << 10, 1),
];

/// Room for what a few seconds append.
const PARTITION_BYTES_MAX: u64 = 480 << 20;

/// Appends for so long in each case, and prints a row of each.
pub(super) fn run(scene: &ClusterScene, seconds: u64) -> anyhow::Result<()> {
    println!(
        "   {PARTITIONS} partitions, 3 nodes; record bytes, under way: groups/s, MiB/s, p50 / p99 ms"
    );
    for (case, (bytes, appenders)) in CASES.into_iter().enumerate() {
        let mut settings = scene.settings("measure");
        settings.limits = PartitionLimits {
            partition_bytes_max: PARTITION_BYTES_MAX,
            ..settings.limits
        };
        let log = Arc::new(scene.open(&settings)?);
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut tasks = Vec::new();
        for partition in PartitionNumber::all(PARTITIONS) {
            for appender in 0..appenders {
                let name = format!("measure-{case}-{partition}-{appender}");
                tasks.push(scene.runtime.spawn(append(
                    Arc::clone(&log),
                    partition,
                    bytes,
                    name,
                    until,
                )));
            }
        }
        let mut times = Vec::new();
        for task in tasks {
            times.extend(scene.runtime.block_on(task)??);
        }
        ensure!(!times.is_empty(), "nothing was appended in {seconds} s");
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        let rate = times.len() as f64 / seconds as f64;
        let under_way = u32::from(PARTITIONS) * appenders;
        println!(
            "   {bytes:>7} B, {under_way:>3}: {rate:>7.0} groups/s, {:>5.1} MiB/s, {:>5.1} / {:>5.1} ms",
            rate * bytes as f64 / f64::from(1 << 20),
            at(50),
            at(99)
        );
        scene.runtime.block_on(async {
            for partition in PartitionNumber::all(PARTITIONS) {
                let last = log.bounds(partition).await?.last;
                log.trim(partition, last + 1).await?;
            }
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

async fn append(
    log: Arc<JetStreamLog>,
    partition: PartitionNumber,
    bytes: usize,
    name: String,
    until: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let bytes = Bytes::from(vec![b'x'; bytes]);
    let mut times = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let record = RecordAppend {
            partition,
            subject: RecordSubject::Events,
            message_id: format!("{name}-{}", times.len()).into(),
            expected: None,
            bytes: bytes.clone(),
        };
        log.append(record).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}
