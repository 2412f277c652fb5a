use super::*;
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

/// An RSA key of 2048 bits with its certificate, made for these tests alone.
const PAIR: &str = include_str!("testdata/application.pem");

const NOW: Timestamp = Timestamp::from_unix_millis(1_774_000_000_000);

fn file(folder: &Path, text: &str, mode: u32) -> PathBuf {
    let path = folder.join("application.pem");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn part(text: &str) -> serde_json::Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

#[tokio::test]
async fn an_assertion_says_who_and_for_whom_and_is_signed_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = AssertionSigner {
        file: file(folder.path(), PAIR, 0o400),
        client_id: "app-1".to_owned(),
        audience: "https://login/t/oauth2/v2.0/token".to_owned(),
        clock: Arc::new(twinroute_model::clock::ManualClock::new(NOW)),
    };
    let assertion = certificate.secret(None).await.unwrap();
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let (header, claims) = (part(header), part(claims));
    assert_eq!(header["alg"], "PS256");
    // openssl x509 -fingerprint -sha256, as base64url.
    let thumbprint = include_str!("testdata/application.sha256").trim();
    assert_eq!(header["x5t#S256"], thumbprint);
    for (claim, expect) in [
        ("iss", "app-1"),
        ("sub", "app-1"),
        ("aud", &certificate.audience),
    ] {
        assert_eq!(claims[claim], expect);
    }
    assert_eq!(claims["exp"], 1_774_000_600);
    let pair = CertifiedKey::read(&certificate.file).unwrap();
    let public = pair.key.public_key().as_ref();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public);
    key.verify(message.as_bytes(), &signature).unwrap();
    let again = certificate.secret(None).await.unwrap();
    assert_ne!(again, assertion, "each has an id of its own");
    assert!(!format!("{certificate:?}").contains("PRIVATE"));
}

#[test]
fn what_cannot_be_used_is_reported_without_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = PAIR.split_at(PAIR.find("-----BEGIN CERTIFICATE").unwrap());
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    let elliptic = format!("{}{}", other.signing_key.serialize_pem(), other.cert.pem());
    for (text, mode, expect) in [
        (PAIR, 0o644, "has mode 0644, so everybody may use it"),
        (certificate, 0o600, "holds no key in PEM"),
        (
            key,
            0o600,
            "holds no certificate in PEM that is about its key",
        ),
        (
            &format!("{key}{}", other.cert.pem()),
            0o600,
            "holds no certificate in PEM",
        ),
        (&elliptic, 0o600, "its key is not an RSA key"),
        (&"x".repeat(300 << 10), 0o600, "is larger than 262144 bytes"),
    ] {
        let path = file(folder.path(), text, mode);
        let error = CertifiedKey::read(&path).err().unwrap();
        assert!(error.contains(expect), "{error}");
    }
    // The key comes last in a chain of which the second certificate is meant.
    let turned = format!("{}{certificate}{key}", other.cert.pem());
    let pair = CertifiedKey::read(&file(folder.path(), &turned, 0o600)).unwrap();
    let thumbprint = include_str!("testdata/application.sha256").trim();
    assert_eq!(pair.thumbprint, thumbprint);
}
