//! The table `[tracing]`.

use crate::headers;
use reqwest::Url;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use twinroute_model::secret::Secret;
use twinroute_router::trace::SpanSettings;

/// Spans that may wait: some 128 MiB at most.
const QUEUE_SPANS_MAX: usize = 65_536;

/// Spans of one request: some MiB.
const BATCH_SPANS_MAX: usize = 4_096;

/// Characters of the service's name.
const NAME_CHARS_MAX: usize = 255;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// Where spans are sent, and which.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The collector's URL; without a path `/v1/traces` is used. No span is recorded where it is not set.
    pub endpoint: Option<String>,
    /// Headers of each request, as `name: value`.
    pub headers: Vec<Secret>,
    /// A file with more of them, one a line.
    pub headers_file: Option<PathBuf>,
    /// Under which name the spans are shown.
    pub service_name: String,
    /// The share of traces that begin here which are recorded.
    pub sample: f64,
    /// The longest that a request takes.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The longest that a span waits for others to be sent with.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Spans that wait at most.
    pub queue_spans_max: usize,
    /// Spans of one request at most.
    pub batch_spans_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Vec::new(),
            headers_file: None,
            service_name: "twinroute".to_owned(),
            sample: 1.0,
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(5),
            queue_spans_max: 2_048,
            batch_spans_max: 512,
        }
    }
}

impl Settings {
    /// Checks what types cannot, but reads no file. Gives warnings.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key; never a header.
    pub fn check(&self) -> Result<Vec<String>, String> {
        let url = self.url()?;
        let parsed = headers::parse(self.headers.iter().map(Secret::expose));
        parsed.map_err(|rule| format!("headers: {rule}"))?;
        let has_headers = !self.headers.is_empty() || self.headers_file.is_some();
        let name = &self.service_name;
        let is_name = !name.is_empty() && !name.contains(char::is_control);
        if !is_name || name.chars().count() > NAME_CHARS_MAX {
            return Err(format!(
                "service_name must be 1 to {NAME_CHARS_MAX} characters, none of them a control character"
            ));
        }
        if !(0.0..=1.0).contains(&self.sample) {
            return Err("sample must be 0.0 to 1.0".to_owned());
        }
        for (key, value) in [("timeout", self.timeout), ("interval", self.interval)] {
            if !(SHORTEST..=LONGEST).contains(&value) {
                return Err(format!("{key} must be 100ms to 60s"));
            }
        }
        if !(1..=QUEUE_SPANS_MAX).contains(&self.queue_spans_max) {
            return Err(format!("queue_spans_max must be 1 to {QUEUE_SPANS_MAX}"));
        }
        if !(1..=BATCH_SPANS_MAX).contains(&self.batch_spans_max) {
            return Err(format!("batch_spans_max must be 1 to {BATCH_SPANS_MAX}"));
        }
        Ok(match url {
            None if has_headers => {
                vec!["headers are set, and no endpoint: nothing is sent anywhere".to_owned()]
            }
            Some(url) if has_headers && !is_private(&url) => vec![
                "endpoint is http://, so that its headers can be read on their way; use https://"
                    .to_owned(),
            ],
            _ => Vec::new(),
        })
    }

    /// Where spans are sent, if anywhere.
    pub(crate) fn url(&self) -> Result<Option<Url>, String> {
        let Some(endpoint) = &self.endpoint else {
            return Ok(None);
        };
        let mut url = Url::parse(endpoint).map_err(|error| {
            format!("endpoint must be a URL, as http://127.0.0.1:4318: {error}")
        })?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("endpoint must be http:// or https:// and a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "endpoint must hold no name and password; set an authorization in headers"
                    .to_owned(),
            );
        }
        if url.path() == "/" {
            // OTLP/HTTP: the path of traces, unless it is set.
            url.set_path("/v1/traces");
        }
        Ok(Some(url))
    }

    /// Which traces are recorded, and how many spans wait.
    pub(crate) fn spans(&self) -> SpanSettings {
        SpanSettings {
            sample: self.sample,
            spans_max: self.queue_spans_max,
        }
    }
}

/// Whether nobody else can read what is sent there.
fn is_private(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    url.scheme() == "https"
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_value_is_checked_by_its_key_and_no_header_is_shown() {
        for (text, expect) in [
            ("endpoint = 'collector:4318'", "endpoint must be http"),
            ("endpoint = 'grpc://h'", "endpoint must be http"),
            ("endpoint = '/v1/traces'", "endpoint must be a URL"),
            (
                "endpoint = 'http://u:s3cret@h'",
                "endpoint must hold no name",
            ),
            ("headers = ['s3cret']", "headers: line 1 must be"),
            (
                "headers = ['a: b', 'x y: s3cret']",
                "headers: line 2 must be",
            ),
            (
                "headers = [\"a: s3cret\\u0001x\"]",
                "headers: line 1 has a value",
            ),
            (
                "headers = ['a: 1', 'A: s3cret']",
                "headers: line 2 names a header",
            ),
            (
                "headers = ['Content-Type: s3cret']",
                "headers: line 1 names a header",
            ),
            ("service_name = ''", "service_name must be"),
            ("service_name = \"a\\nb\"", "service_name must be"),
            ("sample = 1.1", "sample must be"),
            ("sample = -0.1", "sample must be"),
            ("sample = nan", "sample must be"),
            ("timeout = '10ms'", "timeout must be"),
            ("timeout = '2m'", "timeout must be"),
            ("interval = '0s'", "interval must be"),
            ("queue_spans_max = 0", "queue_spans_max must be"),
            ("queue_spans_max = 100000", "queue_spans_max must be"),
            ("batch_spans_max = 0", "batch_spans_max must be"),
            ("batch_spans_max = 5000", "batch_spans_max must be"),
        ] {
            let settings = settings(text);
            let error = settings.check().expect_err(text);
            assert!(error.starts_with(expect), "{text}: {error}");
            assert!(!format!("{error} {:?}", settings.headers).contains("s3cret"));
        }
        assert_eq!(Settings::default().check(), Ok(Vec::new()));
    }

    #[test]
    fn headers_that_others_can_read_are_warned_about() {
        let warnings = |text: &str| settings(text).check().unwrap();
        let some = "headers = ['a: 1']\nendpoint = ";
        for (endpoint, expect) in [
            ("'http://collector:4318'", "endpoint is http://"),
            ("'https://collector'", ""),
            ("'http://localhost:4318'", ""),
            ("'http://[::1]:4318'", ""),
        ] {
            let found = warnings(&format!("{some}{endpoint}")).concat();
            assert!(found.starts_with(expect) && found.is_empty() == expect.is_empty());
        }
        assert!(
            warnings("headers = ['a: 1']")
                .concat()
                .contains("no endpoint")
        );
        assert_eq!(warnings("endpoint = 'http://collector:4318'"), [""; 0]);
    }

    #[test]
    fn a_url_without_a_path_has_that_of_traces() {
        let url = |text: &str| {
            let settings = settings(&format!("endpoint = '{text}'"));
            settings.url().unwrap().unwrap().to_string()
        };
        assert_eq!(url("http://h:4318"), "http://h:4318/v1/traces");
        assert_eq!(url("http://h:4318/"), "http://h:4318/v1/traces");
        assert_eq!(url("https://h/otlp/v1/traces"), "https://h/otlp/v1/traces");
    }
}
