//! `twinroute audit`: reads and checks the audit log, whether the daemon runs or not.

use super::{exit, output};
use crate::auditing;
use crate::config::LoadedConfig;
use crate::stop_signals::StopSignals;
use anyhow::{Context as _, bail};
use clap::Args;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use twinroute_audit::{
    AuditEntry, AuditFinding, AuditReader, AuditReport, CallerProof, ChangeOutcome, verify,
};
use twinroute_model::clock::{Clock as _, SystemClock, Timestamp};
use twinroute_model::visible::one_line;

/// How often a log that is followed is read.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Characters of a value of the table.
const SHOWN_CHARS_MAX: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct AuditOptions {
    /// The configuration file, which says where the log is.
    #[arg(long, short, required_unless_present = "folder")]
    config: Option<PathBuf>,
    /// The folder of the log, in place of a configuration.
    folder: Option<PathBuf>,
    /// Entries since then: a time (RFC 3339), or how long ago (`2h`, `7days`).
    #[arg(long, value_parser = since)]
    since: Option<SinceOption>,
    /// Entries of whoever has this in their name, subject, issuer, certificate or address.
    #[arg(long)]
    who: Option<String>,
    /// Entries about what has this in its id.
    #[arg(long)]
    resource: Option<String>,
    /// The newest entries that are shown; 0 shows all.
    #[arg(long, default_value_t = 100)]
    last: usize,
    /// Prints the entries as they stand in the log, with what was before and after.
    #[arg(long)]
    json: bool,
    /// Goes on with entries as they come, until it is stopped.
    #[arg(long)]
    follow: bool,
    /// Checks that no entry was changed, removed or inserted; exit code 1 when one was.
    #[arg(long, conflicts_with_all = ["since", "who", "resource", "follow"])]
    verify: bool,
    /// The hash of an entry that was kept elsewhere: checks that this entry is still there.
    #[arg(long, requires = "verify")]
    kept: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum SinceOption {
    At(Timestamp),
    Ago(Duration),
}

fn since(text: &str) -> Result<SinceOption, String> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Ok(SinceOption::At(at));
    }
    let ago = humantime::parse_duration(text).map(SinceOption::Ago);
    ago.map_err(|_| "is neither a time such as 2026-11-27T08:00:00Z nor a length such as 2h".into())
}

pub(super) async fn run(options: &AuditOptions) -> anyhow::Result<ExitCode> {
    let folder = match (&options.folder, &options.config) {
        (Some(folder), _) => folder.clone(),
        (None, Some(config)) => {
            let loaded = match LoadedConfig::read(config) {
                Ok(loaded) => loaded,
                Err(error) => return Ok(exit::not_started(&error)),
            };
            auditing::folder(&loaded)
                .context("there is no audit log: nothing is on disk, and [audit] path is not set")?
        }
        (None, None) => bail!("name a configuration or a folder"),
    };
    if !folder.is_dir() {
        bail!(
            "audit log {}: there is no such folder yet",
            folder.display()
        );
    }
    if options.verify {
        return check(&folder, options);
    }
    list(&folder, options).await
}

fn check(folder: &Path, options: &AuditOptions) -> anyhow::Result<ExitCode> {
    let report = verify(folder, options.kept.as_deref()).context("the audit log")?;
    let text = match options.json {
        true => serde_json::json!({
            "entries": report.entries, "first": report.first, "last": report.last,
            "hash": report.hash, "problems": report.problems,
        })
        .to_string(),
        false => verdict(folder, &report),
    };
    output::line(text.trim_end())?;
    Ok(ExitCode::from(u8::from(!report.problems.is_empty())))
}

fn verdict(folder: &Path, report: &AuditReport) -> String {
    let mut text = format!("audit log {}: ", folder.display());
    let AuditReport {
        entries,
        first,
        last,
        hash,
        problems,
    } = report;
    if problems.is_empty() {
        text.push_str("nothing was changed, removed or inserted\n");
    } else {
        text.push_str("IT WAS CHANGED\n");
    }
    for problem in problems {
        writeln!(text, "  {problem}").expect("a String takes everything");
    }
    if *entries > 0 {
        let written = writeln!(
            text,
            "{entries} entries, {first} to {last}; keep the hash of the last elsewhere:\n{hash}"
        );
        written.expect("a String takes everything");
    }
    text
}

async fn list(folder: &Path, options: &AuditOptions) -> anyhow::Result<ExitCode> {
    let from = options.since.map(|since| match since {
        SinceOption::At(at) => at,
        SinceOption::Ago(ago) => {
            let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_unix_millis(SystemClock.now().unix_millis().saturating_sub(millis))
        }
    });
    let mut follow = AuditReader::new(folder);
    let mut listed: VecDeque<(Box<AuditEntry>, String)> = VecDeque::new();
    let (mut entries, mut fitting, mut unreadable) = (0_u64, 0_u64, 0_u64);
    follow
        .more(&mut |found| match found {
            AuditFinding::Unreadable { .. } => unreadable += 1,
            AuditFinding::Entry(entry, line) => {
                entries += 1;
                if !fits(&entry, from, options) {
                    return;
                }
                fitting += 1;
                listed.push_back((entry, line));
                if options.last > 0 && listed.len() > options.last {
                    listed.pop_front();
                }
            }
        })
        .context("the audit log")?;
    if !options.json {
        let folder = folder.display();
        let newest = listed.len();
        let mut head = format!(
            "audit log {folder}: who changed what; {entries} entries, {fitting} asked for, the newest {newest} shown"
        );
        if unreadable > 0 {
            write!(head, "; {unreadable} lines cannot be read: see --verify")?;
        }
        output::line(&head)?;
        output::line(HEADINGS)?;
    }
    for (entry, line) in listed {
        output::line(format_row(&entry, line, options))?;
    }
    if !options.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut stop = StopSignals::new()?;
    loop {
        // What was found is printed whole before a signal ends this.
        tokio::select! {
            () = stop.wait() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
        let mut came = Vec::new();
        follow
            .more(&mut |found| match found {
                AuditFinding::Entry(entry, line) if fits(&entry, from, options) => {
                    came.push(format_row(&entry, line, options));
                }
                AuditFinding::Entry(..) | AuditFinding::Unreadable { .. } => {}
            })
            .context("the audit log")?;
        for line in came {
            output::line(&line)?;
        }
    }
}

fn fits(entry: &AuditEntry, from: Option<Timestamp>, options: &AuditOptions) -> bool {
    let at = Timestamp::parse_rfc3339(&entry.at);
    let in_time = from.is_none_or(|from| at.is_some_and(|at| at >= from));
    let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let who = &entry.who;
    let names = [
        &who.name,
        &who.subject,
        &who.issuer,
        &who.certificate,
        &entry.from,
    ];
    let by_whom = options
        .who
        .as_ref()
        .is_none_or(|part| names.into_iter().any(|name| has(name, part)));
    let about = options.resource.as_ref();
    in_time && by_whom && about.is_none_or(|part| has(&entry.resource, part))
}

const HEADINGS: &str = "     n  when                      outcome   who (known by)        from                   \
                        operation                              resource";

fn format_row(entry: &AuditEntry, line: String, options: &AuditOptions) -> String {
    if options.json {
        return line;
    }
    row(entry)
}

fn row(entry: &AuditEntry) -> String {
    let outcome = match entry.outcome {
        ChangeOutcome::Accepted => "accepted",
        ChangeOutcome::Refused => "refused",
        ChangeOutcome::Failed => "failed",
    };
    let by = match entry.who.by {
        CallerProof::Token => "token",
        CallerProof::Jwt => "jwt",
        CallerProof::Certificate => "certificate",
        CallerProof::Anonymous => "anonymous",
        CallerProof::Nobody => "not known",
        CallerProof::Command => "command",
    };
    let who = format!("{} ({by})", shortened(&entry.who.name));
    let mut text = format!(
        "{:>6}  {:<24}  {outcome:<8}  {who:<20}  {:<21}  {:<37}  {}",
        entry.n,
        shortened(&entry.at),
        shortened(&entry.from),
        // Of an operation and an id the part that tells; all of them is in the entry.
        shortened(behind(&entry.operation, "Microsoft.")),
        shortened(behind(&entry.resource, "/providers/Microsoft.")),
    );
    if !entry.code.is_empty() {
        let status = entry.status.map(|status| format!("{status} "));
        let status = status.unwrap_or_default();
        write!(text, "  {status}{}", shortened(&entry.code)).expect("a String takes everything");
    }
    if entry.unnoted > 0 {
        let more = entry.unnoted;
        write!(text, "  (and {more} before it that were not recorded)")
            .expect("a String takes everything");
    }
    text
}

/// What stands behind a namespace that begins with `mark`, if there is one.
fn behind<'a>(text: &'a str, mark: &str) -> &'a str {
    let rest = text.split_once(mark).map(|(_, rest)| rest);
    let rest = rest.and_then(|rest| rest.split_once('/'));
    rest.map_or(text, |(_, rest)| rest)
}

/// What a log that somebody changed holds must not steer the terminal.
fn shortened(text: &str) -> String {
    one_line(text).chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_both_ways() {
        assert!(
            matches!(since("2h"), Ok(SinceOption::Ago(ago)) if ago == Duration::from_secs(7200))
        );
        assert!(matches!(
            since("2026-11-27T08:00:00Z"),
            Ok(SinceOption::At(_))
        ));
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn a_report_is_reported() {
        let mut report = AuditReport {
            entries: 2,
            first: 1,
            last: 2,
            hash: "ab".to_owned(),
            problems: Vec::new(),
        };
        let verdict_text = |report: &AuditReport| verdict(Path::new("/x"), report);
        assert_eq!(
            verdict_text(&report),
            "audit log /x: nothing was changed, removed or inserted\n\
             2 entries, 1 to 2; keep the hash of the last elsewhere:\nab\n"
        );
        report
            .problems
            .push("entry 2: comes after entry 0".to_owned());
        assert!(
            verdict_text(&report).starts_with("audit log /x: IT WAS CHANGED\n  entry 2: comes")
        );
    }
}
