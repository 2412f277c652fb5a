use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

const ADDRESS: &str = "https://router.example:8443";

fn given(certificate: Option<&str>, key: Option<&str>) -> ClientCertificateOptions {
    ClientCertificateOptions {
        client_cert: certificate.map(PathBuf::from),
        client_key: key.map(PathBuf::from),
    }
}

fn put(path: &Path, content: &str, mode: u32) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn options_come_before_variables_and_both_come_in_pairs() {
    let unset = |_: &str| None;
    let one = |name: &str| (name == CERTIFICATE_VARIABLE).then(|| "v.pem".into());
    let both = |name: &str| Some(OsString::from(name.to_lowercase()));
    let files = |given: ClientCertificateOptions, variable: &dyn Fn(&str) -> Option<OsString>| {
        given.files(ADDRESS, ServerScheme::Tls, variable)
    };
    assert_eq!(files(given(None, None), &unset).unwrap(), None);
    let found = files(given(Some("a.pem"), Some("a.key")), &both).unwrap();
    assert_eq!(found, Some(("a.pem".into(), "a.key".into())));
    let found = files(given(None, None), &both).unwrap().unwrap();
    assert_eq!(found.0, Path::new("twinroute_client_cert"));
    for (given, expect) in [
        (
            given(Some("a.pem"), None),
            "name the file with --client-key",
        ),
        (
            given(None, Some("a.key")),
            "name the file with --client-cert",
        ),
        (given(None, None), "set without TWINROUTE_CLIENT_KEY"),
    ] {
        let error = files(given, &one).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn a_plain_address_refuses_the_options_and_leaves_the_variables_alone() {
    let both = |name: &str| Some(OsString::from(name));
    for address in ["127.0.0.1:8081", "unix:/run/admin.sock", "http://h:8083"] {
        let options = given(Some("a.pem"), Some("a.key"));
        let error = options
            .files(address, ServerScheme::Plain, both)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("client certificate a.pem: "), "{error}");
        assert!(
            error.contains(address) && error.contains("use an https://"),
            "{error}"
        );
        let found = given(None, None).files(address, ServerScheme::Plain, both);
        assert_eq!(found.unwrap(), None);
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["steers".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = made();
    put(&at("a.pem"), &certificate, 0o600);
    put(&at("a.key"), &key, 0o600);
    put(&at("other.key"), &made().1, 0o600);
    put(&at("open.key"), &key, 0o644);
    put(&at("text"), "hush-hush", 0o600);
    assert!(read(&at("a.pem"), &at("a.key")).is_ok());
    for (certificate, key, expect) in [
        (
            "none.pem",
            "a.key",
            &["client certificate", "none.pem", "cannot read it"][..],
        ),
        (
            "text",
            "a.key",
            &["client certificate", "text", "certificates in PEM"],
        ),
        ("a.key", "a.key", &["a.key", "certificates in PEM"]),
        ("a.pem", "text", &["client key", "text", "a key in PEM"]),
        ("a.pem", "a.pem", &["client key", "a.pem", "a key in PEM"]),
        (
            "a.pem",
            "other.key",
            &["other.key", "not the key of", "a.pem"],
        ),
        (
            "a.pem",
            "open.key",
            &["client key", "open.key", "chmod 0600"],
        ),
    ] {
        let error = read(&at(certificate), &at(key)).unwrap_err();
        let error = format!("{error:#}");
        for part in expect {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn alerts_about_certificates_are_reported_as_what_to_do() {
    for (said, expect) in [
        (
            "received fatal alert: CertificateRequired",
            Some("--client-key"),
        ),
        ("x: received fatal alert: UnknownCA", Some("client_ca")),
        (
            "received fatal alert: CertificateExpired: y",
            Some("renewed"),
        ),
        ("received fatal alert: ProtocolVersion", None),
        // Of the server's own.
        ("invalid peer certificate: UnknownIssuer", None),
    ] {
        let advised = advice(said);
        assert_eq!(advised.is_some(), expect.is_some(), "{said}");
        assert!(
            advised
                .unwrap_or_default()
                .contains(expect.unwrap_or_default())
        );
    }
}

/// The TLS of a server of `issuer`'s that wants a certificate of `issuer`'s, and that of a client without one.
fn asking(issuer: &rcgen::CertifiedIssuer<'_, KeyPair>) -> (rustls::ServerConfig, ClientConfig) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let provider = twinroute_outgoing::provider();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::clone(&roots),
        Arc::clone(&provider),
    );
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

#[test]
fn an_alert_that_was_lost_beside_the_request_is_asked_for_again() {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let issuer = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let (server, client) = asking(&issuer);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let url = url.parse().unwrap();
    let answering = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        StreamOwned::new(session, tcp).read(&mut [0]).unwrap_err()
    });
    let said = "operation was canceled: connection was not ready";
    let advised = advice_of_handshake(said, &url, &Arc::new(client));
    assert!(advised.is_some_and(|advised| advised.contains("asks for a client certificate")));
    answering.join().unwrap();
}
