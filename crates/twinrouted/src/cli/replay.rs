//! `twinroute replay`: replays under way; and following one until it ends.

use super::ask::{self, AdminTarget};
use crate::cli::output;
use crate::stop_signals::StopSignals;
use clap::Subcommand;
use serde::Deserialize;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::sleep;
use twinroute_router::replay::{ReplayRequest, ReplayState, ReplayStatus};

/// How often a replay is polled: first, and at most.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// Lists replays that are under way, and the last that ended.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        whom: AdminTarget,
    },
    /// Ends one; what it has put back stays.
    Cancel {
        /// Its number.
        number: u64,
        #[command(flatten)]
        whom: AdminTarget,
    },
}

#[derive(Deserialize)]
struct ReplayListing {
    replays: Vec<ReplayStatus>,
}

pub(super) async fn run(step: &ReplayCommand) -> anyhow::Result<ExitCode> {
    match step {
        ReplayCommand::List { json, whom } => {
            let answer = whom.get("/replays?pretty").await?;
            if *json {
                output::print(&answer)?;
            } else {
                let ReplayListing { replays } = ask::read(&answer)?;
                output::print(render(&replays))?;
            }
        }
        ReplayCommand::Cancel { number, whom } => {
            let answer = whom.delete(&format!("/replays/{number}")).await?;
            output::line(summary(&ask::read(&answer)?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins a replay and follows it until it ends, or until this process is told to stop.
pub(super) async fn begin(
    whom: &AdminTarget,
    request: &ReplayRequest,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::new()?;
    let answer = whom
        .post("/replays", serde_json::to_string(request)?)
        .await?;
    let begun: ReplayStatus = ask::read(&answer)?;
    let number = begun.number;
    // A signal ends the watching, not the replay: that is the daemon's.
    tokio::select! {
        ended = follow(whom, begun) => {
            let ended = ended?;
            if as_json {
                output::line(serde_json::to_string_pretty(&ended)?)?;
            } else {
                output::line(summary(&ended))?;
            }
            Ok(match ended.state {
                ReplayState::Done => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            })
        }
        () = stop.wait() => {
            let admin = whom.option();
            output::line(format_args!("replay {number} goes on; to end it: twinroute replay cancel {number}{admin}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says on standard error how it goes, whenever that changes.
async fn follow(whom: &AdminTarget, mut last: ReplayStatus) -> anyhow::Result<ReplayStatus> {
    let (mut pause, pause_max) = POLL_INTERVAL;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(pause_max);
        let answer = whom.get(&format!("/replays/{}", last.number)).await?;
        let now: ReplayStatus = ask::read(&answer)?;
        if !matches!(now.state, ReplayState::Running | ReplayState::Waiting) {
            return Ok(now);
        }
        if now != last {
            output::error_line(summary(&now));
        }
        last = now;
    }
}

/// How it goes, in one line.
fn summary(status: &ReplayStatus) -> String {
    let mut text = format!("replay {} {}", status.number, status.state.as_str());
    let mut add = |part: std::fmt::Arguments<'_>| {
        text.write_fmt(part).expect("a String takes everything");
    };
    if !status.reason.is_empty() {
        add(format_args!(": {}", status.reason));
    }
    add(format_args!(
        "; {} replayed, {} delivered",
        status.replayed, status.delivered
    ));
    for (count, what) in [
        (status.dead_lettered, "dead-lettered again"),
        (status.discarded, "discarded"),
        (status.skipped, "skipped"),
    ] {
        if count > 0 {
            add(format_args!(", {count} {what}"));
        }
    }
    text
}

fn render(replays: &[ReplayStatus]) -> String {
    if replays.is_empty() {
        return "no replays\n".to_owned();
    }
    let mut text =
        String::from("replay  state      replayed  delivered  dead-lettered  skipped  of\n");
    for of in replays {
        let query = &of.request.query;
        let wanted = match (query.instance.as_str(), query.endpoint.as_str()) {
            ("", "") => "all".to_owned(),
            ("", endpoint) => endpoint.to_owned(),
            (instance, "") => format!("{instance}/*"),
            (instance, endpoint) => format!("{instance}/{endpoint}"),
        };
        writeln!(
            text,
            "{:>6}  {:<9}  {:>8}  {:>9}  {:>13}  {:>7}  {}",
            of.number,
            of.state.as_str(),
            of.replayed,
            of.delivered,
            of.dead_lettered,
            of.skipped,
            ask::cut(&wanted, 32)
        )
        .expect("a String takes everything");
        if !of.reason.is_empty() {
            writeln!(text, "        {}", ask::cut(&of.reason, 92))
                .expect("a String takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn replays_are_reported_in_a_line_and_in_a_table() {
        let mut stopped = ReplayStatus::default();
        stopped.number = 2;
        stopped.state = ReplayState::Stopped;
        stopped.reason = "endpoint demo/grid-1: the failure persists".to_owned();
        (stopped.replayed, stopped.delivered, stopped.dead_lettered) = (12, 7, 5);
        stopped.request.query.endpoint = "grid-1".to_owned();
        let mut running = ReplayStatus::default();
        running.number = 3;
        expect!["replay 2 stopped: endpoint demo/grid-1: the failure persists; 12 replayed, 7 delivered, 5 dead-lettered again"].assert_eq(&summary(&stopped));
        let text = render(&[stopped, running]);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        expect![[r#"
            replay  state      replayed  delivered  dead-lettered  skipped  of
                 2  stopped          12          7              5        0  grid-1
                    endpoint demo/grid-1: the failure persists
                 3  running           0          0              0        0  all
        "#]]
        .assert_eq(&text);
    }
}
