//! Appenders that go on through every fault, and the judgement of what they were promised.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use twinroute_jetstream::JetStreamLog;
use twinroute_journal::{
    ClusterLog as _, ClusterLogError, PartitionNumber, RecordAppend, RecordSubject,
};

/// How long a record may take to come out of a tail.
const READ_MAX: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(50);
const RECORD_BYTES: usize = 1_024;

/// One appender a partition, each with one record under way, as routers have.
pub(super) struct LogLoad {
    log: Arc<JetStreamLog>,
    appenders: Vec<RunningAppender>,
    stop: Arc<AtomicBool>,
}

struct RunningAppender {
    partition: PartitionNumber,
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<AppenderReport>>,
}

/// What one appender was promised.
struct AppenderReport {
    /// The sequence of each of its records, in order.
    sequences: Vec<u64>,
    /// The longest time between two acknowledgements.
    pause: Duration,
    repeated: u64,
}

/// What became of a load.
pub(super) struct LoadVerdict {
    pub(super) acknowledged: u64,
    pub(super) pause: Duration,
    /// Answered as appended already: their first answers were lost.
    pub(super) repeated: u64,
}

impl LogLoad {
    pub(super) fn start(
        runtime: &Runtime,
        log: &Arc<JetStreamLog>,
        run: &str,
        partitions: u8,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let appenders = PartitionNumber::all(partitions).map(|partition| {
            let acknowledged = Arc::new(AtomicU64::new(0));
            let task = append(
                Arc::clone(log),
                partition,
                run.to_owned(),
                Arc::clone(&acknowledged),
                Arc::clone(&stop),
            );
            RunningAppender {
                partition,
                acknowledged,
                task: runtime.spawn(task),
            }
        });
        Self {
            log: Arc::clone(log),
            appenders: appenders.collect(),
            stop,
        }
    }

    /// Waits until each appender was promised `records` more.
    pub(super) async fn progress(&self, records: u64, time_max: Duration) -> anyhow::Result<()> {
        let count = |appender: &RunningAppender| appender.acknowledged.load(Ordering::SeqCst);
        let wanted: Vec<u64> = self
            .appenders
            .iter()
            .map(|one| count(one) + records)
            .collect();
        let all = async {
            for (appender, wanted) in self.appenders.iter().zip(wanted) {
                while count(appender) < wanted && !appender.task.is_finished() {
                    sleep(Duration::from_millis(10)).await;
                }
            }
        };
        timeout(time_max, all)
            .await
            .with_context(|| format!("appenders do not go on within {} s", time_max.as_secs()))
    }

    /// Ends the load and reads all partitions: nothing that was acknowledged is missing, twice, or out of order.
    pub(super) async fn judge(self, run: &str) -> anyhow::Result<LoadVerdict> {
        self.stop.store(true, Ordering::SeqCst);
        let mut verdict = LoadVerdict {
            acknowledged: 0,
            pause: Duration::ZERO,
            repeated: 0,
        };
        for appender in self.appenders {
            let report = appender.task.await??;
            read_again(&self.log, appender.partition, run, &report.sequences).await?;
            verdict.acknowledged += report.sequences.len() as u64;
            verdict.pause = verdict.pause.max(report.pause);
            verdict.repeated += report.repeated;
        }
        Ok(verdict)
    }
}

fn message_id(run: &str, partition: PartitionNumber, number: u64) -> String {
    format!("load-{run}-{partition}-{number}")
}

async fn append(
    log: Arc<JetStreamLog>,
    partition: PartitionNumber,
    run: String,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<AppenderReport> {
    let mut report = AppenderReport {
        sequences: Vec::new(),
        pause: Duration::ZERO,
        repeated: 0,
    };
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let id = message_id(&run, partition, report.sequences.len() as u64);
        let mut bytes = id.clone().into_bytes();
        bytes.resize(RECORD_BYTES, b' ');
        let record = RecordAppend {
            partition,
            subject: RecordSubject::Events,
            message_id: id.into(),
            expected: None,
            bytes: Bytes::from(bytes),
        };
        let appended = loop {
            match log.append(record.clone()).await {
                Err(ClusterLogError::Unavailable(_)) => sleep(AGAIN).await,
                answer => break answer?,
            }
        };
        report.repeated += u64::from(appended.is_repeated);
        report.sequences.push(appended.sequence);
        report.pause = report.pause.max(last.elapsed());
        last = Instant::now();
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    Ok(report)
}

async fn read_again(
    log: &JetStreamLog,
    partition: PartitionNumber,
    run: &str,
    sequences: &[u64],
) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (sequences.first(), sequences.last()) else {
        bail!("partition {partition}: nothing was acknowledged");
    };
    ensure!(
        sequences.is_sorted_by(|left, right| left < right),
        "partition {partition}: sequences fall"
    );
    let expected = sequences.iter().enumerate();
    let mut expected: HashMap<u64, String> = expected
        .map(|(number, sequence)| (*sequence, message_id(run, partition, number as u64)))
        .collect();
    // Nodes that were started a moment ago may not answer yet.
    let deadline = Instant::now() + READ_MAX;
    let mut tail = loop {
        match log.tail(partition, *first).await {
            Err(ClusterLogError::Unavailable(_)) if Instant::now() < deadline => {
                sleep(AGAIN).await;
            }
            opened => break opened?,
        }
    };
    let mut next = *first;
    while next <= *last {
        let record = timeout(READ_MAX, tail.next()).await;
        let record = record
            .with_context(|| format!("partition {partition}: record {next} is missing"))??;
        ensure!(
            record.sequence == next,
            "partition {partition}: {} follows {}",
            record.sequence,
            next - 1
        );
        let text = String::from_utf8_lossy(&record.bytes);
        // One appender a partition: any record that was not acknowledged to it stands there twice.
        let wanted = expected.remove(&next);
        ensure!(
            wanted.as_deref() == Some(text.trim_end()),
            "partition {partition}: record {next} is {:?}, not {wanted:?}",
            text.trim_end()
        );
        next += 1;
    }
    ensure!(
        expected.is_empty(),
        "partition {partition}: {} records are missing",
        expected.len()
    );
    Ok(())
}
