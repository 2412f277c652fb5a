//! Endpoints, settings and events for the tests here.

use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::endpoint;
use twinroute_model::event::{Limits, Parts};
use twinroute_model::name::EndpointName;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::sink::{Connect, ConnectError, Delivery, Outcome, Sink};
use twinroute_sinks::connect::Connector;
use twinroute_sinks::tls;

/// 1994-11-06T08:49:07Z.
pub(crate) const NOW: i64 = 784_111_747_000;

pub(crate) fn settings() -> EndpointSettings {
    EndpointSettings {
        attempt_timeout: Duration::from_secs(5),
        ..EndpointSettings::default()
    }
}

/// A TLS configuration that trusts `roots` alone.
pub(crate) fn trusting(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub(crate) fn connect_with(
    tls: Arc<rustls::ClientConfig>,
    properties: &str,
    settings: &EndpointSettings,
) -> Result<Arc<dyn Sink>, ConnectError> {
    let name = EndpointName::new("my-endpoint").unwrap();
    let body = format!("{{\"properties\":{{{properties}}}}}");
    let endpoint = endpoint::parse(&name, &body).unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(NOW)));
    Connector::new(clock, tls).connect(&endpoint, settings)
}

pub(crate) fn connect(properties: &str, settings: &EndpointSettings) -> Arc<dyn Sink> {
    connect_with(
        trusting(rustls::RootCertStore::empty()),
        properties,
        settings,
    )
    .unwrap()
}

pub(crate) fn hub(connection_string: &str) -> String {
    format!(r#""endpointType":"EventHub","connectionStringPrimaryKey":"{connection_string}""#)
}

pub(crate) fn deliveries(ids: std::ops::Range<usize>) -> Vec<Delivery> {
    ids.map(|id| delivery(id, 10)).collect()
}

pub(crate) fn delivery(id: usize, data_bytes: usize) -> Delivery {
    let event = Parts::new(&id.to_string(), "h", "t")
        .set("subject", "twin")
        .unwrap()
        .set("time", "2020-01-01T00:00:00Z")
        .unwrap()
        .json(&format!("\"{}\"", "x".repeat(data_bytes)))
        .build(&Limits::default())
        .unwrap();
    Delivery {
        sequence: id as u64,
        event: Arc::new(event),
        twin: id as u64,
        attempts: 0,
    }
}

/// Outcomes in short: `delivered`, `reject <code>`, `<kind> <code>`.
pub(crate) fn short(outcomes: &[Outcome]) -> Vec<String> {
    let one = |outcome: &Outcome| match outcome {
        Outcome::Delivered => "delivered".to_owned(),
        Outcome::Retry { reason, .. } => format!("retry {}", reason.code),
        Outcome::Reject(reason) => format!("reject {}", reason.code),
        Outcome::Unavailable(fault) => format!("{} {}", fault.kind.as_str(), fault.reason.code),
    };
    outcomes.iter().map(one).collect()
}
