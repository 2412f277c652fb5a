//! Waiting for the state of a resource.

use super::{ManagementClient, show};
use anyhow::bail;
use clap::{ArgGroup, Args};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What to wait for, and how long.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("state").required(true))]
pub(crate) struct WaitOptions {
    /// Until it is provisioned.
    #[arg(long, group = "state")]
    created: bool,
    /// Until it is gone.
    #[arg(long, group = "state")]
    deleted: bool,
    /// Until its provisioning state is this one, such as `Warning`.
    #[arg(long, value_name = "STATE", group = "state")]
    custom_state: Option<String>,
    /// How long at most: seconds, or such as `5m`.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    timeout: Duration,
    /// Between two checks: seconds, or such as `500ms`.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    interval: Duration,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum WaitGoal {
    Created,
    Deleted,
    State(String),
}

/// What the state of a resource means.
#[derive(Debug, PartialEq, Eq)]
enum PolledState {
    Done,
    NotYet,
    /// It will never be what is waited for.
    Never,
}

impl WaitGoal {
    fn judge(&self, state: Option<&str>) -> PolledState {
        let is = |word: &str| state.is_some_and(|state| state.eq_ignore_ascii_case(word));
        match self {
            Self::Deleted if state.is_none() => PolledState::Done,
            Self::Created if is("Succeeded") || is("Warning") => PolledState::Done,
            Self::Created if is("Failed") || is("Canceled") || is("Deleting") => PolledState::Never,
            Self::State(wanted) if is(wanted) => PolledState::Done,
            _ => PolledState::NotYet,
        }
    }
}

impl WaitOptions {
    fn until(&self) -> WaitGoal {
        match &self.custom_state {
            Some(state) => WaitGoal::State(state.clone()),
            None if self.deleted => WaitGoal::Deleted,
            None => WaitGoal::Created,
        }
    }

    /// Waits; gives the resource as it is then, unless it is gone.
    ///
    /// # Errors
    /// When the time is over, or it failed, with the reason.
    pub(crate) async fn wait(
        &self,
        client: &ManagementClient,
        path: &str,
        version: &str,
        what: &str,
    ) -> anyhow::Result<Option<Value>> {
        let until = self.until();
        let latest = Instant::now() + self.timeout;
        loop {
            let found = client.find(path, version, what).await?;
            // A resource without a state is there as a whole (ARM).
            let state = found.as_ref().map(|found| {
                let state = show::text(found, "/properties/provisioningState");
                match state {
                    "" => "Succeeded",
                    state => state,
                }
            });
            match until.judge(state) {
                PolledState::Done => return Ok(found),
                PolledState::Never => {
                    let state = state.unwrap_or_default();
                    let reason = found.as_ref().map(show::reason).unwrap_or_default();
                    bail!("{what} is {state}: correct it and create it again\n  {reason}");
                }
                PolledState::NotYet => {}
            }
            if Instant::now() + self.interval > latest {
                let state = state.unwrap_or("not there");
                let timeout = humantime::format_duration(self.timeout);
                bail!(
                    "{what} is {state} after {timeout}: wait longer with --timeout, or look at it with `show`"
                );
            }
            sleep(self.interval).await;
        }
    }
}

/// Seconds, or a number with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let read = seconds.or_else(|| humantime::parse_duration(text).ok());
    let bound = Duration::from_secs(7 * 24 * 3600);
    let read = read.filter(|read| !read.is_zero() && *read <= bound);
    read.ok_or_else(|| "give seconds, or such as 30s, 5m, 1h; at most 7 days".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_mean_done_not_yet_or_never() {
        use PolledState::{Done, Never, NotYet};
        let state = WaitGoal::State("warning".to_owned());
        for (until, seen, expect) in [
            (&WaitGoal::Created, Some("Succeeded"), Done),
            (&WaitGoal::Created, Some("Warning"), Done),
            (&WaitGoal::Created, Some("Provisioning"), NotYet),
            (&WaitGoal::Created, None, NotYet),
            (&WaitGoal::Created, Some("Failed"), Never),
            (&WaitGoal::Deleted, None, Done),
            (&WaitGoal::Deleted, Some("Deleting"), NotYet),
            (&state, Some("Warning"), Done),
            (&state, Some("Succeeded"), NotYet),
        ] {
            assert_eq!(until.judge(seen), expect, "{until:?} {seen:?}");
        }
    }

    #[test]
    fn one_state_is_waited_for() {
        #[derive(clap::Parser)]
        struct ProgressLine {
            #[command(flatten)]
            wait: WaitOptions,
        }
        let read = |line: &str| {
            let line: Result<ProgressLine, _> = clap::Parser::try_parse_from(line.split(' '));
            line.map(|line| line.wait.until())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("wait --deleted"), Ok(WaitGoal::Deleted));
        assert_eq!(
            read("wait --custom-state X"),
            Ok(WaitGoal::State("X".to_owned()))
        );
        let error = read("wait --timeout 1").unwrap_err();
        assert!(
            error.contains("<--created|--deleted|--custom-state <STATE>>"),
            "{error}"
        );
        assert!(read("wait --created --deleted").is_err());
    }

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("0").is_err() && duration("x").is_err() && duration("8d").is_err());
    }
}
