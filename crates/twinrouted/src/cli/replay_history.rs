//! `twinroute replay --from history`: gives past events back to endpoints, as new deliveries.

use super::ask::AdminTarget;
use super::history::{HistoryFilterOptions, HistorySource, render};
use super::replay::{self, ReplayCommand};
use crate::cli::output;
use crate::cli::screen::ScreenSize;
use anyhow::bail;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::process::ExitCode;
use twinroute_router::history::{DeliveryRow, HistoryQueryText};
use twinroute_router::replay::{HistoryReplay, ReplayRequest};

/// Deliveries of a page.
const PAGE: usize = 1_000;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ReplayOptions {
    #[command(subcommand)]
    step: Option<ReplayCommand>,
    /// What is replayed; `twinroute deadletter replay` replays dead letters.
    #[arg(long, value_enum)]
    from: Option<ReplayOrigin>,
    #[command(flatten)]
    wanted: HistoryFilterOptions,
    /// To this endpoint, or instance/endpoint, each event once; without it, to those that took, lost or refused them.
    #[arg(long, default_value = "")]
    to: String,
    /// Lists what would be replayed, and replays nothing.
    #[arg(long)]
    dry_run: bool,
    /// Events a second, at most.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// No more than so many.
    #[arg(long)]
    most: Option<u64>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: AdminTarget,
}

/// Where events of a replay come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReplayOrigin {
    /// Events that were accepted, as long as the journal keeps them.
    History,
}

pub(super) async fn run(options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    match (&options.step, options.from) {
        (Some(step), _) => replay::run(step).await,
        (None, Some(ReplayOrigin::History)) => options.replay().await,
        (None, None) => bail!(
            "say what to replay: --from history, or `twinroute deadletter replay` for dead letters; `twinroute replay \
             list` shows what is under way"
        ),
    }
}

impl ReplayOptions {
    async fn replay(&self) -> anyhow::Result<ExitCode> {
        let query = self.wanted.text()?;
        if self.dry_run {
            return self.dry_run(&query).await;
        }
        let request = ReplayRequest {
            history: Some(HistoryReplay {
                query,
                to: self.to.clone(),
            }),
            per_second: self.rate,
            most: self.most,
            ..ReplayRequest::default()
        };
        if let Err(reason) = request.check() {
            bail!("{reason}");
        }
        replay::begin(&self.whom, &request, self.json).await
    }

    async fn dry_run(&self, query: &HistoryQueryText) -> anyhow::Result<ExitCode> {
        let source = HistorySource::Running(&self.whom);
        let most = self.most.unwrap_or(u64::MAX);
        let (mut after, mut listed) = (String::new(), 0_u64);
        // With an endpoint named, each event goes there once.
        let mut seen = BTreeSet::new();
        loop {
            let page = source.rows(query, &after, PAGE).await?;
            let mut rows = page.rows;
            rows.retain(|row| self.takes(row, &mut seen));
            let left = usize::try_from(most - listed).unwrap_or(usize::MAX);
            rows.truncate(left);
            let has_head = listed == 0 && !rows.is_empty();
            listed += rows.len() as u64;
            output::print(if self.json {
                render::json_lines(&rows)?
            } else {
                render::rows(&rows, has_head, ScreenSize::of_stdout().columns)
            })?;
            after = page.next;
            if page.at_end || listed == most {
                break;
            }
        }
        if !self.json {
            output::line(format_args!("{listed} would be replayed; nothing was"))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whether the replay would put it back.
    fn takes(&self, row: &DeliveryRow, seen: &mut BTreeSet<(u64, String)>) -> bool {
        if row.replay {
            return false;
        }
        if self.to.is_empty() {
            return row.is_settled();
        }
        // Rows of an event stand together.
        let event = (row.sequence, row.id.clone());
        if !seen.contains(&event) {
            seen.clear();
        }
        seen.insert(event)
    }
}
