//! Certificates of a service: `…/certificates[/{name}[/generateVerificationCode|/verify]]`.
//!
//! Source: Microsoft.Devices 2022-12-12, `CertificateResponse`. A certificate is changed at once, without an
//! operation.

use super::etag::{self, EtagDemand};
use super::x509;
use crate::arm::answer::ArmAnswer;
use crate::arm::error::{Error, ServiceRefusal};
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::ArmObject;
use crate::arm::path::PathCursor;
use crate::audit_cause::AuditCause;
use crate::context::ServerCall;
use crate::listing;
use crate::preconditions::{need, need_above, not_taken, only_get, only_post, unknown_path};
use crate::store::record::ResourceRecord;
use crate::store::state::StoreChange;
use crate::store::unknown::UnknownMembers;
use crate::transitions::{self, ChangeDecision};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use twinroute_model::secret::Secret;
use uuid::Uuid;

/// Characters of a certificate's name.
const NAME_MAX: usize = 64;

/// Where a verification code is kept: a secret until it was used.
const CODE: &str = "/properties/verificationCode";

pub(super) async fn answer(
    call: ServerCall<'_>,
    service: &ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let [_, steps @ ..] = path.words else {
        only_get(call)?;
        return listing::children(call, service, ResourceKind::Certificate, render);
    };
    let id = service.child(ResourceKind::Certificate, path.name(0));
    match (steps, &call.request.method) {
        ([], &Method::GET) => {
            let record = need(call, &id)?;
            EtagDemand::of(call.request, None).check(Some(&record), &id.name)?;
            Ok(ArmAnswer::ok(render(&record)))
        }
        ([], &Method::PUT) => put(call, id).await,
        ([], &Method::DELETE) => delete(call, id).await,
        ([], _) => Err(not_taken(call, "GET, PUT and DELETE")),
        (["generateverificationcode"], _) => {
            only_post(call)?;
            new_code(call, id).await
        }
        (["verify"], _) => {
            only_post(call)?;
            verify(call, id).await
        }
        _ => Err(unknown_path(call)),
    }
}

/// What readers see. The type ends as Azure writes it.
fn render(record: &ResourceRecord) -> Value {
    // A code is shown once, by the answer that made it.
    let mut body = ResourceRecord::clone(record);
    body.secrets.remove(CODE);
    let mut body = body.render_hidden();
    body["type"] = format!("{}/Certificates", ResourceKind::Service.type_name()).into();
    body
}

async fn put(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    need_above(call, &id)?;
    check_name(&id.name)?;
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let (der, verified) = read(&body)?;
    let unknown = unknown(&body)?;
    let demand = EtagDemand::of(call.request, None);
    let outcome = transitions::write(call, id.clone(), move |present| {
        let before = present.before;
        if let Some(before) = before {
            demand.require(before, &id.name)?;
        }
        let der = match (der, before) {
            (Some(der), _) => der,
            // Azure shows none on a read: what is sent back without it keeps it.
            (None, Some(before)) => stored(before)?,
            (None, None) => {
                let path = "properties.certificate".to_owned();
                return Err(Error::MissingMember { path });
            }
        };
        let mut record = ResourceRecord::public(id, describe(&der)?);
        unknown.keep(&mut record, before)?;
        let same = before
            .filter(|before| before.property("certificate") == record.property("certificate"));
        // Proof of possession holds for one certificate, not for another under its name.
        let kept = same.and_then(|same| same.properties().get("isVerified")?.as_bool());
        let now = present.now.unix_seconds();
        let created = before.and_then(|before| before.property("created"));
        let created = created.map_or_else(|| http_date(now), str::to_owned);
        let verified = verified.or(kept).unwrap_or(false);
        record.set_property("isVerified", verified);
        record.set_property("created", created);
        touch(&mut record, now);
        Ok(ChangeDecision::Done(record))
    })
    .await?;
    Ok(ArmAnswer::ok(render(&outcome.record)))
}

/// The certificate in DER, if it is sent, and whether it is said to be verified. Older versions have both at the top.
fn read(body: &ArmObject<'_>) -> Result<(Option<Vec<u8>>, Option<bool>), Error> {
    let properties = body.object("properties")?;
    let place = if properties.is_there() {
        &properties
    } else {
        body
    };
    let der = match place.text("certificate")? {
        Some(text) => {
            let der = x509::read(text);
            Some(der.map_err(|rule| Error::invalid(place.path("certificate"), rule))?)
        }
        None => None,
    };
    Ok((der, place.boolean("isVerified")?))
}

/// The certificate of a record, in DER.
fn stored(record: &ResourceRecord) -> Result<Vec<u8>, Error> {
    let text = record.property("certificate").unwrap_or_default();
    let der = STANDARD.decode(text);
    der.map_err(|_| bad("certificate: send it, the stored one cannot be read"))
}

/// Members that nobody knows.
fn unknown(body: &ArmObject<'_>) -> Result<UnknownMembers, Error> {
    const KNOWN: &[&str] = &[
        "certificate",
        "created",
        "expiry",
        "isVerified",
        "subject",
        "thumbprint",
        "updated",
        "verificationCode",
    ];
    let mut unknown = UnknownMembers::default();
    unknown.add("/properties", &body.object("properties")?, KNOWN)?;
    let top = ["etag", "id", "name", "properties", "systemData", "type"];
    unknown.add("", body, &[&top, KNOWN].concat())?;
    Ok(unknown)
}

fn bad(message: &str) -> Error {
    Error::service(ServiceRefusal::BadRequest, message)
}

/// What is stored of a certificate: all of it, and what stands in it.
fn describe(der: &[u8]) -> Result<Value, Error> {
    let facts = x509::facts(der).ok_or_else(|| bad("certificate: cannot be read"))?;
    Ok(json!({ "properties": {
        "subject": facts.subject,
        "expiry": http_date(facts.expiry),
        "thumbprint": facts.thumbprint,
        "certificate": STANDARD.encode(der),
    } }))
}

/// Notes a change.
fn touch(record: &mut ResourceRecord, now: i64) {
    record.set_property("updated", http_date(now));
    record.set("etag", etag::of_certificate());
}

/// RFC 9110 §5.6.7, which the specification asks for.
fn http_date(unix_seconds: i64) -> String {
    let layout = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let moment = OffsetDateTime::from_unix_timestamp(unix_seconds);
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(layout).unwrap_or_default()
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let dots = name.bytes().all(|byte| byte == b'.');
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(legal) && !dots {
        return Ok(());
    }
    Err(Error::InvalidName {
        name: name.to_owned(),
        rule: format!(
            "a certificate has 1 to {NAME_MAX} letters, digits and -_., and not dots alone"
        ),
    })
}

/// At once: 200; 204 when it is not there.
async fn delete(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    need_above(call, &id)?;
    let demand = EtagDemand::of(call.request, None);
    let gone = call
        .context
        .change(Some(AuditCause::of(call.request)), move |_, state| {
            let Some(before) = &state.get(&id) else {
                return Ok((Vec::new(), false));
            };
            demand.require(before, &id.name)?;
            Ok((vec![StoreChange::Remove(id.key())], true))
        })
        .await?;
    Ok(if gone {
        ArmAnswer::new(http::StatusCode::OK, None)
    } else {
        ArmAnswer::no_content()
    })
}

/// Changes a certificate that is there and is what the caller has read.
async fn change(
    call: ServerCall<'_>,
    id: ResourceId,
    decide: impl FnOnce(&mut ResourceRecord) -> Result<(), Error> + Send + 'static,
) -> Result<ResourceRecord, Error> {
    need(call, &id)?;
    let demand = EtagDemand::of(call.request, None);
    let outcome = transitions::write(call, id.clone(), move |present| {
        let mut record = present.existing()?.clone();
        demand.require(&record, &id.name)?;
        decide(&mut record)?;
        touch(&mut record, present.now.unix_seconds());
        Ok(ChangeDecision::Done(record))
    })
    .await?;
    Ok(outcome.record)
}

/// POST `generateVerificationCode`: a leaf that is made out to the code proves possession of the key.
async fn new_code(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    let code = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let code = code[..48].to_ascii_uppercase();
    let secret = Secret::new(code.as_str());
    let keep = move |record: &mut ResourceRecord| {
        record.secrets.insert(CODE.to_owned(), secret);
        Ok(())
    };
    let record = change(call, id, keep).await?;
    let mut text = render(&record);
    text["properties"]["verificationCode"] = code.into();
    Ok(ArmAnswer::ok(text))
}

/// POST `verify`.
async fn verify(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    let body = call.request.json()?;
    let text = ArmObject::body(&body)?
        .required_text("certificate")?
        .to_owned();
    let leaf = x509::read(&text).map_err(|rule| Error::invalid("certificate", rule))?;
    let prove = move |record: &mut ResourceRecord| {
        let code = record.secrets.get(CODE).cloned().ok_or_else(|| {
            bad("certificate: there is no verification code to prove it with; POST generateVerificationCode first")
        })?;
        let authority = STANDARD.decode(record.property("certificate").unwrap_or_default());
        let authority = authority.unwrap_or_default();
        x509::proves(&leaf, &authority, code.expose())
            .map_err(|rule| Error::invalid("certificate", rule))?;
        record.secrets.remove(CODE);
        record.set_property("isVerified", true);
        Ok(())
    };
    let record = change(call, id, prove).await?;
    Ok(ArmAnswer::ok(render(&record)))
}
