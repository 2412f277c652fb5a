//! The records of a partition in their order.
//!
//! Read through a consumer of this connection alone, in the memory of one server, which vanishes with it. It acknowledges
//! nothing; that none is missing is seen by its own numbers, and after a gap, a silence or a lost server another one goes
//! on behind the last record.

use crate::answer::{FaultMeaning, answered};
use crate::connection::LogConnection;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::{Context, Message};
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use twinroute_journal::{
    ClusterLogError, ClusterRecord, LogFuture, PartitionNumber, RecordSubject, RecordTail,
};

/// The most that one tail has in memory is half as much again. More than any record.
pub(crate) const TAIL_BYTES_MAX: usize = 4 << 20;

/// Records of one request to the server.
const BATCH_MAX: usize = 512;
/// A server that is silent for twice as long is left for another.
const HEARTBEAT: Duration = Duration::from_secs(1);
const REQUEST_EXPIRES: Duration = Duration::from_secs(30);
/// A consumer that nobody reads any more.
const CONSUMER_LIVES: Duration = Duration::from_secs(60);
/// Before another consumer is made: doubles from the first to the last.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(2);

pub(crate) struct PartitionTail {
    context: Context,
    connection: LogConnection,
    stream: String,
    subjects: [(String, RecordSubject); 2],
    partition: PartitionNumber,
    /// Nothing before this one is given.
    from: u64,
    consumer: Option<OrderedMessages>,
    again: Duration,
}

struct OrderedMessages {
    messages: pull::Stream,
    /// The consumer's number of the last message; its numbers have no gaps.
    last: u64,
}

impl PartitionTail {
    pub(crate) fn new(
        connection: LogConnection,
        context: Context,
        stream: String,
        subjects: [(String, RecordSubject); 2],
        partition: PartitionNumber,
        from: u64,
    ) -> Self {
        Self {
            context,
            connection,
            stream,
            subjects,
            partition,
            from: from.max(1),
            consumer: None,
            again: AGAIN_MIN,
        }
    }

    /// Makes a consumer, unless there is one.
    pub(crate) async fn begin(&mut self) -> Result<(), ClusterLogError> {
        if self.consumer.is_some() {
            return Ok(());
        }
        let object = format!("stream {}", self.stream);
        let opened = timeout(self.connection.request_max(), self.open()).await;
        let unavailable = |text: String| {
            ClusterLogError::Unavailable(format!("{object}: cannot be read: {text}").into())
        };
        match opened {
            Ok(Ok(messages)) => {
                self.consumer = Some(OrderedMessages { messages, last: 0 });
                Ok(())
            }
            Ok(Err(ConsumerErrorKind::JetStream(fault)))
                if FaultMeaning::of(&fault) == FaultMeaning::NoStream =>
            {
                Err(answered(&object, &fault))
            }
            Ok(Err(other)) => Err(unavailable(other.to_string())),
            Err(_) => Err(unavailable("no answer in time".to_owned())),
        }
    }

    async fn open(&self) -> Result<pull::Stream, ConsumerErrorKind> {
        let config = pull::Config {
            description: Some(format!("partition {}", self.partition)),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.from,
            },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: CONSUMER_LIVES,
            ..pull::Config::default()
        };
        let consumer = self
            .context
            .create_consumer_on_stream(config, &self.stream)
            .await;
        let consumer = consumer.map_err(|error| error.kind())?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH_MAX)
            .max_bytes_per_batch(TAIL_BYTES_MAX)
            .heartbeat(HEARTBEAT)
            .expires(REQUEST_EXPIRES)
            .messages();
        messages.await.map_err(|_| ConsumerErrorKind::Other)
    }

    /// A message as a record; none where one before it is missing, or it cannot be one of ours.
    fn record(&self, message: &Message, last: u64) -> Option<(ClusterRecord, u64)> {
        let info = message.info().ok()?;
        let sequence = info.stream_sequence;
        if info.consumer_sequence != last + 1 || sequence < self.from {
            return None;
        }
        let mut subjects = self.subjects.iter();
        let (_, subject) = subjects.find(|(subject, _)| *subject == *message.subject)?;
        let record = ClusterRecord {
            sequence,
            subject: *subject,
            bytes: message.payload.clone(),
        };
        Some((record, info.consumer_sequence))
    }

    async fn pause(&mut self) {
        sleep(self.again).await;
        self.again = (self.again * 2).min(AGAIN_MAX);
    }
}

impl RecordTail for PartitionTail {
    fn next(&mut self) -> LogFuture<'_, ClusterRecord> {
        Box::pin(async move {
            loop {
                match self.begin().await {
                    Ok(()) => {}
                    Err(refused @ ClusterLogError::Refused(_)) => return Err(refused),
                    Err(reason) => {
                        tracing::debug!(%reason, "a partition is read again from its last record");
                        self.pause().await;
                        continue;
                    }
                }
                let Some(consumer) = &mut self.consumer else {
                    continue;
                };
                // Taking a message out of the stream is the only wait, so a dropped future has taken none.
                let message = consumer.messages.next().await;
                let last = consumer.last;
                let record = message
                    .and_then(Result::ok)
                    .and_then(|message| self.record(&message, last));
                match record {
                    Some((record, last)) => {
                        self.from = record.sequence + 1;
                        self.again = AGAIN_MIN;
                        if let Some(consumer) = &mut self.consumer {
                            consumer.last = last;
                        }
                        return Ok(record);
                    }
                    None => {
                        self.consumer = None;
                        self.pause().await;
                    }
                }
            }
        })
    }
}
