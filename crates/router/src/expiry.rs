//! Credentials and certificates that end soon: action is required before they do.

use crate::status::{CertificateStatus, EndpointStatus, InstanceStatus};
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// How long before its end something is warned about, unless set.
pub(crate) const WARNING_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A file of certificates of a server, of which the router knows nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// Whose: `ingress`, `admin` or `management`.
    pub server: String,
    /// What it is there: `certificate` or `client_ca`.
    pub what: String,
    /// The file.
    pub path: String,
    /// When the first of its certificates ends.
    pub ends_at: Timestamp,
}

impl CertificateExpiry {
    /// How it stands at `now`.
    pub(crate) fn status(self, now: Timestamp) -> CertificateStatus {
        let left = self.ends_at.unix_millis() - now.unix_millis();
        CertificateStatus {
            server: self.server,
            what: self.what,
            path: self.path,
            expires_at: self.ends_at.rfc3339(),
            // A second that has begun to be over is over.
            expires_in_s: left.div_euclid(1_000),
        }
    }
}

/// Warns about certificates that end soon. The words stay the same from look to look.
pub(crate) fn of_certificates(known: &[CertificateStatus], before: Duration) -> Vec<String> {
    let warning = |known: &CertificateStatus| {
        let word = word(known.expires_in_s.saturating_mul(1_000), before)?;
        let CertificateStatus {
            server, what, path, ..
        } = known;
        let end = &known.expires_at;
        Some(format!(
            "[{server}.tls]: the {what} in {path} {word} at {end}; put a renewed one there"
        ))
    };
    known.iter().filter_map(warning).collect()
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
        let known = || CertificateExpiry {
            server: "admin".to_owned(),
            what: "certificate".to_owned(),
            path: "c.pem".to_owned(),
            ends_at: end,
        };
        let at = |days_before: i64| {
            let now = end.unix_millis() - days_before * 24 * 60 * 60 * 1_000;
            let status = known().status(Timestamp::from_unix_millis(now));
            assert_eq!(status.expires_in_s, days_before * 24 * 60 * 60);
            of_certificates(&[status], 3 * day)
        };
        assert_eq!(at(4), [""; 0]);
        assert_eq!(at(3), [""; 0]);
        for (days_before, word) in [(2, "ends"), (0, "ended"), (-1, "ended")] {
            let expect = format!(
                "[admin.tls]: the certificate in c.pem {word} at 2023-11-14T22:13:20Z; put a renewed one there"
            );
            assert_eq!(at(days_before), [expect]);
        }
    }
}
