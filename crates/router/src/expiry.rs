//! Credentials that end soon: action is required before they do.

use crate::sink::CredentialSlot;
use crate::status::{EndpointStatus, InstanceStatus};
use std::time::Duration;
use twinroute_model::clock::{Timestamp, end_word};

/// How long before its end something is warned about, unless set.
pub(crate) const WARNING_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Warns about credentials of endpoints and of their dead-letter containers. Identities renew theirs.
pub(crate) fn of_endpoints(instances: &[InstanceStatus], before: Duration) -> Vec<String> {
    let mut warnings = Vec::new();
    for instance in instances {
        for endpoint in &instance.endpoints {
            let object = format!("endpoint {}/{}", instance.name, endpoint.name);
            of_endpoint(endpoint, &object, before, &mut warnings);
        }
    }
    warnings
}

fn of_endpoint(
    endpoint: &EndpointStatus,
    object: &str,
    before: Duration,
    warnings: &mut Vec<String>,
) {
    let word = |left_s: Option<i64>| end_word(left_s?, before);
    let known = endpoint.credentials.iter();
    for credential in known.filter(|credential| credential.slot != CredentialSlot::Identity) {
        if let Some(word) = word(credential.expires_in_s) {
            let (slot, end) = (credential.slot.as_str(), text(credential.expires_at));
            warnings.push(format!(
                "{object}: the SharedAccessSignature of its {slot} connection string {word} at {end}; put a \
                 new one there, or SharedAccessKeyName and SharedAccessKey"
            ));
        }
    }
    let dead = &endpoint.dead_letters;
    if let Some(word) = word(dead.expires_in_s) {
        warnings.push(format!(
            "{object}: the credential of its dead-letter container {word} at {}; put a new SAS into the \
             definition",
            text(dead.expires_at)
        ));
    }
}

fn text(end: Option<Timestamp>) -> String {
    end.map(Timestamp::rfc3339).unwrap_or_default()
}
