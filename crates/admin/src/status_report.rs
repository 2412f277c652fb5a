//! What `/status` shows: a router, and the certificates of the servers around it.

use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use std::sync::Arc;
use std::time::Duration;
use twinroute_listen::CertificateStatus;
use twinroute_router::status::RouterStatus;

/// The status of a router and of the servers around it.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// The router; its warnings are followed by those about certificates.
    pub router: RouterStatus,
    /// Certificates of the servers with TLS.
    pub certificates: Vec<CertificateStatus>,
}

/// One object, in which the certificates stand behind the warnings.
impl Serialize for StatusReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A member that is new cannot be forgotten here: a test compares the two objects.
        let RouterStatus {
            version,
            readiness,
            warnings,
            admission,
            table,
            journal,
            instances,
            ..
        } = &self.router;
        let mut object = serializer.serialize_struct("StatusReport", 8)?;
        object.serialize_field("version", version)?;
        object.serialize_field("readiness", readiness)?;
        object.serialize_field("warnings", warnings)?;
        object.serialize_field("certificates", &self.certificates)?;
        object.serialize_field("admission", admission)?;
        object.serialize_field("table", table)?;
        object.serialize_field("journal", journal)?;
        object.serialize_field("instances", instances)?;
        object.end()
    }
}

/// Adds the certificates to a status. Cheap to clone.
#[derive(Clone)]
pub struct CertificateReporter {
    certificates: Arc<dyn Fn() -> Vec<CertificateStatus> + Send + Sync>,
    expiry_warning: Duration,
}

impl CertificateReporter {
    /// Shows what `certificates` gives, and warns `expiry_warning` before one ends. It is asked at each report, so
    /// it must be quick.
    pub fn new(
        expiry_warning: Duration,
        certificates: impl Fn() -> Vec<CertificateStatus> + Send + Sync + 'static,
    ) -> Self {
        Self {
            certificates: Arc::new(certificates),
            expiry_warning,
        }
    }

    /// What is shown of `router` now.
    #[must_use]
    pub fn report(&self, mut router: RouterStatus) -> StatusReport {
        let certificates = (self.certificates)();
        let known = certificates.iter();
        let warnings = known.filter_map(|known| known.warning(self.expiry_warning));
        router.warnings.extend(warnings);
        StatusReport {
            router,
            certificates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_router::Router;

    #[tokio::test]
    async fn a_report_has_every_member_of_the_status() {
        let router = Router::builder().build().expect("a router").status();
        let report = CertificateReporter::new(Duration::ZERO, Vec::new).report(router.clone());
        let mut report = serde_json::to_value(report).expect("an object");
        let certificates = report
            .as_object_mut()
            .and_then(|all| all.remove("certificates"));
        assert_eq!(certificates, Some(serde_json::json!([])));
        assert_eq!(report, serde_json::to_value(router).expect("an object"));
    }
}
