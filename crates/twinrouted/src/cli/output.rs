//! What commands print: the one way to standard output and standard error.
//!
//! `println!` panics where the reader is gone or the disk is full, so nothing else in this crate prints: a lint and a
//! tidy test hold that. Texts pass [`printed`] on their way.

use super::paint::PaintedText;
use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal as _, Write};
use twinroute_model::visible;

/// Why standard output takes no more. It stands inside the [`io::Error`]s of this module, so that a reader who is gone
/// is told from a connection that broke.
#[derive(Debug)]
struct OutputFailure(io::Error);

/// How a command ends whose output failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OutputEnd {
    /// Its reader has seen enough: `twinroute status | head -1`.
    Closed,
    /// It could not be written: the text says why.
    Failed(String),
}

/// Prints a text as it is, at once.
///
/// # Errors
/// When standard output takes no more; pass it on to the end of the command.
pub(crate) fn print(text: impl Display) -> io::Result<()> {
    let mut stream = stream();
    stream.write_all(printed(&text).as_bytes())?;
    stream.flush()
}

/// Prints a text and ends its line.
///
/// # Errors
/// As [`print()`].
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    print(format_args!("{text}\n"))
}

/// Moves to the upper left of a terminal that it clears. Ours alone: texts hold no such sequences.
///
/// # Errors
/// As [`print()`].
pub(crate) fn clear_screen() -> io::Result<()> {
    // Not through the gate of the stream, which would show the sequence instead of obeying it.
    let mut stdout = io::stdout();
    stdout
        .write_all(b"\x1b[H\x1b[J")
        .map_err(OutputFailure::wrap)
}

/// Prints a text in its colors, where standard output gets some.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_painted(text: &PaintedText) -> io::Result<()> {
    let mut stdout = io::stdout();
    if !has_colors(&stdout) {
        return print(text);
    }
    // Each piece passed the gate when it was put in.
    let written = stdout.write_all(text.ansi().as_bytes());
    written
        .and_then(|()| stdout.flush())
        .map_err(OutputFailure::wrap)
}

/// Answers `--help` and `--version`, whose text `clap` holds as an error.
///
/// # Errors
/// As [`print()`].
pub(crate) fn help(answer: &clap::Error) -> io::Result<()> {
    let mut stream = stream();
    stream.write_all(styled(answer, &io::stdout()).as_bytes())?;
    stream.flush()
}

/// Says what is wrong with the command line.
pub(crate) fn usage_error(error: &clap::Error) {
    drop(io::stderr().write_all(styled(error, &io::stderr()).as_bytes()));
}

/// Whether a stream gets colors: it is a terminal, and neither `NO_COLOR`, `CLICOLOR=0` nor `TERM=dumb` says otherwise;
/// `CLICOLOR_FORCE` asks for them everywhere.
pub(crate) fn has_colors(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Says a line on standard error: an error, a warning, how far a long step is. Nobody may be there to read it, which
/// changes nothing.
pub(crate) fn error_line(text: impl Display) {
    error_text(format_args!("{}\n", indented(&text.to_string())));
}

/// As [`error_line`], for a text that ends its own lines.
pub(crate) fn error_text(text: impl Display) {
    drop(io::stderr().write_all(printed(&text).as_bytes()));
}

/// Standard output for what is long or comes piece by piece; flush it at the end.
pub(crate) fn stream() -> OutputStream {
    let stdout = io::stdout();
    OutputStream {
        gate: stdout.is_terminal().then(TerminalGate::default),
        stdout,
    }
}

/// See [`stream`].
pub(crate) struct OutputStream {
    stdout: io::Stdout,
    gate: Option<TerminalGate>,
}

impl Write for OutputStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(gate) = &mut self.gate else {
            return self.stdout.write(bytes).map_err(OutputFailure::wrap);
        };
        let text = gate.pass(bytes);
        let written = self.stdout.write_all(text.as_bytes());
        written.map(|()| bytes.len()).map_err(OutputFailure::wrap)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush().map_err(OutputFailure::wrap)
    }
}

/// Standard output of a step that must not end because nobody reads about it.
pub(crate) struct PatientStream {
    stream: OutputStream,
    failed: Option<io::Error>,
}

impl PatientStream {
    pub(crate) fn new() -> Self {
        Self {
            stream: stream(),
            failed: None,
        }
    }

    /// The first failure, once the step is done.
    ///
    /// # Errors
    /// As [`print()`].
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.stream.flush(),
        }
    }
}

impl Write for PatientStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            self.failed = self.stream.write_all(bytes).err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed.is_none() {
            self.failed = self.stream.flush().err();
        }
        Ok(())
    }
}

/// The styles are those of `clap`, so this text does not pass [`printed`].
fn styled(text: &clap::Error, stream: &impl RawStream) -> String {
    let text = text.render();
    match has_colors(stream) {
        true => text.ansi().to_string(),
        false => text.to_string(),
    }
}

/// The text as it goes out: the gate for what peers, producers and files wrote. Line ends and tabs are the text's own,
/// so what stands within a line passes [`one_line`](twinroute_model::visible::one_line) where the line is made.
fn printed(text: &dyn Display) -> String {
    let text = text.to_string();
    match visible::lines(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => escaped,
    }
}

/// A text that may have lines of its own, such as a filter with a mark below its mistake, within one that has others:
/// further lines are indented, so that none of them passes for a line of ours.
pub(crate) fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
            if !line.starts_with(INDENT) {
                out.push_str(INDENT);
            }
        }
        out.push_str(&visible::one_line(line));
    }
    out
}

const INDENT: &str = "    ";

/// The gate for data that goes to a terminal: into a file or a pipe it goes as it is, byte for byte.
#[derive(Default)]
struct TerminalGate {
    /// The begin of a character whose rest is still to come.
    begin: Vec<u8>,
}

impl TerminalGate {
    /// What `bytes` look like behind those before; bytes that are no UTF-8 stand as U+FFFD.
    fn pass(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begin);
        all.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&all) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => all.len().saturating_sub(unfinished(&all)),
        };
        self.begin = all.split_off(whole);
        visible::lines(&String::from_utf8_lossy(&all)).into_owned()
    }
}

/// Bytes at the end that may begin a character.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let tail = last.map_or(&[][..], |chunk| chunk.invalid());
    let begins = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    if begins { tail.len() } else { 0 }
}

/// Whether a command failed because of its output, and how.
pub(crate) fn ended(error: &anyhow::Error) -> Option<OutputEnd> {
    let failure = error.chain().find_map(|cause| {
        let inner = cause.downcast_ref::<io::Error>()?.get_ref()?;
        inner.downcast_ref::<OutputFailure>()
    })?;
    Some(match failure.0.kind() {
        io::ErrorKind::BrokenPipe => OutputEnd::Closed,
        _ => OutputEnd::Failed(failure.to_string()),
    })
}

impl OutputFailure {
    fn wrap(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self(error))
    }
}

impl Display for OutputFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "standard output: {}", self.0)
    }
}

impl std::error::Error for OutputFailure {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn failure(kind: io::ErrorKind) -> io::Error {
        OutputFailure::wrap(kind.into())
    }

    #[test]
    fn lines_of_a_text_pass_for_none_of_ours() {
        for (text, expect) in [
            ("one", "one"),
            ("x is\n    x is\n      ^^\n", "x is\n    x is\n      ^^"),
            (
                "x\nerror: y\r\n\u{1b}[2J",
                "x\n    error: y\\r\n    \\u001b[2J",
            ),
        ] {
            assert_eq!(indented(text), expect);
        }
    }

    #[test]
    fn a_reader_who_is_gone_is_no_broken_connection() {
        let closed = Err::<(), _>(failure(io::ErrorKind::BrokenPipe)).context("the dump");
        assert_eq!(ended(&closed.unwrap_err()), Some(OutputEnd::Closed));
        let full = anyhow::Error::from(failure(io::ErrorKind::StorageFull));
        let full = ended(&full);
        assert!(
            matches!(&full, Some(OutputEnd::Failed(text)) if text == "standard output: no storage space"),
            "{full:?}"
        );
        let connection = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(ended(&connection), None);
    }
}
