//! The log that routers share, as [`ClusterLog`] describes it, on streams of JetStream.

use crate::answer::{FaultMeaning, RequestFault, answered};
use crate::connection::LogConnection;
use crate::layout::ClusterLayout;
use crate::names::ClusterName;
use crate::node_report::syncs_before_answers;
use crate::quorum::lacks_majority;
use crate::settings::JetStreamSettings;
use crate::tail::{PartitionTail, TAIL_BYTES_MAX};
use async_nats::HeaderMap;
use async_nats::header::{
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID,
};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Info, RawMessage};
use async_nats::jetstream::{Context, context::ContextBuilder};
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use twinroute_journal::{
    AppendedRecord, ClusterEntry, ClusterKey, ClusterKeyKind, ClusterLog, ClusterLogError,
    ClusterLogFacts, ClusterRecord, ExpectedRevision, LogFuture, PartitionBounds, PartitionNumber,
    RecordAppend, RecordSubject, RecordTail,
};

/// Room for the headers of a message beside a record: a message id of 128 characters and two numbers.
const HEADERS_BYTES_MAX: usize = 4_096;

/// The longest record whatever servers take: a tail reads several at once.
const RECORD_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(RECORD_BYTES_MAX + HEADERS_BYTES_MAX < TAIL_BYTES_MAX);

/// A cluster's log on the streams of JetStream. Clones are made by sharing it in an `Arc`.
pub struct JetStreamLog {
    pub(crate) connection: LogConnection,
    context: Context,
    pub(crate) cluster: ClusterName,
    pub(crate) layout: ClusterLayout,
    pub(crate) entry_ttl: Option<Duration>,
}

#[derive(Deserialize)]
struct MessageAnswer {
    message: RawMessage,
}

impl JetStreamLog {
    /// Connects, looks at what is there, and makes the cluster's streams if none is.
    ///
    /// Connections that end later are made again for ever, at most 2 s apart on each server. Dropping the future may leave
    /// a cluster that is made in part; the next one completes it.
    ///
    /// # Errors
    /// [`ClusterLogError::Refused`] with what to change: settings, credentials or permissions, a server that is too old,
    /// streams that are not of this cluster, have other settings or other partitions, or are lost. Then nothing was written.
    /// [`ClusterLogError::Unavailable`] when it may be otherwise later.
    pub async fn open(settings: &JetStreamSettings) -> Result<Self, ClusterLogError> {
        let invalid =
            |error: crate::InvalidLogSettings| ClusterLogError::Refused(error.to_string().into());
        settings.check().map_err(invalid)?;
        let connection = LogConnection::open(settings).await?;
        let log = Self {
            context: ContextBuilder::new()
                .timeout(settings.request_max)
                .build(connection.client.clone()),
            connection,
            cluster: settings.cluster.clone(),
            layout: ClusterLayout::new(&settings.cluster, settings.limits),
            entry_ttl: settings.entry_ttl,
        };
        log.find_or_make().await?;
        Ok(log)
    }

    /// Of a message's payload and of an entry's value alike.
    pub(crate) fn record_bytes_max(&self) -> usize {
        let payload = self.connection.client.max_payload();
        payload
            .saturating_sub(HEADERS_BYTES_MAX)
            .min(RECORD_BYTES_MAX)
    }

    /// A stream's name, where the cluster has that partition.
    fn stream(&self, partition: PartitionNumber) -> Result<&str, ClusterLogError> {
        let config = self.layout.partitions.get(usize::from(partition.get()));
        let config = config.ok_or_else(|| {
            let partitions = self.layout.partitions.len();
            let reason = format!(
                "cluster {} has no partition {partition}, only {partitions}",
                self.cluster
            );
            ClusterLogError::Refused(reason.into())
        })?;
        Ok(&config.name)
    }

    /// What a stream's leader knows of it, where that still leads.
    pub(crate) async fn led_info(&self, stream: &str) -> Result<Info, ClusterLogError> {
        let object = format!("stream {stream}");
        let info: Result<Info, _> = self
            .connection
            .api(&format!("STREAM.INFO.{stream}"), &Value::Null)
            .await;
        let info = info.map_err(|fault| fault.into_error(&object))?;
        match lacks_majority(info.cluster.as_ref()) {
            None => Ok(info),
            Some(reason) => Err(ClusterLogError::Unavailable(
                format!("{object}: {reason}").into(),
            )),
        }
    }

    /// A message of a stream, from its leader.
    async fn message(
        &self,
        stream: &str,
        body: &Value,
    ) -> Result<Option<StreamMessage>, RequestFault> {
        let subject = format!("STREAM.MSG.GET.{stream}");
        match self.connection.api::<MessageAnswer>(&subject, body).await {
            Ok(answer) => {
                let message = StreamMessage::try_from(answer.message);
                let message = message
                    .map_err(|_| RequestFault::NoAnswer("a message cannot be read".into()))?;
                Ok(Some(message))
            }
            Err(RequestFault::Answered(fault))
                if FaultMeaning::of(&fault) == FaultMeaning::NoMessage =>
            {
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// The last message of a subject: its sequence and what it holds.
    pub(crate) async fn last_message(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<(u64, Bytes)>, RequestFault> {
        let message = self
            .message(stream, &json!({"last_by_subj": subject}))
            .await?;
        Ok(message.map(|message| (message.sequence, message.payload)))
    }

    /// The last sequence of a subject, as a refusal named it or as the leader knows it now.
    pub(crate) async fn found_sequence(
        &self,
        stream: &str,
        subject: &str,
        found: Option<u64>,
    ) -> Result<u64, ClusterLogError> {
        if let Some(found) = found {
            return Ok(found);
        }
        let last = self.last_message(stream, subject).await;
        let last = last.map_err(|fault| fault.into_error(&format!("stream {stream}")))?;
        Ok(last.map_or(0, |(sequence, _)| sequence))
    }

    async fn append_record(&self, append: RecordAppend) -> Result<AppendedRecord, ClusterLogError> {
        let stream = self.stream(append.partition)?;
        let (bytes, bytes_max) = (append.bytes.len(), self.record_bytes_max());
        if bytes > bytes_max {
            return Err(ClusterLogError::TooLarge { bytes, bytes_max });
        }
        let subject = self
            .cluster
            .record_subject(append.partition, append.subject);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, &*append.message_id);
        headers.insert(NATS_EXPECTED_STREAM, stream);
        if let Some(expected) = append.expected {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        }
        let fault = match self
            .connection
            .publish(subject.clone(), headers, append.bytes)
            .await
        {
            Ok(ack) => {
                return Ok(AppendedRecord {
                    sequence: ack.sequence,
                    is_repeated: ack.duplicate,
                });
            }
            Err(RequestFault::Answered(fault)) => fault,
            Err(fault) => return Err(fault.into_error(&format!("stream {stream}"))),
        };
        Err(match FaultMeaning::of(&fault) {
            FaultMeaning::WrongSequence(found) => ClusterLogError::Conflict {
                expected: append.expected.unwrap_or_default(),
                found: self.found_sequence(stream, &subject, found).await?,
            },
            FaultMeaning::NoRoom => ClusterLogError::Full(append.partition),
            FaultMeaning::TooLong => ClusterLogError::TooLarge { bytes, bytes_max },
            _ => answered(&format!("stream {stream}"), &fault),
        })
    }

    async fn read_record(
        &self,
        partition: PartitionNumber,
        sequence: u64,
    ) -> Result<Option<ClusterRecord>, ClusterLogError> {
        let stream = self.stream(partition)?;
        let message = self.message(stream, &json!({"seq": sequence})).await;
        let message = message.map_err(|fault| fault.into_error(&format!("stream {stream}")))?;
        let Some(message) = message else {
            return Ok(None);
        };
        let mut subjects = self.subjects(partition).into_iter();
        let subject = subjects.find(|(subject, _)| *subject == *message.subject);
        Ok(subject.map(|(_, subject)| ClusterRecord {
            sequence: message.sequence,
            subject,
            bytes: message.payload,
        }))
    }

    fn subjects(&self, partition: PartitionNumber) -> [(String, RecordSubject); 2] {
        [RecordSubject::Events, RecordSubject::Settlements]
            .map(|subject| (self.cluster.record_subject(partition, subject), subject))
    }

    async fn partition_bounds(
        &self,
        partition: PartitionNumber,
    ) -> Result<PartitionBounds, ClusterLogError> {
        let state = self.led_info(self.stream(partition)?).await?.state;
        let last = state.last_sequence;
        // A stream that never held a record says 0 for its first.
        let first = match state.messages {
            0 => last + 1,
            _ => state.first_sequence,
        };
        Ok(PartitionBounds { first, last })
    }

    async fn trim_partition(
        &self,
        partition: PartitionNumber,
        before: u64,
    ) -> Result<(), ClusterLogError> {
        let stream = self.stream(partition)?;
        let bounds = self.partition_bounds(partition).await?;
        // A purge beyond the end would number the next record higher, and one of sequence 0 or 1 would remove all.
        let before = before.min(bounds.last + 1);
        if before <= bounds.first || before <= 1 {
            return Ok(());
        }
        let subject = format!("STREAM.PURGE.{stream}");
        let purged = self
            .connection
            .api::<Value>(&subject, &json!({"seq": before}))
            .await;
        purged.map_err(|fault| fault.into_error(&format!("stream {stream}")))?;
        Ok(())
    }

    async fn read_facts(&self) -> Result<ClusterLogFacts, ClusterLogError> {
        let infos = self
            .layout
            .streams()
            .map(|config| self.led_info(&config.name));
        let mut nodes = BTreeSet::new();
        for cluster in try_join_all(infos)
            .await?
            .into_iter()
            .filter_map(|info| info.cluster)
        {
            nodes.extend(cluster.leader);
            nodes.extend(cluster.replicas.into_iter().map(|peer| peer.name));
        }
        if nodes.is_empty() {
            nodes.insert(self.connection.client.server_info().server_name);
        }
        let partitions = self.layout.charter.partitions;
        Ok(ClusterLogFacts {
            partitions,
            record_bytes_max: self.record_bytes_max(),
            entry_bytes_max: self.record_bytes_max(),
            durable: syncs_before_answers(&self.connection, &nodes).await,
        })
    }
}

impl ClusterLog for JetStreamLog {
    fn facts(&self) -> LogFuture<'_, ClusterLogFacts> {
        Box::pin(self.read_facts())
    }

    fn append(&self, append: RecordAppend) -> LogFuture<'_, AppendedRecord> {
        Box::pin(self.append_record(append))
    }

    fn tail(&self, partition: PartitionNumber, from: u64) -> LogFuture<'_, Box<dyn RecordTail>> {
        Box::pin(async move {
            let stream = self.stream(partition)?.to_owned();
            let mut tail = PartitionTail::new(
                self.connection.clone(),
                self.context.clone(),
                stream,
                self.subjects(partition),
                partition,
                from,
            );
            tail.begin().await?;
            Ok(Box::new(tail) as Box<dyn RecordTail>)
        })
    }

    fn record(
        &self,
        partition: PartitionNumber,
        sequence: u64,
    ) -> LogFuture<'_, Option<ClusterRecord>> {
        Box::pin(self.read_record(partition, sequence))
    }

    fn bounds(&self, partition: PartitionNumber) -> LogFuture<'_, PartitionBounds> {
        Box::pin(self.partition_bounds(partition))
    }

    fn trim(&self, partition: PartitionNumber, before: u64) -> LogFuture<'_, ()> {
        Box::pin(self.trim_partition(partition, before))
    }

    fn entry<'a>(&'a self, key: &'a ClusterKey) -> LogFuture<'a, Option<ClusterEntry>> {
        Box::pin(self.read_entry(key))
    }

    fn entries(&self, kind: ClusterKeyKind) -> LogFuture<'_, Vec<(ClusterKey, ClusterEntry)>> {
        Box::pin(self.read_entries(kind))
    }

    fn write_entry<'a>(
        &'a self,
        key: &'a ClusterKey,
        value: Bytes,
        expected: ExpectedRevision,
    ) -> LogFuture<'a, u64> {
        Box::pin(self.put_entry(key, value, expected))
    }

    fn remove_entry<'a>(&'a self, key: &'a ClusterKey, revision: u64) -> LogFuture<'a, ()> {
        Box::pin(self.delete_entry(key, revision))
    }
}

impl fmt::Debug for JetStreamLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JetStreamLog")
            .field("cluster", &self.cluster)
            .field("partitions", &self.layout.partitions.len())
            .finish_non_exhaustive()
    }
}
