use super::*;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use twinroute_model::clock::ManualClock;

fn clock() -> Arc<ManualClock> {
    let start = Timestamp::parse_rfc3339("2026-11-27T05:00:00Z").unwrap();
    Arc::new(ManualClock::new(start))
}

fn open(folder: &Path) -> AuditLog {
    AuditLog::open(folder, &AuditSettings::default(), clock()).unwrap()
}

fn author() -> ChangeAuthor {
    ChangeAuthor::command("command", "tests").request("r-1")
}

fn change(name: &str) -> AuditedChange {
    AuditedChange {
        before: Some(json!({ "a": 1 })),
        after: Some(json!({ "a": name })),
        secrets_changed: vec!["/properties/accessKey1".to_owned()],
        ..AuditedChange::step("endpoints/write", format!("/x/{name}"))
    }
}

fn entries(folder: &Path) -> Vec<AuditEntry> {
    let mut all = Vec::new();
    let each = |found| match found {
        AuditFinding::Entry(entry, _) => all.push(*entry),
        AuditFinding::Unreadable { file, line, reason } => panic!("{file} {line} {reason}"),
    };
    read(folder, each).unwrap();
    all
}

fn file(folder: &Path, number: u64) -> PathBuf {
    file::path(folder, number)
}

fn problems(folder: &Path) -> Vec<String> {
    verify(folder, None).unwrap().problems
}

#[test]
fn what_is_recorded_is_read_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("deeper/audit");
    let audit = open(&folder);
    audit
        .accept(&author(), &[change("one"), change("two")])
        .unwrap();
    audit.failed(&author(), &[change("two")], "StoreFailed");
    audit.refuse(&author(), &change("three"), 403, "AuthorizationFailed");
    let found = entries(&folder);
    let entries: Vec<_> = found
        .iter()
        .map(|entry| (entry.n, entry.resource.as_str(), entry.outcome))
        .collect();
    let expect = [
        (1, "/x/one", ChangeOutcome::Accepted),
        (2, "/x/two", ChangeOutcome::Accepted),
        (3, "/x/two", ChangeOutcome::Failed),
        (4, "/x/three", ChangeOutcome::Refused),
    ];
    assert_eq!(entries, expect);
    assert_eq!(found[0].at, "2026-11-27T05:00:00Z");
    assert_eq!(found[0].before, Some(json!({ "a": 1 })));
    assert_eq!(
        (found[3].status, found[3].code.as_str()),
        (Some(403), "AuthorizationFailed")
    );
    let report = verify(&folder, None).unwrap();
    assert_eq!((report.entries, report.first, report.last), (4, 1, 4));
    assert_eq!(report.problems, [] as [&str; 0]);
    let kept = verify(&folder, Some(&report.hash)).unwrap();
    assert_eq!(kept.problems, [] as [&str; 0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for name in ["audit-00000001.jsonl", "head", "lock"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
}

#[test]
fn one_process_at_a_time_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let second = AuditLog::open(folder.path(), &AuditSettings::default(), clock());
    assert!(matches!(second, Err(AuditError::Locked { .. })));
    drop(first);
    open(folder.path());
}

#[test]
fn a_torn_line_is_cut_off_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let audit = open(folder.path());
    audit.accept(&author(), &[change("one")]).unwrap();
    let whole = fs::read(file(folder.path(), 1)).unwrap();
    let head = fs::read(folder.path().join("head")).unwrap();
    audit.accept(&author(), &[change("two")]).unwrap();
    drop(audit);
    let both = fs::read(file(folder.path(), 1)).unwrap();
    for cut in (whole.len()..both.len()).step_by(9) {
        // The head is written after the line is synced.
        fs::write(file(folder.path(), 1), &both[..cut]).unwrap();
        fs::write(folder.path().join("head"), &head).unwrap();
        let audit = open(folder.path());
        audit.accept(&author(), &[change("three")]).unwrap();
        drop(audit);
        let mut found = entries(folder.path());
        assert_eq!(problems(folder.path()), [] as [&str; 0], "{cut}");
        if cut > whole.len() {
            let opened = found.remove(1);
            assert_eq!(opened.operation, "audit/opened");
            let bytes = (cut - whole.len()) as u64;
            assert_eq!(opened.after, Some(json!({ "cut_bytes": bytes })));
        }
        let names: Vec<_> = found.iter().map(|entry| entry.resource.as_str()).collect();
        assert_eq!(names, ["/x/one", "/x/three"]);
    }
}

#[test]
fn any_changed_byte_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let audit = open(folder.path());
    audit
        .accept(&author(), &[change("one"), change("two"), change("three")])
        .unwrap();
    let path = file(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert_ne!(problems(folder.path()), [] as [&str; 0], "byte {at}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(problems(folder.path()), [] as [&str; 0]);
}

#[test]
fn a_line_taken_out_is_seen_wherever_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    let audit = open(folder.path());
    let changes = [change("one"), change("two"), change("three")];
    audit.accept(&author(), &changes).unwrap();
    drop(audit);
    let kept = verify(folder.path(), None).unwrap().hash;
    let path = file(folder.path(), 1);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (out, expect) in [
        (
            0,
            "entries 1 to 1 are missing, and no entry says that they were removed",
        ),
        (1, "entry 3: comes after entry 1"),
        (2, "entries 3 to 3 are missing from the end"),
    ] {
        let mut lines = lines.clone();
        lines.remove(out);
        fs::write(&path, lines.concat()).unwrap();
        assert_eq!(problems(folder.path()), [expect]);
    }
    // The daemon goes on, and the gap stays to be seen.
    drop(open(folder.path()));
    let found = entries(folder.path());
    assert_eq!(
        found.last().unwrap().after,
        Some(json!({ "missing": [3, 3] }))
    );
    assert_eq!(problems(folder.path()), ["entry 4: comes after entry 2"]);
    // Whoever makes everything again is betrayed by the hash that was kept elsewhere.
    for name in ["head", "audit-00000001.jsonl"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    open(folder.path())
        .accept(&author(), &changes[..2])
        .unwrap();
    assert_eq!(problems(folder.path()), [] as [&str; 0]);
    let report = verify(folder.path(), Some(&kept)).unwrap();
    assert_eq!(report.problems, ["no entry has the hash that was kept"]);
}

#[test]
fn old_files_go_and_an_entry_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = AuditSettings {
        file_bytes_max: bytesize::ByteSize(2_000),
        files_max: 3,
        ..AuditSettings::default()
    };
    let open = || AuditLog::open(folder.path(), &settings, clock()).unwrap();
    let mut audit = open();
    for round in 0..40 {
        audit
            .accept(&author(), &[change("one"), change("two")])
            .unwrap();
        if round % 7 == 0 {
            drop(audit);
            audit = open();
        }
        assert!(file::list(folder.path()).unwrap().len() <= 3);
        assert_eq!(problems(folder.path()), [] as [&str; 0]);
    }
    for number in file::list(folder.path()).unwrap() {
        assert!(fs::metadata(file(folder.path(), number)).unwrap().len() <= 2_700);
    }
    let report = verify(folder.path(), None).unwrap();
    assert!(report.first > 60 && report.last > 80, "{report:?}");
    let all = AuditSettings {
        files_max: 0,
        ..settings.clone()
    };
    drop(audit);
    let audit = AuditLog::open(folder.path(), &all, clock()).unwrap();
    for _ in 0..20 {
        audit
            .accept(&author(), &[change("one"), change("two")])
            .unwrap();
    }
    assert!(file::list(folder.path()).unwrap().len() > 10);
}

#[test]
fn a_reader_follows_over_files() {
    let folder = tempfile::tempdir().unwrap();
    let settings = AuditSettings {
        file_bytes_max: bytesize::ByteSize(2_000),
        ..AuditSettings::default()
    };
    let audit = AuditLog::open(folder.path(), &settings, clock()).unwrap();
    let mut follow = AuditReader::new(folder.path());
    let mut numbers = Vec::new();
    for round in 0..9 {
        audit.accept(&author(), &[change("one")]).unwrap();
        let mut each = |found| match found {
            AuditFinding::Entry(entry, _) => numbers.push(entry.n),
            AuditFinding::Unreadable { .. } => panic!("{found:?}"),
        };
        if round % 2 == 0 {
            follow.more(&mut each).unwrap();
        }
    }
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let audit = open(folder.path());
    audit.accept(&author(), &[change("one")]).unwrap();
    // A file on which every write fails with ENOSPC.
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let open = audit.0.as_ref().unwrap();
    let file = open.log().replace_file(full);
    let error = audit.accept(&author(), &[change("two")]).unwrap_err();
    assert!(
        error
            .error_chain()
            .contains("cannot write it: No space left"),
        "{}",
        error.error_chain()
    );
    drop(open.log().replace_file(file));
    audit.accept(&author(), &[change("three")]).unwrap();
    assert_eq!(entries(folder.path()).len(), 2);
    assert_eq!(problems(folder.path()), [] as [&str; 0]);
}

#[test]
fn who_asked_is_reported_by_what_they_showed() {
    use http::{Extensions, HeaderMap, HeaderValue};
    use twinroute_listen::ClientPeer;
    let of = |name: Option<&str>, token: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
            headers.insert("authorization", value);
        }
        let peer = ClientPeer::Tcp(([127, 0, 0, 1], 7).into());
        ChangeAuthor::of_request("admin", name, peer, &headers, &Extensions::new()).who
    };
    assert_eq!(of(Some("local"), None).by, CallerProof::Anonymous);
    let token = of(Some("ops"), Some("a-static-token-of-ops"));
    assert_eq!((token.by, token.name.as_str()), (CallerProof::Token, "ops"));
    use base64::Engine as _;
    let claims = json!({ "iss": "https://idp", "sub": "s-1\u{7}" }).to_string();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
    let jwt = of(Some("ann@x"), Some(&format!("e30.{claims}.c2ln")));
    assert_eq!(
        (jwt.by, jwt.issuer.as_str()),
        (CallerProof::Jwt, "https://idp")
    );
    assert_eq!(jwt.subject, "s-1?");
    // What was refused says nothing of who it is.
    let refused = of(None, Some(&format!("e30.{claims}.c2ln")));
    assert_eq!(
        (refused.by, refused.name.as_str()),
        (CallerProof::Nobody, "unknown")
    );
    assert_eq!(refused.issuer, "");
}
