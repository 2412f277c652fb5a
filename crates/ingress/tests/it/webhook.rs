//! What Event Grid and other senders ask of a webhook before and while they deliver.

use super::{EVENT, check, check_with, post};
use expect_test::expect;

const JSON: &str = "content-type: application/json";
const VALIDATION: &str = r#"[{"id":"v","topic":"/t","subject":"","data":{"validationCode":"512d38b6","validationUrl":"https://x/y"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2026-01-31T08:15:30Z","metadataVersion":"1","dataVersion":"1"}]"#;

#[tokio::test]
async fn a_subscription_is_validated_and_not_routed() {
    let headers = format!("{JSON}\r\naeg-event-type: SubscriptionValidation");
    check(
        &post("/events", &headers, VALIDATION),
        expect![[r#"
            HTTP/1.1 200 OK
            content-type: application/json
            content-length: 33

            {"validationResponse":"512d38b6"}
            => []
        "#]],
    )
    .await;
    check(
        &post("/api/events", &headers, VALIDATION),
        expect![[r#"
            HTTP/1.1 200 OK
            content-type: application/json
            content-length: 33

            {"validationResponse":"512d38b6"}
            => []
        "#]],
    )
    .await;
    check(&post("/events", &headers, "[{}]"), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 213

        {"error":{"code":"InvalidHandshake","message":"a subscription validation is an array of one Microsoft.EventGrid.SubscriptionValidationEvent with data.validationCode: missing field `eventType` at line 1 column 3"}}
        => []
    "#]]).await;
    let other = VALIDATION.replace("SubscriptionValidationEvent", "Other");
    check(&post("/events", &headers, &other), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 193

        {"error":{"code":"InvalidHandshake","message":"a subscription validation is an array of one Microsoft.EventGrid.SubscriptionValidationEvent with data.validationCode: its eventType is another"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn deliveries_are_events() {
    let event = r#"[{"id":"n","topic":"/t","subject":"s","data":{},"eventType":"T","eventTime":"2026-01-31T08:15:30Z","dataVersion":"1"}]"#;
    let headers = format!("{JSON}\r\naeg-event-type: Notification");
    check(
        &post("/events", &headers, event),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["n"]
        "#]],
    )
    .await;
    check(
        &post("/api/events", &headers, event),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["n"]
        "#]],
    )
    .await;
    let headers = "content-type: application/cloudevents+json\r\naeg-event-type: Notification";
    check(
        &post("/instances/plant-1/events", headers, EVENT),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 1
            twinroute-generation: 1
            content-length: 0

            => []
        "#]],
    )
    .await;
    let headers = format!("{JSON}\r\naeg-event-type: SubscriptionDeletion");
    check(
        &post("/events", &headers, event),
        expect![[r#"
            HTTP/1.1 200 OK
            content-length: 0

            => []
        "#]],
    )
    .await;
    let headers = format!("{JSON}\r\naeg-event-type: Surprise");
    check(&post("/events", &headers, event), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 172

        {"error":{"code":"UnknownDeliveryKind","message":"header aeg-event-type: \"Surprise\" is unknown; known are Notification, SubscriptionValidation and SubscriptionDeletion"}}
        => []
    "#]]).await;
}

fn options(path: &str, headers: &str) -> String {
    format!("OPTIONS {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n")
}

#[tokio::test]
async fn consent_to_cloudevents_deliveries() {
    let asks = "webhook-request-origin: eventgrid.azure.net\r\nwebhook-request-rate: 120\r\n";
    check(
        &options("/events", asks),
        expect![[r#"
            HTTP/1.1 200 OK
            allow: POST, OPTIONS
            webhook-allowed-origin: eventgrid.azure.net
            webhook-allowed-rate: *
            content-length: 0

            => []
        "#]],
    )
    .await;
    let other = "webhook-request-origin: example.com\r\n";
    check(&options("/events", other), expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        allow: POST, OPTIONS
        content-length: 134

        {"error":{"code":"OriginNotAllowed","message":"header webhook-request-origin: this origin may not deliver here; see webhook_origins"}}
        => []
    "#]]).await;
    check_with(
        "webhook_origins = [\"*\"]",
        &options("/events", other),
        expect![[r#"
            HTTP/1.1 200 OK
            allow: POST, OPTIONS
            webhook-allowed-origin: example.com
            webhook-allowed-rate: *
            content-length: 0

            => []
        "#]],
    )
    .await;
    check(&options("/api/events", ""), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 261

        {"error":{"code":"BadRequest","message":"header webhook-request-origin: required to ask whether events may be delivered here","details":[{"code":"OriginRequired","message":"header webhook-request-origin: required to ask whether events may be delivered here"}]}}
        => []
    "#]]).await;
    let code = "webhook_code = \"c0de\"";
    check_with(code, &options("/events", asks), expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        www-authenticate: SharedAccessKey, SharedAccessSignature
        content-length: 206

        {"error":{"code":"Unauthorized","message":"an access key is required: header aeg-sas-key, aeg-sas-token or authorization (SharedAccessKey or SharedAccessSignature), or query parameter aeg-sas-key or code"}}
        => []
    "#]]).await;
    check_with(
        code,
        &options("/events?code=c0de", asks),
        expect![[r#"
            HTTP/1.1 200 OK
            allow: POST, OPTIONS
            webhook-allowed-origin: eventgrid.azure.net
            webhook-allowed-rate: *
            content-length: 0

            => []
        "#]],
    )
    .await;
}
