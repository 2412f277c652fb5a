//! Options with secrets that `endpoint create` and `endpoint update` share.

use crate::cli::arm::secret::{self, SecretReader};
use clap::Args;
use twinroute_model::secret::Secret;

/// The access keys of an Event Grid topic.
#[derive(Args, Debug)]
pub(crate) struct TopicKeys {
    /// The Event Grid topic's access key.
    #[arg(long, value_name = "SECRET", value_parser = secret::parse)]
    key: Option<Secret>,
    /// The environment variable with it.
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// Its other access key, which is used when the first is refused.
    #[arg(long, value_name = "SECRET", value_parser = secret::parse)]
    secondary_key: Option<Secret>,
    /// The environment variable with it.
    #[arg(long, value_name = "NAME")]
    secondary_key_env: Option<String>,
}

impl TopicKeys {
    pub(super) fn first(&self, secrets: &mut SecretReader<'_>) -> anyhow::Result<Option<Secret>> {
        secrets.read("--key", self.key.as_ref(), self.key_env.as_deref())
    }

    pub(super) fn second(&self, secrets: &mut SecretReader<'_>) -> anyhow::Result<Option<Secret>> {
        let (given, variable) = (&self.secondary_key, &self.secondary_key_env);
        secrets.read("--secondary-key", given.as_ref(), variable.as_deref())
    }
}

/// The connection strings of an event hub or a Service Bus topic.
#[derive(Args, Debug, Default)]
pub(crate) struct ConnectionStrings {
    /// The connection string of the event hub or Service Bus topic.
    #[arg(long, value_name = "SECRET", value_parser = secret::parse)]
    connection_string: Option<Secret>,
    /// The environment variable with it.
    #[arg(long, value_name = "NAME")]
    connection_string_env: Option<String>,
    /// The connection string with the other key, which is used when the first is refused.
    #[arg(long, value_name = "SECRET", value_parser = secret::parse)]
    secondary_connection_string: Option<Secret>,
    /// The environment variable with it.
    #[arg(long, value_name = "NAME")]
    secondary_connection_string_env: Option<String>,
}

impl ConnectionStrings {
    pub(super) fn first(&self, secrets: &mut SecretReader<'_>) -> anyhow::Result<Option<Secret>> {
        let (given, variable) = (&self.connection_string, &self.connection_string_env);
        secrets.read("--connection-string", given.as_ref(), variable.as_deref())
    }

    pub(super) fn second(&self, secrets: &mut SecretReader<'_>) -> anyhow::Result<Option<Secret>> {
        let given = self.secondary_connection_string.as_ref();
        let variable = self.secondary_connection_string_env.as_deref();
        secrets.read("--secondary-connection-string", given, variable)
    }
}

/// The container for dead letters.
#[derive(Args, Debug)]
pub(crate) struct DeadLetterContainer {
    /// The SAS URI of the container for dead letters: of a key-based endpoint.
    #[arg(long, value_name = "SECRET", visible_alias = "dsu", value_parser = secret::parse)]
    deadletter_sas_uri: Option<Secret>,
    /// The environment variable with it.
    #[arg(long, value_name = "NAME")]
    deadletter_sas_uri_env: Option<String>,
    /// The URI of the container for dead letters: of an identity-based endpoint.
    #[arg(long, value_name = "URI", visible_alias = "du")]
    pub(super) deadletter_uri: Option<String>,
}

impl DeadLetterContainer {
    pub(super) fn sas_uri(&self, secrets: &mut SecretReader<'_>) -> anyhow::Result<Option<Secret>> {
        let (given, variable) = (&self.deadletter_sas_uri, &self.deadletter_sas_uri_env);
        secrets.read("--deadletter-sas-uri", given.as_ref(), variable.as_deref())
    }
}
