//! The secret fields of an endpoint, and what may stand in one.

use twinroute_model::pasted;
use twinroute_model::secret::Secret;

/// No secret is larger; a connection string has some 200 bytes, a SAS URI some 400.
pub const SECRET_BYTES_MAX: usize = 16 << 10;

/// A secret field of an endpoint's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the published names say all that is published")]
pub enum SecretField {
    ConnectionStringPrimaryKey,
    ConnectionStringSecondaryKey,
    PrimaryConnectionString,
    SecondaryConnectionString,
    AccessKey1,
    AccessKey2,
    DeadLetterSecret,
}

impl SecretField {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ConnectionStringPrimaryKey,
        Self::ConnectionStringSecondaryKey,
        Self::PrimaryConnectionString,
        Self::SecondaryConnectionString,
        Self::AccessKey1,
        Self::AccessKey2,
        Self::DeadLetterSecret,
    ];

    /// The JSON member.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionStringPrimaryKey => "connectionStringPrimaryKey",
            Self::ConnectionStringSecondaryKey => "connectionStringSecondaryKey",
            Self::PrimaryConnectionString => "primaryConnectionString",
            Self::SecondaryConnectionString => "secondaryConnectionString",
            Self::AccessKey1 => "accessKey1",
            Self::AccessKey2 => "accessKey2",
            Self::DeadLetterSecret => "deadLetterSecret",
        }
    }

    /// How messages write it in a variable.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::ConnectionStringPrimaryKey => "CONNECTION_STRING_PRIMARY_KEY",
            Self::ConnectionStringSecondaryKey => "CONNECTION_STRING_SECONDARY_KEY",
            Self::PrimaryConnectionString => "PRIMARY_CONNECTION_STRING",
            Self::SecondaryConnectionString => "SECONDARY_CONNECTION_STRING",
            Self::AccessKey1 => "ACCESS_KEY1",
            Self::AccessKey2 => "ACCESS_KEY2",
            Self::DeadLetterSecret => "DEAD_LETTER_SECRET",
        }
    }

    /// The field of this name, in any case, underscores aside.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let plain: String = name.chars().filter(|char| *char != '_').collect();
        let mut all = Self::ALL.into_iter();
        all.find(|field| field.name().eq_ignore_ascii_case(&plain))
    }
}

/// What a variable or a file holds, as a secret.
pub(crate) fn check_secret(text: &str) -> Result<Secret, String> {
    if text.len() > SECRET_BYTES_MAX {
        return Err(format!("is larger than {SECRET_BYTES_MAX} bytes"));
    }
    let secret = Secret::pasted(text);
    if secret.expose().is_empty() {
        return Err("holds no text".to_owned());
    }
    if secret.is_masked() {
        return Err("holds a mask, as read APIs show it; put the real secret there".to_owned());
    }
    pasted::check(secret.expose()).map_err(|error| error.to_string())?;
    Ok(secret)
}
