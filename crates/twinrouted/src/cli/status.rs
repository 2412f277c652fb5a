//! `twinroute status`: what a running twinroute does.

use super::ask::{self, AdminTarget};
use super::screen::ScreenSize;
use super::selection::EndpointSelection;
use super::table::{self, TableView};
use crate::cli::output;
use crate::stop_signals::StopSignals;
use clap::Args;
use serde_json::Value;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use twinroute_router::status::RouterStatus;

/// Shorter than that nobody reads, and the router has better things to do.
const WATCH_MIN: Duration = Duration::from_millis(200);

/// What is shown, and whether once.
#[derive(Args, Debug)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    whom: AdminTarget,
    #[command(flatten)]
    selection: EndpointSelection,
    /// Shows it again and again, every 2 s unless an interval is given, until it is stopped.
    #[arg(long, short, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<humantime::Duration>,
    /// Prints JSON; with --watch a document a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let Some(every) = options.watch else {
        options.show(false).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut stop = StopSignals::new()?;
    let mut beat = interval(Duration::from(every).max(WATCH_MIN));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.wait() => return Ok(ExitCode::SUCCESS),
            _ = beat.tick() => options.show(true).await?,
        }
    }
}

impl StatusOptions {
    async fn show(&self, again: bool) -> anyhow::Result<()> {
        if self.json {
            return self.show_json(again).await;
        }
        let mut status: RouterStatus = ask::read(&self.whom.get("/status").await?)?;
        self.selection.apply(&mut status)?;
        let is_terminal = std::io::stdout().is_terminal();
        let view = TableView {
            screen: ScreenSize::of_stdout(),
            selection: &self.selection,
            fits: again && is_terminal,
        };
        let table = table::draw(&status, &view);
        match (again, is_terminal) {
            (true, true) => output::clear_screen()?,
            (true, false) => output::line("")?,
            (false, _) => {}
        }
        output::print_painted(&table)?;
        Ok(())
    }

    async fn show_json(&self, again: bool) -> anyhow::Result<()> {
        let body = self.whom.get("/status?pretty").await?;
        let is_whole = !self.selection.chooses() && self.selection.sort.is_none();
        if is_whole && !again {
            output::line(&body)?;
            return Ok(());
        }
        let mut answer: Value = ask::read(&body)?;
        self.selection.apply_to_json(&mut answer)?;
        match again {
            true => output::line(answer)?,
            false => output::line(serde_json::to_string_pretty(&answer)?)?,
        }
        Ok(())
    }
}
