//! What the operations do, and where their bounds are.

use super::{BLOCK_BLOB, CONTAINER, ContainerScene, NEW_ONLY, NOW};
use crate::client::WAIT;
use std::collections::BTreeMap;
use twinroute_emulator::{ArrivalCounts, BlobLimits, BlobSettings, Settings, StoredBlob};

/// MD5 of `{"id":"1"}`.
const MD5: &str = "5AX6xZMCe8U0zwjNTSpWRw==";

#[tokio::test]
async fn a_blob_comes_back_with_its_metadata() {
    let scene = ContainerScene::set().await;
    let name = "hub/2025/01/01/00/a%20b.json";
    let headers = [
        NEW_ONLY,
        ("x-ms-meta-deadletterreason", "MaxDeliveryAttemptsExceeded"),
        ("content-type", "application/json"),
        ("x-ms-client-request-id", "mine"),
        ("x-ms-version", "2026-04-06"),
    ];
    let put = scene.put(name, &headers, r#"{"id":"1"}"#).await;
    assert_eq!(put.status, 201);
    let etag = put.header("etag").unwrap().to_owned();
    assert!(etag.starts_with("\"0x"), "{etag}");
    for (header, value) in [
        ("last-modified", "Wed, 01 Jan 2025 00:00:00 GMT"),
        ("x-ms-version", "2026-04-06"),
        ("x-ms-client-request-id", "mine"),
    ] {
        assert_eq!(put.header(header), Some(value), "{header}");
    }
    assert!(put.header("x-ms-request-id").is_some());
    let again = scene.put(name, &headers, "other").await;
    assert_eq!(again.refusal(), (409, "BlobAlreadyExists"));
    assert_eq!(again.elements("Code"), ["BlobAlreadyExists"]);

    scene
        .emulator
        .blob_account()
        .wait_for(CONTAINER, 1, WAIT)
        .await
        .unwrap();
    let reason = "MaxDeliveryAttemptsExceeded".to_owned();
    let expect = StoredBlob {
        name: "hub/2025/01/01/00/a b.json".to_owned(),
        content: r#"{"id":"1"}"#.into(),
        content_type: "application/json".to_owned(),
        metadata: BTreeMap::from([("deadletterreason".to_owned(), reason)]),
        etag: etag.clone(),
        created_at: NOW,
        changed_at: NOW,
    };
    assert_eq!(
        scene.emulator.blob_account().blobs(CONTAINER),
        Some(vec![expect])
    );
    let path = format!("/{name}");
    let got = scene.ask("GET", &path, "", "").await;
    assert_eq!(got.body, r#"{"id":"1"}"#);
    assert_eq!(got.header("content-md5"), put.header("content-md5"));
    let head = scene.ask("HEAD", &path, "", "").await;
    for answer in [&got, &head] {
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
        assert_eq!(answer.header("content-length"), Some("10"));
        assert_eq!(answer.header("x-ms-blob-type"), Some("BlockBlob"));
        let reason = answer.header("x-ms-meta-deadletterreason");
        assert_eq!(reason, Some("MaxDeliveryAttemptsExceeded"));
    }
    assert_eq!(scene.ask("DELETE", &path, "", "").await.status, 202);
    let gone = scene.ask("GET", &path, "", "").await;
    assert_eq!(gone.refusal(), (404, "BlobNotFound"));
    let counts = scene.emulator.blob_account().counts(CONTAINER);
    assert_eq!((counts.requests, counts.stored), (6, 1));
}

#[tokio::test]
async fn what_a_put_must_have_and_must_not_have() {
    let scene = ContainerScene::set().await;
    let other = "1B2M2Y8AsgTpgAmY7PhCfg==";
    let large = "x".repeat(8 * 1024);
    let (path, query) = (format!("{CONTAINER}/b"), scene.signed("w"));
    for (headers, status, code) in [
        (&[][..], 400, "MissingRequiredHeader"),
        (&[("x-ms-blob-type", "PageBlob")], 400, "InvalidHeaderValue"),
        (&[BLOCK_BLOB, ("content-md5", other)], 400, "Md5Mismatch"),
        (&[BLOCK_BLOB, ("content-md5", "abc")], 400, "InvalidMd5"),
        (&[BLOCK_BLOB, ("content-md5", MD5)], 201, "-"),
        (
            &[BLOCK_BLOB, ("x-ms-lease-id", "1")],
            400,
            "UnsupportedHeader",
        ),
        (
            &[BLOCK_BLOB, ("x-ms-tags", "a=b")],
            400,
            "UnsupportedHeader",
        ),
        (
            &[BLOCK_BLOB, ("x-ms-version", "now")],
            400,
            "InvalidHeaderValue",
        ),
        (
            &[BLOCK_BLOB, ("x-ms-meta-a-b", "1")],
            400,
            "InvalidMetadata",
        ),
        (&[BLOCK_BLOB, ("x-ms-meta-1", "1")], 400, "InvalidMetadata"),
        (
            &[BLOCK_BLOB, ("x-ms-meta-a", "\u{e9}")],
            400,
            "InvalidMetadata",
        ),
        (&[BLOCK_BLOB, ("x-ms-meta-", "1")], 400, "EmptyMetadataKey"),
        (
            &[BLOCK_BLOB, ("x-ms-meta-a", &large)],
            400,
            "MetadataTooLarge",
        ),
        (&[BLOCK_BLOB, ("if-match", "\"1\"")], 412, "ConditionNotMet"),
        (&[BLOCK_BLOB, ("if-match", "*")], 201, "-"),
        (&[BLOCK_BLOB, NEW_ONLY], 409, "BlobAlreadyExists"),
    ] {
        let put = scene.send("PUT", &path, &query, headers, r#"{"id":"1"}"#);
        let put = put.await;
        assert_eq!(put.refusal(), (status, code), "{:?}", headers.last());
    }
    let chunked = [BLOCK_BLOB, ("transfer-encoding", "chunked")];
    let answer = scene
        .send("PUT", &path, &query, &chunked, "0\r\n\r\n")
        .await;
    assert_eq!(answer.refusal(), (411, "MissingContentLengthHeader"));
}

#[tokio::test]
async fn blocks_become_a_blob_when_a_list_names_them() {
    let scene = ContainerScene::set().await;
    let block = |id: &str| format!("comp=block&blockid={id}%3D%3D");
    for (id, content) in [("MQ", "one,"), ("Mg", "two,"), ("Mw", "three")] {
        let put = scene.ask("PUT", "/b", &block(id), content).await;
        assert_eq!(put.status, 201);
    }
    assert_eq!(scene.ask("GET", "/b", "", "").await.status, 404);
    let longer = scene.ask("PUT", "/b", "comp=block&blockid=MTIzNA%3D%3D", "x");
    assert_eq!(longer.await.refusal(), (400, "InvalidBlobOrBlock"));
    let list = |items: &str| format!("<?xml version='1.0'?><BlockList>{items}</BlockList>");
    let commit = async |items: &str| {
        let answer = scene.ask("PUT", "/b", "comp=blocklist", &list(items)).await;
        (answer.status, answer.refusal().1.to_owned())
    };
    let (first, second) = ("<Latest>Mg==</Latest>", "<Uncommitted>MQ==</Uncommitted>");
    let absent = commit("<Committed>MQ==</Committed>").await;
    assert_eq!(absent, (400, "InvalidBlockList".to_owned()));
    assert_eq!(commit(&format!("{first}{second}")).await.0, 201);
    let got = scene.ask("GET", "/b", "", "").await;
    assert_eq!(
        (got.body.as_str(), got.header("content-md5")),
        ("two,one,", None)
    );

    // What no list named is gone; what the blob is made of can be named again.
    let gone = commit("<Uncommitted>Mw==</Uncommitted>").await;
    assert_eq!(gone, (400, "InvalidBlockList".to_owned()));
    scene.ask("PUT", "/b", &block("Mg"), "TWO").await;
    let (old, new) = ("<Committed>Mg==</Committed>", "<Latest>Mg==</Latest>");
    let kept = "<Latest>MQ==</Latest>";
    assert_eq!(commit(&format!("{kept}{old}{new}")).await.0, 201);
    assert_eq!(scene.ask("GET", "/b", "", "").await.body, "one,two,TWO");
    for broken in [
        "<Latest>MQ==",
        "<Other>MQ==</Other>",
        "stray",
        "<!DOCTYPE x>",
    ] {
        let (status, code) = commit(broken).await;
        assert_eq!(
            (status, code.as_str()),
            (400, "InvalidXmlDocument"),
            "{broken}"
        );
    }
}

#[tokio::test]
async fn ranges_and_conditions_choose_what_comes_back() {
    let scene = ContainerScene::set().await;
    scene.put("b", &[], "0123456789").await;
    let path = format!("{CONTAINER}/b");
    let query = scene.signed("r");
    let get = async |headers: &[(&str, &str)]| scene.send("GET", &path, &query, headers, "").await;
    let both = [("range", "bytes=0-1"), ("x-ms-range", "bytes=2-4")];
    let part = get(&both).await;
    assert_eq!((part.status, part.body.as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert!(part.header("x-ms-blob-content-md5").is_some());
    let behind = get(&[("range", "bytes=10-")]).await;
    assert_eq!(behind.refusal(), (416, "InvalidRange"));
    let etag = part.header("etag").unwrap();
    let known = get(&[("if-none-match", etag)]).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert_eq!(get(&[("if-match", etag)]).await.status, 200);
    let changed = get(&[("if-match", "\"0x1\"")]).await;
    assert_eq!(changed.refusal(), (412, "ConditionNotMet"));
}

#[tokio::test]
async fn listings_come_in_pages_and_by_folder() {
    let scene = ContainerScene::set().await;
    let names = ["a/1", "a/2", "b", "b&<", "c/1", "c/2", "d"];
    for name in names {
        scene.emulator.blob_account().put_blob(CONTAINER, name, "x");
    }
    let list = async |query: &str| {
        let query = format!("restype=container&comp=list&{query}");
        scene.ask("GET", "", &query, "").await
    };
    let all = list("").await;
    assert_eq!(all.elements("Name").len(), 7);
    assert!(all.elements("Name").contains(&"b&amp;&lt;"));
    assert_eq!(all.elements("NextMarker"), [""]);
    assert_eq!(list("prefix=c%2F").await.elements("Name"), ["c/1", "c/2"]);
    let first = list("delimiter=%2F&maxresults=2").await;
    assert_eq!(first.elements("Name"), ["a/", "b"]);
    let marker = first.elements("NextMarker")[0];
    let query = format!("delimiter=%2F&maxresults=2&marker={marker}");
    assert_eq!(list(&query).await.elements("Name"), ["b&amp;&lt;", "c/"]);
    for (query, code) in [
        ("maxresults=0", "OutOfRangeQueryParameterValue"),
        ("maxresults=x", "InvalidQueryParameterValue"),
        ("include=uncommittedblobs", "InvalidQueryParameterValue"),
        ("marker=%20", "InvalidQueryParameterValue"),
        ("prefix=a%00", "InvalidQueryParameterValue"),
    ] {
        assert_eq!(list(query).await.refusal(), (400, code), "{query}");
    }
}

#[tokio::test]
async fn limits_hold_and_what_is_deleted_makes_room() {
    let limits = BlobLimits {
        body_bytes_max: 8,
        blob_bytes_max: 16,
        blobs_per_container_max: 2,
        blocks_per_blob_max: 2,
        ..BlobLimits::default()
    };
    let settings = Settings {
        blob: BlobSettings {
            containers: vec![CONTAINER.to_owned()],
            limits,
            ..BlobSettings::default()
        },
        ..Settings::default()
    };
    let scene = ContainerScene::with(settings).await;
    let full = (409, "MemoryExtentStoreAtSizeLimit");
    let large = scene.put("a", &[], "123456789").await;
    assert_eq!(large.refusal(), (413, "RequestBodyTooLarge"));
    assert_eq!(scene.put("a", &[], "12345678").await.status, 201);
    let block = |id: &str| format!("comp=block&blockid={id}%3D%3D");
    for (id, content, expect) in [
        ("MQ", "1234", (201, "-")),
        ("Mg", "12345", full),
        ("Mg", "1234", (201, "-")),
        ("Mg", "4321", (201, "-")),
        ("Mw", "", (409, "BlockCountExceedsLimit")),
    ] {
        let put = scene.ask("PUT", "/b", &block(id), content).await;
        assert_eq!(put.refusal(), expect, "{id} {content}");
    }
    assert_eq!(scene.put("c", &[], "1").await.refusal(), full);
    assert_eq!(scene.put("b", &[], "1").await.status, 201);
    assert_eq!(scene.put("c", &[], "1").await.refusal(), full);
    assert_eq!(scene.ask("DELETE", "/a", "", "").await.status, 202);
    assert_eq!(scene.put("c", &[], "12345678").await.status, 201);
    scene.emulator.blob_account().delete_container(CONTAINER);
    assert_eq!(
        scene.put("c", &[], "1").await.refusal(),
        (404, "ContainerNotFound")
    );
    scene.emulator.blob_account().create_container(CONTAINER);
    assert_eq!(scene.put("c", &[], "12345678").await.status, 201);
    assert_eq!(scene.put("d", &[], "12345678").await.status, 201);
    let counts = scene.emulator.blob_account().counts(CONTAINER);
    let expect = ArrivalCounts {
        requests: 2,
        stored: 2,
    };
    assert_eq!(counts, expect);
}
