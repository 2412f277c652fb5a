//! What one server may hold and how long it waits.

use crate::budget::BodyBudget;
use bytesize::ByteSize;
use serde::Deserialize;
use std::time::Duration;

/// Limits of one server: the TOML table `limits` inside the server's own.
///
/// Timeouts of connections are looked at four times in their length, so they end up to a quarter
/// late.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpLimits {
    /// Connections of one listener; more wait in the backlog.
    pub connections_max: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes_max: ByteSize,
    /// Headers of a request.
    pub headers_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: ByteSize,
    /// Bytes of all bodies that are held at a time.
    pub bodies_bytes_max: ByteSize,
    /// How long a client may take over a request's headers, from their first byte.
    #[serde(with = "humantime_serde")]
    pub header_read_timeout: Duration,
    /// How long a client may take over a request's body.
    #[serde(with = "humantime_serde")]
    pub body_read_timeout: Duration,
    /// How long a connection may stay open with nothing asked.
    #[serde(with = "humantime_serde")]
    pub keep_alive_timeout: Duration,
    /// Requests at a time on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Requests that an HTTP/2 client may have opened and reset before they were looked at.
    pub http2_reset_streams_max: usize,
    /// How long running requests may take to end once the server stops.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            header_bytes_max: ByteSize::kib(32),
            headers_max: 100,
            body_bytes_max: ByteSize::mib(4),
            bodies_bytes_max: ByteSize::mib(128),
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            http2_streams_max: 128,
            http2_reset_streams_max: 20,
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

impl HttpLimits {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value out of range, by its key.
    pub fn check(&self) -> Result<(), String> {
        let time = |value: Duration| !value.is_zero() && value <= Duration::from_secs(3600);
        let rule = if self.connections_max == 0 {
            "connections_max must be at least 1"
        } else if !(1 << 10..=1 << 20).contains(&self.header_bytes_max.as_u64()) {
            "header_bytes_max must be 1 KiB to 1 MiB"
        } else if !(1..=1000).contains(&self.headers_max) {
            "headers_max must be 1 to 1000"
        } else if !(1..=1 << 30).contains(&self.body_bytes_max.as_u64()) {
            "body_bytes_max must be 1 B to 1 GiB"
        } else if self.bodies_bytes_max < self.body_bytes_max {
            "bodies_bytes_max must be at least body_bytes_max"
        } else if !time(self.header_read_timeout) {
            "header_read_timeout must be above 0s, at most 1h"
        } else if !time(self.body_read_timeout) {
            "body_read_timeout must be above 0s, at most 1h"
        } else if !time(self.keep_alive_timeout) {
            "keep_alive_timeout must be above 0s, at most 1h"
        } else if self.http2_streams_max == 0 {
            "http2_streams_max must be at least 1"
        } else if self.shutdown_grace > Duration::from_secs(3600) {
            "shutdown_grace must be at most 1h"
        } else {
            return Ok(());
        };
        Err(rule.to_owned())
    }

    /// [`HttpLimits::body_bytes_max`] as what lengths are counted in.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        usize::try_from(self.body_bytes_max.as_u64()).unwrap_or(usize::MAX)
    }

    /// A budget of [`HttpLimits::bodies_bytes_max`].
    #[must_use]
    pub fn budget(&self) -> BodyBudget {
        BodyBudget::new(usize::try_from(self.bodies_bytes_max.as_u64()).unwrap_or(usize::MAX))
    }

    pub(crate) fn header_bytes(&self) -> usize {
        usize::try_from(self.header_bytes_max.as_u64()).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_units_and_unknown_keys_refused() {
        let limits: HttpLimits =
            toml::from_str("body_bytes_max = \"1 MiB\"\nheader_read_timeout = \"5s\"").unwrap();
        assert_eq!(limits.body_bytes(), 1 << 20);
        assert_eq!(limits.header_read_timeout, Duration::from_secs(5));
        assert_eq!(limits.check(), Ok(()));
        let error = toml::from_str::<HttpLimits>("body_max = 1").unwrap_err();
        assert!(
            error.message().starts_with("unknown field `body_max`"),
            "{error}"
        );
    }

    #[test]
    fn values_out_of_range_are_named() {
        let limits = HttpLimits {
            keep_alive_timeout: Duration::ZERO,
            ..HttpLimits::default()
        };
        let rule = "keep_alive_timeout must be above 0s, at most 1h";
        assert_eq!(limits.check(), Err(rule.to_owned()));
    }
}
