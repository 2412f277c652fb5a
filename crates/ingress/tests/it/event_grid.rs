//! `/api/events` as Event Grid's clients use it.

use super::{EVENT, check, post};
use expect_test::expect;

const PUBLISH: &str = "/api/events?api-version=2018-01-01";
const JSON: &str = "content-type: application/json; charset=utf-8";
const GRID_EVENT: &str = r#"{"id":"g1","subject":"a/b","data":{"x":1},"eventType":"My.Type","eventTime":"2026-01-31T08:15:30Z","dataVersion":"1.0"}"#;

#[tokio::test]
async fn cloudevents_one_or_many() {
    let one = "content-type: application/cloudevents+json; charset=utf-8";
    check(
        &post(PUBLISH, one, EVENT),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["1"]
        "#]],
    )
    .await;
    let many = "content-type: application/cloudevents-batch+json; charset=utf-8";
    check(
        &post(PUBLISH, many, &format!("[{EVENT}]")),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["1"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_event_grid_schema() {
    let request = post(
        "/instances/plant-1/api/events?api-version=2018-01-01",
        JSON,
        &format!("[{GRID_EVENT}]"),
    );
    check(
        &request,
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
}

#[tokio::test]
async fn cloudevents_that_call_themselves_json() {
    check(
        &post(PUBLISH, JSON, &format!(" [ {EVENT},{EVENT}]")),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 2
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["1", "1"]
        "#]],
    )
    .await;
    check(
        &post(PUBLISH, JSON, EVENT),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["1"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn events_that_break_a_rule() {
    let body = format!("[{GRID_EVENT},{{\"id\":\"g2\"}}]");
    check(&post(PUBLISH, JSON, &body), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 199

        {"error":{"code":"BadRequest","message":"event 1: attribute `eventType`: required, but missing","details":[{"code":"InvalidEvent","message":"event 1: attribute `eventType`: required, but missing"}]}}
        => []
    "#]]).await;
    check(&post(PUBLISH, JSON, GRID_EVENT), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 289

        {"error":{"code":"BadRequest","message":"the batch is not a JSON array of events: invalid type: map, expected a sequence at line 1 column 0","details":[{"code":"InvalidEvent","message":"the batch is not a JSON array of events: invalid type: map, expected a sequence at line 1 column 0"}]}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn api_versions() {
    check(&post("/api/events", JSON, "[]"), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 246

        {"error":{"code":"BadRequest","message":"query parameter api-version: required, but missing; known are 2018-01-01","details":[{"code":"UnsupportedApiVersion","message":"query parameter api-version: required, but missing; known are 2018-01-01"}]}}
        => []
    "#]]).await;
    check(
        &post("/api/events?api-version=2017-09-15", JSON, "[]"),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/json
            content-length: 254

            {"error":{"code":"BadRequest","message":"query parameter api-version: \"2017-09-15\" is unknown; known are 2018-01-01","details":[{"code":"UnsupportedApiVersion","message":"query parameter api-version: \"2017-09-15\" is unknown; known are 2018-01-01"}]}}
            => []
        "#]],
    )
    .await;
}
