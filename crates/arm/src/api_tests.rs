//! The client against a scripted server.

use super::api::ArmApi;
use super::error::Error;
use super::fake::{FakeArm, FakeReply};
use super::http::client;
use reqwest::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use twinroute_credential::token::TokenSource;
use twinroute_model::clock::SystemClock;

const VERSION: &str = "2023-01-31";
const PATIENCE: Duration = Duration::from_secs(30);

fn api(base: &str) -> ArmApi {
    let clock = Arc::new(SystemClock);
    let tokens = TokenSource::fixed("s3cret".into(), clock.clone());
    let http = client(&outgoing(), None).unwrap();
    ArmApi::new(base, "scope", tokens, http, clock)
        .unwrap()
        .hurried()
}

fn page(items: &str, next: &str) -> FakeReply {
    FakeReply::new(200, format!(r#"{{"value":[{items}],"nextLink":{next}}}"#))
}

#[tokio::test]
async fn a_request_is_what_arm_wants() {
    let fake = FakeArm::script([FakeReply::new(200, "\u{feff}{\"a\":1}")]).await;
    let api = api(&format!("{}/instances/main/", fake.url));
    let answer = api.get("/eventroutes?x=1", "2023-10-31").await.unwrap();
    assert_eq!(answer.json::<serde_json::Value>().unwrap()["a"], 1);
    let request = &fake.arrived()[0];
    assert_eq!(
        request.target,
        "/instances/main/eventroutes?x=1&api-version=2023-10-31"
    );
    assert!(request.head.contains("authorization: bearer s3cret\r\n"));
    assert!(request.head.contains("x-ms-client-request-id: "));
    assert!(!format!("{api:?} {answer:?}").contains("s3cret"));
}

#[tokio::test]
async fn pages_are_followed_to_the_last_and_an_empty_one_is_no_end() {
    let port = AtomicUsize::new(0);
    let fake = FakeArm::serve(move |request| {
        let host = request.head.split("host: ").nth(1).unwrap();
        let host = host.split("\r\n").next().unwrap().to_owned();
        match port.fetch_add(1, Ordering::SeqCst) {
            0 => page(
                "1,2",
                &format!("\"http://{host}/L?api-version=x&%24skiptoken=a\""),
            ),
            1 => page("", "\"/L?api-version=x&$skiptoken=b\""),
            _ => page("3", "null"),
        }
    })
    .await;
    let items = api(&fake.url).list("/l", VERSION).await.unwrap();
    let items: Vec<_> = items.iter().map(|item| item.get()).collect();
    assert_eq!(items, ["1", "2", "3"]);
    let expect = [
        "GET /l?api-version=2023-01-31",
        "GET /L?api-version=x&%24skiptoken=a",
        "GET /L?api-version=x&$skiptoken=b",
    ];
    assert_eq!(fake.targets(), expect);
}

#[tokio::test]
async fn a_token_never_goes_to_another_host() {
    let other = FakeArm::script([page("", "null")]).await;
    let evil = other.url.replace("127.0.0.1", "localhost");
    for link in [format!("{evil}/l"), "https://evil.example/l".to_owned()] {
        let fake = FakeArm::script([page("1", &format!("{link:?}"))]).await;
        let error = api(&fake.url).list("/l", VERSION).await.unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    }
    // Another port of the same host is not gone to either: the configured one is asked.
    let link = format!("\"{}/second\"", other.url);
    let fake = FakeArm::script([page("1", &link), page("2", "null")]).await;
    assert_eq!(api(&fake.url).list("/l", VERSION).await.unwrap().len(), 2);
    assert_eq!(fake.targets()[1], "GET /second");
    // Redirects are answers like others.
    let moved = FakeReply::new(307, "").with("location", format!("{}/l", other.url));
    let fake = FakeArm::script([moved]).await;
    let error = api(&fake.url).list("/l", VERSION).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 307);
    assert_eq!(other.targets(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_list_that_runs_in_circles_or_is_none_is_refused() {
    let fake =
        FakeArm::serve(|request| page("1", &format!("\"{}&api-version=x\"", request.target))).await;
    let error = api(&fake.url)
        .list("/l?p=1", "x")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("leads back to a page that was read already"),
        "{error}"
    );
    for body in ["{}", "<html>", "{\"value\":null}", "{\"value\":{}}", ""] {
        let fake = FakeArm::script([FakeReply::new(200, body)]).await;
        let error = api(&fake.url)
            .list("/l", VERSION)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the answer is no list: it has no `value`"),
            "{error}"
        );
    }
    let fake = FakeArm::script([FakeReply::new(200, "[1,2]")]).await;
    assert_eq!(api(&fake.url).list("/l", VERSION).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let throttled = FakeReply::new(429, "").with("retry-after", "1");
    let good = FakeReply::new(200, "{}");
    let fake = FakeArm::script([
        throttled,
        FakeReply::new(503, ""),
        FakeReply::new(500, ""),
        good,
    ])
    .await;
    assert_eq!(api(&fake.url).get("/a", VERSION).await.unwrap().status, 200);
    let ids: Vec<_> = fake
        .arrived()
        .iter()
        .map(|request| {
            request
                .head
                .split("x-ms-client-request-id: ")
                .nth(1)
                .unwrap()[..36]
                .to_owned()
        })
        .collect();
    assert!(
        ids.len() == 4 && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );

    let body = r#"{"error":{"code":"AuthorizationFailed","message":"The client has\n no role."}}"#;
    let refusal = FakeReply::new(403, body).with("x-ms-request-id", "r-1");
    let fake = FakeArm::script([refusal]).await;
    let error = api(&fake.url).get("/a/b", VERSION).await.unwrap_err();
    let expect =
        "GET 127.0.0.1/a/b: 403: AuthorizationFailed: The client has no role. (request r-1)";
    assert_eq!(error.to_string(), expect);

    let fake = FakeArm::serve(|_| FakeReply::new(500, r#"{"code":500001,"message":"flat"}"#)).await;
    let error = api(&fake.url).call(Method::POST, "/a", VERSION, None).await;
    assert_eq!(error.unwrap_err().refusal().unwrap().code, "500001");
    assert_eq!(fake.targets().len(), 1, "a POST may have been acted on");
    drop(api(&fake.url).get("/a", VERSION).await.unwrap_err());
    assert_eq!(fake.targets().len(), 5);
}

#[tokio::test]
async fn a_longer_wait_than_ours_is_passed_on() {
    let fake = FakeArm::serve(|_| FakeReply::new(429, "").with("retry-after", "600")).await;
    let error = api(&fake.url).get("/a", VERSION).await.unwrap_err();
    let after = error.refusal().unwrap().retry_after;
    assert_eq!(after, Some(Duration::from_secs(600)));
    assert_eq!(fake.targets().len(), 1);
}

#[tokio::test]
async fn a_401_costs_one_request_with_a_new_token_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let write = path.clone();
    let fake = FakeArm::serve(move |request| {
        std::fs::write(&write, "new").unwrap();
        match request.head.contains("bearer new") {
            true => FakeReply::new(200, "{}"),
            false => FakeReply::new(401, r#"{"error":{"code":"ExpiredAuthenticationToken"}}"#),
        }
    })
    .await;
    let clock = Arc::new(SystemClock);
    let http = client(&outgoing(), None).unwrap();
    let login = twinroute_credential::login::LoginMethod::TokenFile(path);
    let tokens = TokenSource::new(login, Arc::new(http.clone()), clock.clone());
    let renewing = ArmApi::new(&fake.url, "scope", tokens, http, clock).unwrap();
    assert_eq!(renewing.get("/a", VERSION).await.unwrap().status, 200);
    assert_eq!(fake.targets().len(), 2);
    let error = api(&fake.url).get("/a", VERSION).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, "ExpiredAuthenticationToken");
    assert_eq!(fake.targets().len(), 3, "a fixed token gets no better");
}

#[tokio::test]
async fn answers_are_bounded() {
    let fake = FakeArm::script([FakeReply::new(
        200,
        "x".repeat(super::api::ANSWER_BYTES_MAX + 1),
    )])
    .await;
    let error = api(&fake.url)
        .get("/a", VERSION)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "GET 127.0.0.1/a: the answer is larger than 262144 bytes"
    );
    let fake = FakeArm::script([FakeReply::new(404, "x".repeat(1 << 20))]).await;
    let error = api(&fake.url)
        .get("/a", VERSION)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "GET 127.0.0.1/a: 404");
}

#[tokio::test]
async fn endless_answers_of_many_small_items_are_no_list() {
    let page = |items: usize, next: &str| {
        let items = vec!["0"; items].join(",");
        FakeReply::new(200, format!(r#"{{"value":[{items}]{next}}}"#))
    };
    let fake = FakeArm::script([page(10_000, ""), page(10_001, "")]).await;
    let small = api(&fake.url);
    assert_eq!(small.list("/l", VERSION).await.unwrap().len(), 10_000);
    let refused = small.list("/l", VERSION).await.unwrap_err().to_string();
    assert!(
        refused.ends_with("or one of more than 10000 items"),
        "{refused}"
    );
    // Pages that go on for ever, each of them a little different.
    let number = std::sync::atomic::AtomicUsize::new(0);
    let fake = FakeArm::serve(move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        page(10_000, &format!(r#","nextLink":"/l?page={number}""#))
    })
    .await;
    let refused = api(&fake.url).list("/l", VERSION).await;
    let text = refused.unwrap_err().to_string();
    assert!(
        text.ends_with("is a list of more than 50000 items"),
        "{text}"
    );
    assert_eq!(fake.targets().len(), 6);
}

#[tokio::test]
async fn addresses_are_checked() {
    let refuse = |base: &str| {
        let clock = Arc::new(SystemClock);
        let tokens = TokenSource::fixed("t".into(), clock.clone());
        let http = client(&outgoing(), None).unwrap();
        ArmApi::new(base, "s", tokens, http, clock)
            .unwrap_err()
            .to_string()
    };
    assert!(refuse("management.azure.com").contains("is no URL"));
    assert!(refuse("ftp://h").contains("must be https://"));
    assert!(refuse("https://u:hidden@h/").ends_with("must name no user"));
    assert!(!refuse("https://u:hidden@h/").contains("hidden"));
    assert!(refuse("https://h/?a=b").contains("no query"));
    let api = api("http://127.0.0.1:9");
    for path in ["a", "/a/../b", "/a/./b"] {
        assert!(
            matches!(api.get(path, "x").await, Err(Error::Url { .. })),
            "{path}"
        );
    }
}

const RESOURCE: &str = r#"{"name":"x","properties":{"provisioningState":"Succeeded"}}"#;
const BEGUN: &str = r#"{"name":"x","properties":{"provisioningState":"Provisioning"}}"#;

/// Runs `method` against these answers; gives the end and what was asked.
async fn operation(
    method: Method,
    replies: Vec<FakeReply>,
) -> (Result<String, String>, Vec<String>) {
    let fake = FakeArm::script(replies).await;
    let body = (method == Method::PUT).then(|| "{}".into());
    let end = api(&fake.url)
        .call_and_wait(method, "/r", "v", body, PATIENCE)
        .await;
    let end = end
        .map(|answer| String::from_utf8(answer.body.to_vec()).unwrap())
        .map_err(|error| error.to_string());
    let name = |target: &String| target.replace("?api-version=v", "");
    (end, fake.targets().iter().map(name).collect())
}

/// Method, answers, the end's body and what is asked for it.
type RequestCourse = (Method, Vec<FakeReply>, &'static str, &'static str);

fn record(status: &str) -> FakeReply {
    FakeReply::new(200, format!(r#"{{"status":"{status}"}}"#))
}

fn with_record(status: u16, body: &str) -> FakeReply {
    let begun = FakeReply::new(status, body);
    let begun = begun.with("azure-asyncoperation", "/o");
    begun.with("location", "/l").with("retry-after", "0")
}

fn courses() -> Vec<RequestCourse> {
    let resource = || FakeReply::new(200, RESOURCE);
    let begun = |status| FakeReply::new(status, BEGUN);
    vec![
        (
            Method::PUT,
            vec![
                with_record(201, BEGUN),
                record("Running"),
                record("succeeded"),
                resource(),
            ],
            RESOURCE,
            "PUT /r, GET /o, GET /o, GET /r",
        ),
        (
            Method::PUT,
            vec![
                begun(201).with("location", "/l"),
                FakeReply::new(202, "").with("location", "/l2"),
                resource(),
            ],
            RESOURCE,
            "PUT /r, GET /l, GET /l2",
        ),
        (
            Method::PUT,
            vec![begun(201), begun(200), resource()],
            RESOURCE,
            "PUT /r, GET /r, GET /r",
        ),
        (Method::PUT, vec![resource()], RESOURCE, "PUT /r"),
        (
            Method::DELETE,
            vec![
                with_record(202, BEGUN),
                record("Accepted"),
                record("Succeeded"),
            ],
            r#"{"status":"Succeeded"}"#,
            "DELETE /r, GET /o, GET /o",
        ),
        (
            Method::DELETE,
            vec![
                FakeReply::new(202, BEGUN).with("location", "/l"),
                FakeReply::new(204, ""),
            ],
            "",
            "DELETE /r, GET /l",
        ),
        (
            Method::DELETE,
            vec![FakeReply::new(202, BEGUN)],
            BEGUN,
            "DELETE /r",
        ),
        (
            Method::DELETE,
            vec![FakeReply::new(204, "")],
            "",
            "DELETE /r",
        ),
        (
            Method::POST,
            vec![with_record(202, ""), record("Succeeded"), resource()],
            RESOURCE,
            "POST /r, GET /o, GET /l",
        ),
    ]
}

#[tokio::test]
async fn every_kind_of_operation_comes_to_its_end() {
    for (method, replies, expect, asked) in courses() {
        let (end, targets) = operation(method, replies).await;
        assert_eq!(
            (end.as_deref(), targets.join(", ").as_str()),
            (Ok(expect), asked)
        );
    }
}

#[tokio::test]
async fn an_operation_that_fails_says_so_with_its_words() {
    let text = r#"{"status":"Failed","error":{"code":"NoHub","message":"there is no hub"}}"#;
    let begun = FakeReply::new(201, BEGUN).with("azure-asyncoperation", "/o");
    let (end, _) = operation(Method::PUT, vec![begun, FakeReply::new(200, text)]).await;
    let expect = "PUT 127.0.0.1/r: the operation ended as Failed: NoHub: there is no hub";
    assert_eq!(end, Err(expect.to_owned()));
    let begun = FakeReply::new(202, "").with("location", "/l");
    let refused = FakeReply::new(409, r#"{"error":{"code":"Conflict","message":"in use"}}"#);
    let (end, _) = operation(Method::DELETE, vec![begun, refused]).await;
    let expect = "DELETE 127.0.0.1/r: the operation ended as Failed: Conflict: in use";
    assert_eq!(end, Err(expect.to_owned()));
    let begun = FakeReply::new(202, "").with("location", "https://evil.example/l");
    let (end, _) = operation(Method::DELETE, vec![begun]).await;
    assert!(end.unwrap_err().contains("leads to evil.example"));
}

#[tokio::test]
async fn an_operation_is_waited_for_only_so_long() {
    let fake = FakeArm::serve(|request| match request.method.as_str() {
        "PUT" => FakeReply::new(201, BEGUN).with("azure-asyncoperation", "/o"),
        _ => FakeReply::new(200, r#"{"status":"Running"}"#),
    })
    .await;
    let patience = Duration::from_millis(100);
    let body = Some("{}".into());
    let api = api(&fake.url);
    let end = api.call_and_wait(Method::PUT, "/r", "v", body, patience);
    let error = end.await.unwrap_err();
    assert_eq!(fake.arrived()[0].body, "{}");
    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
}

fn outgoing() -> twinroute_outgoing::OutgoingConnections {
    twinroute_outgoing::OutgoingConnections::of_environment().unwrap()
}
