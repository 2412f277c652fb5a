//! Endpoints, settings and events for the tests here.

use crate::broker::deliveries::delivery_of;
pub(crate) use crate::broker::deliveries::short;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::endpoint::{self, Endpoint};
use twinroute_model::event::EventParts;
use twinroute_model::name::EndpointName;
use twinroute_model::settings::EndpointSettings;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::sink::{Connect, ConnectError, Delivery, Sink};
use twinroute_sinks::connect::AzureConnector;

/// 1994-11-06T08:49:07Z.
pub(crate) const NOW: i64 = 784_111_747_000;

pub(crate) fn settings() -> EndpointSettings {
    EndpointSettings::default().with(|own| own.attempt_timeout = Duration::from_secs(5))
}

/// A TLS configuration that trusts `roots` alone.
pub(crate) fn trusting(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let config = rustls::ClientConfig::builder_with_provider(twinroute_outgoing::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A server's certificate for `name`, and a client's trust in it alone.
pub(crate) fn certificate(name: &str) -> (Arc<rustls::ClientConfig>, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(twinroute_outgoing::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    (trusting(roots), TlsAcceptor::from(Arc::new(config)))
}

pub(crate) fn endpoint(properties: &str) -> Endpoint {
    let name = EndpointName::new("my-endpoint").unwrap();
    let body = format!("{{\"properties\":{{{properties}}}}}");
    endpoint::parse(&name, &body).unwrap()
}

pub(crate) fn connect_with(
    tls: Arc<rustls::ClientConfig>,
    properties: &str,
    settings: &EndpointSettings,
) -> Result<Arc<dyn Sink>, ConnectError> {
    let endpoint = endpoint(properties);
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(NOW)));
    AzureConnector::new(clock, OutgoingConnections::direct(tls)).connect(&endpoint, settings)
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
    let parts = EventParts::new(&id.to_string(), "h", "t");
    let parts = parts.set("time", "2020-01-01T00:00:00Z").unwrap();
    // Each in a bucket of its own.
    let mut delivery = delivery_of(id, parts, "twin", data_bytes);
    delivery.twin = id as u64;
    delivery
}
