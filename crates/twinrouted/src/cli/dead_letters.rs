//! `twinroute deadletter`: looks at dead letters that are kept by a running twinroute, and replays them.

use super::ask::{self, AdminTarget, cut, seconds};
use super::replay;
use crate::cli::output;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::process::ExitCode;
use twinroute_model::clock::{Clock, SystemClock, Timestamp};
use twinroute_router::dead_letters::{DeadLetterPage, DeadLetterQueryText, DeadLetterView};
use twinroute_router::replay::ReplayRequest;

/// Dead letters on a page of the API.
const PAGE_MAX: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// Lists them, oldest first.
    List {
        #[command(flatten)]
        wanted: DeadLetterSelection,
        /// No more than so many.
        #[arg(long, default_value_t = 100)]
        most: u64,
        /// Goes on behind this one: instance/endpoint/sequence.
        #[arg(long, default_value = "")]
        after: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one, with its event.
    Show {
        /// Its endpoint.
        endpoint: String,
        /// Its sequence, as `list` shows it.
        sequence: u64,
        /// The instance, where several have an endpoint of this name.
        #[arg(long)]
        instance: Option<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        whom: AdminTarget,
    },
    /// Prints them with their events, one JSON object a line.
    Export {
        #[command(flatten)]
        wanted: DeadLetterSelection,
        /// Goes on behind this one: instance/endpoint/sequence.
        #[arg(long, default_value = "")]
        after: String,
    },
    /// Gives them back to their endpoints as new deliveries, and waits until that is done.
    Replay(DeadLetterReplay),
}

/// Which dead letters.
#[derive(Args, Debug)]
pub(crate) struct DeadLetterSelection {
    /// Of this endpoint.
    #[arg(long, default_value = "")]
    endpoint: String,
    /// Of this instance.
    #[arg(long, default_value = "")]
    instance: String,
    /// That died of this: overflow, rejected, exhausted, expired, removed.
    #[arg(long, default_value = "")]
    reason: String,
    /// That died at or after this: 2026-11-22T10:00:00Z, or `2h` ago.
    #[arg(long, default_value = "")]
    since: String,
    /// That died before this: likewise.
    #[arg(long, default_value = "")]
    until: String,
    /// With events of this type.
    #[arg(long = "type", default_value = "")]
    event_type: String,
    /// With events that a route with this filter would match.
    #[arg(long, default_value = "")]
    filter: String,
    #[command(flatten)]
    whom: AdminTarget,
}

#[derive(Args, Debug)]
pub(crate) struct DeadLetterReplay {
    #[command(flatten)]
    wanted: DeadLetterSelection,
    /// Lists what would be replayed, and replays nothing.
    #[arg(long)]
    dry_run: bool,
    /// Events a second, at most.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// No more than so many.
    #[arg(long)]
    most: Option<u64>,
    /// Only those with these sequences; needs --endpoint.
    #[arg(long, num_args = 1..)]
    sequence: Vec<u64>,
    /// Reads them from the endpoint's container, from names that begin with this; needs --endpoint, and a
    /// SAS that may list and read. Without a value: below the endpoint's own name.
    #[arg(long, num_args = 0..=1, default_missing_value = "")]
    from_container: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// One dead letter with its event, as the API gives it.
#[derive(Deserialize)]
struct ShownDeadLetter {
    dead_letter: DeadLetterView,
    event: Box<RawValue>,
}

pub(super) async fn run(step: &DeadLetterCommand) -> anyhow::Result<ExitCode> {
    match step {
        DeadLetterCommand::List {
            wanted,
            most,
            after,
            json,
        } => {
            let page = wanted.collect(after, *most).await?;
            print(&page, *json)?;
        }
        DeadLetterCommand::Show {
            endpoint,
            sequence,
            instance,
            json,
            whom,
        } => {
            let (instance, endpoint) =
                ask::endpoint(&whom.status().await?, instance.as_deref(), endpoint)?;
            let path = format!("/dead-letters/{instance}/{endpoint}/{sequence}");
            let answer = whom.get(&path).await?;
            if *json {
                output::print(&answer)?;
            } else {
                output::print(render_one(&ask::read(&answer)?))?;
            }
        }
        DeadLetterCommand::Export { wanted, after } => {
            let query = wanted.parameters(after, None)?;
            let path = format!("/dead-letters/export?{query}");
            wanted.whom.print(&path).await?;
        }
        DeadLetterCommand::Replay(replay) => return replay.run().await,
    }
    Ok(ExitCode::SUCCESS)
}

impl DeadLetterSelection {
    /// The query as the API takes it; times that are given as ages become times.
    fn text(&self, clock: &dyn Clock) -> anyhow::Result<DeadLetterQueryText> {
        let moment = |text: &str| {
            if text.is_empty() {
                return Ok(String::new());
            }
            ask::moment(text, clock)
        };
        Ok(DeadLetterQueryText {
            instance: self.instance.clone(),
            endpoint: self.endpoint.clone(),
            reason: self.reason.clone(),
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            event_type: self.event_type.clone(),
            filter: self.filter.clone(),
        })
    }

    fn parameters(&self, after: &str, most: Option<u64>) -> anyhow::Result<String> {
        let text = serde_json::to_value(self.text(&SystemClock)?)?;
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        for (name, value) in text.as_object().into_iter().flatten() {
            parameters.append_pair(name, value.as_str().unwrap_or_default());
        }
        if !after.is_empty() {
            parameters.append_pair("after", after);
        }
        if let Some(most) = most {
            parameters.append_pair("most", &most.to_string());
        }
        Ok(parameters.finish())
    }

    /// Turns pages until there are `most`, or no more.
    async fn collect(&self, after: &str, most: u64) -> anyhow::Result<DeadLetterPage> {
        let mut all = DeadLetterPage {
            next: after.to_owned(),
            ..DeadLetterPage::default()
        };
        loop {
            let left = most.saturating_sub(all.dead_letters.len() as u64);
            if left == 0 {
                return Ok(all);
            }
            let query = self.parameters(&all.next, Some(left.min(PAGE_MAX)))?;
            let answer = self.whom.get(&format!("/dead-letters?{query}")).await?;
            let page: DeadLetterPage = ask::read(&answer)?;
            all.dead_letters.extend(page.dead_letters);
            all.next = page.next;
            if all.next.is_empty() {
                return Ok(all);
            }
        }
    }
}

impl DeadLetterReplay {
    async fn run(&self) -> anyhow::Result<ExitCode> {
        let query = self.wanted.text(&SystemClock)?;
        let container_prefix = match self.from_container.as_deref() {
            Some("") if !query.endpoint.is_empty() => {
                // Names in a container have the case of the definition.
                let instance = Some(query.instance.as_str()).filter(|name| !name.is_empty());
                let status = self.wanted.whom.status().await?;
                let (_, endpoint) = ask::endpoint(&status, instance, &query.endpoint)?;
                Some(format!("{endpoint}/"))
            }
            prefix => prefix.map(str::to_owned),
        };
        let request = ReplayRequest {
            query,
            sequences: self.sequence.clone(),
            container_prefix,
            history: None,
            per_second: self.rate,
            most: self.most,
        };
        if let Err(reason) = request.check() {
            bail!("{reason}");
        }
        if self.dry_run {
            return self.dry_run().await;
        }
        replay::begin(&self.wanted.whom, &request, self.json).await
    }

    async fn dry_run(&self) -> anyhow::Result<ExitCode> {
        if self.from_container.is_some() {
            bail!(
                "--dry-run shows dead letters that are kept here; leave it out, and try \
                 --from-container with --most 1 first"
            );
        }
        let named = !self.sequence.is_empty();
        let most = self.most.unwrap_or(u64::MAX);
        let mut page = self
            .wanted
            .collect("", if named { u64::MAX } else { most })
            .await?;
        if named {
            page.dead_letters
                .retain(|letter| self.sequence.contains(&letter.sequence));
            page.dead_letters
                .truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
        page.next.clear();
        print(&page, self.json)?;
        if !self.json {
            let count = page.dead_letters.len();
            output::line(format_args!("{count} would be replayed; nothing was"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(page: &DeadLetterPage, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        output::line(serde_json::to_string_pretty(page)?)?;
    } else {
        output::print(render(page))?;
    }
    Ok(())
}

/// A table of at most 100 columns, with a line above the rows of each endpoint.
fn render(page: &DeadLetterPage) -> String {
    let mut text = String::new();
    let mut of = (String::new(), String::new());
    for letter in &page.dead_letters {
        if of != (letter.instance.clone(), letter.endpoint.clone()) {
            of = (letter.instance.clone(), letter.endpoint.clone());
            let gap = if text.is_empty() { "" } else { "\n" };
            let name = format!("{}/{}", of.0, of.1);
            writeln!(text, "{gap}{name}\n{HEAD}").expect("a String takes everything");
        }
        let note = match (letter.busy, letter.unstorable) {
            (true, _) => " (busy)",
            (false, true) => " (unstorable)",
            (false, false) => "",
        };
        let line = format!(
            "  {:>9}  {:<9}  {:<19}  {:>5}  {:<16}  {}{note}",
            letter.sequence,
            cut(letter.reason.as_str(), 9),
            seconds(&letter.died_at.rfc3339()),
            letter.attempts,
            cut(&letter.id, 16),
            cut(&letter.event_type, 30usize.saturating_sub(note.len())),
        );
        writeln!(text, "{line}").expect("a String takes everything");
    }
    if page.dead_letters.is_empty() {
        text.push_str("no dead letters\n");
    }
    if !page.next.is_empty() {
        writeln!(text, "\nthere may be more: --after {}", page.next)
            .expect("a String takes everything");
    }
    text
}

const HEAD: &str = "   sequence  reason     died at (UTC)        tries  id                type";

fn render_one(letter: &ShownDeadLetter) -> String {
    let about = &letter.dead_letter;
    let mut text = String::new();
    let sequence = about.sequence.to_string();
    let attempts = about.attempts.to_string();
    let bytes = about.bytes.to_string();
    let endpoint = format!("{}/{}", about.instance, about.endpoint);
    let last_attempt_at = about.last_attempt_at.map(Timestamp::rfc3339);
    for (name, value) in [
        ("endpoint", endpoint.as_str()),
        ("sequence", &sequence),
        ("reason", about.reason.as_str()),
        ("outcome", &about.outcome),
        ("tries", &attempts),
        ("accepted", &about.accepted_at.rfc3339()),
        ("last tried", &last_attempt_at.unwrap_or_default()),
        ("died", &about.died_at.rfc3339()),
        ("id", &about.id),
        ("source", &about.source),
        ("type", &about.event_type),
        ("subject", &about.subject),
        ("bytes", &bytes),
    ] {
        if !value.is_empty() {
            let value = cut(value, usize::MAX);
            writeln!(text, "{name:<11}{value}").expect("a String takes everything");
        }
    }
    writeln!(text, "\n{}", letter.event).expect("a String takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn letter(endpoint: &str, sequence: u64, id: &str) -> DeadLetterView {
        let letter = serde_json::json!({
            "instance": "demo",
            "endpoint": endpoint,
            "sequence": sequence,
            "reason": "exhausted",
            "outcome": "http-500: no",
            "attempts": 30,
            "accepted_at": "2026-11-22T10:00:00.5Z",
            "last_attempt_at": "",
            "died_at": "2026-11-22T10:00:01.25Z",
            "busy": sequence == 2,
            "unstorable": sequence == 3,
            "id": id,
            "source": "host",
            "type": "Microsoft.DigitalTwins.Relationship.Update",
            "subject": "",
            "bytes": 100,
        });
        serde_json::from_value(letter).unwrap()
    }

    #[test]
    fn the_table_fits_100_columns() {
        let page = DeadLetterPage {
            dead_letters: vec![
                letter("grid-1", 1, "1"),
                letter("grid-1", 2, "0f8fad5b-d9cb-469f-a165-70867728950e"),
                letter("hub-1", 3, "3"),
            ],
            next: "demo/hub-1/3".to_owned(),
        };
        let text = render(&page);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        expect![[r#"
            demo/grid-1
               sequence  reason     died at (UTC)        tries  id                type
                      1  exhausted  2026-11-22 10:00:01     30  1                 Microsoft.DigitalTwins.Relati…
                      2  exhausted  2026-11-22 10:00:01     30  0f8fad5b-d9cb-4…  Microsoft.DigitalTwins… (busy)

            demo/hub-1
               sequence  reason     died at (UTC)        tries  id                type
                      3  exhausted  2026-11-22 10:00:01     30  3                 Microsoft.Digita… (unstorable)

            there may be more: --after demo/hub-1/3
        "#]].assert_eq(&text);
    }

    #[test]
    fn an_event_is_shown_as_it_is() {
        let event = r#"{"id":"1",  "big":12345678901234567890123}"#;
        let letter = ShownDeadLetter {
            dead_letter: letter("grid-1", 1, "1"),
            event: RawValue::from_string(event.to_owned()).unwrap(),
        };
        expect![[r#"
            endpoint   demo/grid-1
            sequence   1
            reason     exhausted
            outcome    http-500: no
            tries      30
            accepted   2026-11-22T10:00:00.5Z
            died       2026-11-22T10:00:01.25Z
            id         1
            source     host
            type       Microsoft.DigitalTwins.Relationship.Update
            bytes      100

            {"id":"1",  "big":12345678901234567890123}
        "#]]
        .assert_eq(&render_one(&letter));
    }
}
