//! Finds a cluster's streams, or makes them where none is.
//!
//! All is read first, and the first thing that does not fit is refused by name: nothing is written then. What was made in
//! part is completed; the entry that says what the cluster was made with is written last, and once it is there nothing
//! that is lost is made again in silence.

use crate::answer::{FaultMeaning, RequestFault, answered, foreign_text};
use crate::layout::{ClusterCharter, FoundStreams, missing_streams, stream_difference};
use crate::log::JetStreamLog;
use crate::node_report::{is_new_enough, too_old};
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::stream::{Config, Info};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use twinroute_journal::{ClusterKeyKind, ClusterLogError, PARTITIONS_MAX, PartitionNumber};
use twinroute_model::visible::one_line;

impl JetStreamLog {
    pub(crate) async fn find_or_make(&self) -> Result<(), ClusterLogError> {
        let began = Instant::now();
        let server = self.connection.client.server_info();
        if !is_new_enough(&server.version) {
            return Err(refused(&too_old(
                &one_line(&server.server_name),
                &server.version,
            )));
        }
        let found = self.found(began).await?;
        let missing = missing_streams(&found, &self.layout).map_err(|reason| refused(&reason))?;
        let lease_name = &self.layout.leases.name;
        let (leases, others): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|config| config.name == *lease_name);
        try_join_all(others.into_iter().map(|config| self.make(config, began))).await?;
        for config in leases {
            self.make(config, began).await?;
        }
        match found.charter {
            Some(_) => Ok(()),
            None => self.write_charter(began).await,
        }
    }

    /// All streams under the names of this cluster, and its charter.
    async fn found(&self, began: Instant) -> Result<FoundStreams, ClusterLogError> {
        let cluster = &self.cluster;
        let partitions =
            PartitionNumber::all(PARTITIONS_MAX).map(|one| cluster.partition_stream(one));
        let buckets =
            [&self.layout.leases, &self.layout.checkpoints].map(|config| config.name.clone());
        let infos = partitions
            .chain(buckets)
            .map(|name| self.found_stream(name, began));
        let infos = try_join_all(infos).await?.into_iter().flatten();
        let streams = infos.map(|info| {
            let last = info.state.last_sequence;
            (info.config.name.clone(), (info.config, last))
        });
        let mut found = FoundStreams {
            streams: streams.collect(),
            charter: None,
        };
        if found.streams.contains_key(&self.layout.leases.name) {
            found.charter = self.read_charter(began).await?;
        }
        Ok(found)
    }

    async fn found_stream(
        &self,
        name: String,
        began: Instant,
    ) -> Result<Option<Info>, ClusterLogError> {
        let info = self
            .connection
            .api(&format!("STREAM.INFO.{name}"), &Value::Null)
            .await;
        match info {
            Ok(info) => Ok(Some(info)),
            Err(RequestFault::Answered(fault)) => match FaultMeaning::of(&fault) {
                FaultMeaning::NoStream => Ok(None),
                _ => Err(self.opening_error(
                    RequestFault::Answered(fault),
                    &format!("stream {name}"),
                    began,
                )),
            },
            Err(fault) => Err(self.opening_error(fault, &format!("stream {name}"), began)),
        }
    }

    async fn make(&self, config: &Config, began: Instant) -> Result<(), ClusterLogError> {
        let object = format!("stream {}", config.name);
        let body = serde_json::to_value(config)
            .map_err(|_| refused(&format!("{object}: cannot be described to the servers")))?;
        let subject = format!("STREAM.CREATE.{}", config.name);
        let fault = match self.connection.api::<Info>(&subject, &body).await {
            Ok(info) => {
                return match stream_difference(&info.config, config) {
                    None => Ok(()),
                    Some(difference) => Err(refused(&difference)),
                };
            }
            Err(RequestFault::Answered(fault)) => fault,
            Err(fault) => return Err(self.opening_error(fault, &object, began)),
        };
        let replicas = config.num_replicas;
        Err(match FaultMeaning::of(&fault) {
            FaultMeaning::Occupied
                if fault.error_code()
                    == async_nats::jetstream::ErrorCode::STREAM_SUBJECT_OVERLAP =>
            {
                refused(&format!(
                    "{object}: another stream of the account has its subjects {}; choose another `name`, or another account",
                    config.subjects.join(", ")
                ))
            }
            FaultMeaning::Occupied => {
                unavailable(&format!("{object}: another router makes it just now"))
            }
            FaultMeaning::TooFewNodes => unavailable(&format!(
                "{object}: the servers do not have {replicas} nodes with JetStream and room for {} bytes; start them, give them room (`max_file_store`), or set `replicas` to what there are: {}",
                config.max_bytes,
                foreign_text(&fault.to_string())
            )),
            _ => self.opening_error(RequestFault::Answered(fault), &object, began),
        })
    }

    async fn read_charter(
        &self,
        began: Instant,
    ) -> Result<Option<ClusterCharter>, ClusterLogError> {
        let stream = self.cluster.bucket_stream(ClusterKeyKind::Lease);
        let charter = self
            .last_message(&stream, &self.cluster.charter_subject())
            .await;
        let charter = charter.map_err(|fault| match fault {
            // Another router makes it just now, and the server that was asked does not know of it yet; or it was deleted
            // between two questions, which the next try sees.
            RequestFault::Answered(fault) if FaultMeaning::of(&fault) == FaultMeaning::NoStream => {
                unavailable(&format!("stream {stream}: is not there yet"))
            }
            fault => self.opening_error(fault, &format!("stream {stream}"), began),
        })?;
        charter
            .map(|(_, value)| {
                serde_json::from_slice(&value).map_err(|_| {
                    refused(&format!(
                        "stream {stream}: what cluster {} was made with cannot be read; use routers of one version",
                        self.cluster
                    ))
                })
            })
            .transpose()
    }

    /// Whoever is later compares its own with what stands there.
    async fn write_charter(&self, began: Instant) -> Result<(), ClusterLogError> {
        let wanted = &self.layout.charter;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let value = json!(wanted).to_string();
        let subject = self.cluster.charter_subject();
        let fault = match self
            .connection
            .publish(subject, headers, value.into())
            .await
        {
            Ok(_) => return Ok(()),
            Err(fault) => fault,
        };
        match (&fault, self.read_charter(began).await?) {
            (RequestFault::Answered(_), Some(found)) => match found.difference(wanted) {
                None => Ok(()),
                Some(difference) => Err(refused(&difference)),
            },
            _ => {
                let object = format!("cluster {}", self.cluster);
                Err(self.opening_error(fault, &object, began))
            }
        }
    }

    /// Why a cluster cannot be opened; what nobody but an administrator changes is refused.
    fn opening_error(&self, fault: RequestFault, object: &str, began: Instant) -> ClusterLogError {
        let server = self.connection.client.server_info();
        let not_enabled = || {
            refused(
                "JetStream is not enabled for the router's account; enable it in the servers' configuration",
            )
        };
        match fault {
            RequestFault::Answered(fault) => match FaultMeaning::of(&fault) {
                FaultMeaning::NotEnabled => not_enabled(),
                _ => answered(object, &fault),
            },
            RequestFault::NoAnswer(reason) => match self.connection.complaint_since(began) {
                Some(text) if text.to_ascii_lowercase().contains("permissions violation") => {
                    refused(&format!(
                        "{object}: the router's user lacks a permission; allow it in the servers' configuration: {text}"
                    ))
                }
                _ if !server.jetstream => not_enabled(),
                _ => unavailable(&format!("{object}: {reason}")),
            },
        }
    }
}

fn refused(reason: &str) -> ClusterLogError {
    ClusterLogError::Refused(reason.into())
}

fn unavailable(reason: &str) -> ClusterLogError {
    ClusterLogError::Unavailable(reason.into())
}

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
