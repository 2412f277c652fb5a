//! Dead letters over the wire: a container played by a small HTTP server, or by nothing at all.

#![cfg(feature = "blob")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

#[path = "dead_letter_container/fake.rs"]
mod fake;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};
use fake::{EVENT, FakeAnswer, FakeContainer, LATER, NOW, SIGNATURE, location, putting, sas};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::location::ContainerLocation;
use twinroute_model::event::EventLimits;
use twinroute_retry::dead_letter::container::{
    CALL_MAX, ContainerClient, LetterContainer, PutOutcome, UnusableContainer,
};
use twinroute_retry::dead_letter::document::BlobMetadata;
use twinroute_retry::dead_letter::fault::StoreFaultKind;
use twinroute_retry::dead_letter::read;

const FIRST: &str = "hub/2026/03/02/00/1%2F2.json";

#[tokio::test]
async fn a_dead_letter_is_one_conditional_write() {
    let fake = FakeContainer::start([FakeAnswer::status(201)]).await;
    let container = fake.container("w");
    let put = putting(&container, NOW).await.unwrap();
    assert_eq!(
        put,
        PutOutcome::Written {
            name: FIRST.to_owned()
        }
    );
    let seen = fake.seen();
    assert_eq!(seen.len(), 1);
    let request = &seen[0];
    assert_eq!(request.method, "PUT");
    // The service takes %2F for a slash; the name's own percent sign is escaped once more.
    assert_eq!(
        request.path,
        "/account/dead/hub%2F2026%2F03%2F02%2F00%2F1%252F2.json"
    );
    assert!(request.query.contains(&format!("sig={SIGNATURE}")));
    let header = |name: &str| {
        request
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    assert_eq!(header("if-none-match"), Some("*"));
    assert_eq!(header("x-ms-blob-type"), Some("BlockBlob"));
    assert_eq!(
        header("x-ms-blob-content-type"),
        Some("application/cloudevents+json")
    );
    assert_eq!(
        header("x-ms-meta-deadletterreason"),
        Some("MaxDeliveryAttemptsExceeded")
    );
    assert_eq!(
        header("x-ms-meta-twinrouteoutcome"),
        Some("http-404: nicht gefunden: gr%C3%B6%C3%9Fer")
    );
    assert_eq!(request.body, EVENT.as_bytes());
}

#[tokio::test]
async fn a_taken_name_gives_way_to_the_second_and_that_one_taken_is_done() {
    for taken in [
        FakeAnswer::code(409, "BlobAlreadyExists"),
        FakeAnswer::code(412, "ConditionNotMet"),
        FakeAnswer::code(403, "UnauthorizedBlobOverwrite"),
    ] {
        let fake = FakeContainer::start([taken.clone(), FakeAnswer::status(201)]).await;
        let put = putting(&fake.container("w"), NOW).await.unwrap();
        assert!(
            matches!(&put, PutOutcome::Written { name } if name != FIRST),
            "{put:?}"
        );
        let second = put.name().to_owned();
        let fake = FakeContainer::start([taken.clone(), taken]).await;
        let put = putting(&fake.container("w"), NOW).await.unwrap();
        assert_eq!(put, PutOutcome::Known { name: second });
        assert_eq!(fake.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_sas_that_only_creates_may_report_a_permission_instead() {
    let mismatch = || FakeAnswer::code(403, "AuthorizationPermissionMismatch");
    let fake = FakeContainer::start([mismatch(), FakeAnswer::status(201)]).await;
    let put = putting(&fake.container("c"), NOW).await.unwrap();
    assert!(put.name() != FIRST);
    // Twice may also mean that it was never allowed: not stored.
    let fake = FakeContainer::start([mismatch(), mismatch()]).await;
    let fault = putting(&fake.container("c"), NOW).await.unwrap_err();
    assert_eq!(fault.kind, StoreFaultKind::Refused);
    // One that may overwrite is not told so of a blob that is there.
    let fake = FakeContainer::start([mismatch()]).await;
    let fault = putting(&fake.container("w"), NOW).await.unwrap_err();
    assert_eq!(
        (fault.kind, fake.seen().len()),
        (StoreFaultKind::Refused, 1)
    );
}

/// Answers to a write, what they mean, and how long to wait.
fn answers() -> Vec<(FakeAnswer, StoreFaultKind, Option<Duration>)> {
    use StoreFaultKind::{ContainerMissing, Invalid, Refused, Throttled, Unavailable};
    let after = |seconds| Some(Duration::from_secs(seconds));
    vec![
        (FakeAnswer::code(400, "InvalidHeaderValue"), Invalid, None),
        (FakeAnswer::status(400), Invalid, None),
        (FakeAnswer::status(401), Refused, None),
        (FakeAnswer::code(403, "AuthenticationFailed"), Refused, None),
        (
            FakeAnswer::code(404, "ContainerNotFound"),
            ContainerMissing,
            None,
        ),
        (FakeAnswer::status(404), ContainerMissing, None),
        (FakeAnswer::status(408), Unavailable, None),
        (
            FakeAnswer::code(409, "MemoryExtentStoreAtSizeLimit"),
            Unavailable,
            None,
        ),
        (
            FakeAnswer::code(409, "AccountIsDisabled"),
            Unavailable,
            None,
        ),
        (FakeAnswer::code(413, "RequestBodyTooLarge"), Invalid, None),
        (
            FakeAnswer::status(429).with("retry-after", "7"),
            Throttled,
            after(7),
        ),
        (FakeAnswer::code(503, "ServerBusy"), Throttled, None),
        (
            FakeAnswer::code(503, "ServerBusy")
                .with("retry-after", "Mon, 02 Mar 2026 00:00:30 GMT"),
            Throttled,
            after(30),
        ),
        (
            FakeAnswer::status(503).with("x-ms-retry-after-ms", "1500"),
            Throttled,
            Some(Duration::from_millis(1_500)),
        ),
        (
            FakeAnswer::status(503).with("retry-after", "99999999"),
            Throttled,
            after(3_600),
        ),
        (
            FakeAnswer::status(503).with("retry-after", "soon"),
            Throttled,
            None,
        ),
        (FakeAnswer::code(500, "InternalError"), Unavailable, None),
        (
            FakeAnswer::status(307).with("location", "http://127.0.0.1:1/"),
            Unavailable,
            None,
        ),
    ]
}

#[tokio::test]
async fn every_answer_has_its_kind_and_is_not_asked_for_twice() {
    for (answer, kind, wait) in answers() {
        let debug_text = format!("{answer:?}");
        let fake = FakeContainer::start([answer]).await;
        let fault = putting(&fake.container("w"), NOW).await.unwrap_err();
        assert_eq!(
            (fault.kind, fault.retry_after),
            (kind, wait),
            "{debug_text}: {fault}"
        );
        assert_eq!(fake.seen().len(), 1, "{debug_text}");
        assert!(!fault.message.contains(SIGNATURE), "{fault}");
        assert!(fault.message.contains("/account/dead: "), "{fault}");
    }
    let words: HashSet<&str> = StoreFaultKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .collect();
    assert_eq!(words.len(), StoreFaultKind::ALL.len());
}

#[tokio::test]
async fn a_service_is_quoted_without_what_is_secret() {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>InvalidX</Code><Message>The value of {SIGNATURE} and \
         {} is wrong.\nRequestId:1\nTime:2</Message><Detail>more</Detail></Error>",
        sas("w")
    );
    let fake = FakeContainer::start([FakeAnswer::code(400, "InvalidX").with_body(body)]).await;
    let fault = putting(&fake.container("w"), NOW).await.unwrap_err();
    let expect =
        "the service answered 400, InvalidX, The value of *** and *** is wrong.; the service";
    assert!(fault.message.contains(expect), "{fault}");
    assert!(!fault.message.contains("RequestId"), "{fault}");
}

#[tokio::test]
async fn a_connection_that_fails_is_unavailable_and_names_no_url_with_a_secret() {
    // Bound and let go: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = fake::client();
    let container =
        LetterContainer::with_sas(&client, location(&address.to_string(), "w")).unwrap();
    let refused = putting(&container, NOW).await.unwrap_err();
    assert!(refused.message.contains("no connection"), "{refused}");
    let fake = FakeContainer::start([FakeAnswer::cut()]).await;
    let cut = putting(&fake.container("w"), NOW).await.unwrap_err();
    for fault in [refused, cut] {
        assert_eq!(fault.kind, StoreFaultKind::Unavailable);
        assert!(!format!("{fault:?}").contains(SIGNATURE), "{fault}");
        // Nor the words of a layer that tells its URL.
        assert!(!fault.message.contains("error sending request"), "{fault}");
        assert!(!fault.message.contains("sig="), "{fault}");
    }
}

#[tokio::test]
async fn a_sas_outside_its_times_is_not_sent() {
    let fake = FakeContainer::start([]).await;
    let container = fake.container("rwl");
    let early = Timestamp::from_unix_millis(0);
    for (now, kind) in [
        (LATER, StoreFaultKind::SasExpired),
        (early, StoreFaultKind::SasNotYetValid),
    ] {
        let faults = [
            putting(&container, now).await.unwrap_err(),
            container.list("", None, now).await.unwrap_err(),
            container.read("x", now).await.unwrap_err(),
        ];
        for fault in faults {
            assert_eq!(fault.kind, kind);
            assert!(fault.message.contains("its SAS"), "{fault}");
            assert!(!fault.message.contains(SIGNATURE), "{fault}");
        }
    }
    assert_eq!(fake.seen().len(), 0);
}

/// An HTTP side without a wire.
#[derive(Debug, Default)]
struct WirelessClient {
    status: Option<u16>,
    endless: bool,
    authorization: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl HttpClient for WirelessClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let sent = request.headers().get_optional_str(&"authorization".into());
        let sent = sent.map(str::to_owned);
        self.authorization.lock().unwrap().extend(sent);
        let Some(status) = self.status else {
            return std::future::pending().await;
        };
        let status = StatusCode::from(status);
        if self.endless {
            static MEBIBYTE: [u8; 1 << 20] = [b' '; 1 << 20];
            let chunk = || Ok(bytes::Bytes::from_static(&MEBIBYTE));
            let body = futures_util::stream::repeat_with(chunk);
            return Ok(AsyncRawResponse::new(
                status,
                Headers::new(),
                Box::pin(body),
            ));
        }
        Ok(AsyncRawResponse::from_bytes(
            status,
            Headers::new(),
            Vec::new(),
        ))
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_waits_longer_than_its_limit() {
    let client = ContainerClient::new(Arc::new(WirelessClient::default()), 1 << 20);
    let container = LetterContainer::with_sas(&client, location("127.0.0.1:1", "rwl")).unwrap();
    let started = tokio::time::Instant::now();
    let fault = putting(&container, NOW).await.unwrap_err();
    assert_eq!(fault.kind, StoreFaultKind::Unavailable);
    assert_eq!(started.elapsed(), CALL_MAX);
    for fault in [
        container.list("", None, NOW).await.unwrap_err(),
        container.read("x", NOW).await.unwrap_err(),
    ] {
        assert!(fault.message.contains("no answer within 30 s"), "{fault}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_collected() {
    for status in [200, 206, 500] {
        let http = Arc::new(WirelessClient {
            status: Some(status),
            endless: true,
            ..WirelessClient::default()
        });
        let client = ContainerClient::new(http, 1 << 20);
        let container = LetterContainer::with_sas(&client, location("127.0.0.1:1", "rwl")).unwrap();
        let read = container.read("x", NOW).await.unwrap_err();
        let listed = container.list("", None, NOW).await.unwrap_err();
        let put = putting(&container, NOW).await;
        if status == 500 {
            let faults = [read, listed, put.unwrap_err()];
            assert!(
                faults
                    .iter()
                    .all(|fault| fault.kind == StoreFaultKind::Unavailable)
            );
            // The status stands, whatever stands behind it.
            assert!(faults.iter().all(|fault| fault.message.contains("500")));
        } else {
            assert_eq!(read.kind, StoreFaultKind::Invalid);
            assert!(
                read.message.contains("x has more than 2097152 bytes"),
                "{read}"
            );
            assert_eq!(listed.kind, StoreFaultKind::Unavailable);
            assert!(
                listed.message.contains("more than 2097152 bytes"),
                "{listed}"
            );
        }
    }
}

#[derive(Debug)]
struct TestIdentity;

#[async_trait::async_trait]
impl TokenCredential for TestIdentity {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://storage.azure.com/.default"]);
        let expires = azure_core::time::OffsetDateTime::now_utc() + Duration::from_secs(3_600);
        Ok(AccessToken::new("token-of-the-identity", expires))
    }
}

#[tokio::test]
async fn an_identity_opens_a_container_over_https_only() {
    let http = Arc::new(WirelessClient {
        status: Some(201),
        ..WirelessClient::default()
    });
    let client = ContainerClient::new(http.clone(), 1 << 20);
    let uri = |uri| ContainerLocation::from_uri(uri).unwrap();
    let https = "https://contoso.blob.core.windows.net/dead";
    let container =
        LetterContainer::with_credential(&client, uri(https), Arc::new(TestIdentity)).unwrap();
    putting(&container, NOW).await.unwrap();
    let authorization = http.authorization.lock().unwrap().clone();
    assert_eq!(authorization, ["Bearer token-of-the-identity"]);
    let plain = uri("http://127.0.0.1:10000/account/dead");
    let refused = LetterContainer::with_credential(&client, plain, Arc::new(TestIdentity));
    assert_eq!(refused.unwrap_err(), UnusableContainer::Plain);
    let refused = LetterContainer::with_sas(&client, uri(https));
    assert_eq!(refused.unwrap_err(), UnusableContainer::NoCredential);
}

#[tokio::test]
async fn what_is_stored_is_listed_and_read_back() {
    let page = r#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>
        <Blob><Name>hub/2026/03/02/00/a%2Fb.json</Name><Properties>
        <Last-Modified>Mon, 02 Mar 2026 00:00:30 GMT</Last-Modified>
        <Content-Length>17</Content-Length></Properties>
        <Metadata><Twinroutereason>exhausted</Twinroutereason></Metadata></Blob>
        </Blobs><NextMarker>more</NextMarker></EnumerationResults>"#;
    let fake = FakeContainer::start([
        FakeAnswer::status(200).with_body(page),
        FakeAnswer::status(200)
            .with_body("<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>"),
        FakeAnswer::status(206)
            .with(
                "content-range",
                &format!("bytes 0-{}/{}", EVENT.len() - 1, EVENT.len()),
            )
            .with("x-ms-meta-twinroutereason", "exhausted")
            .with_body(EVENT),
        // An empty blob has no range; the library asks again without one.
        FakeAnswer::code(416, "InvalidRange"),
        FakeAnswer::status(200),
        FakeAnswer::code(404, "BlobNotFound"),
    ])
    .await;
    let container = fake.container("rl");
    let first = container.list("hub/", None, NOW).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("more"));
    let listed = &first.blobs[0];
    assert_eq!(
        (listed.name.as_str(), listed.bytes),
        ("hub/2026/03/02/00/a%2Fb.json", 17)
    );
    let modified = listed.modified_at.map(Timestamp::rfc3339);
    assert_eq!(modified.as_deref(), Some("2026-03-02T00:00:30Z"));
    let metadata = BlobMetadata::from([("twinroutereason".to_owned(), "exhausted".to_owned())]);
    assert_eq!(listed.metadata, metadata);
    let last = container.list("hub/", Some("more"), NOW).await.unwrap();
    assert_eq!((last.blobs.len(), last.next), (0, None));
    let blob = container.read(FIRST, NOW).await.unwrap();
    assert_eq!(
        (&blob.content[..], &blob.metadata),
        (EVENT.as_bytes(), &metadata)
    );
    let back = read::parse(&blob.content, &blob.metadata, &EventLimits::default()).unwrap();
    let event = &back[0].as_ref().unwrap().event;
    assert_eq!(event.structured(), Some(EVENT));
    assert!(container.read(FIRST, NOW).await.unwrap().content.is_empty());
    let missing = container.read(FIRST, NOW).await.unwrap_err();
    assert_eq!(missing.kind, StoreFaultKind::BlobMissing);
    let seen = fake.seen();
    assert!(seen[0].query.contains("prefix=hub%2F") && seen[0].query.contains("include=metadata"));
    assert!(!seen[0].query.contains("marker=") && seen[1].query.contains("marker=more"));
}

#[tokio::test]
async fn a_thousand_containers_share_connections() {
    let answers = (0..50).map(|_| FakeAnswer::status(201));
    let fake = FakeContainer::start(answers).await;
    let client = fake::client();
    let containers: Vec<LetterContainer> = (0..1_000)
        .map(|_| LetterContainer::with_sas(&client, location(&fake.address(), "w")).unwrap())
        .collect();
    for container in &containers[..50] {
        putting(container, NOW).await.unwrap();
    }
    assert_eq!((fake.seen().len(), fake.connections()), (50, 1));
}
