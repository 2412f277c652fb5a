//! Requests for instances that are not reached over the listener that they came by.

use super::{EVENT, NOW, SeenSink};
use bytes::Bytes;
use expect_test::{Expect, expect};
use http_body_util::{BodyExt as _, Full};
use std::sync::Arc;
use twinroute_ingress::{IngressServer, Settings};
use twinroute_listen::access::{AccessGate, AccessSettings};
use twinroute_listen::{ClientPeer, InstanceNetworks, PrivateWay};
use twinroute_model::clock::ManualClock;
use twinroute_model::name::InstanceName;
use twinroute_model::network::{ConnectionStatus, NetworkAccess, PrivateConnection, PublicAccess};
use twinroute_router::Router;

fn name(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

/// An ingress whose default instance is reached over `plant-net` alone.
fn ingress() -> IngressServer {
    let router = Router::builder()
        .sink("seen", SeenSink::default())
        .route("all", "seen", "true");
    let router = router.build().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let trust = super::access::trust(None);
    let gate = AccessGate::new(&AccessSettings::default(), clock.clone(), &trust).unwrap();
    let network = InstanceNetworks::default();
    let connection = PrivateConnection {
        name: "plant-net".to_owned(),
        status: ConnectionStatus::Approved,
    };
    let access = NetworkAccess {
        public: PublicAccess::Disabled,
        connections: vec![connection],
    };
    network.set([(&name("default"), &access)]);
    IngressServer::with_gate(&Settings::default(), router, clock, gate, network)
}

async fn check(method: &str, path: &str, way: Option<&str>, expect: Expect) {
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/cloudevents+json")
        .header("webhook-request-origin", "eventgrid.azure.net")
        .body(Full::new(Bytes::from_static(EVENT.as_bytes())))
        .unwrap();
    if let Some(connection) = way {
        let way = PrivateWay::new(name("default"), connection);
        request.extensions_mut().insert(way);
    }
    let answer = ingress().handle(request, ClientPeer::Unix).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    expect.assert_eq(&format!("{status} {}", String::from_utf8_lossy(&body)));
}

#[tokio::test]
async fn a_closed_instance_is_reported_in_the_shape_of_the_surface() {
    check("POST", "/events", None, expect![[r#"403 {"error":{"code":"PublicNetworkAccessDisabled","message":"instance default is not reached from public networks: its publicNetworkAccess is Disabled; come over a private endpoint connection that is approved, or enable it: twinroute instance update --dt-name default --public-network-access Enabled"}}"#]]).await;
    check("OPTIONS", "/events", None, expect![[r#"403 {"error":{"code":"PublicNetworkAccessDisabled","message":"instance default is not reached from public networks: its publicNetworkAccess is Disabled; come over a private endpoint connection that is approved, or enable it: twinroute instance update --dt-name default --public-network-access Enabled"}}"#]]).await;
    let path = "/api/events?api-version=2018-01-01";
    check("POST", path, None, expect![[r#"403 {"error":{"code":"Forbidden","message":"instance default is not reached from public networks: its publicNetworkAccess is Disabled; come over a private endpoint connection that is approved, or enable it: twinroute instance update --dt-name default --public-network-access Enabled","details":[{"code":"PublicNetworkAccessDisabled","message":"instance default is not reached from public networks: its publicNetworkAccess is Disabled; come over a private endpoint connection that is approved, or enable it: twinroute instance update --dt-name default --public-network-access Enabled"}]}}"#]]).await;
    check("POST", "/instances/Default/events", None, expect![[r#"403 {"error":{"code":"PublicNetworkAccessDisabled","message":"instance Default is not reached from public networks: its publicNetworkAccess is Disabled; come over a private endpoint connection that is approved, or enable it: twinroute instance update --dt-name Default --public-network-access Enabled"}}"#]]).await;
}

#[tokio::test]
async fn a_private_listener_is_for_its_instance_alone() {
    let way = Some("PLANT-net");
    check("POST", "/events", way, expect!["202 "]).await;
    check("POST", "/instances/default/events", way, expect!["202 "]).await;
    check("POST", "/instances/plant-1/events", way, expect![[r#"403 {"error":{"code":"PrivateEndpointOfAnotherInstance","message":"private endpoint connection default/PLANT-net leads to instance default alone, not to plant-1"}}"#]]).await;
    check("POST", "/events", Some("other"), expect![[r#"403 {"error":{"code":"PrivateEndpointConnectionNotApproved","message":"private endpoint connection default/other is not there (status: none): this listener answers once it is Approved; make it and approve it: twinroute private-endpoint create --dt-name default --connection-name other, then twinroute private-endpoint approve --dt-name default --connection-name other"}}"#]]).await;
    check("POST", "/nowhere", Some("other"), expect![[r#"404 {"error":{"code":"UnknownPath","message":"no such path; events are accepted at /events and /instances/{name}/events (CloudEvents), and at /api/events and /instances/{name}/api/events (Event Grid)"}}"#]]).await;
}
