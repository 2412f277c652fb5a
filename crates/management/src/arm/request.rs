//! A request, taken apart once.

use super::error::Error;
use super::json;
use super::path::RequestPath;
use super::versions;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method};
use twinroute_audit::ChangeAuthor;
use twinroute_listen::PrivateWay;
use twinroute_model::clock::Timestamp;
use twinroute_model::json::JsonDocument;
use uuid::Uuid;
use zeroize::Zeroize as _;

/// What was asked, by whom, and how the answer's URLs begin.
pub(crate) struct ArmRequest {
    pub(crate) method: Method,
    /// A HEAD: answered as the GET would be, by its status alone.
    pub(crate) is_head: bool,
    pub(crate) segments: RequestPath,
    query: Vec<(String, String)>,
    /// Path and query as they came.
    target: String,
    pub(crate) headers: HeaderMap,
    /// `https://host:port`, as the caller sees this server.
    pub(crate) base: String,
    /// The caller's name, for `systemData` and the log.
    pub(crate) caller: String,
    pub(crate) id: Uuid,
    /// For the audit log.
    pub(crate) author: ChangeAuthor,
    pub(crate) now: Timestamp,
    /// The private endpoint connection that the listener stands for.
    pub(crate) way: Option<PrivateWay>,
    body: RequestBody,
}

/// What is known of a request beside its head.
pub(crate) struct RequestArrival {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) caller: String,
    pub(crate) author: ChangeAuthor,
    pub(crate) now: Timestamp,
    pub(crate) body: Bytes,
}

/// What was sent; zeroed when the request is answered. One that came in a single piece stands in the HTTP library's
/// buffer, which nobody else can write to.
struct RequestBody(Bytes);

impl RequestBody {
    /// The memory of the body, zeroed; nothing if it is not ours alone.
    fn wipe(&mut self) -> Option<BytesMut> {
        let mut own = std::mem::take(&mut self.0).try_into_mut().ok()?;
        own.as_mut().zeroize();
        Some(own)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        drop(self.wipe());
    }
}

impl ArmRequest {
    /// # Errors
    /// When the path has too many segments.
    pub(crate) fn new(head: Parts, arrival: RequestArrival) -> Result<Self, Error> {
        let segments = RequestPath::read(head.uri.path())?;
        let id = Uuid::new_v4();
        let base = base(&head, arrival.scheme);
        let way = PrivateWay::of_extensions(&head.extensions).cloned();
        let is_head = head.method == Method::HEAD;
        Ok(Self {
            way,
            is_head,
            segments,
            query: form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
            target: head
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            method: if is_head { Method::GET } else { head.method },
            headers: head.headers,
            base,
            caller: arrival.caller,
            author: arrival.author.request(id),
            id,
            now: arrival.now,
            body: RequestBody(arrival.body),
        })
    }

    /// A query parameter; names compare without case.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The api-version, of the right form but perhaps unknown.
    pub(crate) fn version(&self) -> Result<&str, Error> {
        let version = self
            .query("api-version")
            .filter(|version| !version.is_empty());
        let version = version.ok_or(Error::MissingApiVersion)?;
        if versions::is_version(version) {
            return Ok(version);
        }
        Err(Error::InvalidApiVersion {
            version: version.chars().take(64).collect(),
            supported: versions::DIGITAL_TWINS,
        })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it says that it is something else, or is none.
    pub(crate) fn json(&self) -> Result<JsonDocument, Error> {
        if let Some(found) = self.header("content-type") {
            let media = found.split(';').next().unwrap_or_default().trim();
            let media = media.to_ascii_lowercase();
            if media != "application/json" && media != "text/json" && !media.ends_with("+json") {
                let found = found.chars().take(64).collect();
                return Err(Error::UnsupportedMediaType { found });
            }
        }
        json::read(&self.body.0)
    }

    /// The last segment of the path, in lower case.
    pub(crate) fn last_word(&self) -> &str {
        self.segments.words.last().map_or("", String::as_str)
    }

    /// Path and query as they came.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The path, decoded; as it came, where a segment of it is illegal.
    pub(crate) fn path(&self) -> String {
        if self.segments.illegal.is_some() {
            let path = self.target.split('?').next();
            return path.unwrap_or_default().to_owned();
        }
        self.segments
            .names
            .iter()
            .fold(String::new(), |path, segment| path + "/" + segment)
    }

    /// The host that the caller asked for, with its port.
    pub(crate) fn host(&self) -> &str {
        self.base.split_once("://").map_or("", |(_, host)| host)
    }
}

/// How URLs that are given out begin. A proxy in front says so in `X-Forwarded-*`; whoever sends these
/// headers falsely only misleads themselves.
fn base(head: &Parts, scheme: &'static str) -> String {
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        let first = value.split(',').next().unwrap_or_default().trim();
        (!first.is_empty()).then(|| first.to_owned())
    };
    let forwarded = header("x-forwarded-proto").map(|proto| proto.to_ascii_lowercase());
    let scheme = match forwarded.as_deref() {
        Some("https") => "https",
        Some("http") => "http",
        _ => scheme,
    };
    let asked = head.uri.authority().map(ToString::to_string);
    let host = header("x-forwarded-host")
        .or(asked)
        .or_else(|| header("host"));
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let host = host.filter(|host| host.bytes().all(legal));
    format!("{scheme}://{}", host.as_deref().unwrap_or("localhost"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request(
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<ArmRequest, Error> {
        let mut builder = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let arrival = RequestArrival {
            scheme: "http",
            caller: "tests".to_owned(),
            author: ChangeAuthor::command("management", "tests"),
            now: Timestamp::from_unix_millis(0),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        ArmRequest::new(head, arrival)
    }

    #[test]
    fn a_body_is_zeroed_when_it_is_ours_alone() {
        let mut body = RequestBody(Bytes::from(b"AccessKey=abc".to_vec()));
        assert_eq!(body.wipe().unwrap(), [0; 13][..]);
        let shared = Bytes::from(b"AccessKey=abc".to_vec());
        assert!(RequestBody(shared.clone()).wipe().is_none());
        assert_eq!(shared, b"AccessKey=abc"[..]);
    }

    #[test]
    fn urls_begin_as_the_caller_sees_the_server() {
        let base = |headers: &[(&str, &str)]| request("GET", "/", headers, "").unwrap().base;
        assert_eq!(base(&[("host", "localhost:8443")]), "http://localhost:8443");
        let proxied = [
            ("host", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "twins.example"),
        ];
        assert_eq!(base(&proxied), "https://twins.example");
        assert_eq!(base(&[("host", "a b\"<x>")]), "http://localhost");
    }

    #[test]
    fn queries_are_decoded_and_versions_have_a_form() {
        let request = request(
            "GET",
            "/?Api-Version=2023-01-31&%24skiptoken=a%2Bb+c",
            &[],
            "",
        )
        .unwrap();
        assert_eq!(request.version().unwrap(), "2023-01-31");
        assert_eq!(request.query("$skipToken"), Some("a+b c"));
        let missing = super::tests::request("GET", "/", &[], "").unwrap();
        assert_eq!(
            missing.version().unwrap_err().code(),
            "MissingApiVersionParameter"
        );
        let odd = super::tests::request("GET", "/?api-version=latest", &[], "").unwrap();
        assert_eq!(
            odd.version().unwrap_err().code(),
            "InvalidApiVersionParameter"
        );
    }
}
