//! `twinroute tap`: events as they pass a running twinroute.

use super::ask::{AdminTarget, cut};
use super::paint::{PaintedText, TextColor};
use super::screen::ScreenSize;
use crate::cli::output;
use crate::stop_signals::StopSignals;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{self, Write};
use std::process::ExitCode;
use twinroute_model::visible::one_line;
use twinroute_router::tap::TapRequest;

/// Which events are shown, and how.
#[derive(Args, Debug)]
pub(crate) struct TapOptions {
    #[command(flatten)]
    whom: AdminTarget,
    /// Shows events of this instance.
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Shows events that this route matched.
    #[arg(long, value_name = "ID")]
    route: Option<String>,
    /// Shows events for this endpoint.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Shows events of this type.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// Shows events of this twin: its whole key, or the last part of it.
    #[arg(long, value_name = "TWIN")]
    twin: Option<String>,
    /// Shows events that a route with this filter would match.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Shows what became of deliveries: accepted, unmatched, delivered, retrying, dead-lettered, discarded, or all;
    /// accepted and unmatched without this option. May be given several times.
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',')]
    outcome: Vec<String>,
    /// Shows events that no route matched: the same as --outcome unmatched.
    #[arg(long, conflicts_with = "outcome")]
    unmatched: bool,
    /// Shows so many a second at most, 1 to 1000; how many were skipped is said.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    rate: u32,
    /// Looks at one in so many of the events that pass.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    sample: u32,
    /// Ends after so many.
    #[arg(long, short = 'n', value_name = "NUMBER")]
    count: Option<u64>,
    /// Shows events whole, up to 32 KiB each.
    #[arg(long)]
    body: bool,
    /// Prints JSON, an event a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &TapOptions) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::new()?;
    let mut printer = TapPrinter::new(options);
    let path = options.path();
    tokio::select! {
        () = stop.wait() => {}
        ended = options.whom.stream(&path, &mut printer) => {
            if !printer.has_enough() {
                ended?;
                output::error_line("twinroute: the router stops, so the tap ends");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl TapOptions {
    fn path(&self) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let request = TapRequest {
            instance: text(&self.instance),
            route: text(&self.route),
            endpoint: text(&self.endpoint),
            event_type: text(&self.r#type),
            twin: text(&self.twin),
            filter: text(&self.filter),
            outcome: match self.unmatched {
                true => "unmatched".to_owned(),
                false => self.outcome.join(","),
            },
            rate: self.rate.to_string(),
            sample: self.sample.to_string(),
            body: match self.body {
                true => "true".to_owned(),
                false => String::new(),
            },
        };
        let request = serde_json::to_value(request).expect("texts are JSON");
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in request.as_object().into_iter().flatten() {
            query.append_pair(name, value.as_str().unwrap_or_default());
        }
        format!("/tap?{}", query.finish())
    }
}

/// Prints lines as they come in pieces.
struct TapPrinter {
    json: bool,
    width: Option<usize>,
    left: Option<u64>,
    begin: Vec<u8>,
}

impl TapPrinter {
    fn new(options: &TapOptions) -> Self {
        Self {
            json: options.json,
            width: ScreenSize::of_stdout().columns,
            left: options.count,
            begin: Vec::new(),
        }
    }

    fn has_enough(&self) -> bool {
        self.left == Some(0)
    }

    fn line(&mut self, text: &[u8]) -> io::Result<()> {
        // A sign of life is an empty line.
        let Ok(line) = serde_json::from_slice::<Value>(text) else {
            return Ok(());
        };
        if let Some(dropped) = line["dropped"].as_u64() {
            let skipped = line["skipped"].as_u64().unwrap_or_default();
            output::error_line(missed(dropped, skipped));
            return Ok(());
        }
        match self.json {
            true => output::print(String::from_utf8_lossy(text))?,
            false => output::print_painted(&row(&line, event_of(text), self.width))?,
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(())
    }
}

impl Write for TapPrinter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin.extend_from_slice(bytes);
        while let Some(end) = self.begin.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begin.drain(..=end).collect();
            self.line(&line)?;
            if self.has_enough() {
                return Err(io::Error::other("enough was shown"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The event in a line, as it was accepted.
fn event_of(line: &[u8]) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct WholeEvent<'a> {
        #[serde(borrow)]
        event: Option<&'a RawValue>,
    }
    serde_json::from_slice::<WholeEvent<'_>>(line).ok()?.event
}

fn missed(dropped: u64, skipped: u64) -> String {
    let mut parts = Vec::new();
    if skipped > 0 {
        parts.push(format!(
            "{skipped} skipped, above the rate (--rate, --sample)"
        ));
    }
    if dropped > 0 {
        parts.push(format!(
            "{dropped} dropped, since they were not taken in time"
        ));
    }
    format!("... {}", parts.join("; "))
}

/// `time outcome twin type id -> endpoints`, and below it the event, if it was asked for.
pub(super) fn row(line: &Value, event: Option<&RawValue>, width: Option<usize>) -> PaintedText {
    let text = |name: &str| one_line(line[name].as_str().unwrap_or_default()).into_owned();
    let list = |name: &str| {
        let names = line[name].as_array().into_iter().flatten();
        let names: Vec<_> = names.filter_map(Value::as_str).map(one_line).collect();
        names.join(", ")
    };
    let outcome = text("outcome");
    let color = match outcome.as_str() {
        "delivered" => TextColor::Good,
        "unmatched" | "retrying" => TextColor::Caution,
        "dead-lettered" | "discarded" => TextColor::Bad,
        _ => TextColor::Plain,
    };
    let time = text("time");
    let what = match line["id"].as_str() {
        Some(_) => format!("{}  {}  {}", text("twin"), text("type"), text("id")),
        None => format!("sequence {}", line["sequence"]),
    };
    let whither = match (list("endpoints"), list("routes")) {
        (endpoints, _) if endpoints.is_empty() => String::new(),
        (endpoints, routes) if routes.is_empty() => format!("  -> {endpoints}"),
        (endpoints, routes) => format!("  -> {endpoints} ({routes})"),
    };
    let reason = match text("reason") {
        reason if reason.is_empty() => reason,
        reason => format!("  {reason}"),
    };
    let mut row = PaintedText::default();
    // Without the date: whoever watches knows it.
    row.add(TextColor::Faint, time.get(11..19).unwrap_or(&time));
    row.plain("  ");
    row.add(color, format!("{outcome:<13}"));
    row.plain("  ");
    let rest = format!("{what}{whither}{reason}");
    row.plain(match width {
        Some(width) => cut(&rest, width.saturating_sub(25)),
        None => rest,
    });
    row.plain("\n");
    if let Some(event) = event {
        row.add(
            TextColor::Faint,
            format!(
                "    {}
",
                one_line(event.get())
            ),
        );
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_say_what_became_of_what() {
        let line = json!({
            "time": "2026-11-30T12:00:01.123Z", "outcome": "accepted", "instance": "demo",
            "endpoints": ["hub-1", "grid-1"], "routes": ["all"], "id": "7\u{1b}[2J",
            "type": "t", "twin": "h/room7", "bytes": 9,
        });
        let event = event_of(br#"{"event":{"id":1.10}}"#);
        assert_eq!(
            row(&line, event, None).to_string(),
            "12:00:01  accepted       h/room7  t  7\\u001b[2J  -> hub-1, grid-1 (all)\n    {\"id\":1.10}\n"
        );
        assert_eq!(
            row(&line, None, Some(60)).to_string().lines().next(),
            Some("12:00:01  accepted       h/room7  t  7\\u001b[2J  -> hub-1, …")
        );
        let line = json!({
            "time": "2026-11-30T12:00:01Z", "outcome": "delivered", "endpoints": ["hub-1"], "sequence": 9,
        });
        let expect = "12:00:01  delivered      sequence 9  -> hub-1\n";
        assert_eq!(row(&line, None, None).to_string(), expect);
    }

    #[test]
    fn what_was_missed_is_said() {
        assert_eq!(
            missed(1, 2),
            "... 2 skipped, above the rate (--rate, --sample); 1 dropped, since they were not taken in time"
        );
    }
}
