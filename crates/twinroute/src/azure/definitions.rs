//! The definitions of an instance in Azure, read in turns.

use super::{AzureSettings, AzureStatus, OutgoingConnections, Secret, TokenSource};
use crate::clock::SystemClock;
use crate::definitions::{
    DefinitionFault, DefinitionFaults, Definitions, Settings, Source, StraySettings,
};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use twinroute_arm::source::{AzureSource, SourceError};
use twinroute_credential::overlay::SecretOverlay;

/// How long a read waits for the first listing.
const FIRST_LISTING_MAX: Duration = Duration::from_secs(30);

/// Why nothing is read from Azure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AzureDefinitionsError {
    /// The login cannot be used.
    #[error("{0}")]
    Login(String),
    /// The settings cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// The definitions of an instance in Azure, kept current until this is dropped. Secrets, which Azure hides, come from
/// variables and from the folder that the settings name.
///
/// ```
/// use twinroute::azure::{
///     Azure, AzureDefinitions, AzureSettings, CredentialSettings, OutgoingConnections,
/// };
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = AzureSettings::default();
/// settings.subscription = "00000000-0000-0000-0000-000000000000".to_owned();
/// settings.resource_group = "plant".to_owned();
/// settings.instance = "berlin".to_owned();
/// settings.credential = Some(CredentialSettings::ManagedIdentity);
/// # settings.management_url = "https://127.0.0.1:1".to_owned();
/// let outgoing = OutgoingConnections::of_environment()?;
/// let definitions = std::sync::Arc::new(AzureDefinitions::open(&settings, &outgoing)?);
/// assert_eq!(definitions.status().last_success, None);
///
/// let builder = Router::builder().default_instance("berlin").connect(Azure::connector()?);
/// let router = builder.start().await?;
/// # if settings.management_url.is_empty() {
/// let _followed = router.follow(definitions).await?;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AzureDefinitions {
    source: Arc<AzureSource>,
    settings: Settings,
    polling: AbortHandle,
}

impl AzureDefinitions {
    /// Begins to read. Must be called within a tokio runtime; blocks a little on the file system.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub fn open(
        settings: &AzureSettings,
        outgoing: &OutgoingConnections,
    ) -> Result<Self, AzureDefinitionsError> {
        let variable = |name: &str| std::env::var(name).ok().map(|text| Secret::pasted(&text));
        let tokens = settings.tokens(variable, Arc::new(SystemClock), outgoing);
        let tokens = tokens.map_err(AzureDefinitionsError::Login)?;
        Self::open_with(settings, tokens, outgoing)
    }

    /// As [`Self::open`], with tokens of the program's own in place of those that the settings say.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub fn open_with(
        settings: &AzureSettings,
        tokens: TokenSource,
        outgoing: &OutgoingConnections,
    ) -> Result<Self, AzureDefinitionsError> {
        let clock = Arc::new(SystemClock);
        let overlay = SecretOverlay::from_environment(settings.secrets_folder.clone());
        let source = AzureSource::open(settings, tokens, overlay, None, clock, outgoing)?;
        let source = Arc::new(source);
        let polled = Arc::clone(&source);
        let polling = tokio::spawn(async move { polled.run(pending()).await }).abort_handle();
        Ok(Self {
            source,
            settings: Settings::default(),
            polling,
        })
    }

    /// With settings of endpoints, which definitions have no field for.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How it goes. A router can follow an `Arc` of it, so that it can still be asked then.
    #[must_use]
    pub fn status(&self) -> AzureStatus {
        self.source.status()
    }
}

impl Drop for AzureDefinitions {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl Source for AzureDefinitions {
    async fn read(&self) -> Result<Definitions, DefinitionFaults> {
        // One that is late is a fault; what comes after it is a change.
        drop(timeout(FIRST_LISTING_MAX, self.source.polled()).await);
        let Some(snapshot) = self.source.definitions() else {
            let status = self.source.status();
            let seconds = FIRST_LISTING_MAX.as_secs();
            let reason = status.last_error;
            let reason = reason.unwrap_or_else(|| format!("no answer within {seconds} s"));
            let fault = DefinitionFault::new("definitions from Azure", reason);
            return Err(DefinitionFaults(vec![fault]));
        };
        Ok(Definitions {
            instances: snapshot.instances.clone(),
            settings: self.settings.clone(),
            strays: StraySettings::Warn,
            ..Definitions::default()
        })
    }

    async fn changed(&self) {
        self.source.changed().await;
    }
}
