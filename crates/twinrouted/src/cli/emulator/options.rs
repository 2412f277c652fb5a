//! What `twinroute emulator` serves, as its options say.

use super::limits;
use super::look::LookCommand;
use crate::scene;
use anyhow::{Context as _, bail};
use bytesize::ByteSize;
use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::PathBuf;
use std::time::Duration;
use twinroute_emulator::{
    AccessRights, AccessRuleSettings, EventGridTopicSettings, HubSettings, IdentitySettings,
    PortPlace, QueueSettings, Settings, TlsPorts, TopicSettings,
};
use twinroute_model::secret::Secret;

/// The window of duplicate detection, the service's default.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EmulatorOptions {
    #[command(subcommand)]
    pub(super) look: Option<LookCommand>,
    /// Port of Event Hubs and Service Bus (AMQP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 5672)]
    amqp_port: u16,
    /// Port of the Event Grid topics (HTTP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 8082)]
    http_port: u16,
    /// Port of the blob containers (HTTP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 10000)]
    blob_port: u16,
    /// An event hub, as `name` or `name:partitions`; may be repeated.
    #[arg(long = "hub", value_name = "NAME[:PARTITIONS]")]
    hubs: Vec<String>,
    /// A consumer group of a hub beside `$Default`, as `hub/group`; may be repeated.
    #[arg(long = "consumer-group", value_name = "HUB/GROUP")]
    consumer_groups: Vec<String>,
    /// A Service Bus topic, as `name:subscription,subscription`; may be repeated.
    #[arg(long = "topic", value_name = "NAME:SUBSCRIPTIONS")]
    topics: Vec<String>,
    /// A Service Bus queue; may be repeated.
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
    /// A Service Bus queue with sessions; may be repeated.
    #[arg(long = "session-queue", value_name = "NAME")]
    session_queues: Vec<String>,
    /// A subscription with sessions, as `topic/subscription`; may be repeated.
    #[arg(long = "session-subscription", value_name = "TOPIC/NAME")]
    session_subscriptions: Vec<String>,
    /// A queue or subscription, as `queue` or `topic/subscription`, that drops what comes again with the same
    /// message-id within ten minutes; may be repeated.
    #[arg(long = "duplicate-detection", value_name = "ENTITY")]
    duplicate_detection: Vec<String>,
    /// How long receivers hold messages and sessions of queues and subscriptions.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    lock_duration: Duration,
    /// Deliveries after which a message goes to the dead-letter queue.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    max_delivery_count: u32,
    /// The largest message and batch that hubs, queues and topics take. Event Hubs and Service Bus Premium take
    /// 1MiB, Service Bus Standard takes 256KiB.
    #[arg(long, default_value = "1MiB")]
    max_message_size: ByteSize,
    /// A shared access key that may do less than all, as `name:send`, `name:listen` or `name:send,listen`; may be
    /// repeated.
    #[arg(long = "access-rule", value_name = "NAME:RIGHTS")]
    access_rules: Vec<String>,
    /// An Event Grid topic; may be repeated.
    #[arg(long = "grid", value_name = "NAME")]
    grid_topics: Vec<String>,
    /// A blob container, for dead letters; may be repeated.
    #[arg(long = "container", value_name = "NAME")]
    containers: Vec<String>,
    /// Serves Entra, the machine's identity service and a key vault too, and TLS before all that identities
    /// open; certificates and tokens are put into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(super) identities: Option<PathBuf>,
    /// Port of the identity service (HTTP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 8084, requires = "identities")]
    identity_port: u16,
    /// Port of Entra and the key vault (HTTPS) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 8444, requires = "identities")]
    entra_port: u16,
    /// Port of Event Hubs and Service Bus (AMQP with TLS) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 5671, requires = "identities")]
    amqp_tls_port: u16,
    /// Port of the blob containers (HTTPS) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 10443, requires = "identities")]
    blob_tls_port: u16,
    /// A user-assigned identity of the machine, by its ARM id; may be repeated.
    #[arg(long = "user-assigned", value_name = "ID", requires = "identities")]
    user_assigned: Vec<String>,
    /// The PEM file of a certificate that the application may log in with; may be repeated.
    #[arg(long = "certificate", value_name = "FILE", requires = "identities")]
    certificates: Vec<PathBuf>,
    /// A secret of the key vault; may be repeated.
    #[arg(long = "secret", value_name = "NAME=VALUE", requires = "identities")]
    secrets: Vec<String>,
    /// Prints the addresses as one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl EmulatorOptions {
    /// What was asked for; the demo's entities when nothing was.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let asked = !(self.hubs.is_empty()
            && self.topics.is_empty()
            && self.queues.is_empty()
            && self.session_queues.is_empty()
            && self.grid_topics.is_empty()
            && self.containers.is_empty());
        let mut settings = if asked {
            Settings::default()
        } else {
            scene::emulator_settings()
        };
        settings.amqp_port = self.amqp_port;
        settings.http_port = self.http_port;
        settings.blob_port = self.blob_port;
        let message_bytes = self.max_message_size.as_u64();
        limits::check(self.lock_duration, self.max_delivery_count, message_bytes)?;
        settings.broker.limits.message_bytes_max = message_bytes;
        self.add_entities(&mut settings)?;
        self.add_properties(&mut settings)?;
        for rule in &self.access_rules {
            settings.broker.access_rules.push(access_rule(rule)?);
        }
        settings.blob.containers.extend_from_slice(&self.containers);
        if let Some(folder) = &self.identities {
            settings.identity = Some(self.identity()?);
            for secret in &self.secrets {
                let (name, value) = secret
                    .split_once('=')
                    .context("--secret: must be a name, =, and a value")?;
                let secret = (name.to_owned(), Secret::from(value));
                settings.key_vault.secrets.push(secret);
            }
            settings.tls = Some(TlsPorts {
                folder: folder.clone(),
                amqp_port: self.amqp_tls_port,
                blob_port: self.blob_tls_port,
                identity_port: self.entra_port,
            });
        }
        Ok(settings)
    }

    fn add_entities(&self, settings: &mut Settings) -> anyhow::Result<()> {
        for hub in &self.hubs {
            let (name, partitions) = hub.split_once(':').unwrap_or((hub, "4"));
            let mut hub = HubSettings::new(name);
            hub.partitions = partitions
                .parse()
                .map_err(|_| anyhow::anyhow!("--hub {name}: {partitions:?} is no number"))?;
            settings.broker.hubs.push(hub);
        }
        for topic in &self.topics {
            let (name, subscriptions) = topic.split_once(':').unwrap_or((topic, "demo"));
            let subscriptions: Vec<&str> = subscriptions.split(',').collect();
            let topic = TopicSettings::new(name, &subscriptions);
            settings.broker.topics.push(topic);
        }
        let queues = self.queues.iter().map(QueueSettings::new);
        settings.broker.queues.extend(queues);
        let with_sessions = self.session_queues.iter().map(|name| QueueSettings {
            requires_session: true,
            ..QueueSettings::new(name)
        });
        settings.broker.queues.extend(with_sessions);
        let grid_topics = self.grid_topics.iter().map(EventGridTopicSettings::new);
        settings.event_grid.topics.extend(grid_topics);
        for path in &self.session_subscriptions {
            let (topic, name) = pair("--session-subscription", path, "topic/subscription")?;
            let subscription = QueueSettings {
                requires_session: true,
                ..QueueSettings::new(name)
            };
            match settings
                .broker
                .topics
                .iter_mut()
                .find(|known| known.name == topic)
            {
                Some(known) => known.subscriptions.push(subscription),
                None => settings.broker.topics.push(TopicSettings {
                    name: topic.to_owned(),
                    subscriptions: vec![subscription],
                }),
            }
        }
        Ok(())
    }

    /// What entities that are there have beside their names.
    fn add_properties(&self, settings: &mut Settings) -> anyhow::Result<()> {
        for path in &self.consumer_groups {
            let (hub, group) = pair("--consumer-group", path, "hub/group")?;
            let mut hubs = settings.broker.hubs.iter_mut();
            match hubs.find(|known| known.name == hub) {
                Some(known) => known.consumer_groups.push(group.to_owned()),
                None => {
                    let hubs: Vec<&str> =
                        settings.broker.hubs.iter().map(|hub| &*hub.name).collect();
                    let hubs = hubs.join(", ");
                    bail!("--consumer-group {path}: there is no hub {hub}; there are: {hubs}");
                }
            }
        }
        let topics = settings.broker.topics.iter_mut().flat_map(|topic| {
            let name = &topic.name;
            let subscriptions = topic.subscriptions.iter_mut();
            subscriptions.map(move |queue| (format!("{name}/{}", queue.name), queue))
        });
        let queues = settings.broker.queues.iter_mut();
        let queues = queues.map(|queue| (queue.name.clone(), queue));
        let mut all: Vec<(String, &mut QueueSettings)> = queues.chain(topics).collect();
        for (_, queue) in &mut all {
            queue.lock_duration = self.lock_duration;
            queue.deliveries_max = self.max_delivery_count;
        }
        for path in &self.duplicate_detection {
            let Some((_, queue)) = all.iter_mut().find(|(known, _)| known == path) else {
                let known: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
                let known = known.join(", ");
                bail!("--duplicate-detection {path}: there is no such entity; there are: {known}");
            };
            queue.duplicate_window = Some(DUPLICATE_WINDOW);
        }
        Ok(())
    }

    /// Whom the identity service knows. Blocks on the file system.
    fn identity(&self) -> anyhow::Result<IdentitySettings> {
        let mut identity = scene::identity_settings();
        identity.port = self.identity_port;
        for (index, id) in self.user_assigned.iter().enumerate() {
            identity.managed.push(scene::user_assigned(index, id));
        }
        for file in &self.certificates {
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
            let read: Vec<_> = read.map_err(|error| {
                anyhow::anyhow!(
                    "--certificate {}: no certificate in PEM: {error}",
                    file.display()
                )
            })?;
            for application in &mut identity.applications {
                let all = read.iter().map(|certificate| certificate.to_vec());
                application.certificates.extend(all);
            }
        }
        Ok(identity)
    }
}

/// Names the option that gives a port to someone else.
pub(super) fn port_option(place: PortPlace) -> &'static str {
    match place {
        PortPlace::Amqp => "--amqp-port",
        PortPlace::Http => "--http-port",
        PortPlace::Blob => "--blob-port",
        PortPlace::Identity => "--identity-port",
        PortPlace::AmqpTls => "--amqp-tls-port",
        PortPlace::BlobTls => "--blob-tls-port",
        PortPlace::IdentityTls => "--entra-port",
    }
}

fn pair<'a>(option: &str, text: &'a str, form: &str) -> anyhow::Result<(&'a str, &'a str)> {
    let both = text.split_once('/');
    let both = both.filter(|(first, second)| !first.is_empty() && !second.is_empty());
    both.with_context(|| format!("{option} {text}: must be {form}"))
}

fn access_rule(text: &str) -> anyhow::Result<AccessRuleSettings> {
    let form = || format!("--access-rule {text}: must be a name, :, and send, listen or both");
    let both = text.split_once(':').filter(|(name, _)| !name.is_empty());
    let (name, rights) = both.with_context(form)?;
    let mut allowed = AccessRights {
        send: false,
        listen: false,
    };
    for right in rights.split(',') {
        match right {
            "send" => allowed.send = true,
            "listen" => allowed.listen = true,
            _ => bail!(form()),
        }
    }
    Ok(AccessRuleSettings::new(name, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::path::Path;

    #[derive(Debug, Parser)]
    struct EmulatorArguments {
        #[command(flatten)]
        options: EmulatorOptions,
    }

    fn settings(arguments: &str) -> anyhow::Result<Settings> {
        let arguments = std::iter::once("emulator").chain(arguments.split_whitespace());
        EmulatorArguments::try_parse_from(arguments)?
            .options
            .settings()
    }

    #[test]
    fn entities_have_sessions_groups_and_rights_by_option() {
        let settings = settings(
            "--hub h:2 --consumer-group h/reader --topic t:a --session-subscription t/b \
             --session-subscription u/c --queue q --session-queue s --duplicate-detection t/b \
             --lock-duration 5s --max-delivery-count 3 --max-message-size 256KiB \
             --access-rule in:send --access-rule both:send,listen",
        );
        let settings = settings.unwrap();
        assert_eq!(
            settings.broker.hubs[0].consumer_groups,
            ["$Default", "reader"]
        );
        let topics = settings.broker.topics.iter().map(|topic| {
            let subscriptions = topic.subscriptions.iter();
            let subscriptions = subscriptions.map(|one| (&*one.name, one.requires_session));
            (&*topic.name, subscriptions.collect::<Vec<_>>())
        });
        let topics: Vec<_> = topics.collect();
        let expect = [
            ("t", vec![("a", false), ("b", true)]),
            ("u", vec![("c", true)]),
        ];
        assert_eq!(topics, expect);
        let queues = settings
            .broker
            .queues
            .iter()
            .map(|one| (&*one.name, one.requires_session));
        assert_eq!(queues.collect::<Vec<_>>(), [("q", false), ("s", true)]);
        let [_, by_session] = &settings.broker.topics[0].subscriptions[..] else {
            panic!()
        };
        assert_eq!(by_session.duplicate_window, Some(DUPLICATE_WINDOW));
        assert_eq!(by_session.lock_duration, Duration::from_secs(5));
        assert_eq!(by_session.deliveries_max, 3);
        assert_eq!(settings.broker.limits.message_bytes_max, 256 * 1024);
        let rights = settings.broker.access_rules.iter();
        let rights = rights.map(|rule| (&*rule.name, rule.rights.send, rule.rights.listen));
        let expect = [("in", true, false), ("both", true, true)];
        assert_eq!(rights.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_property_goes_to_the_demos_entities_too() {
        let settings = settings("--consumer-group telemetry/mine").unwrap();
        assert_eq!(
            settings.broker.hubs[0].consumer_groups,
            ["$Default", "mine"]
        );
    }

    #[test]
    fn an_option_that_names_what_is_not_there_is_refused_with_what_is() {
        for (arguments, text) in [
            (
                "--hub h --consumer-group g/x",
                "--consumer-group g/x: there is no hub g; there are: h",
            ),
            (
                "--hub h --consumer-group x",
                "--consumer-group x: must be hub/group",
            ),
            (
                "--queue q --duplicate-detection p",
                "--duplicate-detection p: there is no such entity; there are: q",
            ),
            ("--session-subscription t", "must be topic/subscription"),
            (
                "--access-rule x",
                "--access-rule x: must be a name, :, and send, listen or both",
            ),
            (
                "--access-rule x:manage",
                "must be a name, :, and send, listen or both",
            ),
            ("--access-rule :send", "must be a name, :, and send"),
            ("--max-delivery-count 0", "invalid value '0'"),
            ("--lock-duration 6m", "must be 5s to 5m"),
        ] {
            let error = settings(arguments).unwrap_err().to_string();
            assert!(error.contains(text), "{arguments}: {error}");
        }
    }

    /// Every ready configuration and the emulator may run side by side.
    #[test]
    fn a_port_has_one_purpose_in_ready_configurations_and_in_the_emulator() {
        let arguments = ["emulator", "--identities", "folder"];
        let options = EmulatorArguments::try_parse_from(arguments)
            .unwrap()
            .options;
        let settings = options.settings().unwrap();
        let tls = settings.tls.unwrap();
        let mut purposes = BTreeMap::new();
        let emulator = [
            settings.amqp_port,
            settings.http_port,
            settings.blob_port,
            settings.identity.unwrap().port,
            tls.amqp_port,
            tls.blob_port,
            tls.identity_port,
        ];
        for (index, port) in emulator.into_iter().enumerate() {
            let before = purposes.insert(port, format!("emulator {index}"));
            assert_eq!(before, None, "port {port} is the emulator's twice");
        }
        let mut files = Vec::new();
        toml_files(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config"),
            &mut files,
        );
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let config: toml::Table = toml::from_str(&text).unwrap();
            let mut own = BTreeMap::new();
            for (table, content) in &config {
                for key in ["listen", "listen_tls"] {
                    let addresses = content.get(key).and_then(toml::Value::as_array);
                    for address in addresses.into_iter().flatten() {
                        let address: SocketAddr = address.as_str().unwrap().parse().unwrap();
                        let purpose = format!("{table}.{key}");
                        let twice = own.insert(address.port(), purpose.clone());
                        assert_eq!(twice, None, "{}: {purpose}", file.display());
                        let known = purposes.entry(address.port()).or_insert(purpose.clone());
                        assert_eq!(*known, purpose, "{}: {address}", file.display());
                    }
                }
            }
            assert!(!own.is_empty(), "{}", file.display());
        }
    }

    fn toml_files(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                toml_files(&path, files);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                files.push(path);
            }
        }
    }
}
