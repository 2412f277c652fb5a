//! Commands that show a client certificate to a running twinroute that asks for one.

use crate::harness::{TestDaemon, address, scene, text, twinroute, write};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::Path;

type TestAuthority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> TestAuthority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes `<file>.pem` and `<file>.key`, signed for `name`.
fn signed(folder: &Path, file: &str, authority: &TestAuthority, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, authority).unwrap();
    write(folder, &format!("{file}.pem"), &certificate.pem());
    write(folder, &format!("{file}.key"), &key.serialize_pem());
}

/// A daemon that asks for certificates on both APIs, and whose definitions are where `table` says.
fn asking(table: &str) -> tempfile::TempDir {
    let folder = scene();
    let ours = authority("ours");
    write(folder.path(), "ca.pem", &ours.pem());
    signed(folder.path(), "server", &ours, "server");
    signed(folder.path(), "steers", &ours, "shift-lead");
    signed(folder.path(), "stranger", &authority("theirs"), "stranger");
    let files = "certificate = 'server.pem'\nkey = 'server.key'\nclient_ca = 'ca.pem'\n";
    let config = format!(
        "instance = 'demo'\nshutdown_grace = '0s'\n{table}\n[ingress]\nlisten = ['127.0.0.1:0']\n\
         [admin]\nlisten = []\nlisten_tls = ['127.0.0.1:0']\n[admin.tls]\n{files}\
         [management]\nlisten = []\nlisten_tls = ['127.0.0.1:0']\n[management.tls]\n{files}\
         [audit]\npath = 'audit'\n[log]\nformat = 'json'\n"
    );
    write(folder.path(), "twinroute.toml", &config);
    folder
}

/// Exit code, and what was said on standard error.
fn run(folder: &Path, arguments: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = twinroute()
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (output.status.code(), text(&output.stderr))
}

/// The command fails without a certificate and with a stranger's, and says what to do; with the right one, by
/// options or variables, it does its work.
fn check(folder: &Path, command: &str) {
    let strange = format!("{command} --client-cert stranger.pem --client-key stranger.key");
    for (command, expect) in [
        (
            command,
            "it asks for a client certificate: give one with --client-cert",
        ),
        (&strange, "does not take this client certificate"),
    ] {
        let (code, said) = run(folder, command, &[]);
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(code, Some(1), "{said}");
        assert!(first.contains(expect), "{said}");
    }
    let right = "--client-cert steers.pem --client-key steers.key";
    let (code, said) = run(folder, &format!("{command} {right}"), &[]);
    assert_eq!(code, Some(0), "{said}");
    let variables = [
        ("TWINROUTE_CLIENT_CERT", "steers.pem"),
        ("TWINROUTE_CLIENT_KEY", "steers.key"),
    ];
    let (code, said) = run(folder, command, &variables);
    assert_eq!(code, Some(0), "{said}");
}

fn audited(folder: &Path) -> String {
    let output = twinroute()
        .current_dir(folder)
        .args(["audit", "--json", "--config", "twinroute.toml"])
        .output()
        .unwrap();
    text(&output.stdout)
}

#[test]
fn the_admin_api_takes_a_certificate_and_notes_whose() {
    let folder = asking("definitions = 'table'");
    let daemon = TestDaemon::start(folder.path());
    let whom = format!("--admin https://{} --admin-ca-file ca.pem", daemon.admin);
    check(folder.path(), &format!("status {whom}"));
    let view = "--client-cert steers.pem --client-key steers.key";
    let pause = format!("endpoint pause grid-1 {whom} {view}");
    let (code, said) = run(folder.path(), &pause, &[]);
    assert_eq!(code, Some(0), "{said}");
    let log = audited(folder.path());
    assert!(log.contains("shift-lead"), "{log}");
    // A plain address: refused before anybody is asked.
    let plain = format!("status --admin 127.0.0.1:1 {view}");
    let (code, said) = run(folder.path(), &plain, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("over https:// only"), "{said}");
}

#[test]
fn the_management_api_takes_a_certificate_and_notes_whose() {
    let folder = asking("[table]\nsource = 'store'");
    let daemon = TestDaemon::start(folder.path());
    let mut seen = daemon.seen.iter();
    let line = seen.find(|line| line.contains("answers as the management API"));
    let whom = format!(
        "--management-url https://{} --ca-file ca.pem",
        address(line.unwrap())
    );
    check(folder.path(), &format!("instance list {whom}"));
    let view = "--client-cert steers.pem --client-key steers.key";
    let create = format!("instance create --dt-name plant {whom} {view}");
    let (code, said) = run(folder.path(), &create, &[]);
    assert_eq!(code, Some(0), "{said}");
    let log = audited(folder.path());
    assert!(log.contains("shift-lead"), "{log}");
}
