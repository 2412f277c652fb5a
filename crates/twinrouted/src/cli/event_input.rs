//! Events in files, as people have them: one, a list, or one after the other.

use anyhow::{Context as _, bail};
use serde_json::value::RawValue;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, EventLimits};

/// Bytes of a file of events.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// An event with the text that it was written as.
#[derive(Debug)]
pub(super) struct WrittenEvent {
    pub(super) text: String,
    pub(super) event: Event,
}

/// Reads all events of a file, or of standard input where it is `-`: CloudEvents in JSON, one, in a list, or one after
/// the other.
///
/// # Errors
/// The event that is none, by its number in the file, and why.
pub(super) fn read_events(file: &Path) -> anyhow::Result<Vec<WrittenEvent>> {
    let (name, text) = match file == Path::new("-") {
        true => ("standard input".to_owned(), read(std::io::stdin())),
        false => {
            let name = file.display().to_string();
            let opened = File::open(file).with_context(|| format!("cannot open {name}"))?;
            (name, read(opened))
        }
    };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    parse_events(&text).with_context(|| name)
}

fn read(input: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    input.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("it is larger than 256 MiB: send it in parts");
    }
    Ok(text)
}

pub(super) fn parse_events(text: &str) -> anyhow::Result<Vec<WrittenEvent>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut events = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let document = document.context("it is no JSON")?.get();
        if document.starts_with('[') {
            let list: Vec<&RawValue> = serde_json::from_str(document)?;
            list.iter()
                .try_for_each(|item| add(&mut events, item.get()))?;
        } else {
            add(&mut events, document)?;
        }
    }
    if events.is_empty() {
        bail!("there is no event in it");
    }
    Ok(events)
}

fn add(events: &mut Vec<WrittenEvent>, text: &str) -> anyhow::Result<()> {
    let number = events.len() + 1;
    let event = json::parse(text.to_owned().into(), &EventLimits::default());
    let event = event.with_context(|| format!("event {number}"))?;
    let text = text.to_owned();
    events.push(WrittenEvent { text, event });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_in_each_usual_form() {
        let one = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
        let two = one.replace("\"1\"", "\"2\"");
        for text in [
            format!("{one}\n{two}\n"),
            format!("[{one},{two}]"),
            format!("\u{feff}{one}\r\n\r\n[{two}]"),
        ] {
            let ids: Vec<_> = parse_events(&text).unwrap();
            let ids: Vec<_> = ids
                .iter()
                .map(|written| written.event.id().to_owned())
                .collect();
            assert_eq!(ids, ["1", "2"], "{text}");
        }
        let error = |text: &str| format!("{:#}", parse_events(text).unwrap_err());
        assert_eq!(error(""), "there is no event in it");
        assert!(error(&format!("{one}{{}}")).starts_with("event 2: "));
        assert!(error(&format!("{one} nothing")).starts_with("it is no JSON: "));
    }
}
