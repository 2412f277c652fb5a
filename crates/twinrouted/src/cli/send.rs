//! `twinroute send`: posts events of a file to a running twinroute.

use super::address::ServerAddress;
use super::event_input::{WrittenEvent, read_events};
use crate::cli::output;
use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use twinroute_files::text_file::read_secret;
use twinroute_model::secret::Secret;
use twinroute_model::visible::one_line;
use twinroute_outgoing::OutgoingConnections;

/// Bytes of a request unless one event is larger; the ingress takes 1 MiB and more.
const REQUEST_BYTES_MAX: usize = 900 << 10;

/// How long an answer may take: level `delivered` waits for endpoints.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is sent, and whither.
#[derive(Args, Debug)]
pub(crate) struct SendOptions {
    /// CloudEvents in JSON: one, a list, or one after the other; `-` for standard input.
    file: PathBuf,
    /// The ingress: `localhost:8080`, `https://router.example:8443` or `unix:/run/twinroute.sock`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    to: ServerAddress,
    /// The instance whose routes the events are for, instead of the default one.
    #[arg(long)]
    instance: Option<String>,
    /// The acknowledgement that is waited for: memory, replicated, durable or delivered.
    #[arg(long, value_name = "LEVEL")]
    ack: Option<String>,
    /// Events of a request.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    batch: u32,
    /// Sends the token in this environment variable.
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    token_env: Option<String>,
    /// Sends the token in this file, which is for its owner alone.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Prints the sums as JSON.
    #[arg(long)]
    json: bool,
}

/// What was accepted by now.
#[derive(Debug, Default, PartialEq, Eq)]
struct SentSums {
    accepted: u64,
    unmatched: u64,
    duplicates: u64,
}

pub(super) async fn run(options: &SendOptions) -> anyhow::Result<ExitCode> {
    let events = read_events(&options.file)?;
    let client = options.client()?;
    let token = options.token()?;
    let mut sums = SentSums::default();
    for batch in batches(&events, options.batch as usize) {
        let sent = options.post(&client, token.as_ref(), batch).await;
        // What was accepted before it stays so, and has to be known before anybody sends again.
        let answer = sent.with_context(|| match sums.accepted {
            0 => "nothing was accepted".to_owned(),
            accepted => format!("the first {accepted} events were accepted, then"),
        })?;
        let count = |name: &str| answer[name].as_u64().unwrap_or_default();
        sums.accepted += count("accepted");
        sums.unmatched += count("unmatched");
        sums.duplicates += count("duplicates");
    }
    match options.json {
        true => output::line(json!({
            "accepted": sums.accepted, "unmatched": sums.unmatched, "duplicates": sums.duplicates,
        }))?,
        false => output::line(sums.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

impl std::fmt::Display for SentSums {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "accepted {}, unmatched {}",
            self.accepted, self.unmatched
        )?;
        match self.duplicates {
            0 => Ok(()),
            duplicates => write!(formatter, ", accepted before {duplicates}"),
        }
    }
}

impl SendOptions {
    fn client(&self) -> anyhow::Result<reqwest::Client> {
        let builder = OutgoingConnections::of_environment()?
            .http()
            .timeout(PATIENCE);
        let builder = match &self.to {
            ServerAddress::Url(_) => builder,
            ServerAddress::Unix(path) => builder.unix_socket(path.clone()),
        };
        Ok(builder.build()?)
    }

    fn token(&self) -> anyhow::Result<Option<HeaderValue>> {
        let token = match (&self.token_env, &self.token_file) {
            (Some(name), _) => {
                let token = std::env::var(name);
                let token = token.with_context(|| format!("the environment variable {name}"))?;
                Secret::pasted(&token)
            }
            (None, Some(file)) => read_secret("token file", file, 64 << 10)?,
            (None, None) => return Ok(None),
        };
        let header = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut header =
            header.map_err(|_| anyhow::anyhow!("the token cannot stand in a header"))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    async fn post(
        &self,
        client: &reqwest::Client,
        token: Option<&HeaderValue>,
        batch: &[WrittenEvent],
    ) -> anyhow::Result<Value> {
        let path = match &self.instance {
            None => "/events".to_owned(),
            Some(instance) => format!("/instances/{instance}/events"),
        };
        let texts: Vec<&str> = batch.iter().map(|written| written.text.as_str()).collect();
        let mut request = client
            .post(self.to.url() + &path)
            .header(CONTENT_TYPE, "application/cloudevents-batch+json")
            .header(ACCEPT, "application/json")
            .body(format!("[{}]", texts.join(",")));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(ack) = &self.ack {
            request = request.header("twinroute-ack", ack);
        }
        let to = &self.to;
        let answer = request.send().await;
        let answer =
            answer.with_context(|| format!("no answer from {to}; is twinroute running there?"))?;
        let status = answer.status();
        let body = answer
            .text()
            .await
            .with_context(|| format!("the answer of {to}"))?;
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(json);
        }
        let message = json["error"]["message"].as_str().unwrap_or_default();
        bail!("refused with {}: {}", status.as_u16(), one_line(message))
    }
}

/// So many events at a time, and no more bytes than a request may have.
fn batches(events: &[WrittenEvent], most: usize) -> Vec<&[WrittenEvent]> {
    let mut batches = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (place, written) in events.iter().enumerate() {
        let is_full = place - first == most || bytes + written.text.len() > REQUEST_BYTES_MAX;
        if is_full && place > first {
            batches.push(&events[first..place]);
            (first, bytes) = (place, 0);
        }
        bytes += written.text.len() + 1;
    }
    batches.push(&events[first..]);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::event_input::parse_events;

    #[test]
    fn batches_hold_what_a_request_may() {
        let one = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
        let events = parse_events(&one.repeat(5)).unwrap();
        let sizes = |most| {
            batches(&events, most)
                .iter()
                .map(|batch| batch.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(2), [2, 2, 1]);
        assert_eq!(sizes(5), [5]);
        let large = format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":"{}"}}"#,
            "x".repeat(500 << 10)
        );
        let events = parse_events(&large.repeat(3)).unwrap();
        assert_eq!(batches(&events, 100).len(), 3);
    }
}
