//! Certificates and their proof.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> (Certificate, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate, Issuer::new(params, key))
}

fn leaf(name: &str, issuer: &Issuer<'static, KeyPair>) -> String {
    let key = KeyPair::generate().unwrap();
    params(name).signed_by(&key, issuer).unwrap().pem()
}

#[tokio::test]
async fn a_certificate_is_taken_in_three_forms_and_shown_in_one() {
    let (client, path) = with_service("dps1").await;
    let path = format!("{path}/certificates/ca1");
    let (certificate, _) = authority("first");
    let base64 = STANDARD.encode(certificate.der());
    let forms = [
        certificate.pem(),
        STANDARD.encode(certificate.pem()),
        base64.clone(),
    ];
    let mut last: Option<String> = None;
    for form in forms {
        let sent = json!({ "properties": { "certificate": form } });
        let headers: Vec<_> = last
            .iter()
            .map(|etag| ("if-match", etag.as_str()))
            .collect();
        let put = client.send("PUT", &path, &headers, Some(&sent)).await;
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(put.json["properties"]["certificate"], base64);
        assert_ne!(Some(etag(&put)), last.as_deref());
        last = Some(etag(&put).to_owned());
    }
    let read = client.get(&path).await;
    let properties = &read.json["properties"];
    assert_eq!(
        read.json["type"],
        "Microsoft.Devices/provisioningServices/Certificates"
    );
    assert_eq!(properties["subject"], "CN=first");
    assert_eq!(properties["isVerified"], false);
    assert_eq!(properties["created"], "Fri, 27 Nov 2026 05:00:00 GMT");
    assert_eq!(properties["expiry"], "Sun, 01 Jan 4096 00:00:00 GMT");
    let thumbprint = properties["thumbprint"].as_str().unwrap();
    assert!(
        thumbprint.len() == 40 && thumbprint == thumbprint.to_ascii_uppercase(),
        "{thumbprint}"
    );
    let list = client.get(path.rsplit_once('/').unwrap().0).await;
    assert_eq!(list.json, json!({ "value": [read.json] }));
}

#[tokio::test]
async fn only_who_has_read_a_certificate_changes_it() {
    let (client, path) = with_service("dps1").await;
    let path = format!("{path}/certificates/ca1");
    let base64 = STANDARD.encode(authority("first").0.der());
    let sent = json!({ "certificate": base64, "isVerified": true });
    assert_eq!(client.put(&path, &sent).await.status, 200);
    check_flat(
        &client.put(&path, &sent).await,
        412,
        412_002,
        "If-Match header is required",
    );
    check_flat(
        &client.delete(&path).await,
        412,
        412_002,
        "If-Match header is required",
    );
    for method in ["GET", "PUT", "DELETE"] {
        let reply = client
            .send(method, &path, &[("if-match", "\"old\"")], Some(&sent))
            .await;
        check_flat(&reply, 412, 412_001, "'ca1' has changed");
    }
    let put = client
        .send("PUT", &path, &[("if-match", "*")], Some(&sent))
        .await;
    assert_eq!(put.json["properties"]["isVerified"], true, "{put:?}");
    let quoted = format!("\"{}\"", etag(&put));
    assert_eq!(
        client
            .send("DELETE", &path, &[("if-match", &quoted)], None)
            .await
            .status,
        200
    );
    assert_eq!(
        client
            .send("DELETE", &path, &[("if-match", &quoted)], None)
            .await
            .status,
        204
    );
    check_arm(&client.get(&path).await, 404, "ResourceNotFound");
    // "Ignored while creating a brand new certificate."
    assert_eq!(
        client
            .send("PUT", &path, &[("if-match", &quoted)], Some(&sent))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let (client, path) = with_service("dps1").await;
    let (certificate, issuer) = authority("first");
    let cut = &certificate.der()[..100];
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (text, rule) in [
        ("MA==".to_owned(), "must be one X.509 certificate"),
        ("?".to_owned(), "must be one X.509 certificate"),
        (STANDARD.encode(cut), "must be one X.509 certificate"),
        (certificate.pem() + &key, "holds a private key"),
        (
            certificate.pem() + &leaf("x", &issuer),
            "holds several certificates",
        ),
    ] {
        let sent = json!({ "properties": { "certificate": text } });
        let reply = client.put(&format!("{path}/certificates/ca1"), &sent).await;
        check_flat(
            &reply,
            400,
            400_004,
            &format!("properties.certificate: {rule}"),
        );
    }
    let sent = json!({ "properties": { "certificate": certificate.pem() } });
    check_flat(
        &client
            .put(&format!("{path}/certificates/a%20b"), &sent)
            .await,
        400,
        400_004,
        "'a b' is not valid",
    );
    let orphan = format!("{}/certificates/ca1", service("none"));
    check_arm(
        &client.put(&orphan, &sent).await,
        404,
        "ParentResourceNotFound",
    );
}

#[tokio::test]
async fn a_leaf_made_out_to_the_code_proves_possession() {
    let (client, path) = with_service("dps1").await;
    let path = format!("{path}/certificates/ca1");
    let (certificate, issuer) = authority("first");
    let (_, stranger) = authority("first");
    let sent = json!({ "properties": { "certificate": certificate.pem() } });
    assert_eq!(client.put(&path, &sent).await.status, 200);
    let verify = format!("{path}/verify");
    let prove = async |leaf: String| {
        let body = json!({ "certificate": leaf });
        client
            .send("POST", &verify, &[("if-match", "*")], Some(&body))
            .await
    };
    check_flat(
        &prove(leaf("x", &issuer)).await,
        400,
        400_004,
        "POST generateVerificationCode first",
    );
    let generate = format!("{path}/generateVerificationCode");
    check_flat(
        &client.post(&generate, None).await,
        412,
        412_002,
        "If-Match",
    );
    let made = client
        .send("POST", &generate, &[("if-match", "*")], None)
        .await;
    let code = made.json["properties"]["verificationCode"]
        .as_str()
        .unwrap();
    assert_eq!((made.status, code.len()), (200, 48), "{made:?}");
    let read = client.get(&path).await;
    assert_eq!(etag(&read), etag(&made));
    assert!(!read.json.to_string().contains(code), "{read:?}");

    check_flat(
        &prove(leaf("other", &issuer)).await,
        400,
        400_004,
        "common name",
    );
    check_flat(
        &prove(leaf(code, &stranger)).await,
        400,
        400_004,
        "must be signed with the key",
    );
    check_flat(
        &prove(leaf(code, &authority("second").1)).await,
        400,
        400_004,
        "issuer",
    );
    let proved = prove(leaf(code, &issuer)).await;
    assert_eq!(proved.json["properties"]["isVerified"], true, "{proved:?}");
    check_flat(
        &prove(leaf(code, &issuer)).await,
        400,
        400_004,
        "no verification code",
    );
}

#[tokio::test]
async fn proof_holds_for_one_certificate() {
    let (client, path) = with_service("dps1").await;
    let path = format!("{path}/certificates/ca1");
    let certificate = authority("first").0.pem();
    let verified = json!({ "properties": { "certificate": certificate, "isVerified": true } });
    assert_eq!(client.put(&path, &verified).await.status, 200);
    let sent = json!({ "properties": { "certificate": certificate } });
    let again = client
        .send("PUT", &path, &[("if-match", "*")], Some(&sent))
        .await;
    assert_eq!(again.json["properties"]["isVerified"], true);
    let other = json!({ "properties": { "certificate": authority("third").0.pem() } });
    let other = client
        .send("PUT", &path, &[("if-match", "*")], Some(&other))
        .await;
    assert_eq!(other.json["properties"]["isVerified"], false);
}
