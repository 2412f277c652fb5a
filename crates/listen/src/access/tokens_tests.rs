//! Tokens that stand for themselves.

use super::tests::{
    KeyServer, NOW, TestSigner, admit, caller, claims, clock, gate, gate_at, set, with,
};
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

fn tokens(entries: &str) -> AccessSettings {
    toml::from_str(&format!("tokens = [{entries}]")).unwrap()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_in_a_file_is_changed_and_withdrawn_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    write(&path, "first-token-0123456\n");
    let entry = format!(
        "{{ name = 'ci', role = 'read', token_file = '{}' }}",
        path.display()
    );
    let gate = gate(&tokens(&entry));
    let (first, second) = ("first-token-0123456", "second-token-012345");
    assert_eq!(admit(&gate, first).await, caller("ci", CallerRole::Read));
    write(&path, second);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(admit(&gate, second).await, caller("ci", CallerRole::Read));
    assert_eq!(admit(&gate, first).await, Err(AccessDenied::Invalid));
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(admit(&gate, second).await, Err(AccessDenied::Invalid));
    write(&path, second);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(admit(&gate, second).await, caller("ci", CallerRole::Read));
}

#[tokio::test]
async fn static_tokens_are_told_apart_and_headers_are_read_as_they_come() {
    let gate = gate(&tokens(
        "{ name = 'one', role = 'read', token = '0123456789abcdef' }, \
         { name = 'two', role = 'write', token = '0123456789abcdeF' }, \
         { name = 'env', role = 'read', token_env = 'PATH' }",
    ));
    assert!(gate.is_configured());
    let environment = format!("Bearer {}", std::env::var("PATH").unwrap());
    for (header, expect) in [
        ("Bearer 0123456789abcdef", caller("one", CallerRole::Read)),
        (
            "bearer   0123456789abcdeF",
            caller("two", CallerRole::Write),
        ),
        (environment.as_str(), caller("env", CallerRole::Read)),
        ("Bearer 0123456789abcde", Err(AccessDenied::Invalid)),
        ("Bearer 0123456789abcdef0", Err(AccessDenied::Invalid)),
        ("Bearer 0123456789abcdef 0", Err(AccessDenied::Invalid)),
        ("Bearer ", Err(AccessDenied::NotBearer)),
        ("Bearer", Err(AccessDenied::NotBearer)),
        ("0123456789abcdef", Err(AccessDenied::NotBearer)),
        ("Basic 0123456789abcdef", Err(AccessDenied::NotBearer)),
        ("", Err(AccessDenied::NotBearer)),
    ] {
        let value = HeaderValue::from_str(header).unwrap();
        assert_eq!(gate.admit(Some(&value)).await, expect, "{header}");
    }
    assert_eq!(gate.admit(None).await, Err(AccessDenied::Missing));
    let reader = admit(&gate, "0123456789abcdef").await.unwrap();
    assert_eq!(reader.require(CallerRole::Read), Ok(()));
    let too_low = reader.require(CallerRole::Write).unwrap_err();
    assert_eq!(
        (too_low.status().as_u16(), too_low.code()),
        (403, "AuthorizationFailed")
    );
    assert_eq!(too_low.to_string(), "one may read only");
    let writer = admit(&gate, "0123456789abcdeF").await.unwrap();
    assert_eq!(writer.require(CallerRole::Read), Ok(()));
    assert_eq!(writer.require(CallerRole::Write), Ok(()));
}

#[tokio::test]
async fn with_nothing_configured_nobody_is_asked() {
    let gate = gate(&AccessSettings::default());
    assert!(!gate.is_configured());
    assert_eq!(gate.admit(None).await, caller("local", CallerRole::Write));
    let value = HeaderValue::from_static("Basic whatever");
    assert_eq!(
        gate.admit(Some(&value)).await,
        caller("local", CallerRole::Write)
    );
}

#[test]
fn tokens_that_cannot_be_had_are_named_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let file = format!(
        "{{ name = 'ci', role = 'read', token_file = '{}' }}",
        path.display()
    );
    let error = |entries: &str| {
        let error = gate_at(&tokens(entries), clock(NOW)).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("marked"), "{text}");
        error.to_string().replace(path.to_str().unwrap(), "/token")
    };
    let place = "access: token file /token of \"ci\":";
    let gone = format!("{place} cannot read it: No such file or directory (os error 2)");
    assert_eq!(error(&file), gone);
    write(&path, "marked");
    let short = format!("{place} must have 16 to 16384 visible ASCII characters");
    assert_eq!(error(&file), short);
    write(&path, "marked-token-0123456789");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    let open = format!(
        "{place} has mode 0604, so everybody may use it; run: chmod 0600 /token (of a Kubernetes secret, set \
         defaultMode: 0400)"
    );
    assert_eq!(error(&file), open);
    let unset = "access: environment variable TWINROUTE_UNSET of \"ci\": must have 16 to 16384 \
                 visible ASCII characters";
    assert_eq!(
        error("{ name = 'ci', role = 'read', token_env = 'TWINROUTE_UNSET' }"),
        unset
    );
    let one = |name: &str| {
        format!("{{ name = '{name}', role = 'read', token = 'marked-token-0123456789' }}")
    };
    assert_eq!(
        error(&format!("{}, {}", one("a"), one("b"))),
        "access: \"b\" and \"a\" have the same token; give each one of its own"
    );
    let settings = tokens(&one("a"));
    let debug_text = format!("{settings:?} {:?}", gate(&settings));
    assert!(!debug_text.contains("marked"), "{debug_text}");
}

#[tokio::test]
async fn a_denied_token_is_not_shown() {
    let (keys, signer) = (KeyServer::start(), TestSigner::new("k"));
    keys.answer("/keys", 200, &set(&[&signer]));
    let gate = gate(&keys.settings());
    let mut seen = Vec::new();
    for token in [
        "marked-token-0123456789".to_owned(),
        "marked.marked.marked-0123456789".to_owned(),
        signer.token(&with(json!({"jti": "marked", "iss": "marked"}))),
        signer.token(&with(json!({"jti": "marked", "aud": "marked"}))),
        signer.token(&with(json!({"jti": "marked", "exp": 1}))),
        signer.token(&with(json!({"jti": "marked", "nbf": NOW + 900}))),
        signer.token(&with(json!({"jti": "marked", "roles": ["marked"]}))),
    ] {
        let denied = admit(&gate, &token).await.unwrap_err();
        let debug_text = format!("{denied} {denied:?}");
        assert!(!debug_text.contains("marked"), "{debug_text}");
        assert!(
            !token.split('.').any(|part| debug_text.contains(part)),
            "{debug_text}"
        );
        seen.push(denied.code());
    }
    seen.dedup();
    let codes = [
        "InvalidAuthenticationToken",
        "InvalidAuthenticationTokenTenant",
        "InvalidAuthenticationTokenAudience",
        "ExpiredAuthenticationToken",
        "InvalidAuthenticationToken",
        "AuthorizationFailed",
    ];
    assert_eq!(seen, codes);
}

#[test]
fn any_header_is_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (keys, signer) = (
        runtime.block_on(async { KeyServer::start() }),
        TestSigner::new("k"),
    );
    keys.answer("/keys", 200, &set(&[&signer]));
    let mut settings = keys.settings();
    settings.tokens =
        tokens("{ name = 'ci', role = 'read', token = 'marked-token-0123456789' }").tokens;
    let gate = gate(&settings);
    let ask = |header: &[u8]| {
        let value = HeaderValue::from_bytes(header).ok()?;
        Some(runtime.block_on(gate.admit(Some(&value))))
    };
    let good = signer.token(&claims());
    assert!(ask(format!("Bearer {good}").as_bytes()).unwrap().is_ok());
    let part = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60)
                .prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
            Just(good.split('.').next().unwrap().to_owned()),
            Just(good.split('.').nth(1).unwrap().to_owned()),
            "[{\\[\"a-z0-9:,}\\]]{0,40}".prop_map(|text| URL_SAFE_NO_PAD.encode(text)),
            "[A-Za-z0-9_.=-]{0,20}",
        ]
    };
    let header = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(part(), 0..5).prop_map(|parts| format!(
            "Bearer {}",
            parts.join(".")
        )
        .into_bytes()),
        // One character of a good token changed.
        (0..good.len(), "[A-Za-z0-9_.-]").prop_map(|(at, with)| {
            let changed = format!("{}{with}{}", &good[..at], &good[at + 1..]);
            format!("Bearer {changed}").into_bytes()
        }),
    ];
    proptest!(|(header in header)| {
        let same = header == format!("Bearer {good}").as_bytes();
        if let Some(Ok(caller)) = ask(&header) {
            prop_assert!(same, "let in: {caller:?}");
        }
    });
}
