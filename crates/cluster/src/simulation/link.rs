//! One router's way to the simulated log: what is asked comes late, twice or not at all, and so do answers.

use super::log::{BYTES_MAX, LogState, SimulatedLog, lock};
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use twinroute_journal::{
    AppendedRecord, ClusterEntry, ClusterKey, ClusterKeyKind, ClusterLog, ClusterLogError,
    ClusterLogFacts, ClusterRecord, ExpectedRevision, LogFuture, PartitionBounds, PartitionNumber,
    RecordAppend, RecordTail,
};

/// One router's way to the log: what happens on it happens to this router alone.
#[derive(Clone)]
pub struct LogLink {
    log: SimulatedLog,
    state: Arc<Mutex<LinkState>>,
}

#[derive(Clone, Copy)]
struct LinkState {
    /// Nothing passes until then.
    cut_until: Instant,
    /// Of a hundred answers so many are lost until then.
    answers_lost: (u32, Instant),
    /// Of a hundred requests so many come late until then,
    late: (u32, Instant),
    /// and so many answers.
    answers_late: (u32, Instant),
}

impl fmt::Debug for LogLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LogLink")
    }
}

impl LogLink {
    /// A way to a log on which nothing is wrong yet.
    #[must_use]
    pub fn new(log: &SimulatedLog) -> Self {
        let now = Instant::now();
        Self {
            log: log.clone(),
            state: Arc::new(Mutex::new(LinkState {
                cut_until: now,
                answers_lost: (0, now),
                late: (0, now),
                answers_late: (0, now),
            })),
        }
    }

    /// Nothing passes for so long.
    pub fn cut(&self, lasts: Duration) {
        lock(&self.state).cut_until = Instant::now() + lasts;
    }

    /// So many of a hundred answers are lost for so long.
    pub fn lose_answers(&self, percent: u32, lasts: Duration) {
        lock(&self.state).answers_lost = (percent, Instant::now() + lasts);
    }

    /// So many of a hundred requests come many seconds late for so long.
    pub fn delay(&self, percent: u32, lasts: Duration) {
        lock(&self.state).late = (percent, Instant::now() + lasts);
    }

    /// So many of a hundred answers come some seconds late for so long.
    pub fn delay_answers(&self, percent: u32, lasts: Duration) {
        lock(&self.state).answers_late = (percent, Instant::now() + lasts);
    }

    fn comes_late(&self) -> bool {
        let (percent, until) = lock(&self.state).late;
        Instant::now() < until && self.log.happens(percent)
    }

    fn answers_late(&self) -> bool {
        let (percent, until) = lock(&self.state).answers_late;
        Instant::now() < until && self.log.happens(percent)
    }

    fn cut_until(&self) -> Instant {
        lock(&self.state).cut_until
    }

    fn is_cut(&self) -> bool {
        Instant::now() < self.cut_until()
    }

    fn loses_answer(&self) -> bool {
        let (percent, until) = lock(&self.state).answers_lost;
        Instant::now() < until && self.log.happens(percent)
    }

    /// Does something at the log, about a partition or the entries. It is done once it is sent, whatever becomes of whoever
    /// asked.
    fn ask<T: Send + 'static>(
        &self,
        about: Option<PartitionNumber>,
        ask: impl Fn(&mut LogState) -> Result<T, ClusterLogError> + Send + 'static,
    ) -> LogFuture<'static, T> {
        if let Some(missing) = about.filter(|one| one.get() >= self.log.0.partitions) {
            let reason = format!("the cluster has no partition {missing}");
            return Box::pin(async move { Err(ClusterLogError::Refused(reason.into())) });
        }
        let link = self.clone();
        let (answer, answered) = oneshot::channel();
        let asked = async move {
            sleep(link.log.millis(1..6)).await;
            if link.is_cut() {
                return;
            }
            if link.comes_late() {
                sleep(link.log.millis(500..20_000)).await;
            }
            let elects_until = lock(&link.log.0.state).elects_until(about);
            if Instant::now() < elects_until {
                // Some wait for the leader, some are lost with the last one.
                if link.log.happens(50) {
                    return;
                }
                sleep_until(elects_until).await;
            }
            let mut done = ask(&mut lock(&link.log.0.state));
            if link.log.happens(3) {
                sleep(link.log.millis(1..40)).await;
                done = ask(&mut lock(&link.log.0.state)).or(done);
            }
            link.log.0.appended.notify_waiters();
            if link.loses_answer() {
                return;
            }
            sleep(link.log.millis(1..6)).await;
            if link.answers_late() {
                sleep(link.log.millis(100..5_500)).await;
            }
            if !link.is_cut() {
                // Whoever asked may not wait any more.
                drop(answer.send(done));
            }
        };
        Box::pin(async move {
            drop(tokio::spawn(asked));
            match answered.await {
                Ok(done) => done,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl ClusterLog for LogLink {
    fn facts(&self) -> LogFuture<'_, ClusterLogFacts> {
        let partitions = self.log.0.partitions;
        self.ask(None, move |_| {
            Ok(ClusterLogFacts {
                partitions,
                record_bytes_max: BYTES_MAX,
                entry_bytes_max: BYTES_MAX,
                durable: Ok(()),
            })
        })
    }

    fn append(&self, append: RecordAppend) -> LogFuture<'_, AppendedRecord> {
        self.ask(Some(append.partition), move |state| state.append(&append))
    }

    fn tail(&self, partition: PartitionNumber, from: u64) -> LogFuture<'_, Box<dyn RecordTail>> {
        let tail = SimulatedTail {
            link: self.clone(),
            partition,
            next: from,
            ready_at: None,
        };
        let opened = self.ask(Some(partition), |_| Ok(()));
        Box::pin(async move {
            opened.await?;
            Ok(Box::new(tail) as Box<dyn RecordTail>)
        })
    }

    fn record(
        &self,
        partition: PartitionNumber,
        sequence: u64,
    ) -> LogFuture<'_, Option<ClusterRecord>> {
        self.ask(Some(partition), move |state| {
            Ok(state.record(partition, sequence))
        })
    }

    fn bounds(&self, partition: PartitionNumber) -> LogFuture<'_, PartitionBounds> {
        self.ask(Some(partition), move |state| Ok(state.bounds(partition)))
    }

    fn trim(&self, partition: PartitionNumber, before: u64) -> LogFuture<'_, ()> {
        self.ask(Some(partition), move |state| {
            state.trim(partition, before);
            Ok(())
        })
    }

    fn entry<'a>(&'a self, key: &'a ClusterKey) -> LogFuture<'a, Option<ClusterEntry>> {
        let key = key.clone();
        self.ask(None, move |state| Ok(state.entries.get(&key).cloned()))
    }

    fn entries(&self, kind: ClusterKeyKind) -> LogFuture<'_, Vec<(ClusterKey, ClusterEntry)>> {
        self.ask(None, move |state| {
            let all = state.entries.iter().filter(|(key, _)| key.kind() == kind);
            Ok(all
                .map(|(key, entry)| (key.clone(), entry.clone()))
                .collect())
        })
    }

    fn write_entry<'a>(
        &'a self,
        key: &'a ClusterKey,
        value: Bytes,
        expected: ExpectedRevision,
    ) -> LogFuture<'a, u64> {
        let key = key.clone();
        self.ask(None, move |state| state.write_entry(&key, &value, expected))
    }

    fn remove_entry<'a>(&'a self, key: &'a ClusterKey, revision: u64) -> LogFuture<'a, ()> {
        let key = key.clone();
        self.ask(None, move |state| {
            let found = state.entries.get(&key).map(|entry| entry.revision);
            match found {
                Some(found) if found != revision => Err(ClusterLogError::Conflict {
                    expected: revision,
                    found,
                }),
                _ => {
                    state.entries.remove(&key);
                    Ok(())
                }
            }
        })
    }
}

struct SimulatedTail {
    link: LogLink,
    partition: PartitionNumber,
    next: u64,
    /// When the next record has come over the network.
    ready_at: Option<Instant>,
}

impl RecordTail for SimulatedTail {
    fn next(&mut self) -> LogFuture<'_, ClusterRecord> {
        Box::pin(async move {
            loop {
                let log = self.link.log.clone();
                let appended = log.0.appended.notified();
                let record = log.change(self.partition, |state| {
                    state
                        .records
                        .range(self.next..)
                        .next()
                        .map(|(_, record)| record.clone())
                });
                let Some(record) = record else {
                    appended.await;
                    continue;
                };
                let ready_at = *self
                    .ready_at
                    .get_or_insert_with(|| Instant::now() + log.millis(1..5));
                sleep_until(ready_at).await;
                if self.link.is_cut() {
                    sleep_until(self.link.cut_until()).await;
                    continue;
                }
                self.ready_at = None;
                self.next = record.sequence + 1;
                log.change(self.partition, |state| {
                    if let Some((sequence, is_read)) = &mut state.rewritten {
                        *is_read |= *sequence == record.sequence;
                    }
                });
                return Ok(record);
            }
        })
    }
}
