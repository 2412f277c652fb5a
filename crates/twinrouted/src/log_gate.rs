//! The gate before the log: what peers, producers and files wrote reaches no line as it is, whoever logs it.
//!
//! It stands in the formatters of the subscriber, so no call can forget it. Such characters stand as JSON's escapes,
//! in texts too; a reader of JSON has the value as it was.

use std::fmt::{self, Debug, Write as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{DefaultFields, Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, SubscriberBuilder};
use tracing_subscriber::registry::LookupSpan;
use twinroute_model::visible::OneLineWriter;

/// Formats the fields of a line of text, as the subscriber's own formatter does but for what it escapes.
pub(crate) fn text_fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    let field = |writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn Debug| {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        if name != "message" {
            match writer.has_ansi_escapes() {
                // Italic, and a dimmed sign.
                true => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
                false => write!(writer, "{name}=")?,
            }
        }
        write!(OneLineWriter(writer), "{value:?}")
    };
    tracing_subscriber::fmt::format::debug_fn(field).delimited(" ")
}

/// A formatter of JSON whose lines pass the gate.
pub(crate) struct JsonGate<F>(pub(crate) F);

impl<S, N, F> FormatEvent<S, N> for JsonGate<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        write!(OneLineWriter(&mut writer), "{}", line.trim_end())?;
        writer.write_char('\n')
    }
}

/// A builder whose formatter passes the gate; the rest of the settings is the caller's.
pub(crate) fn text<L, W>(
    builder: SubscriberBuilder<DefaultFields, Format, L, W>,
) -> SubscriberBuilder<impl for<'writer> FormatFields<'writer> + Send + Sync + 'static, Format, L, W>
{
    builder.fmt_fields(text_fields())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;
    use twinroute_model::visible::is_hidden;

    const ATTACK: &str = "a\r\nERROR forged: all lost\x1b[2J\u{9b}31m\u{85}\u{7f}\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}é";

    /// What was logged.
    #[derive(Clone, Default)]
    struct CapturedLog(Arc<Mutex<Vec<u8>>>);

    impl io::Write for CapturedLog {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for CapturedLog {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl CapturedLog {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// All ways in which a text gets into a line.
    fn log_attacks() {
        let error = io::Error::other(ATTACK);
        let error: &(dyn std::error::Error + 'static) = &error;
        let span = tracing::info_span!("span", name = %ATTACK, other = ATTACK);
        let _entered = span.enter();
        tracing::info!(name = %ATTACK, "display");
        tracing::info!(name = ?ATTACK, "debug");
        tracing::info!(name = ATTACK, "text");
        tracing::info!(error, "error");
        tracing::info!(name = ?Some(io::Error::other(ATTACK)), "debug of an error");
        tracing::info!("message {ATTACK}");
    }

    #[test]
    fn no_attack_reaches_a_line_of_text() {
        let log = CapturedLog::default();
        let builder = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = text(builder.with_writer(log.clone())).finish();
        tracing::subscriber::with_default(subscriber, log_attacks);
        let text = log.text();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(!text.replace('\n', "").contains(is_hidden), "{text:?}");
        assert!(
            text.contains(r"name=a\r\nERROR forged: all lost\u001b[2J\u009b31m"),
            "{text}"
        );
        assert!(text.contains("é"), "{text}");
    }

    #[test]
    fn colors_are_ours_alone() {
        let log = CapturedLog::default();
        let builder = tracing_subscriber::fmt().with_ansi(true);
        let subscriber = text(builder.with_writer(log.clone())).finish();
        tracing::subscriber::with_default(subscriber, log_attacks);
        let mut text = log.text();
        assert!(text.contains("\x1b[3mname\x1b[0m"), "{text:?}");
        for style in ["0", "1", "2", "3", "32"] {
            text = text.replace(&format!("\x1b[{style}m"), "");
        }
        assert!(!text.replace('\n', "").contains(is_hidden), "{text:?}");
    }

    #[test]
    fn no_attack_reaches_a_line_of_json_and_the_value_is_still_there() {
        let log = CapturedLog::default();
        let builder = tracing_subscriber::fmt().with_writer(log.clone());
        let builder = builder.json().flatten_event(true);
        let subscriber = builder.map_event_format(JsonGate).finish();
        tracing::subscriber::with_default(subscriber, log_attacks);
        let text = log.text();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(!text.replace('\n', "").contains(is_hidden), "{text:?}");
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["name"], ATTACK);
    }
}
