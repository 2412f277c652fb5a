//! Why settings cannot be served, and the rules for names that several services have.

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

/// Checks a name with so many characters: "Naming rules and restrictions for Azure resources",
/// Microsoft.EventHub, Microsoft.ServiceBus and Microsoft.EventGrid.
pub(crate) fn check_name(
    what: &'static str,
    name: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<(), SettingsError> {
    let letter = |letter: char| letter.is_ascii_alphanumeric();
    let inside = |one: char| letter(one) || matches!(one, '.' | '-' | '_');
    let rule = if !lengths.contains(&name.len()) {
        let (least, most) = (lengths.start(), lengths.end());
        format!("it must have {least} to {most} characters")
    } else if !name.chars().all(inside) {
        "letters, digits, dots, hyphens and underscores are allowed".to_owned()
    } else if !name.starts_with(letter) || !name.ends_with(letter) {
        "it must start and end with a letter or digit".to_owned()
    } else {
        return Ok(());
    };
    Err(SettingsError::entity_name(what, name, rule))
}

/// Checks that no two are the same; names are compared without case.
pub(crate) fn check_distinct(names: &[String]) -> Result<(), SettingsError> {
    for (at, name) in names.iter().enumerate() {
        let mut before = names[..at].iter();
        if before.any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(SettingsError::NameTwice(name.clone()));
        }
    }
    Ok(())
}
