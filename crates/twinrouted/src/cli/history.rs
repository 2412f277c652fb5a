//! `twinroute history`: which events went where, and what became of each delivery.

pub(super) mod render;

use super::ask::{self, AdminTarget};
use crate::cli::output;
use crate::cli::screen::ScreenSize;
use crate::config::LoadedConfig;
use crate::keys;
use anyhow::bail;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use twinroute_journal::history::HistoryCursor;
use twinroute_journal::{EventSealing, JournalOpenError};
use twinroute_model::clock::SystemClock;
use twinroute_router::history::{
    EventHistory, EventView, HistoryQueryText, HistoryRows, PastEvents,
};

/// How often it is asked for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// Deliveries of a page.
const PAGE: usize = 1_000;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HistoryOptions {
    #[command(subcommand)]
    step: Option<HistoryCommand>,
    #[command(flatten)]
    wanted: HistoryFilterOptions,
    /// No more than so many deliveries, from the oldest on.
    #[arg(long)]
    most: Option<usize>,
    /// Goes on with what comes, until it is stopped.
    #[arg(long, short)]
    follow: bool,
    /// Prints JSON, an object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: HistoryPlace,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Shows events of one id in full: each route's decision then, each attempt, the event.
    Show {
        /// The event's id.
        id: String,
        /// Of this source, where several have events of this id.
        #[arg(long, default_value = "")]
        source: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: HistoryPlace,
    },
    /// Explains events of one id clause by clause: under the routes of then, and under those of a running twinroute.
    Explain {
        /// The event's id.
        id: String,
        /// Of this source, where several have events of this id.
        #[arg(long, default_value = "")]
        source: String,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: HistoryPlace,
    },
}

/// Which deliveries.
#[derive(Args, Clone, Debug)]
pub(crate) struct HistoryFilterOptions {
    /// Of this twin: its id, or its host and id.
    #[arg(long, default_value = "")]
    twin: String,
    /// Of events with this id.
    #[arg(long, default_value = "")]
    id: String,
    /// Of events with this source.
    #[arg(long, default_value = "")]
    source: String,
    /// Of events with this type.
    #[arg(long = "type", default_value = "")]
    event_type: String,
    /// That this route made.
    #[arg(long, default_value = "")]
    route: String,
    /// To this endpoint.
    #[arg(long, default_value = "")]
    endpoint: String,
    /// Of this instance.
    #[arg(long, default_value = "")]
    instance: String,
    /// That came to this: queued, retrying, dead-letter, delivered, dead-lettered, replayed, discarded, unmatched,
    /// unknown.
    #[arg(long, default_value = "")]
    outcome: String,
    /// Events that no route matched.
    #[arg(long)]
    unmatched: bool,
    /// Accepted at or after this: 2026-11-22T10:00:00Z, or `2h` ago.
    #[arg(long, default_value = "")]
    since: String,
    /// Accepted before this: likewise.
    #[arg(long, default_value = "")]
    until: String,
}

/// Whose history.
#[derive(Args, Debug)]
pub(crate) struct HistoryPlace {
    /// That of the journal in this folder, which no running twinroute has open, instead of asking one.
    #[arg(long, value_name = "FOLDER")]
    journal: Option<PathBuf>,
    /// The configuration of the twinroute whose journal it is, for the key that sealed events are opened with.
    #[arg(long, value_name = "FILE", requires = "journal")]
    config: Option<PathBuf>,
    #[command(flatten)]
    whom: AdminTarget,
}

/// Where it is read.
pub(super) enum HistorySource<'a> {
    Running(&'a AdminTarget),
    Folder(EventHistory),
}

pub(super) async fn run(options: &HistoryOptions) -> anyhow::Result<ExitCode> {
    match &options.step {
        Some(HistoryCommand::Show {
            id,
            source,
            json,
            place,
        }) => show((id, source), *json, &place.source()?, render::events).await,
        Some(HistoryCommand::Explain {
            id,
            source,
            json,
            place,
        }) => show((id, source), *json, &place.source()?, render::explanations).await,
        None => list(options).await,
    }
}

async fn list(options: &HistoryOptions) -> anyhow::Result<ExitCode> {
    let source = options.place.source()?;
    if options.follow && matches!(source, HistorySource::Folder(_)) {
        bail!("--follow needs a running twinroute: leave --journal out");
    }
    let mut query = options.wanted.text()?;
    if options.follow {
        "true".clone_into(&mut query.follow);
    }
    let mut left = options.most.unwrap_or(usize::MAX);
    let mut after = String::new();
    let mut view = 0;
    loop {
        let mut page = source.rows(&query, &after, left.min(PAGE)).await?;
        page.rows.truncate(left);
        left -= page.rows.len();
        let has_head = view == 0 && !page.rows.is_empty();
        view += page.rows.len();
        output::print(if options.json {
            render::json_lines(&page.rows)?
        } else {
            render::rows(&page.rows, has_head, ScreenSize::of_stdout().columns)
        })?;
        let is_stuck = page.next == after;
        after = page.next;
        if left == 0 || (page.at_end && !options.follow) {
            break;
        }
        if options.follow && (page.at_end || is_stuck) {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
    if view == 0 && !options.json {
        output::line("nothing in the history is of this kind")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(
    (id, source): (&str, &str),
    as_json: bool,
    place: &HistorySource<'_>,
    render: fn(&[EventView]) -> String,
) -> anyhow::Result<ExitCode> {
    let events = place.events_of(id, source).await?;
    output::print(if as_json {
        serde_json::to_string_pretty(&events)? + "\n"
    } else {
        render(&events)
    })?;
    Ok(ExitCode::SUCCESS)
}

impl HistoryPlace {
    /// The configuration of the folder, if it is named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    pub(super) fn source(&self) -> anyhow::Result<HistorySource<'_>> {
        HistorySource::of(self.journal.as_deref(), self.config.as_deref(), &self.whom)
    }
}

/// What opens sealed events, if a configuration is named.
fn sealing(folder: &Path, config: Option<&Path>) -> anyhow::Result<EventSealing> {
    match config {
        None => Ok(EventSealing::Off),
        Some(config) => keys::sealing(&LoadedConfig::read(config)?, folder),
    }
}

impl HistoryFilterOptions {
    /// The query as the API takes it; times that are given as ages become times.
    pub(super) fn text(&self) -> anyhow::Result<HistoryQueryText> {
        let moment = |text: &str| match text {
            "" => Ok(String::new()),
            text => ask::moment(text, &SystemClock),
        };
        Ok(HistoryQueryText {
            instance: self.instance.clone(),
            twin: self.twin.clone(),
            id: self.id.clone(),
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            route: self.route.clone(),
            endpoint: self.endpoint.clone(),
            outcome: self.outcome.clone(),
            unmatched: if self.unmatched { "true" } else { "" }.to_owned(),
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            follow: String::new(),
        })
    }
}

impl<'a> HistorySource<'a> {
    /// The journal in `folder`, where sealed events are opened with the key of `config`; else that of `whom`.
    pub(super) fn of(
        folder: Option<&Path>,
        config: Option<&Path>,
        whom: &'a AdminTarget,
    ) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            return Ok(Self::Running(whom));
        };
        let sealing = sealing(folder, config)?;
        match EventHistory::open(folder, &sealing) {
            Ok(history) => Ok(Self::Folder(history)),
            Err(error @ JournalOpenError::Sealed { .. }) if config.is_none() => {
                let way_out =
                    "events are sealed: --config FILE names the configuration that has their key";
                Err(anyhow::Error::new(error).context(way_out))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl HistorySource<'_> {
    /// Events of this id in full, and of this source if that is not empty; an error where there is none.
    pub(super) async fn events_of(&self, id: &str, source: &str) -> anyhow::Result<Vec<EventView>> {
        let query = HistoryQueryText {
            id: id.to_owned(),
            source: source.to_owned(),
            ..HistoryQueryText::default()
        };
        let events = self.events(&query).await?;
        if events.is_empty() {
            bail!("event {id:?}: not in the history; `twinroute history` lists what is");
        }
        Ok(events)
    }

    pub(super) async fn rows(
        &self,
        query: &HistoryQueryText,
        after: &str,
        most: usize,
    ) -> anyhow::Result<HistoryRows> {
        match self {
            Self::Running(whom) => {
                let path = format!("/history?{}", parameters(query, after, most)?);
                ask::read(&whom.get(&path).await?)
            }
            Self::Folder(history) => {
                let query = query.clone().parse().map_err(anyhow::Error::msg)?;
                Ok(history.rows(query, cursor(after)?, most).await?)
            }
        }
    }

    pub(super) async fn events(&self, query: &HistoryQueryText) -> anyhow::Result<Vec<EventView>> {
        match self {
            Self::Running(whom) => {
                let path = format!("/history/events?{}", parameters(query, "", PAGE)?);
                ask::read(&whom.get(&path).await?)
            }
            Self::Folder(history) => {
                let query = query.clone().parse().map_err(anyhow::Error::msg)?;
                Ok(history.events(query).await?)
            }
        }
    }
}

impl HistorySource<'_> {
    /// Events alone, from behind `after` on.
    pub(super) async fn export(
        &self,
        query: &HistoryQueryText,
        after: &str,
    ) -> anyhow::Result<PastEvents> {
        match self {
            Self::Running(whom) => {
                let path = format!("/history/export?{}", parameters(query, after, PAGE)?);
                ask::read(&whom.get(&path).await?)
            }
            Self::Folder(history) => {
                let query = query.clone().parse().map_err(anyhow::Error::msg)?;
                Ok(history.export(query, cursor(after)?, PAGE).await?)
            }
        }
    }
}

fn cursor(after: &str) -> anyhow::Result<HistoryCursor> {
    match after {
        "" => Ok(HistoryCursor::default()),
        after => after.parse().map_err(anyhow::Error::msg),
    }
}

fn parameters(query: &HistoryQueryText, after: &str, most: usize) -> anyhow::Result<String> {
    let text = serde_json::to_value(query)?;
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    for (name, value) in text.as_object().into_iter().flatten() {
        parameters.append_pair(name, value.as_str().unwrap_or_default());
    }
    if !after.is_empty() {
        parameters.append_pair("after", after);
    }
    parameters.append_pair("most", &most.to_string());
    Ok(parameters.finish())
}
