//! The table `[cluster]`: the log that several routers share.

use bytesize::ByteSize;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use twinroute_jetstream::{ClusterName, LogAddress};
use twinroute_journal::{PARTITIONS_MAX, RouterName};
use twinroute_router::cluster_journal::ClusterSettings;

/// Longer leases would only let partitions wait for longer.
const LEASE_MAX: Duration = Duration::from_secs(5 * 60);

/// A log that several routers share.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClusterConfig {
    /// The log's servers; none: this router shares its journal with no other.
    pub(crate) urls: Vec<String>,
    /// The cluster.
    pub(crate) name: String,
    /// This router, which no other of the cluster is called.
    pub(crate) router: String,
    /// How long a lease of a partition is.
    #[serde(with = "humantime_serde")]
    pub(crate) lease: Duration,
    /// As whom the log is asked: a file with a seed of an nkey, or of credentials.
    pub(crate) credentials_file: PathBuf,
    /// As whom the log is asked, with the password in `password_file`.
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
    /// Partitions that the cluster is made with.
    pub(crate) partitions: u8,
    /// On how many nodes each stands.
    pub(crate) replicas: u8,
    /// Bytes that a partition holds at most.
    pub(crate) partition_bytes_max: ByteSize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            name: String::new(),
            router: String::new(),
            lease: Duration::from_secs(10),
            credentials_file: PathBuf::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            partitions: PARTITIONS_MAX,
            replicas: 3,
            partition_bytes_max: ByteSize::gib(1),
        }
    }
}

impl ClusterConfig {
    /// Whether the journal is shared.
    pub(crate) fn is_shared(&self) -> bool {
        !self.urls.is_empty()
    }

    fn has_file(path: &std::path::Path) -> bool {
        !path.as_os_str().is_empty()
    }

    pub(super) fn check(&self, errors: &mut Vec<String>) {
        let mut wrong = |text: String| errors.push(format!("[cluster]: {text}"));
        if !self.is_shared() {
            if !self.name.is_empty() || !self.router.is_empty() {
                wrong("urls must name at least one server of the log".to_owned());
            }
            return;
        }
        for url in &self.urls {
            if let Err(error) = LogAddress::new(url) {
                wrong(format!("urls: {error}"));
            }
        }
        if ClusterName::new(&self.name).is_none() {
            wrong(
                "name must have 1 to 32 lower-case letters, digits and hyphens, neither first nor last a hyphen"
                    .to_owned(),
            );
        }
        if let Err(error) = RouterName::new(&self.router) {
            wrong(format!("router: {error}"));
        }
        if !(ClusterSettings::LEASE_MIN..=LEASE_MAX).contains(&self.lease) {
            wrong("lease must be 4s to 5m".to_owned());
        }
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            wrong(format!("partitions must be 1 to {PARTITIONS_MAX}"));
        }
        if ![1, 3, 5].contains(&self.replicas) {
            wrong("replicas must be 1, 3 or 5".to_owned());
        }
        if self.partition_bytes_max < ByteSize::mib(16) {
            wrong("partition_bytes_max must be at least 16 MiB".to_owned());
        }
        let (has_user, has_password) = (!self.user.is_empty(), Self::has_file(&self.password_file));
        if has_user != has_password {
            wrong("user and password_file go together".to_owned());
        }
        if has_user && Self::has_file(&self.credentials_file) {
            wrong("credentials_file, or user and password_file: not both".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    const LISTENS: &str = "[ingress]\nlisten = ['127.0.0.1:0']\n";

    fn errors(text: &str) -> Vec<String> {
        let config = parse(&format!("{LISTENS}{text}"), |_| None).unwrap();
        config.check().err().unwrap_or_default()
    }

    #[test]
    fn a_shared_log_is_refused_by_name_before_it_is_asked() {
        const RIGHT: &str = "[cluster]\nurls = ['nats://n1']\nname = 'plant'\nrouter = 'west'\n";
        assert_eq!(errors(RIGHT), Vec::<String>::new());
        for (text, expect) in [
            (
                "[cluster]\nname = 'plant'\n",
                "[cluster]: urls must name at least one",
            ),
            (
                &format!("{RIGHT}lease = '3s'\n"),
                "[cluster]: lease must be 4s to 5m",
            ),
            (
                &format!("{RIGHT}partitions = 17\n"),
                "[cluster]: partitions must be 1 to 16",
            ),
            (
                &format!("{RIGHT}replicas = 2\n"),
                "[cluster]: replicas must be 1, 3 or 5",
            ),
            (
                &format!("{RIGHT}user = 'tr'\n"),
                "[cluster]: user and password_file go together",
            ),
            (
                &format!("{RIGHT}partition_bytes_max = '1 MiB'\n"),
                "[cluster]: partition_bytes_max",
            ),
            (
                &format!("{RIGHT}[journal]\npath = 'data'\n"),
                "[cluster]: events stand in the log that is shared",
            ),
            (
                &RIGHT.replace("west", "West"),
                "[cluster]: router: router name \"West\"",
            ),
            (&RIGHT.replace("plant", "a.b"), "[cluster]: name must have"),
            (
                &RIGHT.replace("nats://n1", "nats://tr:hush@n1"),
                "[cluster]: urls: address of the cluster's log: holds a user or a password",
            ),
        ] {
            let found = errors(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(expect), "{text}: {found:?}");
            assert!(!found[0].contains("hush"));
        }
    }

    #[test]
    fn levels_that_a_journal_does_not_give_are_refused() {
        const SHARED: &str = "[cluster]\nurls = ['nats://n1']\nname = 'plant'\nrouter = 'west'\n";
        for (ack, text, is_right) in [
            ("durable", SHARED, true),
            ("replicated", SHARED, true),
            ("memory", SHARED, true),
            ("delivered", SHARED, false),
            ("replicated", "", false),
            ("replicated", "[journal]\npath = 'data'\n", false),
            ("durable", "[journal]\npath = 'data'\n", true),
            ("durable", "", false),
        ] {
            let config = parse(&format!("{LISTENS}ack = '{ack}'\n{text}"), |_| None).unwrap();
            let found = config.check();
            assert_eq!(found.is_ok(), is_right, "{ack} {text}: {found:?}");
        }
    }
}
