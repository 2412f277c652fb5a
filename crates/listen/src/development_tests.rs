use super::*;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

const START: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);

fn at(days: u32) -> Timestamp {
    START.after(DAY * days)
}

fn make(folder: &Path, names: &[&str], now: Timestamp) -> DevelopmentTls {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    certificates_at(folder, &names, now).unwrap()
}

/// What a client that trusts the authority's file says to the server's certificate.
fn verdict(made: &DevelopmentTls, name: &str, now: Timestamp) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&made.ca).unwrap())
        .unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let certificate = CertificateDer::from_pem_file(&made.tls.certificate).unwrap();
    let seconds = u64::try_from(now.unix_seconds()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let name = ServerName::try_from(name).unwrap();
    let verifier = verifier.build().unwrap();
    verifier
        .verify_server_cert(&certificate, &[], &name, &[], now)
        .map(drop)
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Which files differ.
fn changed(before: &BTreeMap<String, Vec<u8>>, folder: &Path) -> Vec<String> {
    let after = contents(folder);
    assert_eq!(before.len(), after.len());
    let differ = after
        .into_iter()
        .filter(|(name, text)| before.get(name) != Some(text));
    differ.map(|(name, _)| name).collect()
}

#[test]
fn clients_that_trust_the_authority_trust_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let made = make(
        folder.path(),
        &["adt.localhost", "*.adt.localhost", "10.0.0.7"],
        START,
    );
    ServerTls::load(&made.tls).unwrap();
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "adt.localhost",
        "x.adt.localhost",
        "10.0.0.7",
    ] {
        for now in [START, at(395)] {
            assert_eq!(verdict(&made, name, now), Ok(()), "{name}");
        }
    }
    for (name, now) in [
        ("example.com", START),
        ("localhost", at(397)),
        ("10.0.0.8", START),
    ] {
        assert!(verdict(&made, name, now).is_err(), "{name}");
    }
    let other = tempfile::tempdir().unwrap();
    let stranger = DevelopmentTls {
        ca: make(other.path(), &[], START).ca,
        ..made
    };
    assert!(verdict(&stranger, "localhost", START).is_err());
}

#[test]
fn keys_are_for_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), &[], START);
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("ca.key"), mode("server.key")), (0o600, 0o600));
    assert_eq!(contents(folder.path()).len(), 4);
}

#[test]
fn what_is_there_stays_until_it_no_longer_fits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make(folder, &["adt.localhost"], START);
    let first = contents(folder);
    let server = ["server.key", "server.pem"];
    make(folder, &["adt.localhost"], at(300));
    assert_eq!(changed(&first, folder), [] as [&str; 0]);
    // Other names; few days left.
    let made = make(folder, &["other.localhost"], at(1));
    assert_eq!(changed(&first, folder), server);
    assert_eq!(verdict(&made, "other.localhost", at(1)), Ok(()));
    let second = contents(folder);
    let made = make(folder, &["other.localhost"], at(367));
    assert_eq!(changed(&second, folder), server);
    assert_eq!(verdict(&made, "localhost", at(367)), Ok(()));
    // An authority that ends takes its certificates along.
    let third = contents(folder);
    let made = make(folder, &["other.localhost"], at(3621));
    assert_eq!(changed(&third, folder).len(), 4);
    assert_eq!(verdict(&made, "localhost", at(3621)), Ok(()));
}

#[test]
fn what_is_damaged_or_lost_is_made_again() {
    for (name, expect) in [
        ("server.pem", 2),
        ("server.key", 2),
        ("ca.pem", 4),
        ("ca.key", 4),
    ] {
        for lost in [None, Some("half a fi")] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            make(folder, &[], START);
            let before = contents(folder);
            match lost {
                None => fs::remove_file(folder.join(name)).unwrap(),
                Some(text) => fs::write(folder.join(name), text).unwrap(),
            }
            let made = make(folder, &[], at(1));
            assert_eq!(changed(&before, folder).len(), expect, "{name}");
            assert_eq!(verdict(&made, "localhost", at(1)), Ok(()));
        }
    }
}

#[test]
fn names_that_cannot_stand_in_a_certificate_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "a b", "*", "x.*.y", "http://localhost", "löcal"] {
        let error = certificates_at(folder.path(), &[name.to_owned()], START).unwrap_err();
        let expect = format!("development certificates: {name:?}: must be a host name");
        assert!(error.to_string().starts_with(&expect), "{error}");
    }
    let many: Vec<_> = (0..=NAMES_MAX)
        .map(|number| format!("n{number}.localhost"))
        .collect();
    assert!(certificates_at(folder.path(), &many[1..], START).is_ok());
    assert!(certificates_at(folder.path(), &many, START).is_err());
}
