//! Credentials and certificates that end soon: somebody has to act before they do.

use crate::status::{EndpointStatus, InstanceStatus};
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// How long before its end something is warned about, unless set.
pub(crate) const WARNING_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Something that ends, of which the router knows nothing else: a certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What ends, as the beginning of a sentence: `[ingress]: the certificate in /etc/tls.pem`.
    pub what: String,
    /// When.
    pub ends_at: Timestamp,
    /// What to do before.
    pub way_out: String,
}

/// Warns about what ends within `before` from `now`. The words stay the same from look to look.
pub(crate) fn warnings(
    known: impl IntoIterator<Item = Expiry>,
    now: Timestamp,
    before: Duration,
) -> Vec<String> {
    let warning = |known: Expiry| {
        let word = word(known.ends_at.unix_millis() - now.unix_millis(), before)?;
        let Expiry {
            what,
            ends_at,
            way_out,
        } = known;
        Some(format!("{what} {word} at {}; {way_out}", ends_at.rfc3339()))
    };
    known.into_iter().filter_map(warning).collect()
}

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
    let word = |left: Option<i64>| word(left?.saturating_mul(1_000), before);
    let known = endpoint.credentials.iter();
    for credential in known.filter(|credential| credential.slot != "identity") {
        if let Some(word) = word(credential.expires_in_s) {
            let (slot, end) = (&credential.slot, &credential.expires_at);
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
            dead.expires_at
        ));
    }
}

/// Nothing while there is time.
fn word(left_millis: i64, before: Duration) -> Option<&'static str> {
    let before = i64::try_from(before.as_millis()).unwrap_or(i64::MAX);
    match left_millis {
        ..=0 => Some("ended"),
        left if left < before => Some("ends"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_warned_about_in_time() {
        let day = Duration::from_secs(24 * 60 * 60);
        let end = Timestamp::from_unix_millis(1_700_000_000_000);
        let known = || {
            [Expiry {
                what: "the certificate in c.pem".to_owned(),
                ends_at: end,
                way_out: "renew it".to_owned(),
            }]
        };
        let at = |days_before: i64| {
            let now = end.unix_millis() - days_before * 24 * 60 * 60 * 1_000;
            warnings(known(), Timestamp::from_unix_millis(now), 3 * day)
        };
        assert_eq!(at(4), [""; 0]);
        assert_eq!(at(3), [""; 0]);
        let text = "the certificate in c.pem ends at 2023-11-14T22:13:20Z; renew it";
        assert_eq!(at(2), [text]);
        let text = "the certificate in c.pem ended at 2023-11-14T22:13:20Z; renew it";
        assert_eq!(at(0), [text]);
    }
}
