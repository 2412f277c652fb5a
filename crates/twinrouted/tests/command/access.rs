//! HTTPS and tokens on the ingress and the admin API, with the certificate for development.

use crate::harness::{PATIENCE, TestDaemon, scene, text, twinroute, write};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use tokio::runtime::Runtime;
use twinroute_admin::client::AdminClient;
use twinroute_model::secret::Secret;

const EVENTS: &str = r#"[{"id":"1","subject":"s","eventType":"t","eventTime":"2026-01-01T00:00:00Z",
    "data":{},"dataVersion":"1"}]"#;

fn guarded() -> tempfile::TempDir {
    let folder = scene();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = []\nlisten_tls = ['127.0.0.1:0']\n\
         [ingress.access]\n\
         tokens = [{ name = 'press', role = 'write', token_file = 'press.token' }]\n\
         [admin]\nlisten = []\nlisten_tls = ['127.0.0.1:0']\n\
         [admin.access]\n\
         tokens = [{ name = 'looks', role = 'read', token_file = 'looks.token' },\n\
                   { name = 'steers', role = 'write', token_file = 'steers.token' }]\n\
         [log]\nformat = 'json'\n",
    );
    for name in ["press", "looks", "steers"] {
        let file = format!("{name}.token");
        write(folder.path(), &file, &format!("{name}-0123456789abcdef\n"));
        let mode = Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.path().join(file), mode).unwrap();
    }
    folder
}

fn ask(daemon: &TestDaemon, folder: &Path, arguments: &str) -> Output {
    twinroute()
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .args(["--admin", &format!("https://{}", daemon.admin)])
        .output()
        .unwrap()
}

#[test]
fn the_admin_api_over_https_with_a_token() {
    let folder = guarded();
    let daemon = TestDaemon::start(folder.path());
    let ca = "--admin-ca-file management/tls/ca.pem";
    let said = |arguments: &str| {
        let output = ask(&daemon, folder.path(), arguments);
        (output.status.code(), text(&output.stderr))
    };
    let (code, error) = said("status");
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("agree on TLS"), "{error}");
    assert_eq!(
        said(&format!("status {ca}")),
        (
            Some(1),
            "twinroute: the authorization header is missing\n".to_owned()
        )
    );
    let (code, error) = said(&format!("status {ca} --admin-token-file looks.token"));
    assert_eq!(code, Some(0), "{error}");
    let pause = format!("endpoint pause grid-1 {ca} --admin-token-file");
    assert_eq!(
        said(&format!("{pause} looks.token")),
        (Some(1), "twinroute: looks may read only\n".to_owned())
    );
    let (code, error) = said(&format!("{pause} steers.token"));
    assert_eq!(code, Some(0), "{error}");
}

/// A token that everybody on the machine could read was sent without a word, and a file without end was read to it.
#[test]
fn admin_token_file_that_others_may_read_or_that_is_no_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (content, mode, expect) in [
        (
            "looks-0123456789abcdef",
            0o644,
            "token file a.token: has mode 0644, so everybody may use it; run: chmod 0600 a.token (of a Kubernetes \
             secret, set defaultMode: 0400)",
        ),
        (
            &"x".repeat((64 << 10) + 1),
            0o600,
            "token file a.token: is larger than 65536 bytes",
        ),
    ] {
        write(folder.path(), "a.token", content);
        let path = folder.path().join("a.token");
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let output = twinroute()
            .current_dir(folder.path())
            // Nobody answers there, and nobody is asked.
            .args(["status", "--admin", "127.0.0.1:1"])
            .args(["--admin-token-file", "a.token"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr), format!("twinroute: {expect}\n"));
    }
}

#[test]
fn events_come_in_over_https_with_a_token() {
    let folder = guarded();
    let daemon = TestDaemon::start(folder.path());
    let ca = folder.path().join("management/tls/ca.pem");
    let url = format!("https://{}", daemon.ingress);
    let client = AdminClient::https(&url, trust(&ca)).unwrap();
    let known = Secret::new("press-0123456789abcdef");
    let known = client.clone().with_token(&known).unwrap();
    let path = "/api/events?api-version=2018-01-01";
    let runtime = Runtime::new().unwrap();
    for (client, expect) in [(client, 401), (known, 200)] {
        let answer = client.post(path, EVENTS.to_owned(), PATIENCE);
        let answer = runtime.block_on(answer).unwrap();
        assert_eq!(answer.status, expect, "{answer:?}");
    }
}

fn trust(ca: &Path) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
