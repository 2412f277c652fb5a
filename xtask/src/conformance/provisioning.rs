//! What must be there before requests to the Device Provisioning Service.

use super::operation;
use super::play::ExamplePlay;
use super::state::put;
use crate::http::{HttpRequest, HttpResponse};
use anyhow::{Context as _, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Map, Value, json};

/// Puts what an operation of the service, or of its certificates, presupposes.
///
/// # Errors
/// It is refused; or the operation is none that is known here.
pub(super) fn prepare(play: &mut ExamplePlay<'_>, group: &str, step: &str) -> anyhow::Result<()> {
    match (group, step) {
        ("IotDpsResource", "CreateOrUpdate" | "CheckProvisioningServiceNameAvailability") => Ok(()),
        ("IotDpsResource", "ListBySubscription" | "ListByResourceGroup") => services(play),
        ("IotDpsResource", "ListKeys" | "ListKeysForKeyName") => {
            let view = expected_body(play);
            let rules = match view["value"].as_array() {
                Some(rules) => rules.clone(),
                None => vec![view],
            };
            let rules: Vec<Value> = rules
                .iter()
                .map(|rule| json!({ "keyName": rule["keyName"], "rights": rule["rights"] }))
                .collect();
            let mut body = described(&Value::Null);
            body["properties"] = json!({ "authorizationPolicies": rules });
            put(play, &service(play)?, body)
        }
        ("IotDpsResource", "GetOperationResult") => {
            let version = play.text("api-version")?;
            let target = format!("{}?api-version={version}", service(play)?);
            let request = HttpRequest::put(target, described(&Value::Null));
            let begun = operation::put(play.server, &request)?;
            let url = begun.headers.get("azure-asyncoperation");
            let id = url.and_then(|url| url.split('?').next()?.rsplit('/').next());
            let id = id.context("a PUT names its operation")?.into();
            play.parameters.insert("operationId".to_owned(), id);
            Ok(())
        }
        ("IotDpsResource", step) => {
            let view = expected_body(play);
            let own = if step.contains("Private") {
                &Value::Null
            } else {
                &view
            };
            let mut body = described(own);
            if step == "Update" {
                body["tags"] = json!({ "before": "the patch" });
            }
            put(play, &service(play)?, body)?;
            connections(play, &view)
        }
        ("DpsCertificate", step) => certificates(play, step),
        _ => bail!("nothing is known of the operation {group}_{step}"),
    }
}

fn expected_body(play: &ExamplePlay<'_>) -> Value {
    let response = play.example.responses.get(&200);
    let body = response.and_then(|response| response.body.clone());
    body.unwrap_or_default()
}

fn service(play: &ExamplePlay<'_>) -> anyhow::Result<String> {
    let name = play
        .text("provisioningServiceName")
        .or_else(|_| play.text("resourceName"))?;
    at(play, play.text("resourceGroupName")?, name)
}

fn at(play: &ExamplePlay<'_>, group: &str, name: &str) -> anyhow::Result<String> {
    let subscription = play.text("subscriptionId")?;
    Ok(format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Devices/provisioningServices/{name}"
    ))
}

/// The writable part of a service.
fn described(view: &Value) -> Value {
    let mut body = Map::new();
    let tags = view.get("tags").cloned().unwrap_or_else(|| json!({}));
    body.insert("tags".to_owned(), tags);
    body.insert("location".to_owned(), "eastus".into());
    body.insert("sku".to_owned(), json!({ "name": "S1", "capacity": 1 }));
    body.insert("properties".to_owned(), json!({}));
    Value::Object(body)
}

fn services(play: &ExamplePlay<'_>) -> anyhow::Result<()> {
    for item in expected_body(play)["value"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let group = item["resourcegroup"]
            .as_str()
            .context("a service has a group")?;
        let name = item["name"].as_str().context("a service has a name")?;
        put(play, &at(play, group, name)?, described(item))?;
    }
    Ok(())
}

/// The private endpoint connection that the request is about, or those of a list.
fn connections(play: &ExamplePlay<'_>, view: &Value) -> anyhow::Result<()> {
    let pending = json!({ "status": "Pending", "description": "Please approve my request!" });
    let make = |name: &str| {
        let body = json!({ "properties": { "privateLinkServiceConnectionState": pending } });
        put(
            play,
            &format!("{}/privateEndpointConnections/{name}", service(play)?),
            body,
        )
    };
    if let Ok(name) = play.text("privateEndpointConnectionName") {
        return make(name);
    }
    for item in view.as_array().into_iter().flatten() {
        make(item["name"].as_str().context("a connection has a name")?)?;
    }
    Ok(())
}

/// A service with a certificate of a fresh authority; for a proof, also the code and the leaf that it asks for.
fn certificates(play: &mut ExamplePlay<'_>, step: &str) -> anyhow::Result<()> {
    let service = service(play)?;
    put(play, &service, described(&Value::Null))?;
    let authority = authority()?;
    let body = json!({ "properties": { "certificate": base64(&authority.pem()) } });
    if step == "CreateOrUpdate" {
        play.parameters
            .insert("certificateDescription".to_owned(), body);
        return Ok(());
    }
    let name = match step {
        "List" => {
            let view = expected_body(play);
            let name = view["value"][0]["name"].as_str();
            name.context("a certificate has a name")?.to_owned()
        }
        _ => play.text("certificateName")?.to_owned(),
    };
    let version = play.text("api-version")?;
    let target = format!("{service}/certificates/{name}?api-version={version}");
    let made = play.server.expect(&HttpRequest::put(&target, body))?;
    if matches!(step, "Get" | "List") {
        return Ok(());
    }
    let mut etag = etag(&made)?;
    if step == "VerifyCertificate" {
        let asks = HttpRequest {
            method: "POST".to_owned(),
            target: target.replace('?', "/generateVerificationCode?"),
            headers: vec![("If-Match".to_owned(), etag)],
            body: None,
        };
        let code = play.server.expect(&asks)?;
        etag = self::etag(&code)?;
        let code = code.body["properties"]["verificationCode"].as_str();
        let leaf = leaf(&authority, code.context("there is a verification code")?)?;
        let request = json!({ "certificate": leaf });
        play.parameters.insert("request".to_owned(), request);
    }
    play.parameters.insert("If-Match".to_owned(), etag.into());
    Ok(())
}

fn etag(answer: &HttpResponse) -> anyhow::Result<String> {
    let etag = answer.body["etag"].as_str().map(str::to_owned);
    etag.context("a certificate has an etag")
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "conformance");
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A certificate made out to a verification code, in PEM.
fn leaf(authority: &CertifiedIssuer<'_, KeyPair>, code: &str) -> anyhow::Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, code);
    Ok(params.signed_by(&KeyPair::generate()?, authority)?.pem())
}

/// What stands between the lines of PEM: DER in base64.
fn base64(pem: &str) -> String {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.collect()
}
