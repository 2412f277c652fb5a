//! What commands share that ask a running twinroute.

use super::address::ServerAddress;
use super::client_certificate::{self, ClientCertificateOptions, ServerScheme};
use crate::cli::output;
use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::Url;
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use twinroute_admin::client::{self, AdminAnswer, AdminClient};
use twinroute_arm::api::is_local;
use twinroute_files::text_file::read_secret;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::secret::Secret;
use twinroute_model::visible::one_line;
use twinroute_outgoing::{OutgoingConnections, Settings, tls_words};
use twinroute_router::status::RouterStatus;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// No token is larger, as `twinroute` itself takes them.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Whom to ask.
#[derive(Args, Debug)]
pub(crate) struct AdminTarget {
    /// Its admin address: `localhost:8081`, `http://127.0.0.1:8081`, `https://router.example:8443` or
    /// `unix:/run/twinroute-admin.sock`.
    #[arg(long, env = "TWINROUTE_ADMIN", hide_env_values = true, default_value = DEFAULT)]
    admin: String,
    /// Sends the token in this environment variable; without this option and the next, none is sent.
    #[arg(long, value_name = "NAME", conflicts_with = "admin_token_file")]
    admin_token_env: Option<String>,
    /// Sends the token in this file, which is for its owner alone.
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Authorities (PEM) that are trusted over https, instead of the machine's.
    #[arg(long, value_name = "FILE")]
    admin_ca_file: Option<PathBuf>,
    #[command(flatten)]
    client_certificate: ClientCertificateOptions,
}

/// How it is asked.
struct AdminConnection {
    client: AdminClient,
    /// Over TLS, where it is and what is shown to it.
    tls: Option<(Url, Arc<ClientConfig>)>,
}

/// Where it is unless it is said otherwise.
const DEFAULT: &str = "127.0.0.1:8081";

impl AdminTarget {
    /// What was said, unless that is nothing: an empty variable is none.
    fn address(&self) -> &str {
        match self.admin.trim() {
            "" => DEFAULT,
            admin => admin,
        }
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<String> {
        let server = self.server()?;
        let answer = server.client.get(path, PATIENCE).await;
        self.taken(&server, answer)
    }

    pub(super) async fn post(&self, path: &str, json: String) -> anyhow::Result<String> {
        let server = self.server()?;
        let answer = server.client.post(path, json, PATIENCE).await;
        self.taken(&server, answer)
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<String> {
        let server = self.server()?;
        let answer = server.client.delete(path, PATIENCE).await;
        self.taken(&server, answer)
    }

    /// Prints what is at `path` as it comes.
    pub(super) async fn print(&self, path: &str) -> anyhow::Result<()> {
        self.stream(path, &mut output::stream()).await
    }

    /// Writes what is at `path` as it comes. Dropping the future ends that.
    pub(super) async fn stream(
        &self,
        path: &str,
        out: &mut impl std::io::Write,
    ) -> anyhow::Result<()> {
        let server = self.server()?;
        let answer = server.client.download(path, PATIENCE, out).await;
        self.taken(&server, answer).map(drop)
    }

    pub(super) async fn status(&self) -> anyhow::Result<RouterStatus> {
        read(&self.get("/status").await?)
    }

    /// How to ask the same one again.
    pub(super) fn option(&self) -> String {
        let mut options = String::new();
        let admin = Some(self.address()).filter(|admin| *admin != DEFAULT);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        for (name, value) in [
            ("admin", admin.map(str::to_owned)),
            ("admin-token-env", self.admin_token_env.clone()),
            ("admin-token-file", path(&self.admin_token_file)),
            ("admin-ca-file", path(&self.admin_ca_file)),
            ("client-cert", path(&self.client_certificate.client_cert)),
            ("client-key", path(&self.client_certificate.client_key)),
        ] {
            if let Some(value) = value {
                write!(options, " --{name} {value}").expect("a String takes all that is written");
            }
        }
        options
    }

    fn server(&self) -> anyhow::Result<AdminConnection> {
        // A variable that is set to nothing is none.
        let admin = self.address();
        let address: ServerAddress = admin.parse().context("--admin")?;
        let certificate = self.client_certificate.read(admin, address.wire())?;
        let token = self.token()?;
        let (client, tls) = if let ServerAddress::Url(url) = &address
            && address.wire() == ServerScheme::Tls
        {
            let outgoing = match &self.admin_ca_file {
                Some(file) => {
                    let mut settings = Settings::default();
                    settings.ca_files = vec![file.clone()];
                    settings.ca_only = true;
                    // No proxy is asked for an admin API, so a wrong variable is no obstacle.
                    settings.no_proxy = vec!["*".to_owned()];
                    OutgoingConnections::new(&settings)?
                }
                None => OutgoingConnections::of_environment()?,
            };
            let outgoing = match certificate {
                Some(certificate) => outgoing.with_client_certificate(certificate),
                None => outgoing,
            };
            let tls = outgoing.tls();
            let client = AdminClient::https(&address.url(), Arc::clone(tls)).context("--admin")?;
            (client, Some((url.clone(), Arc::clone(tls))))
        } else {
            (self.plain(&address, token.is_some())?, None)
        };
        let client = match token {
            Some(token) => client.with_token(&token)?,
            None => client,
        };
        Ok(AdminConnection { client, tls })
    }

    fn plain(&self, address: &ServerAddress, shows_token: bool) -> anyhow::Result<AdminClient> {
        if let ServerAddress::Url(url) = address
            && shows_token
            && !is_local(url)
        {
            output::error_line(format_args!(
                "warning: {address} is http://: the token can be read on the way"
            ));
        }
        address.plain_client().context("--admin")
    }

    fn token(&self) -> anyhow::Result<Option<Secret>> {
        if let Some(name) = &self.admin_token_env {
            let token = std::env::var(name);
            let token = token.with_context(|| format!("the environment variable {name}"))?;
            return Ok(Some(Secret::pasted(&token)));
        }
        let read = |file: &PathBuf| read_secret("token file", file, TOKEN_BYTES_MAX);
        Ok(self.admin_token_file.as_ref().map(read).transpose()?)
    }

    fn taken(
        &self,
        server: &AdminConnection,
        answer: Result<AdminAnswer, client::Error>,
    ) -> anyhow::Result<String> {
        let answer = answer.map_err(|error| {
            let admin = self.address();
            let no_http = server.tls.is_none() && error.is_no_http();
            let error = anyhow::Error::new(error);
            let said = format!("{error:#}");
            let advice = server
                .tls
                .as_ref()
                .and_then(|(url, tls)| client_certificate::advice_of_handshake(&said, url, tls));
            let context = match advice {
                Some(advice) => format!("{admin}: {advice}"),
                None if no_http => format!(
                    "no answer in plain HTTP from {admin}: if it speaks TLS, write https://; \
                     is twinroute running there?"
                ),
                None => format!("no answer from {admin}; is twinroute running there?"),
            };
            let error = match tls_words(&said) {
                Cow::Borrowed(_) => error,
                Cow::Owned(words) => anyhow::Error::msg(words),
            };
            error.context(context)
        })?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        bail!("{}", refusal(&answer))
    }
}

/// The words of a refusal.
fn refusal(answer: &AdminAnswer) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(&answer.body).ok();
    let message = json.as_ref().and_then(|json| {
        let message = &json["error"]["message"];
        message
            .as_str()
            .map(|message| one_line(message).into_owned())
    });
    message.unwrap_or_else(|| {
        let status = answer.status;
        format!("answered with status {status}; is that the admin address of a twinroute?")
    })
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> anyhow::Result<T> {
    serde_json::from_str(json).context("the answer is not one of this version of twinroute")
}

/// Finds an endpoint by its name, in any instance if none is named. Names are compared without case.
///
/// # Errors
/// When none or several have the name; tells which there are.
pub(super) fn endpoint(
    status: &RouterStatus,
    instance: Option<&str>,
    name: &str,
) -> anyhow::Result<(String, String)> {
    let known: Vec<(&str, &str)> = status
        .instances
        .iter()
        .flat_map(|instance| {
            let endpoints = instance.endpoints.iter();
            endpoints.map(|endpoint| (instance.name.as_str(), endpoint.name.as_str()))
        })
        .collect();
    let mut meant = known.iter().filter(|(of, endpoint)| {
        endpoint.eq_ignore_ascii_case(name)
            && instance.is_none_or(|instance| of.eq_ignore_ascii_case(instance))
    });
    let list = || {
        let known = known.iter();
        let names: Vec<String> = known.map(|(of, name)| format!("{of}/{name}")).collect();
        one_line(&names.join(", ")).into_owned()
    };
    match (meant.next(), meant.next()) {
        (Some((instance, endpoint)), None) => Ok(((*instance).to_owned(), (*endpoint).to_owned())),
        (Some(_), Some(_)) => {
            bail!(
                "endpoint {name}: several instances have one; name it with --instance: {}",
                list()
            )
        }
        (None, _) => {
            let instance = instance.map(|instance| format!("{instance}/"));
            let instance = instance.unwrap_or_default();
            if known.is_empty() {
                bail!("endpoint {instance}{name}: there are no endpoints at all");
            }
            bail!("endpoint {instance}{name}: not found; there are {}", list())
        }
    }
}

/// Reads a moment: RFC 3339, or how long ago, such as `2h` or `1d12h`. Gives RFC 3339.
///
/// # Errors
/// When it is neither.
pub(super) fn moment(text: &str, clock: &dyn Clock) -> anyhow::Result<String> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(time.rfc3339());
    }
    let ago = humantime::parse_duration(text).ok();
    let ago = ago.and_then(|ago| i64::try_from(ago.as_millis()).ok());
    let Some(ago) = ago else {
        bail!(
            "the time {text:?}: write it as 2026-11-22T10:00:00Z (RFC 3339), or how long ago: 2h"
        );
    };
    let then = clock.now().unix_millis().saturating_sub(ago);
    Ok(Timestamp::from_unix_millis(then).rfc3339())
}

/// Asks on the terminal; only a clear yes is one.
pub(super) fn confirmed(question: &str) -> anyhow::Result<bool> {
    output::print(question)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("standard input")?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Asks before `what` is deleted, unless `--yes` was said.
///
/// # Errors
/// When it was not, and there is nobody to ask.
pub(super) fn may_delete(what: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("{what}: say --yes if you mean to delete it");
    }
    let confirmed = confirmed(&format!("delete {what}? [y/N] "))?;
    if !confirmed {
        output::line(format_args!("{what}: nothing was deleted"))?;
    }
    Ok(confirmed)
}

/// Cuts a text to `most` characters, the last of which says so. It is a text in one line, whoever wrote it.
pub(super) fn cut(text: &str, most: usize) -> String {
    let line = one_line(text);
    if line.chars().count() <= most {
        return line.into_owned();
    }
    let begin = line.chars().take(most.saturating_sub(1));
    begin.chain(['…']).collect()
}

/// A time without its fraction of a second, in 19 characters.
pub(super) fn seconds(rfc3339: &str) -> String {
    rfc3339.get(..19).unwrap_or(rfc3339).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample_status::{endpoint_json, status_json};
    use twinroute_model::clock::ManualClock;

    fn status(endpoints: &[(&str, &[&str])]) -> RouterStatus {
        let endpoint = |name: &&str| endpoint_json(name, "healthy", "");
        let instances = endpoints.iter().map(|(name, endpoints)| {
            let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
            serde_json::json!({ "name": name, "endpoints": endpoints, "routes": [] })
        });
        let json = status_json(&instances.collect());
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn admin_address_of_an_empty_variable_is_the_default() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct AskCommand {
            #[command(flatten)]
            target: AdminTarget,
        }
        for (text, expect) in [
            ("", DEFAULT),
            (" ", DEFAULT),
            (" localhost:1 ", "localhost:1"),
        ] {
            let asked = AskCommand::try_parse_from(["ask", "--admin", text]).unwrap();
            assert_eq!(asked.target.address(), expect);
        }
    }

    #[test]
    fn endpoints_are_found_without_case_or_listed() {
        let status = status(&[("demo", &["grid-1", "hub-1"]), ("plant", &["hub-1"])]);
        let find = |instance, name| match endpoint(&status, instance, name) {
            Ok((instance, name)) => format!("{instance}/{name}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(find(None, "GRID-1"), "demo/grid-1");
        assert_eq!(find(Some("PLANT"), "hub-1"), "plant/hub-1");
        let all = "demo/grid-1, demo/hub-1, plant/hub-1";
        assert_eq!(
            find(None, "hub-1"),
            format!("endpoint hub-1: several instances have one; name it with --instance: {all}")
        );
        assert_eq!(
            find(Some("plant"), "grid-1"),
            format!("endpoint plant/grid-1: not found; there are {all}")
        );
    }

    #[test]
    fn moments_are_times_or_how_long_ago() {
        let now = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap();
        let clock = ManualClock::new(now);
        for (text, expect) in [
            ("2026-11-22T10:00:00+01:00", "2026-11-22T09:00:00Z"),
            ("2h", "2026-11-22T10:00:00Z"),
            ("1d 30m", "2026-11-21T11:30:00Z"),
        ] {
            assert_eq!(moment(text, &clock).unwrap(), expect);
        }
        assert!(moment("yesterday", &clock).is_err());
    }

    #[test]
    fn texts_are_cut_and_controls_do_not_reach_the_terminal() {
        assert_eq!(cut("grüße", 5), "grüße");
        assert_eq!(cut("grüße!", 5), "grüß…");
        assert_eq!(cut("a\u{1b}[2Jb", 11), r"a\u001b[2Jb");
        assert_eq!(seconds("2026-11-22T10:00:00.123Z"), "2026-11-22 10:00:00");
    }
}
