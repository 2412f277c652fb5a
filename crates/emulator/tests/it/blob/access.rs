//! Who may do what, by shared key and by signature.

use super::{BLOCK_BLOB, CONTAINER, ContainerScene, END, NEW_ONLY, NOW};
use std::time::Duration;
use twinroute_emulator::Settings;
use twinroute_model::secret::Secret;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn every_operation_needs_its_permission() {
    let scene = ContainerScene::set().await;
    scene
        .emulator
        .blob_account()
        .put_blob(CONTAINER, "there", "1");
    let mismatch = (403, "AuthorizationPermissionMismatch");
    let list = "restype=container&comp=list";
    let block = "comp=block&blockid=MQ%3D%3D";
    for (method, name, query, needed, done) in [
        ("PUT", "/there", "", "w", 201),
        ("PUT", "/new", "", "wc", 201),
        ("PUT", "/there", block, "w", 201),
        ("GET", "/there", "", "r", 200),
        ("GET", "", list, "l", 200),
        ("DELETE", "/there", "", "d", 202),
    ] {
        for letter in "racwdl".chars() {
            let fits = needed.contains(letter);
            if fits {
                scene
                    .emulator
                    .blob_account()
                    .put_blob(CONTAINER, "there", "1");
            }
            let signed = scene.signed(&letter.to_string());
            let path = format!("{CONTAINER}{name}");
            let answer = scene
                .send(
                    method,
                    &path,
                    &format!("{query}&{signed}"),
                    &[BLOCK_BLOB],
                    "2",
                )
                .await;
            let expect = match letter {
                _ if fits => (done, "-"),
                // Creating is allowed, replacing is not.
                'c' if needed == "w" && query.is_empty() => (403, "UnauthorizedBlobOverwrite"),
                _ => mismatch,
            };
            assert_eq!(answer.refusal(), expect, "{method} {name} {query} {letter}");
            if name == "/new" && fits {
                scene.ask("DELETE", "/new", "", "").await;
            }
        }
    }
}

#[tokio::test]
async fn a_signature_counts_from_its_start_to_its_end() {
    let scene = ContainerScene::set().await;
    let key = Secret::from(account_key(&scene).as_str());
    let start = Some(NOW.after(HOUR / 2));
    let make = |container| {
        let account = "devstoreaccount1";
        twinroute_model::sas::blob::container_sas(account, &key, container, "w", start, END)
    };
    let signed = make(CONTAINER).unwrap();
    let other = make("another").unwrap();
    let path = format!("{CONTAINER}/b");
    let put = async |query: &str| {
        let answer = scene.send("PUT", &path, query, &[BLOCK_BLOB], "1").await;
        assert!(!answer.body.contains("sig="), "{}", answer.body);
        (answer.status, answer.refusal().1.to_owned())
    };
    let failed = (403, "AuthenticationFailed".to_owned());
    let done = (201, "-".to_owned());
    assert_eq!(put(signed.expose()).await, failed);
    scene.clock.advance(HOUR / 2);
    assert_eq!(put(signed.expose()).await, done);
    assert_eq!(put(other.expose()).await, failed);
    let longer = signed.expose().replace("se=2025", "se=2026");
    assert_eq!(put(&longer).await, failed);
    let more = signed.expose().replace("sp=w", "sp=rw");
    assert_eq!(put(&more).await, failed);
    let policy = format!("{}&si=policy", signed.expose());
    assert_eq!(put(&policy).await, failed);
    let none = (401, "NoAuthenticationInformation".to_owned());
    assert_eq!(put("").await, none);
    let new_key = Secret::from("bmV3");
    scene.emulator.blob_account().set_key(new_key);
    assert_eq!(put(signed.expose()).await, failed);
    assert_eq!(put(&scene.signed("w")).await, done);
    scene.clock.advance(HOUR / 2);
    assert_eq!(put(&scene.signed("w")).await, failed);
}

fn account_key(scene: &ContainerScene) -> String {
    let string = scene.emulator.storage_connection_string();
    let key = string.split("AccountKey=").nth(1).unwrap();
    key.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn access_is_checked_before_anything_is_looked_up() {
    let scene = ContainerScene::set().await;
    let absent = scene.signed_for("absent", "rwl");
    for (method, path, query, expect) in [
        ("PUT", "absent/b", &absent, (404, "ContainerNotFound")),
        ("GET", "absent/b", &absent, (404, "ContainerNotFound")),
        (
            "HEAD",
            "letters/b",
            &scene.signed("r"),
            (404, "BlobNotFound"),
        ),
        ("HEAD", "letters/b", &absent, (403, "AuthenticationFailed")),
        ("PUT", "UPPER/b", &absent, (400, "InvalidResourceName")),
        ("PUT", "dl/b", &absent, (400, "OutOfRangeInput")),
        ("PUT", "letters/b.", &absent, (400, "InvalidUri")),
        (
            "PUT",
            "letters",
            &absent,
            (400, "InvalidQueryParameterValue"),
        ),
        ("POST", "letters/b", &absent, (405, "UnsupportedHttpVerb")),
    ] {
        let answer = scene.send(method, path, query, &[BLOCK_BLOB], "").await;
        assert_eq!(answer.refusal(), expect, "{method} {path}");
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{method} {path}");
    }
    let create = format!("restype=container&{}", scene.signed("racwdl"));
    for method in ["PUT", "GET", "DELETE"] {
        let answer = scene.send(method, CONTAINER, &create, &[], "").await;
        assert_eq!(answer.refusal(), (403, "AuthorizationFailure"), "{method}");
    }
}

/// Headers as azure-storage-blob 12.31.1 signs them for the first second of 2025.
#[tokio::test]
async fn the_shared_key_opens_everything_within_a_quarter_of_an_hour() {
    let scene = ContainerScene::with(Settings::default()).await;
    let date = ("x-ms-date", "Wed, 01 Jan 2025 00:00:00 GMT");
    let version = ("x-ms-version", "2026-10-06");
    let sign = |signature: &str| format!("SharedKey devstoreaccount1:{signature}");
    let key = sign("lxHd1tNXdgoSbmSTRdwQqGw9e+0jwJqYoWZLbB1yMxM=");
    let create = [date, version, ("authorization", key.as_str())];
    let send = async |headers: &[(&str, &str)]| {
        let answer = scene.send("PUT", "made", "restype=container", headers, "");
        let answer = answer.await;
        (answer.status, answer.refusal().1.to_owned())
    };
    let failed = (403, "AuthenticationFailed".to_owned());
    let other = sign("AAHd1tNXdgoSbmSTRdwQqGw9e+0jwJqYoWZLbB1yMxM=");
    assert_eq!(
        send(&[date, version, ("authorization", &other)]).await,
        failed
    );
    let bearer = ("authorization", "Bearer abc");
    assert_eq!(send(&[date, version, bearer]).await, failed);
    let moved = [date, version, create[2], ("x-ms-meta-a", "1")];
    assert_eq!(send(&moved).await, failed);
    assert_eq!(send(&create).await, (201, "-".to_owned()));
    assert_eq!(
        send(&create).await,
        (409, "ContainerAlreadyExists".to_owned())
    );

    let key = sign("xTjI8IlzvOuOHfe1Kr8XWRrcRbeIAY3YTd2xt0/Et1E=");
    let headers = [
        date,
        version,
        BLOCK_BLOB,
        NEW_ONLY,
        ("x-ms-blob-content-type", "text/plain"),
        ("x-ms-meta-b", "2"),
        ("x-ms-meta-a", "1"),
        ("content-type", "application/json"),
        ("authorization", &key),
    ];
    let put = scene.send("PUT", "made/a%20b/c.json", "timeout=30", &headers, "body");
    assert_eq!(put.await.refusal(), (201, "-"));
    let stored = scene
        .emulator
        .blob_account()
        .blobs("made")
        .unwrap()
        .remove(0);
    assert_eq!(stored.name, "a b/c.json");
    assert_eq!(stored.content_type, "text/plain");
    assert_eq!(stored.metadata["b"], "2");

    let key = sign("cl4MuIk3aB2rnyOVS84qK2rws92F/kWnzpRJWgb1l/U=");
    let list = [date, version, ("authorization", key.as_str())];
    let query = "restype=container&comp=list&prefix=a%20b%2F&maxresults=2";
    let listing = scene.send("GET", "made", query, &list, "").await;
    assert_eq!(listing.elements("Name"), ["a b/c.json"]);
    scene.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(send(&create).await.0, 409);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(send(&create).await, failed);
}
