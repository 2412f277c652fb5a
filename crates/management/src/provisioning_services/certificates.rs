//! Certificates of a service: `…/certificates[/{name}[/generateVerificationCode|/verify]]`.
//!
//! Source: Microsoft.Devices 2022-12-12, `CertificateResponse`. A certificate is changed at once, without an
//! operation.

use super::etag::{self, Demand};
use super::{bad, invalid, x509};
use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::json::Object;
use crate::arm::page;
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::life;
use crate::lookup::{need, need_parent, not_found, only};
use crate::store::record::{Record, system_data};
use crate::store::unknown::UnknownMembers;
use crate::store::{Change, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::format_description;
use twinroute_model::secret::Secret;
use uuid::Uuid;

/// Certificates of one service.
const CERTIFICATES_MAX: usize = 100;

/// Characters of a certificate's name.
const NAME_MAX: usize = 64;

/// Where a verification code is kept: a secret until it was used.
const CODE: &str = "/properties/verificationCode";

pub(super) async fn answer(
    desk: &Arc<Desk>,
    request: &Request,
    service: &ResourceId,
    words: &[&str],
    rest: &[String],
) -> Result<Answer, Error> {
    let [name, ..] = rest else {
        only(request, &[Method::GET], "GET")?;
        need_parent(desk, service)?;
        let prefix = service.children(Kind::Certificate);
        return page::list(request, &desk.store.read(), &prefix, render).map(Answer::ok);
    };
    let id = service.child(Kind::Certificate, name);
    match (&words[1..], &request.method) {
        ([], &Method::GET) => {
            let record = need(desk, &id)?;
            Demand::of(request, None).check(Some(&record), &id.name)?;
            Ok(Answer::ok(render(&record)))
        }
        ([], &Method::PUT) => put(desk, request, id).await,
        ([], &Method::DELETE) => delete(desk, request, id).await,
        ([], _) => {
            only(request, &[], "GET, PUT and DELETE")?;
            Err(not_found(&id))
        }
        (["generateverificationcode"], _) => {
            only(request, &[Method::POST], "POST")?;
            new_code(desk, request, id).await
        }
        (["verify"], _) => {
            only(request, &[Method::POST], "POST")?;
            verify(desk, request, id).await
        }
        _ => Err(Error::UnknownPath {
            path: request.path(),
        }),
    }
}

/// What readers see. The type ends as Azure writes it.
fn render(record: &Record) -> Value {
    // A code is shown once, by the answer that made it.
    let mut body = Record::clone(record);
    body.secrets.remove(CODE);
    let mut body = body.render_hidden();
    body["type"] = format!("{}/Certificates", Kind::Service.type_name()).into();
    body
}

async fn put(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let owner = id.owner().expect("a certificate has a service");
    need_parent(desk, &owner)?;
    check_name(&id.name)?;
    let body = request.json()?;
    let body = Object::body(&body)?;
    let (der, verified) = read(&body)?;
    let unknown = unknown(&body)?;
    let demand = Demand::of(request, None);
    let (caller, now) = (request.caller.clone(), request.now);
    let record = desk
        .change(Some(&request.cause), move |_, state| {
            life::staying(state, &owner)?;
            let before = state.get(&id);
            let before = before.as_ref();
            match before {
                Some(before) => demand.require(before, &id.name)?,
                None => room(state, &owner)?,
            }
            let der = match (der, before) {
                (Some(der), _) => der,
                // Azure shows none on a read: what is sent back without it keeps it.
                (None, Some(before)) => stored(before)?,
                (None, None) => {
                    return Err(Error::MissingMember {
                        path: "properties.certificate".to_owned(),
                    });
                }
            };
            let mut record = Record::new(id, describe(&der)?, BTreeMap::new());
            unknown.keep(&mut record, before)?;
            let same = before
                .filter(|before| before.property("certificate") == record.property("certificate"));
            // Proof of possession holds for one certificate, not for another under its name.
            let kept = same.and_then(|same| same.properties().get("isVerified")?.as_bool());
            let created = before.and_then(|before| before.property("created"));
            let created = created.map_or_else(|| http_date(now.unix_seconds()), str::to_owned);
            let properties = record.properties_mut();
            properties.insert(
                "isVerified".to_owned(),
                verified.or(kept).unwrap_or(false).into(),
            );
            properties.insert("created".to_owned(), created.into());
            let system = system_data(before, &caller, now);
            record.body.insert("systemData".to_owned(), system);
            touch(&mut record, now.unix_seconds());
            Ok((vec![Change::Put(record.clone())], record))
        })
        .await?;
    Ok(Answer::ok(render(&record)))
}

/// The certificate in DER, if it is sent, and whether it is said to be verified. Older versions have both at the top.
fn read(body: &Object<'_>) -> Result<(Option<Vec<u8>>, Option<bool>), Error> {
    let properties = body.object("properties")?;
    let place = if properties.is_there() {
        &properties
    } else {
        body
    };
    let der = match place.text("certificate")? {
        Some(text) => {
            let der = x509::read(text);
            Some(der.map_err(|rule| invalid(place.path("certificate"), rule))?)
        }
        None => None,
    };
    Ok((der, place.boolean("isVerified")?))
}

/// The certificate of a record, in DER.
fn stored(record: &Record) -> Result<Vec<u8>, Error> {
    let text = record.property("certificate").unwrap_or_default();
    let der = STANDARD.decode(text);
    der.map_err(|_| bad("certificate: send it, the stored one cannot be read"))
}

/// Members that nobody knows.
fn unknown(body: &Object<'_>) -> Result<UnknownMembers, Error> {
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

/// What is stored of a certificate: all of it, and what stands in it.
fn describe(der: &[u8]) -> Result<Map<String, Value>, Error> {
    let facts = x509::facts(der).ok_or_else(|| bad("certificate: cannot be read"))?;
    let properties = json!({
        "subject": facts.subject,
        "expiry": http_date(facts.expiry),
        "thumbprint": facts.thumbprint,
        "certificate": STANDARD.encode(der),
    });
    Ok(Map::from_iter([("properties".to_owned(), properties)]))
}

/// Notes a change.
fn touch(record: &mut Record, now: i64) {
    let properties = record.properties_mut();
    properties.insert("updated".to_owned(), http_date(now).into());
    record
        .body
        .insert("etag".to_owned(), etag::of_certificate().into());
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

fn room(state: &State, owner: &ResourceId) -> Result<(), Error> {
    let prefix = owner.children(Kind::Certificate);
    if state.keys(&prefix).count() < CERTIFICATES_MAX {
        return Ok(());
    }
    Err(Error::LimitReached {
        what: format!("provisioning service '{}'", owner.name),
        kind: "certificates",
        limit: CERTIFICATES_MAX,
        way_out: "delete one.",
    })
}

/// At once: 200; 204 when it is not there.
async fn delete(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let owner = id.owner().expect("a certificate has a service");
    need_parent(desk, &owner)?;
    let demand = Demand::of(request, None);
    let gone = desk
        .change(Some(&request.cause), move |_, state| {
            let Some(before) = &state.get(&id) else {
                return Ok((Vec::new(), false));
            };
            demand.require(before, &id.name)?;
            Ok((vec![Change::Remove(id.key())], true))
        })
        .await?;
    Ok(if gone {
        Answer::new(http::StatusCode::OK, None)
    } else {
        Answer::no_content()
    })
}

/// Changes a certificate that is there and is what the caller has read.
async fn change(
    desk: &Arc<Desk>,
    request: &Request,
    id: ResourceId,
    decide: impl FnOnce(&mut Record) -> Result<(), Error> + Send + 'static,
) -> Result<Record, Error> {
    need(desk, &id)?;
    let demand = Demand::of(request, None);
    let (caller, now) = (request.caller.clone(), request.now);
    desk.change(Some(&request.cause), move |_, state| {
        let before = &state.get(&id).ok_or_else(|| not_found(&id))?;
        demand.require(before, &id.name)?;
        let mut record = Record::clone(before);
        decide(&mut record)?;
        let system = system_data(Some(before), &caller, now);
        record.body.insert("systemData".to_owned(), system);
        touch(&mut record, now.unix_seconds());
        Ok((vec![Change::Put(record.clone())], record))
    })
    .await
}

/// POST `generateVerificationCode`: a leaf that is made out to the code proves possession of the key.
async fn new_code(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let code = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let code = code[..48].to_ascii_uppercase();
    let secret = Secret::new(code.as_str());
    let keep = move |record: &mut Record| {
        record.secrets.insert(CODE.to_owned(), secret);
        Ok(())
    };
    let record = change(desk, request, id, keep).await?;
    let mut shown = render(&record);
    shown["properties"]["verificationCode"] = code.into();
    Ok(Answer::ok(shown))
}

/// POST `verify`.
async fn verify(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let body = request.json()?;
    let text = Object::body(&body)?
        .required_text("certificate")?
        .to_owned();
    let leaf = x509::read(&text).map_err(|rule| invalid("certificate", rule))?;
    let prove = move |record: &mut Record| {
        let code = record.secrets.get(CODE).cloned().ok_or_else(|| {
            bad("certificate: there is no verification code to prove it with; POST generateVerificationCode first")
        })?;
        let authority = STANDARD.decode(record.property("certificate").unwrap_or_default());
        let authority = authority.unwrap_or_default();
        x509::proves(&leaf, &authority, code.expose())
            .map_err(|rule| invalid("certificate", rule))?;
        record.secrets.remove(CODE);
        let properties = record.properties_mut();
        properties.insert("isVerified".to_owned(), true.into());
        Ok(())
    };
    let record = change(desk, request, id, prove).await?;
    Ok(Answer::ok(render(&record)))
}
