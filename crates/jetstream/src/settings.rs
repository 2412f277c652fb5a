//! What is needed to reach a cluster's log, and how it is made.

use crate::names::ClusterName;
use async_nats::ServerAddr;
use std::fmt;
use std::time::Duration;
use twinroute_journal::{PARTITIONS, PARTITIONS_MAX, RouterName};
use twinroute_model::secret::Secret;

/// Where a cluster's log is, who asks, and what it is made with.
#[derive(Clone)]
pub struct JetStreamSettings {
    /// Servers of the log: one that answers is enough, the others are found through it.
    pub urls: Vec<LogAddress>,
    /// The cluster.
    pub cluster: ClusterName,
    /// The router that asks: the connection's name, for whoever looks at the servers.
    pub router: RouterName,
    /// As whom it asks.
    pub credentials: LogCredentials,
    /// Whom connections trust and what they show of themselves; without it they are not encrypted, and a server that
    /// demands it or an address with `tls://` is refused.
    pub tls: Option<rustls::ClientConfig>,
    /// What partitions are made with, and must be found with.
    pub limits: PartitionLimits,
    /// After so long entries of members and leases vanish that nobody wrote again: at least 1 s, and not shorter than a
    /// lease. Without it they stay.
    pub entry_ttl: Option<Duration>,
    /// How long one request waits for its answer.
    pub request_max: Duration,
}

/// What the streams of partitions are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLimits {
    /// How many partitions there are: 1 to 16, fixed when the cluster is made.
    pub partitions: u8,
    /// On how many nodes each stands: 1, 3 or 5. With 1 the loss of a node loses what it holds.
    pub replicas: u8,
    /// The most bytes that a partition holds on each of its nodes.
    pub partition_bytes_max: u64,
}

/// One server's address: `nats://host:port` or `tls://host:port`, the port 4222 where none stands.
#[derive(Clone, PartialEq, Eq)]
pub struct LogAddress(pub(crate) ServerAddr);

/// As whom a router asks.
#[derive(Clone, Debug, Default)]
pub enum LogCredentials {
    /// As nobody.
    #[default]
    Anonymous,
    /// As a user with a password.
    Password {
        /// Its name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// With the seed of an nkey (`SU…`): a nonce of the server is signed, the seed stays here.
    NkeySeed(Secret),
    /// With the text of a credentials file: a JWT and the seed of its nkey.
    CredentialsFile(Secret),
}

/// Settings that cannot be right. No value is repeated: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogSettings {
    /// No address of a server.
    #[error(
        "address of the cluster's log: cannot be read; write nats://host:port or tls://host:port"
    )]
    Address,
    /// A secret where everybody reads it.
    #[error(
        "address of the cluster's log: holds a user or a password; write them into the credentials, and the address without them"
    )]
    SecretInAddress,
    /// No address at all.
    #[error("the cluster's log has no address; give at least one, better that of each node")]
    NoAddress,
    /// Too many or no partitions.
    #[error("{0} partitions: a cluster has 1 to {PARTITIONS_MAX}")]
    Partitions(u8),
    /// A number of replicas that JetStream does not know, or that has no majority of its own.
    #[error("{0} replicas: a partition stands on 1, 3 or 5 nodes")]
    Replicas(u8),
    /// Less than a partition needs.
    #[error("{bytes} bytes for a partition are too few; give at least {PARTITION_BYTES_MIN}")]
    PartitionBytes {
        /// Its bytes.
        bytes: u64,
    },
    /// Shorter than the log knows.
    #[error(
        "entries that vanish after less than a second: give at least 1 s, and not less than a lease"
    )]
    EntryTtl,
}

/// The smallest partition: room for some of the longest records.
pub(crate) const PARTITION_BYTES_MIN: u64 = 16 << 20;

impl Default for PartitionLimits {
    /// 16 partitions of 1 GiB on three nodes.
    fn default() -> Self {
        Self {
            partitions: PARTITIONS,
            replicas: 3,
            partition_bytes_max: 1 << 30,
        }
    }
}

impl JetStreamSettings {
    /// Those of a cluster that is reached without encryption, as nobody, with the limits of [`PartitionLimits::default`].
    #[must_use]
    pub fn new(urls: Vec<LogAddress>, cluster: ClusterName, router: RouterName) -> Self {
        Self {
            urls,
            cluster,
            router,
            credentials: LogCredentials::Anonymous,
            tls: None,
            limits: PartitionLimits::default(),
            entry_ttl: None,
            request_max: Duration::from_secs(5),
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidLogSettings> {
        let limits = self.limits;
        if self.urls.is_empty() {
            return Err(InvalidLogSettings::NoAddress);
        }
        if !(1..=PARTITIONS_MAX).contains(&limits.partitions) {
            return Err(InvalidLogSettings::Partitions(limits.partitions));
        }
        if ![1, 3, 5].contains(&limits.replicas) {
            return Err(InvalidLogSettings::Replicas(limits.replicas));
        }
        let bytes = limits.partition_bytes_max;
        if bytes < PARTITION_BYTES_MIN || i64::try_from(bytes).is_err() {
            return Err(InvalidLogSettings::PartitionBytes { bytes });
        }
        if self
            .entry_ttl
            .is_some_and(|ttl| ttl < Duration::from_secs(1))
        {
            return Err(InvalidLogSettings::EntryTtl);
        }
        Ok(())
    }
}

impl fmt::Debug for JetStreamSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JetStreamSettings")
            .field("urls", &self.urls)
            .field("cluster", &self.cluster)
            .field("router", &self.router)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl LogAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none, or holds a user or a password.
    pub fn new(url: &str) -> Result<Self, InvalidLogSettings> {
        if url.contains('@') {
            return Err(InvalidLogSettings::SecretInAddress);
        }
        let address: ServerAddr = url
            .trim()
            .parse()
            .map_err(|_| InvalidLogSettings::Address)?;
        let is_plain = ["nats", "tls"].contains(&address.scheme()) && !address.host().is_empty();
        let url = address.clone().into_inner();
        let has_more = !["", "/"].contains(&url.path()) || url.query().is_some();
        match is_plain && !has_more {
            true => Ok(Self(address)),
            false => Err(InvalidLogSettings::Address),
        }
    }
}

impl fmt::Display for LogAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.0.host(), self.0.port())
    }
}

impl fmt::Debug for LogAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> JetStreamSettings {
        JetStreamSettings::new(
            vec![LogAddress::new("tls://n1:4333").unwrap()],
            ClusterName::new("c").unwrap(),
            RouterName::new("r").unwrap(),
        )
    }

    #[test]
    fn addresses_are_read_and_secrets_in_them_refused() {
        for (url, expect) in [
            ("nats://n1", "n1:4222"),
            ("tls://n2:4333", "n2:4333"),
            (" n3:5222 ", "n3:5222"),
            ("nats://[::1]:4222", "::1:4222"),
        ] {
            assert_eq!(LogAddress::new(url).unwrap().to_string(), expect);
        }
        for wrong in [
            "",
            "ws://n1",
            "http://n1",
            "nats://n1/x",
            "nats://n1?a=b",
            "nats://",
        ] {
            assert_eq!(
                LogAddress::new(wrong),
                Err(InvalidLogSettings::Address),
                "{wrong}"
            );
        }
        for wrong in ["nats://user:hush@n1", "nats://hush@n1", "user:hush@n1:4222"] {
            let error = LogAddress::new(wrong).unwrap_err();
            assert_eq!(error, InvalidLogSettings::SecretInAddress);
            assert!(!error.to_string().contains("hush"));
        }
    }

    #[test]
    fn settings_show_no_secret() {
        let mut settings = settings();
        for credentials in [
            LogCredentials::NkeySeed(Secret::new("SUhush")),
            LogCredentials::CredentialsFile(Secret::new("SUhush")),
            LogCredentials::Password {
                user: "tr".to_owned(),
                password: Secret::new("SUhush"),
            },
        ] {
            settings.credentials = credentials;
            let text = format!("{settings:?}");
            assert!(!text.contains("hush"), "{text}");
            assert!(text.contains("n1:4333"), "{text}");
        }
    }

    #[test]
    fn limits_that_cannot_be_are_refused() {
        let limits = PartitionLimits::default();
        let check = |limits, entry_ttl| {
            let settings = JetStreamSettings {
                limits,
                entry_ttl,
                ..settings()
            };
            settings.check()
        };
        let ttl = Some(Duration::from_secs(1));
        assert_eq!(check(limits, ttl), Ok(()));
        for partitions in [0, 17] {
            let wrong = PartitionLimits {
                partitions,
                ..limits
            };
            assert_eq!(
                check(wrong, ttl),
                Err(InvalidLogSettings::Partitions(partitions))
            );
        }
        for replicas in [0, 2, 7] {
            let wrong = PartitionLimits { replicas, ..limits };
            assert_eq!(
                check(wrong, ttl),
                Err(InvalidLogSettings::Replicas(replicas))
            );
        }
        for bytes in [1, u64::MAX] {
            let partition_bytes_max = bytes;
            let wrong = PartitionLimits {
                partition_bytes_max,
                ..limits
            };
            assert_eq!(
                check(wrong, ttl),
                Err(InvalidLogSettings::PartitionBytes { bytes })
            );
        }
        let ttl = Some(Duration::from_millis(999));
        assert_eq!(check(limits, ttl), Err(InvalidLogSettings::EntryTtl));
    }
}
