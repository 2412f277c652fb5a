//! Entries of the cluster's buckets: the last message of a subject each.

use crate::answer::{FaultMeaning, RequestFault, answered};
use crate::log::JetStreamLog;
use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL};
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use twinroute_journal::{
    ClusterEntry, ClusterKey, ClusterKeyKind, ClusterLogError, ExpectedRevision,
};

/// More entries than members, partitions and checkpoints can be: 10,000 routers.
const ENTRIES_MAX: usize = 10_000;

#[derive(Deserialize)]
struct SubjectsAnswer {
    state: SubjectsState,
}

#[derive(Deserialize)]
struct SubjectsState {
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

impl JetStreamLog {
    pub(crate) async fn read_entry(
        &self,
        key: &ClusterKey,
    ) -> Result<Option<ClusterEntry>, ClusterLogError> {
        let stream = self.cluster.bucket_stream(key.kind());
        let subject = self.cluster.entry_subject(key);
        // The leader's word counts only while it leads: asked together, so that this costs no second way.
        let (entry, bounds) =
            tokio::join!(self.last_message(&stream, &subject), self.led_info(&stream));
        bounds?;
        let entry = entry.map_err(|fault| fault.into_error(&format!("entry {key}")))?;
        Ok(entry.map(|(revision, value)| ClusterEntry { revision, value }))
    }

    pub(crate) async fn read_entries(
        &self,
        kind: ClusterKeyKind,
    ) -> Result<Vec<(ClusterKey, ClusterEntry)>, ClusterLogError> {
        let stream = self.cluster.bucket_stream(kind);
        let body = json!({"subjects_filter": self.cluster.entries_filter(kind)});
        let info = format!("STREAM.INFO.{stream}");
        let (subjects, led) = tokio::join!(
            self.connection.api::<SubjectsAnswer>(&info, &body),
            self.led_info(&stream)
        );
        led?;
        let subjects = subjects.map_err(|fault| fault.into_error(&format!("stream {stream}")))?;
        let subjects = subjects.state.subjects.unwrap_or_default();
        if subjects.len() > ENTRIES_MAX {
            let many = format!(
                "stream {stream}: holds more than {ENTRIES_MAX} entries; remove those of routers that are gone"
            );
            return Err(ClusterLogError::Refused(many.into()));
        }
        let keys = subjects
            .keys()
            .filter_map(|subject| self.cluster.entry_key(kind, subject));
        let mut keys: Vec<ClusterKey> = keys.collect();
        keys.sort();
        let read = keys.into_iter().map(|key| async {
            let subject = self.cluster.entry_subject(&key);
            let entry = self.last_message(&stream, &subject).await;
            let entry = entry.map_err(|fault| fault.into_error(&format!("entry {key}")))?;
            Ok(entry.map(|(revision, value)| (key, ClusterEntry { revision, value })))
        });
        let entries = try_join_all(read).await?;
        Ok(entries.into_iter().flatten().collect())
    }

    pub(crate) async fn put_entry(
        &self,
        key: &ClusterKey,
        value: Bytes,
        expected: ExpectedRevision,
    ) -> Result<u64, ClusterLogError> {
        let (bytes, bytes_max) = (value.len(), self.record_bytes_max());
        if bytes > bytes_max {
            return Err(ClusterLogError::TooLarge { bytes, bytes_max });
        }
        let expected = match expected {
            ExpectedRevision::Absent => 0,
            ExpectedRevision::Revision(revision) => revision,
        };
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        let vanishes = key.kind() != ClusterKeyKind::Checkpoint;
        if let Some(ttl) = self.entry_ttl.filter(|_| vanishes) {
            headers.insert(NATS_MESSAGE_TTL, format!("{}s", ttl.as_secs().max(1)));
        }
        let subject = self.cluster.entry_subject(key);
        let fault = match self
            .connection
            .publish(subject.clone(), headers, value)
            .await
        {
            Ok(ack) => return Ok(ack.sequence),
            Err(fault) => fault,
        };
        let object = format!("entry {key}");
        match fault {
            RequestFault::Answered(fault) => match FaultMeaning::of(&fault) {
                FaultMeaning::WrongSequence(found) => {
                    let stream = self.cluster.bucket_stream(key.kind());
                    let found = self.found_sequence(&stream, &subject, found).await?;
                    Err(ClusterLogError::Conflict { expected, found })
                }
                FaultMeaning::TooLong => Err(ClusterLogError::TooLarge { bytes, bytes_max }),
                _ => Err(answered(&object, &fault)),
            },
            fault => Err(fault.into_error(&object)),
        }
    }

    /// A bucket keeps one message a key, so the message of this sequence is there only while the entry has this revision.
    pub(crate) async fn delete_entry(
        &self,
        key: &ClusterKey,
        revision: u64,
    ) -> Result<(), ClusterLogError> {
        let stream = self.cluster.bucket_stream(key.kind());
        match self.read_entry(key).await? {
            None => return Ok(()),
            Some(entry) if entry.revision != revision => {
                return Err(ClusterLogError::Conflict {
                    expected: revision,
                    found: entry.revision,
                });
            }
            Some(_) => {}
        }
        let subject = format!("STREAM.MSG.DELETE.{stream}");
        let deleted = self
            .connection
            .api::<Value>(&subject, &json!({"seq": revision}))
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(RequestFault::Answered(fault))
                if FaultMeaning::of(&fault) == FaultMeaning::NoMessage =>
            {
                // Written over or removed meanwhile.
                match self.read_entry(key).await? {
                    None => Ok(()),
                    Some(entry) => Err(ClusterLogError::Conflict {
                        expected: revision,
                        found: entry.revision,
                    }),
                }
            }
            Err(fault) => Err(fault.into_error(&format!("entry {key}"))),
        }
    }
}
