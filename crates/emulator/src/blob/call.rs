//! What a request asks for, read from its method, path, query and headers.

use super::refusal::BlobRefusal;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// "Naming and referencing containers, blobs, and metadata": characters of a blob's name.
const NAME_CHARS_MAX: usize = 1_024;
/// The same page: path segments of a blob's name.
const NAME_SEGMENTS_MAX: usize = 254;
/// "Setting and retrieving properties and metadata": bytes of all names and values.
const METADATA_BYTES_MAX: usize = 8 * 1024;
const METADATA_PREFIX: &str = "x-ms-meta-";

/// Headers that would change what a request means; it is refused rather than half done.
const UNSUPPORTED: [&str; 15] = [
    "if-modified-since",
    "if-unmodified-since",
    "x-ms-access-tier",
    "x-ms-blob-public-access",
    "x-ms-content-crc64",
    "x-ms-copy-source",
    "x-ms-default-encryption-scope",
    "x-ms-encryption-key",
    "x-ms-encryption-scope",
    "x-ms-if-tags",
    "x-ms-immutability-policy-until-date",
    "x-ms-lease-id",
    "x-ms-legal-hold",
    "x-ms-structured-body",
    "x-ms-tags",
];

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlobOperation {
    CreateContainer,
    DeleteContainer,
    ContainerProperties,
    ListBlobs,
    PutBlob,
    PutBlock,
    PutBlockList,
    GetBlob,
    BlobProperties,
    DeleteBlob,
}

/// A request without its body.
#[derive(Debug)]
pub(super) struct BlobCall {
    pub(super) operation: BlobOperation,
    pub(super) container: String,
    /// Empty for operations on containers.
    pub(super) blob: String,
    pub(super) query: BlobQuery,
    pub(super) headers: HeaderMap,
    pub(super) line: RequestLine,
}

/// The request line as it came, for signatures.
#[derive(Debug)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
}

/// The query's parameters, decoded, names in lower case. No form: a `+` stays one, since signatures are base64.
#[derive(Clone, Debug, Default)]
pub(super) struct BlobQuery(Vec<(String, String)>);

impl BlobQuery {
    pub(super) fn parse(text: &str) -> Result<Self, BlobRefusal> {
        let mut all = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| BlobRefusal::query_value(name, "it is not UTF-8"))?;
            all.push((name.to_ascii_lowercase(), value.into_owned()));
        }
        Ok(Self(all))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// The container that a path names, whatever else is wrong with it.
pub(super) fn container_of<'a>(account: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix('/')?.strip_prefix(account)?;
    let container = rest.strip_prefix('/')?.split('/').next()?;
    (!container.is_empty()).then_some(container)
}

impl BlobCall {
    /// Reads a request to `account`.
    pub(super) fn read(account: &str, parts: Parts) -> Result<Self, BlobRefusal> {
        let path = parts.uri.path();
        let Some(container) = container_of(account, path) else {
            let text = format!("the path does not begin with /{account}/ and a container");
            let status = StatusCode::NOT_FOUND;
            return Err(BlobRefusal::new(status, "ResourceNotFound", text));
        };
        check_container_name(container)?;
        let rest = &path[account.len() + container.len() + 2..];
        let blob = percent_decode_str(rest.strip_prefix('/').unwrap_or_default()).decode_utf8();
        let blob = blob.map_err(|_| BlobRefusal::bad("InvalidUri", "the path is not UTF-8"))?;
        let query_text = parts.uri.query().unwrap_or_default();
        let query = BlobQuery::parse(query_text)?;
        let operation = operation(&parts.method, !blob.is_empty(), &query)?;
        if !blob.is_empty() {
            check_blob_name(&blob)?;
        }
        if let Some(name) = UNSUPPORTED
            .iter()
            .find(|name| parts.headers.contains_key(**name))
        {
            let text = format!("the emulator does not support the header {name}");
            return Err(BlobRefusal::bad("UnsupportedHeader", text));
        }
        if let Some(version) = parts.headers.get("x-ms-version")
            && !version.to_str().is_ok_and(is_date)
        {
            let why = "it is not a date such as 2021-08-06";
            return Err(BlobRefusal::header_value("x-ms-version", why));
        }
        Ok(Self {
            operation,
            container: container.to_owned(),
            blob: blob.into_owned(),
            query,
            line: RequestLine {
                method: parts.method,
                path: path.to_owned(),
                query: query_text.to_owned(),
            },
            headers: parts.headers,
        })
    }

    /// A header's text; empty when it is missing.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The metadata in the headers, names in lower case.
    pub(super) fn metadata(&self) -> Result<BTreeMap<String, String>, BlobRefusal> {
        let mut all = BTreeMap::new();
        let mut bytes = 0;
        for (header, value) in &self.headers {
            let Some(name) = header.as_str().strip_prefix(METADATA_PREFIX) else {
                continue;
            };
            let invalid = |why: &str| {
                BlobRefusal::bad("InvalidMetadata", format!("metadata {name:?}: {why}"))
            };
            if name.is_empty() {
                return Err(BlobRefusal::bad("EmptyMetadataKey", "metadata has no name"));
            }
            // "Naming and referencing containers, blobs, and metadata": names are C# identifiers.
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if !name.bytes().all(fits) || name.as_bytes()[0].is_ascii_digit() {
                return Err(invalid(
                    "the name must be letters, digits and _, no digit first",
                ));
            }
            let text = value.to_str();
            let text = text.map_err(|_| invalid("the value is not visible ASCII"))?;
            bytes += name.len() + text.len();
            if all.insert(name.to_owned(), text.to_owned()).is_some() {
                return Err(invalid("it is given twice"));
            }
        }
        if bytes > METADATA_BYTES_MAX {
            let text = format!("the metadata is larger than {METADATA_BYTES_MAX} bytes");
            return Err(BlobRefusal::bad("MetadataTooLarge", text));
        }
        Ok(all)
    }
}

fn operation(
    method: &Method,
    on_blob: bool,
    query: &BlobQuery,
) -> Result<BlobOperation, BlobRefusal> {
    let what = (query.get("restype"), query.get("comp"));
    let method = method.as_str();
    match (method, on_blob, what) {
        ("PUT", false, (Some("container"), None)) => Ok(BlobOperation::CreateContainer),
        ("DELETE", false, (Some("container"), None)) => Ok(BlobOperation::DeleteContainer),
        ("GET" | "HEAD", false, (Some("container"), None)) => {
            Ok(BlobOperation::ContainerProperties)
        }
        ("GET", false, (Some("container"), Some("list"))) => Ok(BlobOperation::ListBlobs),
        ("PUT", true, (None, None)) => Ok(BlobOperation::PutBlob),
        ("PUT", true, (None, Some("block"))) => Ok(BlobOperation::PutBlock),
        ("PUT", true, (None, Some("blocklist"))) => Ok(BlobOperation::PutBlockList),
        ("GET", true, (None, None)) => Ok(BlobOperation::GetBlob),
        ("HEAD", true, (None, None)) => Ok(BlobOperation::BlobProperties),
        ("DELETE", true, (None, None)) => Ok(BlobOperation::DeleteBlob),
        ("PUT" | "GET" | "HEAD" | "DELETE" | "POST", _, (_, Some(comp))) => {
            let why = format!("{comp:?} with {method} is not supported by the emulator");
            Err(BlobRefusal::query_value("comp", &why))
        }
        ("PUT" | "GET" | "HEAD" | "DELETE", ..) => {
            let why = "operations on a container need restype=container, others have none";
            Err(BlobRefusal::query_value("restype", why))
        }
        _ => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let text = format!("the emulator does not support {method}");
            Err(BlobRefusal::new(status, "UnsupportedHttpVerb", text))
        }
    }
}

/// "Naming and referencing containers, blobs, and metadata", container names.
pub(super) fn check_container_name(name: &str) -> Result<(), BlobRefusal> {
    if !(3..=63).contains(&name.len()) {
        let text = format!("container name {name:?}: it must have 3 to 63 characters");
        return Err(BlobRefusal::bad("OutOfRangeInput", text));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = name.starts_with('-') || name.ends_with('-');
    if !name.bytes().all(fits) || ends || name.contains("--") {
        let text = format!(
            "container name {name:?}: it must be lower-case letters, digits and single hyphens, \
             no hyphen first or last"
        );
        return Err(BlobRefusal::bad("InvalidResourceName", text));
    }
    Ok(())
}

/// The same page, blob names.
pub(super) fn check_blob_name(name: &str) -> Result<(), BlobRefusal> {
    let wrong = if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        "it must have 1 to 1,024 characters"
    } else if name.split('/').count() > NAME_SEGMENTS_MAX {
        "it has more than 254 path segments"
    } else if name.ends_with(['.', '/', '\\']) {
        "it ends in a dot or a slash"
    } else if name.chars().any(char::is_control) {
        "it has control characters"
    } else {
        return Ok(());
    };
    Err(BlobRefusal::bad(
        "InvalidUri",
        format!("blob name: {wrong}"),
    ))
}

fn is_date(text: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    text.bytes().map(shape).eq(*b"0000-00-00")
}
