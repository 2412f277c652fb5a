use super::*;
use expect_test::{Expect, expect};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

struct TlsFiles {
    folder: tempfile::TempDir,
    settings: TlsSettings,
}

fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn files() -> TlsFiles {
    let folder = tempfile::tempdir().unwrap();
    let settings = TlsSettings {
        certificate: folder.path().join("server.pem"),
        key: folder.path().join("server.key"),
    };
    let files = TlsFiles { folder, settings };
    let (certificate, key) = pair();
    files.write(&certificate, &key);
    files
}

impl TlsFiles {
    fn write(&self, certificate: &str, key: &str) {
        fs::write(&self.settings.certificate, certificate).unwrap();
        fs::write(&self.settings.key, key).unwrap();
        fs::set_permissions(&self.settings.key, Permissions::from_mode(0o400)).unwrap();
    }

    fn check(&self, expect: &Expect) {
        let error = ServerTls::load(&self.settings).unwrap_err();
        let folder = self.folder.path().to_str().unwrap();
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text = format!("{text}: {cause}");
        }
        expect.assert_eq(&text.replace(folder, "/tls"));
    }
}

#[test]
fn what_is_wrong_with_which_file_is_said() {
    let (certificate, key) = pair();
    let (_, other) = pair();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (certificate, key, expect) in [
        (
            "",
            &key,
            expect!["certificate file /tls/server.pem: does not hold 1 to 16 certificates in PEM"],
        ),
        (
            &key,
            &key,
            expect!["certificate file /tls/server.pem: does not hold 1 to 16 certificates in PEM"],
        ),
        (
            &certificate,
            &certificate,
            expect![
                "key file /tls/server.key: does not hold a key in PEM (PKCS #8, PKCS #1 or SEC1, not encrypted)"
            ],
        ),
        (
            &certificate,
            &encrypted,
            expect![
                "key file /tls/server.key: does not hold a key in PEM (PKCS #8, PKCS #1 or SEC1, not encrypted)"
            ],
        ),
        (
            &certificate,
            &other,
            expect![
                "certificate file /tls/server.pem with key file /tls/server.key: cannot be used together: keys may not be consistent: KeyMismatch"
            ],
        ),
    ] {
        let files = files();
        files.write(certificate, key);
        files.check(&expect);
    }
    let files = files();
    fs::set_permissions(&files.settings.key, Permissions::from_mode(0o644)).unwrap();
    files.check(&expect![
        "key file /tls/server.key: has mode 0644, so everybody may use it; run: chmod 0600 /tls/server.key (of a Kubernetes secret, set defaultMode: 0400)"
    ]);
    fs::remove_file(&files.settings.key).unwrap();
    files.check(&expect![
        "key file /tls/server.key: cannot read it: No such file or directory (os error 2)"
    ]);
    fs::remove_file(&files.settings.certificate).unwrap();
    files.check(&expect![
        "certificate file /tls/server.pem: cannot read it: No such file or directory (os error 2)"
    ]);
    fs::write(&files.settings.certificate, vec![b'x'; (1 << 20) + 1]).unwrap();
    files.check(&expect![
        "certificate file /tls/server.pem: is larger than 1048576 bytes"
    ]);
}

#[test]
fn a_broken_renewal_keeps_the_certificate_of_before() {
    let files = files();
    let tls = ServerTls::load(&files.settings).unwrap();
    let certificates = || tls.0.current.0.load().cert[0].to_vec();
    let first = certificates();
    assert_eq!(tls.reload().unwrap(), TlsReload::Unchanged);
    files.write("half a certi", "");
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
    assert_eq!(certificates(), first);
    assert_eq!(tls.reload().unwrap(), TlsReload::Unchanged, "tried once");
    let (certificate, key) = pair();
    files.write(&certificate, &key);
    assert_eq!(tls.reload().unwrap(), TlsReload::Renewed);
    assert_ne!(certificates(), first);
}

#[test]
fn a_key_is_never_shown() {
    let files = files();
    let key = fs::read_to_string(&files.settings.key).unwrap();
    let line = key.lines().nth(1).unwrap();
    let certificates = format!("{:?}", ServerTls::load(&files.settings).unwrap());
    assert!(!certificates.contains(line), "{certificates}");
    // Something that looks like a section of another kind is not quoted either.
    let (certificate, _) = pair();
    files.write(&certificate, "-----BEGIN marked-secret\n");
    let error = ServerTls::load(&files.settings).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("marked-secret"));
}

#[test]
fn settings_are_both_or_an_error() {
    let settings: TlsSettings = toml::from_str("certificate = '/a'\nkey = '/b'").unwrap();
    assert_eq!(settings.key, Path::new("/b"));
    for text in [
        "certificate = '/a'",
        "certificate = '/a'\nkey = '/b'\nca = '/c'",
    ] {
        assert!(toml::from_str::<TlsSettings>(text).is_err(), "{text}");
    }
}

/// A certificate that ends in that year, and its key.
fn ends_in(year: i32) -> (String, String) {
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(year, 6, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[test]
fn the_end_of_the_first_certificate_to_end_is_reported_and_that_of_a_renewed_one() {
    let files = files();
    let (leaf, key) = ends_in(2041);
    let (issuer, _) = ends_in(2039);
    files.write(&format!("{leaf}{issuer}"), &key);
    let ca = files.folder.path().join("ca.pem");
    fs::write(&ca, ends_in(2050).0).unwrap();
    let settings = MutualTlsSettings {
        client_ca: Some(ca),
        ..files.settings.clone().into()
    };
    let tls = ServerTls::load_mutual(&settings).unwrap();
    let certificates = || {
        let ends = tls.ends().into_iter();
        let certificates = ends.map(|end| format!("{} {}", end.what, &end.ends_at.rfc3339()[..10]));
        certificates.collect::<Vec<_>>()
    };
    assert_eq!(
        certificates(),
        ["certificate 2039-06-01", "client_ca 2050-06-01"]
    );
    let (leaf, key) = ends_in(2045);
    files.write(&leaf, &key);
    assert_eq!(tls.reload().unwrap(), TlsReload::Renewed);
    assert_eq!(certificates()[0], "certificate 2045-06-01");
}

/// Certificates were checked every 30 s; a renewed one behind a link that is swapped, as in a mounted secret, is seen at
/// once.
#[tokio::test]
async fn lost_watch_certificate_behind_a_link_that_is_swapped_is_seen_at_once() {
    let mount = tempfile::tempdir().unwrap();
    let root = mount.path();
    for version in ["..1", "..2"] {
        let (certificate, key) = pair();
        let folder = root.join(version);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tls.crt"), certificate).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
        fs::set_permissions(folder.join("tls.key"), Permissions::from_mode(0o400)).unwrap();
    }
    let link = |from: &str, to: &str| std::os::unix::fs::symlink(from, root.join(to)).unwrap();
    link("..1", "..data");
    link("..data/tls.crt", "tls.crt");
    link("..data/tls.key", "tls.key");
    let tls = ServerTls::load(&TlsSettings {
        certificate: root.join("tls.crt"),
        key: root.join("tls.key"),
    })
    .unwrap();
    let before = tls.0.current.0.load_full();
    let followed = tls.clone();
    let following = tokio::spawn(async move { followed.follow().await });
    // The watch is set when the task runs for the first time.
    tokio::task::yield_now().await;
    link("..2", "..tmp");
    fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
    let latest = tokio::time::Instant::now() + POLL / 2;
    while Arc::ptr_eq(&before, &tls.0.current.0.load_full()) {
        assert!(tokio::time::Instant::now() < latest, "not seen");
        tokio::task::yield_now().await;
    }
    following.abort();
}
