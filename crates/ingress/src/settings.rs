//! The TOML table `[ingress]`.

use crate::callers::{CallerContext, CallerSettings};
use bytesize::ByteSize;
use serde::{Deserialize, Deserializer};
use std::time::Duration;
use twinroute_listen::access::AccessSettings;
use twinroute_listen::{
    HttpLimits, IpRule, ListenAddress, MutualTlsSettings, PrivateSettings, SocketMode,
    SocketSettings,
};
use twinroute_model::event;
use twinroute_model::secret::Secret;
use twinroute_router::accept::AckLevel;
use twinroute_router::{ADMISSION_WAIT_MAX, UnreadableSettings};

/// The most that `ack_deadline` may be: longer, and what stands between cuts the connection.
const ACK_DEADLINE_CEILING: Duration = Duration::from_secs(300);

/// The most that `admission_wait_max` may be: most clients have gone by then.
const ADMISSION_WAIT_CEILING: Duration = Duration::from_secs(60);

/// How events come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Where to listen for plain HTTP.
    pub listen: Vec<ListenAddress>,
    /// Where to listen for HTTPS.
    pub listen_tls: Vec<ListenAddress>,
    /// Listeners that stand for private endpoint connections.
    pub private: Vec<PrivateSettings>,
    /// From which addresses connections are taken, on all TCP listeners.
    pub ip_rules: Vec<IpRule>,
    /// The certificate, and whose clients get a connection.
    pub tls: Option<MutualTlsSettings>,
    /// Permissions of unix sockets.
    pub unix_mode: SocketMode,
    /// When a batch is acknowledged whose request does not say.
    ///
    /// `auto`, the default, is `None`: `durable` with a journal on disk, `memory` without.
    #[serde(deserialize_with = "ack_level")]
    pub ack: Option<AckLevel>,
    /// How long level `delivered` waits, and the most that a request may ask for.
    #[serde(with = "humantime_serde")]
    pub ack_deadline: Duration,
    /// How long a request waits for its turn while the router has more to do than it can, before it is
    /// answered 503: 10 ms to 60 s.
    #[serde(with = "humantime_serde")]
    pub admission_wait_max: Duration,
    /// Keys of which a request must show one. Without any, and without a `webhook_code` and `access`,
    /// everybody who reaches a socket may send.
    pub access_keys: Vec<Secret>,
    /// Bearer tokens that a request may show instead; they need the role write.
    pub access: AccessSettings,
    /// Who sends, each with credentials and limits of its own.
    pub callers: Vec<CallerSettings>,
    /// What a webhook delivery may show instead, as `?code=`.
    pub webhook_code: Option<Secret>,
    /// Who may ask to deliver here (CloudEvents HTTP 1.1 web hooks, abuse protection); `*` is
    /// everybody.
    pub webhook_origins: Vec<String>,
    /// Whether a socket that other machines reach may be open to everybody.
    pub allow_anonymous: bool,
    /// Bytes of one event.
    pub event_bytes_max: ByteSize,
    /// Events in one batch.
    pub batch_events_max: usize,
    /// Bytes that each instance keeps of webhook deliveries that are no event; beyond, the oldest is discarded.
    pub unreadable_bytes_max: ByteSize,
    /// Limits of the server.
    pub limits: HttpLimits,
}

impl Default for Settings {
    fn default() -> Self {
        let events = event::EventLimits::default();
        Self {
            listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 8080).into())],
            listen_tls: Vec::new(),
            private: Vec::new(),
            ip_rules: Vec::new(),
            tls: None,
            unix_mode: SocketMode::default(),
            ack: None,
            ack_deadline: Duration::from_secs(30),
            admission_wait_max: ADMISSION_WAIT_MAX,
            access_keys: Vec::new(),
            access: AccessSettings::default(),
            callers: Vec::new(),
            webhook_code: None,
            webhook_origins: vec!["eventgrid.azure.net".to_owned()],
            allow_anonymous: false,
            event_bytes_max: ByteSize::b(events.event_bytes_max as u64),
            batch_events_max: events.batch_events_max,
            unreadable_bytes_max: UnreadableSettings::default().bytes_max,
            limits: HttpLimits::default(),
        }
    }
}

impl Settings {
    /// [`Settings::event_bytes_max`] as what lengths are counted in.
    #[must_use]
    pub fn event_bytes(&self) -> usize {
        usize::try_from(self.event_bytes_max.as_u64()).unwrap_or(usize::MAX)
    }

    /// Checks what types cannot, and what would leave the door open. Returns warnings.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<Vec<String>, String> {
        self.limits
            .check()
            .map_err(|rule| format!("limits.{rule}"))?;
        let ceiling = event::EventLimits::EVENT_BYTES_CEILING as u64;
        PrivateSettings::check(&self.private)?;
        if !(1..=ceiling).contains(&self.event_bytes_max.as_u64()) {
            return Err("event_bytes_max must be 1 B to 64 MiB".to_owned());
        }
        if self.event_bytes_max > self.limits.body_bytes_max {
            return Err("limits.body_bytes_max must be at least event_bytes_max".to_owned());
        }
        if self.ack_deadline.is_zero() || self.ack_deadline > ACK_DEADLINE_CEILING {
            return Err("ack_deadline must be above 0s, at most 5m".to_owned());
        }
        if self.unreadable_bytes_max.as_u64() == 0 {
            return Err("unreadable_bytes_max must be at least 1 B".to_owned());
        }
        let waits = Duration::from_millis(10)..=ADMISSION_WAIT_CEILING;
        if !waits.contains(&self.admission_wait_max) {
            return Err("admission_wait_max must be 10ms to 60s".to_owned());
        }
        if self.batch_events_max == 0 {
            return Err("batch_events_max must be at least 1".to_owned());
        }
        for (key, secret) in self.secrets() {
            if secret.expose().is_empty() || secret.is_masked() {
                return Err(format!(
                    "{key} must hold the secret itself, not a mask or nothing"
                ));
            }
        }
        let beside = CallerContext {
            access_keys: &self.access_keys,
            tokens: self.access.is_configured(),
            certificates: self.asks_for_certificates(),
        };
        CallerSettings::check(&self.callers, beside)?;
        let mut warnings = IpRule::check(&self.ip_rules, self.addresses())?;
        warnings.extend(self.check_open_doors()?);
        let callers = self.callers.iter();
        warnings.extend(callers.filter_map(|caller| caller.too_narrow_for(self.event_bytes_max)));
        Ok(warnings)
    }

    fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        let private = self.private.iter();
        let private = private.flat_map(|private| private.listen.iter().chain(&private.listen_tls));
        self.listen.iter().chain(&self.listen_tls).chain(private)
    }

    fn check_open_doors(&self) -> Result<Vec<String>, String> {
        self.access
            .check()
            .map_err(|rule| format!("access.{rule}"))?;
        let remote = |address: &&ListenAddress| !address.is_local();
        let private = || self.private.iter();
        let plain = private().flat_map(|private| &private.listen);
        let plain = self.listen.iter().chain(plain).filter(remote);
        if self.access.is_configured() {
            return Ok(plain.map(in_the_clear).collect());
        }
        // Whoever is no caller shows something else or is refused.
        if self.secrets().next().is_some() || !self.callers.is_empty() {
            return Ok(Vec::new());
        }
        let open = |address: &ListenAddress| {
            format!("{address} accepts events from everyone who can reach it")
        };
        let tls = private().flat_map(|private| &private.listen_tls);
        let tls = self.listen_tls.iter().chain(tls).filter(remote);
        let tls = tls.filter(|_| !self.asks_for_certificates());
        let warnings: Vec<(&str, String)> = plain
            .map(|address| ("listen", open(address)))
            .chain(tls.map(|address| ("listen_tls", open(address))))
            .collect();
        match warnings.first() {
            Some((key, first)) if !self.allow_anonymous => Err(format!(
                "{key}: {first}; set access_keys or access, or allow_anonymous = true if that is meant"
            )),
            Some(_) | None => Ok(warnings.into_iter().map(|(_, text)| text).collect()),
        }
    }

    fn secrets(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        let keys = self.access_keys.iter().map(|key| ("access_keys", key));
        keys.chain(self.webhook_code.iter().map(|code| ("webhook_code", code)))
    }

    /// Whether events come in anywhere.
    #[must_use]
    pub fn is_served(&self) -> bool {
        !self.listen.is_empty() || !self.listen_tls.is_empty() || !self.private.is_empty()
    }

    /// How the sockets are opened.
    #[must_use]
    pub fn sockets(&self) -> SocketSettings {
        SocketSettings {
            unix_mode: self.unix_mode,
            ..SocketSettings::default()
        }
    }

    /// How the router keeps deliveries that are no event, and reads them again.
    #[must_use]
    pub fn unreadable(&self) -> UnreadableSettings {
        let mut unreadable = UnreadableSettings::default();
        unreadable.bytes_max = self.unreadable_bytes_max;
        unreadable.limits = self.event_limits();
        unreadable
    }

    pub(crate) fn event_limits(&self) -> event::EventLimits {
        event::EventLimits {
            event_bytes_max: usize::try_from(self.event_bytes_max.as_u64()).unwrap_or(usize::MAX),
            batch_events_max: self.batch_events_max,
        }
    }
}

fn in_the_clear(address: &ListenAddress) -> String {
    format!("{address} accepts tokens over plain HTTP from other machines; use listen_tls")
}

fn ack_level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AckLevel>, D::Error> {
    let word = String::deserialize(deserializer)?;
    match AckLevel::parse(&word) {
        None if word == "auto" => Ok(None),
        None => Err(serde::de::Error::custom(format_args!(
            "acknowledgement level {word:?}: must be \"auto\", \"memory\", \"replicated\", \"durable\" \
             or \"delivered\""
        ))),
        level => Ok(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str) -> Result<Vec<String>, String> {
        let settings: Settings =
            toml::from_str(toml).map_err(|error| error.message().to_owned())?;
        settings.check()
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(check(""), Ok(vec![]));
        // Whether there is any listener at all is checked where all servers are seen.
        assert_eq!(check("listen = []"), Ok(vec![]));
        assert_eq!(
            check("listen = [\"unix:/run/t.sock\"]\nunix_mode = \"0600\""),
            Ok(vec![])
        );
        let open = "listen = [\"127.0.0.1:1\", \"0.0.0.0:8080\"]";
        assert_eq!(
            check(&format!("{open}\naccess_keys = [\"a2V5\"]")),
            Ok(vec![])
        );
        let warning = "0.0.0.0:8080 accepts events from everyone who can reach it";
        assert_eq!(
            check(&format!("{open}\nallow_anonymous = true")),
            Ok(vec![warning.to_owned()])
        );
        for (toml, expect) in [
            (
                open,
                "listen: 0.0.0.0:8080 accepts events from everyone who can reach it; \
                    set access_keys or access, or allow_anonymous = true if that is meant",
            ),
            (
                "listen_tls = [\"0.0.0.0:8443\"]",
                "listen_tls: 0.0.0.0:8443 accepts events from everyone who can reach it; \
                    set access_keys or access, or allow_anonymous = true if that is meant",
            ),
            (
                "[access]\ntokens = [{ name = \"\", role = \"write\", token_env = \"A\" }]",
                "access.tokens[0].name must have 1 to 512 bytes and no control characters",
            ),
            (
                "ack = \"fast\"",
                "acknowledgement level \"fast\": must be \"auto\", \"memory\", \"replicated\", \"durable\" or \"delivered\"",
            ),
            (
                "ack_deadline = \"0s\"",
                "ack_deadline must be above 0s, at most 5m",
            ),
            (
                "ack_deadline = \"5m 1s\"",
                "ack_deadline must be above 0s, at most 5m",
            ),
            (
                "access_keys = [\"***\"]",
                "access_keys must hold the secret itself, not a mask or nothing",
            ),
            (
                "webhook_code = \"\"",
                "webhook_code must hold the secret itself, not a mask or nothing",
            ),
            (
                "event_bytes_max = \"8 MiB\"",
                "limits.body_bytes_max must be at least event_bytes_max",
            ),
            (
                "[limits]\nconnections_max = 0",
                "limits.connections_max must be at least 1",
            ),
            (
                "unix_mode = \"rw\"",
                "socket mode \"rw\": must be three octal digits, such as \"0660\"",
            ),
        ] {
            assert_eq!(check(toml), Err(expect.to_owned()), "{toml}");
        }
    }

    #[test]
    fn a_caller_that_may_not_send_the_largest_event_is_warned_about() {
        let caller = "event_bytes_max = '1 MiB'\n[[callers]]\nname = 'press-7'\nkeys = ['k-0123456789abcdef']\n";
        for (rates, key) in [
            ("bytes_per_second = '4 KiB'", Some("bytes_per_second is")),
            (
                "bytes_per_second = '4 KiB'\nbytes_burst = '1023 KiB'",
                Some("bytes_burst is"),
            ),
            ("bytes_per_second = '4 KiB'\nbytes_burst = '1 MiB'", None),
            ("events_per_second = 1", None),
        ] {
            let warnings = check(&format!("{caller}{rates}")).unwrap();
            let narrow = warnings
                .iter()
                .find(|text| text.starts_with("callers: press-7: "));
            assert_eq!(narrow.is_some(), key.is_some(), "{rates}: {warnings:?}");
            let narrow = narrow.map_or("", String::as_str);
            assert!(narrow.contains(key.unwrap_or_default()), "{narrow}");
        }
    }

    #[test]
    fn private_listeners_are_doors_too() {
        let open = "listen: 10.0.0.4:8080 accepts events from everyone who can reach it; set access_keys or \
                    access, or allow_anonymous = true if that is meant";
        let private = "[[private]]\nconnection = \"c\"\n";
        let listen = "listen = [\"10.0.0.4:8080\"]";
        assert_eq!(check(&format!("{private}{listen}")), Err(open.to_owned()));
        let nowhere = "private[0].listen or listen_tls must name at least one address";
        assert_eq!(check(private), Err(nowhere.to_owned()));
        let keys = "access_keys = [\"a2V5\"]\nlisten = []\n";
        assert_eq!(check(&format!("{keys}{private}{listen}")), Ok(vec![]));
    }

    #[test]
    fn debug_shows_no_secret() {
        let toml = "access_keys = [\"c2VjcmV0\"]\nwebhook_code = \"hidden\"";
        let text = format!("{:?}", toml::from_str::<Settings>(toml).unwrap());
        assert!(
            !text.contains("c2VjcmV0") && !text.contains("hidden"),
            "{text}"
        );
    }

    #[test]
    fn certificates_and_tokens_close_the_door() {
        let open = "listen = [\"127.0.0.1:1\", \"0.0.0.0:8080\"]";
        let tls = "listen_tls = [\"0.0.0.0:8443\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"";
        assert!(check(tls).is_err());
        assert_eq!(check(&format!("{tls}\nclient_ca = \"ca\"")), Ok(vec![]));
        let tokens = "[access]\ntokens = [{ name = \"a\", role = \"write\", token_env = \"A\" }]";
        let clear =
            "0.0.0.0:8080 accepts tokens over plain HTTP from other machines; use listen_tls";
        assert_eq!(
            check(&format!("{open}\n{tokens}")),
            Ok(vec![clear.to_owned()])
        );
    }
}
