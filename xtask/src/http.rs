//! Requests to the management API over plain HTTP, one a connection.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection and each part of an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
    /// Null when there is none.
    pub(crate) body: Value,
}

/// Sends a request and reads its answer.
///
/// # Errors
/// No whole answer came in time.
pub(crate) fn ask(address: SocketAddr, request: &HttpRequest) -> anyhow::Result<HttpResponse> {
    let asked = || format!("{} {}", request.method, request.target);
    exchange(address, request).with_context(asked)
}

fn exchange(address: SocketAddr, request: &HttpRequest) -> anyhow::Result<HttpResponse> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let body = request.body.as_ref().map(Value::to_string);
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
        request.method, request.target, address
    );
    if let Some(body) = &body {
        let length = body.len();
        head.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {length}\r\n"
        ));
    }
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.unwrap_or_default().as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    HttpResponse::read(&text)
}

impl HttpRequest {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            target: target.into(),
            ..Self::default()
        }
    }

    pub(crate) fn put(target: impl Into<String>, body: Value) -> Self {
        Self {
            method: "PUT".to_owned(),
            target: target.into(),
            body: Some(body),
            ..Self::default()
        }
    }
}

impl HttpResponse {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .context("the answer is cut off")?;
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default();
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: BTreeMap<String, String> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        if headers.contains_key("transfer-encoding") {
            bail!("the answer comes in chunks");
        }
        let value = match body {
            "" => Value::Null,
            body => serde_json::from_str(body).context("the answer is no JSON")?,
        };
        Ok(Self {
            status: status.context("the answer has no status")?,
            headers,
            text: body.to_owned(),
            body: value,
        })
    }
}
