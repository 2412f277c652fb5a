//! Why settings cannot be served.

/// Why settings cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Two hubs, topics or queues, or two Event Grid topics, share a name.
    #[error("the name {0} is used twice")]
    NameTwice(String),
    /// Two Event Grid topics share a path.
    #[error("the path {0} is used twice")]
    PathTwice(String),
    /// A container whose name the service would not take.
    #[error(
        "the container name {0:?} is not 3 to 63 lower-case letters, digits and single hyphens"
    )]
    ContainerName(String),
    /// The system gives no random bytes for the identity service's key.
    #[error("the identity service has no key: the system gives no random bytes")]
    NoKey,
    /// A name that the service would not take.
    #[error("{what} {name:?}: {rule}")]
    EntityName {
        /// What has it.
        what: &'static str,
        /// The name.
        name: String,
        /// What it must be.
        rule: String,
    },
    /// A hub without partitions.
    #[error("hub {0} has no partitions")]
    NoPartitions(String),
}

impl SettingsError {
    pub(crate) fn entity_name(what: &'static str, name: &str, rule: impl Into<String>) -> Self {
        Self::EntityName {
            what,
            name: name.to_owned(),
            rule: rule.into(),
        }
    }
}
