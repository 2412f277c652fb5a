//! One poll of the API: a complete listing, or nothing.

use super::super::api::ArmApi;
use super::super::error::Error;
use super::super::read::InstanceListing;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Microsoft.DigitalTwins.
const MANAGEMENT_VERSION: &str = "2023-01-31";

/// Azure Digital Twins data plane.
const ROUTES_VERSION: &str = "2023-10-31";

/// The longest that one poll takes, all pages and repetitions.
const POLL_MAX: Duration = Duration::from_secs(300);

/// Polls that fail come at most this far apart, unless the server asks for more or `poll` is longer.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest that a server's `Retry-After` is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// One instance, as the management API and the data plane have it.
pub(super) struct InstanceApi {
    pub(super) path: String,
    pub(super) management: ArmApi,
    /// A configured address; else the instance's `hostName` is asked.
    pub(super) routes: Option<ArmApi>,
    pub(super) routes_scope: String,
}

impl InstanceApi {
    /// A complete listing. Dropping the future loses nothing.
    pub(super) async fn read(&self) -> Result<InstanceListing, Error> {
        let read = timeout(POLL_MAX, self.read_all()).await;
        read.unwrap_or_else(|_| {
            Err(Error::Transport {
                request: format!("GET {}", self.path),
                reason: format!("not all could be read within {} s", POLL_MAX.as_secs()),
            })
        })
    }

    async fn read_all(&self) -> Result<InstanceListing, Error> {
        let api = &self.management;
        let instance = api.get(&self.path, MANAGEMENT_VERSION).await?;
        let instance: Box<RawValue> = instance.json()?;
        if Self::is_going(&instance) {
            // Its lists empty before it is gone, which must not look as if each endpoint were removed.
            return Err(self.refuse("says that the instance is being deleted"));
        }
        let at_host;
        let routes = match &self.routes {
            Some(routes) => routes,
            None => {
                at_host = self.at_host(&instance)?;
                &at_host
            }
        };
        // Before the endpoints: those that a new route names are older than it.
        let routes = routes.list("/eventroutes", ROUTES_VERSION).await?;
        let path = format!("{}/endpoints", self.path);
        let endpoints = api.list(&path, MANAGEMENT_VERSION).await?;
        Ok(InstanceListing {
            instance,
            endpoints,
            routes,
        })
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::Answer {
            request: format!("GET {}", self.path),
            reason: reason.to_owned(),
        }
    }

    fn is_going(instance: &RawValue) -> bool {
        let state = property(instance, "provisioningState").unwrap_or_default();
        ["Deleting", "Deleted"]
            .iter()
            .any(|word| state.eq_ignore_ascii_case(word))
    }

    /// The data plane at the instance's `hostName`: null while the instance is provisioned, bare in live
    /// answers, with `https://` in the examples of the specification.
    fn at_host(&self, instance: &RawValue) -> Result<ArmApi, Error> {
        let host = property(instance, "hostName").unwrap_or_default();
        let host = host
            .strip_prefix("https://")
            .unwrap_or(&host)
            .trim_end_matches('/');
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if host.is_empty() {
            return Err(self.refuse("has no `hostName` yet; set routes_url if it stays so"));
        }
        if !host.bytes().all(legal) {
            return Err(self.refuse("has a `hostName` that is no host"));
        }
        let url = format!("https://{host}");
        self.management.elsewhere(&url, &self.routes_scope)
    }
}

/// A text among the properties of a resource, whose other members are not kept.
fn property(resource: &RawValue, name: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct PolledId<'a> {
        #[serde(borrow)]
        properties: BTreeMap<Cow<'a, str>, &'a RawValue>,
    }
    let resource: PolledId<'_> = serde_json::from_str(resource.get()).ok()?;
    serde_json::from_str(resource.properties.get(name)?.get()).ok()
}

/// SHA-256 of a listing, by its bytes as they were answered.
pub(super) fn digest(listing: &InstanceListing) -> String {
    let mut hash = Sha256::new();
    let lists = [&listing.endpoints, &listing.routes];
    let parts = std::iter::once(&listing.instance).chain(lists.into_iter().flatten());
    hash.update((listing.endpoints.len() as u64).to_be_bytes());
    for part in parts {
        hash.update((part.get().len() as u64).to_be_bytes());
        hash.update(part.get());
    }
    let digits = hash.finalize();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long to wait for the next poll; `random` is 0 to 1.
pub(super) fn pause(
    poll: Duration,
    failures: u32,
    after: Option<Duration>,
    random: f64,
) -> Duration {
    let doubled = poll.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let wait = doubled.min(PAUSE_MAX.max(poll));
    // Many that were started together must not ask together.
    let spread = wait.mul_f64(0.9 + random / 5.0);
    spread.max(after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_spread_double_and_honour_the_server() {
        let seconds = |poll, failures, after: Option<u64>, random| {
            let after = after.map(Duration::from_secs);
            pause(Duration::from_secs(poll), failures, after, random).as_secs_f64()
        };
        assert!((seconds(30, 0, None, 0.0) - 27.0).abs() < 0.001);
        assert!((seconds(30, 0, None, 1.0) - 33.0).abs() < 0.001);
        assert!((seconds(1, 3, None, 0.5) - 4.0).abs() < 0.001);
        assert!((seconds(1, 99, None, 0.5) - 60.0).abs() < 0.001);
        assert!((seconds(600, 3, None, 0.5) - 600.0).abs() < 0.001);
        assert!((seconds(1, 1, Some(120), 0.5) - 120.0).abs() < 0.001);
        assert!((seconds(1, 1, Some(90_000), 0.5) - 600.0).abs() < 0.001);
    }
}
