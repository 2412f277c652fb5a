//! The identities that endpoints name, each with one source of tokens that all of its users share.

use crate::login::LoginMethod;
use crate::token::TokenSource;
use azure_core::http::HttpClient;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use twinroute_model::clock::Clock;
use twinroute_model::endpoint::EndpointIdentity;

/// User-assigned identities in use at once; a resource of Azure has a few.
const ASSIGNED_MAX: usize = 256;

/// Tokens of Event Hubs.
pub const EVENT_HUBS_SCOPE: &str = "https://eventhubs.azure.net/.default";

/// Tokens of Service Bus.
pub const SERVICE_BUS_SCOPE: &str = "https://servicebus.azure.net/.default";

/// Why an identity has no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// None is configured.
    #[error(
        "no identity is configured: set `credential` in [identity], or give the endpoint keys instead"
    )]
    NotConfigured,
    /// Too many are named.
    #[error("more than {ASSIGNED_MAX} user-assigned identities are in use")]
    TooMany,
}

/// Whom endpoints may log in as. Clones share all sources.
#[derive(Clone)]
pub struct IdentitySet(IdentityKind);

#[derive(Clone)]
enum IdentityKind {
    None,
    One(TokenSource),
    Managed(Arc<ManagedIdentity>),
}

/// What a machine has: an identity of its own, and others that are told apart by their resource id.
struct ManagedIdentity {
    own: TokenSource,
    assigned: Mutex<HashMap<String, TokenSource>>,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for IdentitySet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.0 {
            IdentityKind::None => "none",
            IdentityKind::One(_) => "one",
            IdentityKind::Managed(_) => "managed",
        };
        write!(formatter, "Identities({kind})")
    }
}

impl IdentitySet {
    /// Nobody: endpoints with an identity have to wait.
    #[must_use]
    pub const fn none() -> Self {
        Self(IdentityKind::None)
    }

    /// Whatever identity an endpoint names, its tokens come from `source`.
    #[must_use]
    pub const fn one(source: TokenSource) -> Self {
        Self(IdentityKind::One(source))
    }

    /// Those of `login`. Does no I/O.
    ///
    /// A managed identity is the system-assigned one, or what the login names in its place, and any
    /// user-assigned one that an endpoint names. Any other login is one for all. For `http` see
    /// [`TokenSource::new`].
    #[must_use]
    pub fn new(login: LoginMethod, http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        let managed = matches!(login, LoginMethod::ManagedIdentity { .. });
        let own = TokenSource::new(login, Arc::clone(&http), Arc::clone(&clock));
        if !managed {
            return Self::one(own);
        }
        Self(IdentityKind::Managed(Arc::new(ManagedIdentity {
            own,
            assigned: Mutex::default(),
            http,
            clock,
        })))
    }

    /// Where the tokens of `identity` come from. Does no I/O.
    ///
    /// # Errors
    /// [`NoIdentity`].
    pub fn tokens(&self, identity: &EndpointIdentity) -> Result<TokenSource, NoIdentity> {
        match (&self.0, identity.user_assigned()) {
            (IdentityKind::None, _) => Err(NoIdentity::NotConfigured),
            (IdentityKind::One(source), _) => Ok(source.clone()),
            (IdentityKind::Managed(managed), None) => Ok(managed.own.clone()),
            (IdentityKind::Managed(managed), Some(id)) => managed.assigned(id),
        }
    }
}

impl ManagedIdentity {
    fn assigned(&self, id: &str) -> Result<TokenSource, NoIdentity> {
        // Inserts and removals leave the map whole.
        let assigned = self.assigned.lock();
        let mut assigned = assigned.unwrap_or_else(PoisonError::into_inner);
        // Resource ids ignore case.
        let key = id.to_ascii_lowercase();
        if let Some(source) = assigned.get(&key) {
            return Ok(source.clone());
        }
        if assigned.len() >= ASSIGNED_MAX {
            assigned.retain(|_, source| source.is_shared());
        }
        if assigned.len() >= ASSIGNED_MAX {
            return Err(NoIdentity::TooMany);
        }
        let login = LoginMethod::UserAssignedIdentity {
            resource_id: id.to_owned(),
        };
        let source = TokenSource::new(login, Arc::clone(&self.http), Arc::clone(&self.clock));
        assigned.insert(key, source.clone());
        Ok(source)
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
