//! Keys, signatures, codes: what opens the door, what does not, and that none of it shows.

use super::{EVENT, NOW, check_with, post, start};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use expect_test::expect;
use hmac::{Hmac, KeyInit as _, Mac as _};
use std::time::Duration;

const STRUCTURED: &str = "content-type: application/cloudevents+json";
const KEYS: &str = "access_keys = [\"b2xk\", \"bmV3\"]\nwebhook_code = \"c0de\"";
const PUBLISH: &str = "/api/events?api-version=2018-01-01";

/// A token as Event Grid clients make it, with the key "new".
fn token(resource: &str, expiry: &str) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    let signed = format!("r={}&e={}", encode(resource), encode(expiry));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"new").unwrap();
    mac.update(signed.as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    format!("{signed}&s={}", encode(&signature))
}

#[tokio::test]
async fn what_opens_the_door() {
    let server = start(KEYS);
    let token = token(
        "https://t.westeurope-1.eventgrid.azure.net/api/events",
        "2030-01-01 00:00:00+00:00",
    );
    for (path, header) in [
        ("/events", "aeg-sas-key: b2xk".to_owned()),
        ("/events", "aeg-sas-key: bmV3".to_owned()),
        ("/events", "authorization: SharedAccessKey bmV3".to_owned()),
        ("/events?aeg-sas-key=bmV3", "x: y".to_owned()),
        (
            "/events?code=c0de",
            "authorization: Bearer of.another.kind".to_owned(),
        ),
        (PUBLISH, format!("aeg-sas-token: {token}")),
        (
            PUBLISH,
            format!("authorization: SharedAccessSignature {token}"),
        ),
    ] {
        let request = post(path, &format!("{STRUCTURED}\r\n{header}"), EVENT);
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 20"), "{header}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_open_it() {
    check_with(KEYS, &post("/events", STRUCTURED, EVENT), expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        www-authenticate: SharedAccessKey, SharedAccessSignature
        content-length: 206

        {"error":{"code":"Unauthorized","message":"an access key is required: header aeg-sas-key, aeg-sas-token or authorization (SharedAccessKey or SharedAccessSignature), or query parameter aeg-sas-key or code"}}
        => []
    "#]]).await;
    let wrong = format!("{STRUCTURED}\r\naeg-sas-key: b2x");
    check_with(
        KEYS,
        &post("/events", &wrong, EVENT),
        expect![[r#"
            HTTP/1.1 401 Unauthorized
            content-type: application/json
            www-authenticate: SharedAccessKey, SharedAccessSignature
            content-length: 75

            {"error":{"code":"Unauthorized","message":"the access key does not match"}}
            => []
        "#]],
    )
    .await;
    check_with(KEYS, &post(PUBLISH, &wrong, EVENT), expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        www-authenticate: SharedAccessKey, SharedAccessSignature
        content-length: 153

        {"error":{"code":"Unauthorized","message":"the access key does not match","details":[{"code":"Unauthorized","message":"the access key does not match"}]}}
        => []
    "#]]).await;
    check_with(
        KEYS,
        &post("/events?code=code", STRUCTURED, EVENT),
        expect![[r#"
            HTTP/1.1 401 Unauthorized
            content-type: application/json
            www-authenticate: SharedAccessKey, SharedAccessSignature
            content-length: 77

            {"error":{"code":"Unauthorized","message":"the webhook code does not match"}}
            => []
        "#]],
    )
    .await;
}

#[tokio::test]
async fn signatures_that_do_not_hold() {
    let server = start(KEYS);
    let late = NOW.after(Duration::from_secs(1)).rfc3339();
    for (token, expect) in [
        (
            token("https://h/api/events", "2020-01-01T00:00:00Z"),
            "the shared access signature has expired",
        ),
        (
            token("https://h/instances/a", &late),
            "the shared access signature was made for another address",
        ),
        (
            token("https://h/api/events", "soon"),
            "the end of the shared access signature cannot be read as a time",
        ),
        (
            token("https://h/api/events", &late).replace("%68", "%69"),
            "the shared access signature does not match",
        ),
        (
            "nonsense".to_owned(),
            "the shared access signature is malformed",
        ),
    ] {
        let headers = format!("{STRUCTURED}\r\naeg-sas-token: {token}");
        let answer = server.raw(post(PUBLISH, &headers, EVENT).as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 401 ") && answer.contains(expect),
            "{answer}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn no_answer_shows_a_secret() {
    let server = start(KEYS);
    for request in [
        post(
            "/events?aeg-sas-key=s3cret",
            "aeg-sas-token: s3cret\r\nauthorization: SharedAccessKey s3cret",
            EVENT,
        ),
        post("/other?code=s3cret", "aeg-sas-key: s3cret", EVENT),
        "OPTIONS /events?code=s3cret HTTP/1.0\r\n\r\n".to_owned(),
        "PATCH /events?code=s3cret HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1."), "{answer}");
        for secret in ["s3cret", "b2xk", "bmV3", "c0de"] {
            assert!(!answer.contains(secret), "{answer}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn without_keys_only_the_own_machine_may_send() {
    use http_body_util::{BodyExt as _, Full};
    use std::sync::Arc;
    use twinroute_ingress::{IngressServer, Settings};
    use twinroute_listen::ClientPeer;
    use twinroute_router::Router;

    let router = Router::builder().build().unwrap();
    let clock = Arc::new(twinroute_model::clock::ManualClock::new(NOW));
    let ingress = IngressServer::new(&Settings::default(), router, clock);
    let remote = ClientPeer::Tcp(([192, 0, 2, 1], 50_000).into());
    let request = http::Request::post("/events")
        .body(Full::new(bytes::Bytes::new()))
        .unwrap();
    let answer = ingress.handle(request, remote).await;
    assert_eq!(answer.status(), 401);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    expect![[r#"{"error":{"code":"Unauthorized","message":"no access keys are configured, so only clients on the same machine may send"}}"#]].assert_eq(std::str::from_utf8(&body).unwrap());
}
