//! Who may do what: shared key and shared access signatures.
//!
//! Sources, Azure Storage REST API: "Authorize with Shared Key", "Create a service SAS", "Create an account
//! SAS" with their tables of permissions by operation.

use super::account::BlobAccount;
use super::call::{BlobCall, BlobOperation};
use super::refusal::BlobRefusal;
use super::reply::parse_http_date;
use crate::identity;
use http::StatusCode;
use twinroute_model::clock::Timestamp;
use twinroute_model::sas::blob::{
    BlobSas, BlobSasRefusal as SasRefusal, BlobSasScope, verify_shared_key,
};

/// "Authorize with Shared Key": how far the date of a request may be from the service's clock.
const SKEW_MS_MAX: u64 = 15 * 60 * 1_000;

/// Whom tokens of Microsoft Entra are for.
const AUDIENCE: &str = "https://storage.azure.com";

/// What a request that passed may do beyond its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlobRights {
    /// Whether a blob that is there may be replaced.
    pub(super) overwrite: bool,
}

/// Checks a request before anything of it is looked up.
pub(super) fn check(
    account: &BlobAccount,
    call: &BlobCall,
    now: Timestamp,
) -> Result<BlobRights, BlobRefusal> {
    if let Some(token) = call.header("authorization").strip_prefix("Bearer ") {
        // "Authorize with Microsoft Entra ID". Every role is granted.
        let issuer = account.issuer.as_deref();
        return identity::check_bearer(issuer, token, &[AUDIENCE], now)
            .map(|_| BlobRights { overwrite: true })
            .map_err(BlobRefusal::unauthenticated);
    }
    if call.headers.contains_key("authorization") {
        shared_key(account, call, now)?;
        return Ok(BlobRights { overwrite: true });
    }
    let sas = BlobSas::parse(&call.line.query)
        .map_err(|refusal| BlobRefusal::unauthenticated(refusal.to_string()))?;
    let Some(sas) = sas else {
        let text = "the request has neither an Authorization header nor a signature";
        let status = StatusCode::UNAUTHORIZED;
        return Err(BlobRefusal::new(
            status,
            "NoAuthenticationInformation",
            text,
        ));
    };
    signature(account, call, &sas, now)
}

fn signature(
    account: &BlobAccount,
    call: &BlobCall,
    sas: &BlobSas,
    now: Timestamp,
) -> Result<BlobRights, BlobRefusal> {
    if !sas.field("si").is_empty() {
        let text = "the container has no stored access policies";
        return Err(BlobRefusal::unauthenticated(text));
    }
    let blob = (!call.blob.is_empty()).then_some(call.blob.as_str());
    sas.verify(&account.name, &account.key(), &call.container, blob, now)
        .map_err(|refusal| {
            let text = match refusal {
                SasRefusal::Mismatch => {
                    let signed = sas.string_to_sign(&account.name, &call.container, blob);
                    format!("{refusal}; it must be made over {signed:?}")
                }
                _ => refusal.to_string(),
            };
            BlobRefusal::unauthenticated(text)
        })?;
    // Only behind the signature: what stands in an unsigned one says nothing.
    if sas.field("spr").eq_ignore_ascii_case("https") {
        let text = "the signature allows https only, and this is http";
        return Err(BlobRefusal::forbidden(
            "AuthorizationProtocolMismatch",
            text,
        ));
    }
    if !covers_loopback(sas.field("sip")) {
        let text = "the signature is for other addresses than 127.0.0.1";
        return Err(BlobRefusal::forbidden(
            "AuthorizationSourceIPMismatch",
            text,
        ));
    }
    let (letters, resource_type) = needs(call.operation);
    match sas.scope() {
        BlobSasScope::Account => {
            if !sas.field("ss").contains('b') {
                let text = "the signature is not for blobs (ss)";
                return Err(BlobRefusal::forbidden("AuthorizationServiceMismatch", text));
            }
            if !sas.field("srt").contains(resource_type) {
                let text = format!("the signature is not for resource type {resource_type} (srt)");
                let code = "AuthorizationResourceTypeMismatch";
                return Err(BlobRefusal::forbidden(code, text));
            }
        }
        BlobSasScope::Container | BlobSasScope::Blob => {
            if resource_type == 'c' && call.operation != BlobOperation::ListBlobs {
                let text = "a service signature does not reach the container itself";
                return Err(BlobRefusal::forbidden("AuthorizationFailure", text));
            }
        }
    }
    if !letters.chars().any(|letter| sas.permits(letter)) {
        let text = format!("the signature has none of the permissions {letters:?} (sp)");
        let code = "AuthorizationPermissionMismatch";
        return Err(BlobRefusal::forbidden(code, text));
    }
    Ok(BlobRights {
        overwrite: sas.permits('w'),
    })
}

/// The permissions one of which an operation needs, and the resource type of an account signature.
///
/// Putting blocks needs `w` also for a new blob: with `c` alone the service refuses large uploads.
fn needs(operation: BlobOperation) -> (&'static str, char) {
    match operation {
        BlobOperation::CreateContainer => ("cw", 'c'),
        BlobOperation::DeleteContainer => ("d", 'c'),
        BlobOperation::ContainerProperties => ("r", 'c'),
        BlobOperation::ListBlobs => ("l", 'c'),
        BlobOperation::PutBlob => ("wc", 'o'),
        BlobOperation::PutBlock | BlobOperation::PutBlockList => ("w", 'o'),
        BlobOperation::GetBlob | BlobOperation::BlobProperties => ("r", 'o'),
        BlobOperation::DeleteBlob => ("d", 'o'),
    }
}

/// Whether `sip`, an address or a range of them, holds the only address that clients come from.
fn covers_loopback(range: &str) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let parse = |text: &str| text.parse::<std::net::Ipv4Addr>();
    match (parse(first), parse(last)) {
        (Ok(first), Ok(last)) => (first..=last).contains(&std::net::Ipv4Addr::LOCALHOST),
        _ => range.is_empty(),
    }
}

fn shared_key(account: &BlobAccount, call: &BlobCall, now: Timestamp) -> Result<(), BlobRefusal> {
    let given = call.header("authorization");
    let Some((name, signature)) = given
        .strip_prefix("SharedKey ")
        .and_then(|rest| rest.split_once(':'))
    else {
        let text = "only SharedKey and shared access signatures are known over http";
        return Err(BlobRefusal::unauthenticated(text));
    };
    if name != account.name {
        let text = format!("the header signs for account {name}, not {}", account.name);
        return Err(BlobRefusal::unauthenticated(text));
    }
    let dated = ["x-ms-date", "date"].map(|name| call.header(name));
    let date = dated.iter().find(|text| !text.is_empty());
    let fresh = date
        .and_then(|text| parse_http_date(text))
        .is_some_and(|date| {
            let away = date.unix_millis().abs_diff(now.unix_millis());
            away <= SKEW_MS_MAX
        });
    if !fresh {
        let text = "the date of the request is missing or more than 15 minutes away";
        return Err(BlobRefusal::unauthenticated(text));
    }
    let signed = string_to_sign(&account.name, call);
    verify_shared_key(&account.key(), &signed, signature).map_err(|refusal| {
        let text = format!("{refusal}; it must be made over {signed:?}");
        BlobRefusal::unauthenticated(text)
    })
}

/// "Authorize with Shared Key", "Blob, Queue, and File Services (Shared Key authorization)", from version
/// 2015-02-21 on.
fn string_to_sign(account: &str, call: &BlobCall) -> String {
    let mut text = format!("{}\n", call.line.method);
    for name in [
        "content-encoding",
        "content-language",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ] {
        let value = call.header(name);
        let empty = (name == "content-length" && value == "0")
            || (name == "date" && call.headers.contains_key("x-ms-date"));
        text.push_str(if empty { "" } else { value });
        text.push('\n');
    }
    let mut headers: Vec<&str> = call.headers.keys().map(http::HeaderName::as_str).collect();
    headers.retain(|name| name.starts_with("x-ms-"));
    // The service's order looks at hyphens last.
    headers.sort_by_key(|name| (name.replace('-', ""), (*name).to_owned()));
    for name in headers {
        text.push_str(&format!("{name}:{}\n", call.header(name).trim()));
    }
    text.push_str(&format!("/{account}{}", call.line.path));
    let mut pairs = call.query.pairs().to_vec();
    pairs.sort();
    for together in pairs.chunk_by(|one, other| one.0 == other.0) {
        let values: Vec<&str> = together.iter().map(|(_, value)| value.as_str()).collect();
        text.push_str(&format!("\n{}:{}", together[0].0, values.join(",")));
    }
    text
}
