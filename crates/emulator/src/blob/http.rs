//! Requests to the containers: bodies, faults, common headers, the shape of an error.

use super::account::{BlobAccount, PERMIT_BYTES};
use super::call::{BlobCall, container_of};
use super::refusal::BlobRefusal;
use super::reply::{BlobReply, http_date};
use super::{access, operations};
use crate::faults::BlobAnswer;
use crate::http_server::{self, ConnectionDropped, HttpAnswer};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use quick_xml::escape::escape;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;

/// The version that answers name when the request names none.
const VERSION: &str = "2021-08-06";
/// Longest identifier of a client that is sent back, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 1_024;

/// Answers a request to an account.
pub(crate) async fn answer(account: Arc<BlobAccount>, request: Request<Incoming>) -> HttpAnswer {
    let account = &*account;
    let (parts, incoming) = request.into_parts();
    let container = container_of(&account.name, parts.uri.path());
    let container = container.unwrap_or_default().to_owned();
    if let Some(arrivals) = account.arrivals(&container) {
        arrivals.add_request();
    }
    let common = CommonHeaders::of(&parts, account, account.context.now());
    let (permit, body) = match admit(account, &parts, incoming).await? {
        Ok(body) => body,
        Err(refusal) => return Ok(common.refuse(&refusal)),
    };
    let fault = account.context.faults.next_blob(&container);
    let refusal = match &fault {
        Some(BlobAnswer::Status(status, code, seconds)) => Some(scripted(*status, code, *seconds)),
        Some(BlobAnswer::Full) => Some(BlobRefusal::full()),
        Some(BlobAnswer::ContainerAbsent) => Some(BlobRefusal::container_not_found(&container)),
        Some(BlobAnswer::Stall) => {
            drop((permit, body));
            return std::future::pending().await;
        }
        Some(BlobAnswer::Drop) => return Err(ConnectionDropped),
        Some(BlobAnswer::AnswerAfter(_) | BlobAnswer::StoreAndDrop) | None => None,
    };
    if let Some(refusal) = refusal {
        return Ok(common.refuse(&refusal));
    }
    let endpoint = common.endpoint.clone();
    let done = BlobCall::read(&account.name, parts).and_then(|call| {
        let rights = access::check(account, &call, account.context.now())?;
        operations::perform(
            account,
            &call,
            body,
            rights,
            &endpoint,
            account.context.now(),
        )
    });
    drop(permit);
    match fault {
        Some(BlobAnswer::AnswerAfter(wait)) => tokio::time::sleep(wait).await,
        Some(BlobAnswer::StoreAndDrop) => return Err(ConnectionDropped),
        _ => {}
    }
    Ok(match done {
        Ok(reply) => common.reply(reply),
        Err(refusal) => common.refuse(&refusal),
    })
}

fn scripted(status: u16, code: &str, retry_after_seconds: Option<u64>) -> BlobRefusal {
    let status = http_server::scripted_status(status);
    let mut refusal = BlobRefusal::new(status, code, "a scripted answer");
    refusal.retry_after_seconds = retry_after_seconds;
    refusal
}

/// Reads the body, when there is room for it among those under way.
///
/// It is read first: an answer before its end would reset a client that still writes.
async fn admit<'a>(
    account: &'a BlobAccount,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Result<(tokio::sync::SemaphorePermit<'a>, Bytes), BlobRefusal>, ConnectionDropped> {
    let bytes_max = account.limits.body_bytes_max;
    let length = parts.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let Some(length) = length.or((parts.method != Method::PUT).then_some(0)) else {
        let status = StatusCode::LENGTH_REQUIRED;
        let text = "the header Content-Length is missing";
        return Ok(Err(BlobRefusal::new(
            status,
            "MissingContentLengthHeader",
            text,
        )));
    };
    let too_large = || {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let text = format!("the body is larger than {bytes_max} bytes");
        Err(BlobRefusal::new(status, "RequestBodyTooLarge", text))
    };
    if length > bytes_max {
        return Ok(too_large());
    }
    let permits = u32::try_from(length.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
    let permit = account.bodies.acquire_many(permits).await;
    let permit = permit.expect("the semaphore is never closed");
    let Some(body) = http_server::body(incoming, length).await? else {
        return Ok(too_large());
    };
    // What is kept must not pin the buffer of a connection.
    Ok(Ok((permit, Bytes::copy_from_slice(&body))))
}

/// What all answers to a request have in common.
struct CommonHeaders {
    request_id: String,
    version: String,
    client_id: Option<HeaderValue>,
    date: String,
    /// The account's URL as the client knows it.
    endpoint: String,
}

impl CommonHeaders {
    fn of(parts: &Parts, account: &BlobAccount, now: Timestamp) -> Self {
        let text = |name: &str| {
            let value = parts.headers.get(name);
            value.and_then(|value| value.to_str().ok())
        };
        let signed = parts.uri.query().unwrap_or_default();
        let mut signed = signed
            .split('&')
            .filter_map(|pair| pair.strip_prefix("sv="));
        let version = text("x-ms-version").or_else(|| signed.next());
        let client_id = parts.headers.get("x-ms-client-request-id");
        let client_id = client_id.filter(|id| id.len() <= CLIENT_ID_BYTES_MAX);
        Self {
            request_id: format!("00000000-0000-4000-8000-{:012x}", account.next_request()),
            version: version.unwrap_or(VERSION).to_owned(),
            client_id: client_id.cloned(),
            date: http_date(now),
            endpoint: format!(
                "http://{}/{}",
                text("host").unwrap_or_default(),
                account.name
            ),
        }
    }

    fn reply(self, reply: BlobReply) -> Response<Full<Bytes>> {
        let mut reply = reply
            .with("server", "twinroute-emulator")
            .with("date", &self.date)
            .with("x-ms-request-id", &self.request_id)
            .with("x-ms-version", &self.version);
        if let Some(id) = self.client_id {
            reply.headers.insert("x-ms-client-request-id", id);
        }
        let mut response = Response::new(Full::from(reply.body));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    /// "Status and error codes": the code in a header and in a body of XML.
    fn refuse(self, refusal: &BlobRefusal) -> Response<Full<Bytes>> {
        let mut reply = if refusal.status == StatusCode::NOT_MODIFIED {
            BlobReply::new(refusal.status)
        } else {
            let (code, message) = (escape(&refusal.code), escape(&refusal.message));
            let xml = format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>\
                 {message}\nRequestId:{}\nTime:{}</Message></Error>",
                self.request_id, self.date
            );
            BlobReply::xml(refusal.status, xml)
        };
        reply = reply.with("x-ms-error-code", &refusal.code);
        if let Some(seconds) = refusal.retry_after_seconds {
            reply = reply.with("retry-after", &seconds.to_string());
        }
        if refusal.status == StatusCode::UNAUTHORIZED {
            let challenge = "Bearer authorization_uri=https://login.microsoftonline.com/common \
                             resource_id=https://storage.azure.com";
            reply = reply.with("www-authenticate", challenge);
        }
        self.reply(reply)
    }
}
