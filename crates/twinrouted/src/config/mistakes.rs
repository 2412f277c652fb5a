//! Everything that is wrong with a configuration at once, each with its place, its key and what would be right.
//!
//! A reader of TOML stops at the first mistake. So what is wrong is taken out, and the rest is read again, until nothing
//! is wrong any more.

use super::mistake::{ConfigMistake, ConfigMistakes, ConfigPlace};
use super::overrides::ConfigOverrides;
use super::reference;
use super::variables;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path as KeyPath, Segment};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};
use twinroute_model::secret::without_value;

/// Mistakes that are listed; whoever made more begins with these.
const MISTAKES_MAX: usize = 50;

/// Likeness from which on a key is taken for another that is misspelt.
const LIKENESS_MIN: f64 = 0.75;

/// Reads a configuration; what stands in `overrides` counts for more than what stands in `text`.
///
/// # Errors
/// All mistakes.
pub(super) fn read<T: DeserializeOwned>(
    text: &str,
    overrides: &mut ConfigOverrides,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<T, ConfigMistakes> {
    let (mut root, broken) = DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        // What would be read of such a text is anybody's guess.
        let broken = broken.iter().map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            of_error(ConfigPlace::of(text, at), String::new(), error)
        });
        return Err(ConfigMistakes(broken.collect()));
    }
    let mut mistakes = variables::put_in(text, &mut root, variable);
    let unset = mistakes.len();
    let mut removed = Vec::new();
    let texts = overrides.texts();
    overrides.put_in(&texts, root.get_mut());
    while mistakes.len() < MISTAKES_MAX {
        let deserializer = toml::Deserializer::from(root.clone());
        let error = match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Ok(config) if mistakes.is_empty() => return Ok(config),
            Ok(_) => break,
            Err(error) => error,
        };
        let (path, error) = (error.path().clone(), error.into_inner());
        let key = path_text(&path, &removed);
        if overrides.take_otherwise(&key, error.message(), root.get_mut()) {
            continue;
        }
        let place = place_of(text, root.get_ref(), &path, &error);
        let mut mistake = of_error(place, key, &error);
        if let Some(name) = overrides.variable_of(&mistake.key) {
            mistake.place = ConfigPlace::Variable(name.to_owned());
        }
        // A variable that is not set is one mistake, not also the type of what stands in its place.
        if !mistakes[..unset]
            .iter()
            .any(|known| known.place == mistake.place)
        {
            mistakes.push(mistake);
        }
        if !take_out(root.get_mut(), &path) {
            break;
        }
        removed.push(path_text(&path, &removed));
    }
    mistakes.sort_by_key(|mistake| match &mistake.place {
        ConfigPlace::Text { line, column } => (*line, *column),
        ConfigPlace::Variable(_) => (usize::MAX, 0),
    });
    Err(ConfigMistakes(mistakes))
}

/// Of the value at a path; of a key that nobody knows, where that is.
fn place_of(
    text: &str,
    root: &DeTable<'_>,
    path: &KeyPath,
    error: &toml::de::Error,
) -> ConfigPlace {
    let is_about_keys = ["unknown field", "missing field"];
    let is_about_key = is_about_keys
        .iter()
        .any(|begin| error.message().starts_with(begin));
    let value = value_at(root, path).filter(|_| !is_about_key);
    let span = value.map(Spanned::span).or_else(|| error.span());
    ConfigPlace::of(text, span.map_or(0, |span| span.start))
}

fn value_at<'a, 'i>(root: &'a DeTable<'i>, path: &KeyPath) -> Option<&'a Spanned<DeValue<'i>>> {
    let mut segments = path.iter();
    let Segment::Map { key } = segments.next()? else {
        return None;
    };
    let first = root.get(key.as_str())?;
    segments.try_fold(first, |value, segment| match (segment, value.get_ref()) {
        (Segment::Map { key }, DeValue::Table(table)) => table.get(key.as_str()),
        (Segment::Seq { index }, DeValue::Array(values)) => values.get(*index),
        (Segment::Enum { .. } | Segment::Unknown, _) => Some(value),
        _ => None,
    })
}

fn of_error(place: ConfigPlace, key: String, error: &toml::de::Error) -> ConfigMistake {
    // Not the error's own text, which repeats the line: a secret may stand in it.
    let mut what = without_value(error.message()).to_string();
    if let Some(near) = nearest(&what) {
        // Instead of all that there are.
        let begin = what.split(", expected").next().unwrap_or_default();
        what = format!("{begin}; did you mean `{near}`?");
    } else if what.starts_with("invalid ")
        && let Some(example) = reference::example(&key)
    {
        what.push_str(&format!("; for example: {example}"));
    }
    ConfigMistake { place, key, what }
}

/// Of `unknown field `a`, expected one of `b`, `c``, the one that was probably meant.
fn nearest(message: &str) -> Option<&str> {
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let (wrong, known) = message.split_once("expected").filter(|_| is_unknown)?;
    let wrong = wrong.split('`').nth(1)?;
    let known = known.split('`').skip(1).step_by(2);
    let likeness = known.map(|name| (strsim::jaro_winkler(wrong, name), name));
    let best = likeness.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}

/// A path as it is in the text, from which `removed` were taken.
fn path_text(path: &KeyPath, removed: &[String]) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Map { key } => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Segment::Seq { index } => {
                let mut index = *index;
                // In the order in which they stood: each that stood before moves this one on.
                let of_list = removed.iter().filter_map(|path| {
                    let place = path.strip_prefix(text.as_str())?.strip_prefix('[')?;
                    place.strip_suffix(']')?.parse::<usize>().ok()
                });
                let mut before: Vec<usize> = of_list.collect();
                before.sort_unstable();
                for place in before {
                    index += usize::from(place <= index);
                }
                text.push_str(&format!("[{index}]"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

/// Takes out what is at a path; false where nothing is.
fn take_out(table: &mut DeTable<'_>, path: &KeyPath) -> bool {
    let segments = path
        .iter()
        .filter(|segment| matches!(segment, Segment::Map { .. } | Segment::Seq { .. }));
    let segments: Vec<&Segment> = segments.collect();
    let Some((Segment::Map { key }, rest)) = segments.split_first() else {
        return false;
    };
    take_out_of_table(table, key, rest)
}

fn take_out_of_table(table: &mut DeTable<'_>, key: &str, rest: &[&Segment]) -> bool {
    match (rest, table.get_mut(key)) {
        (_, None) => false,
        ([], Some(_)) => table.remove(key).is_some(),
        (rest, Some(value)) => take_out_of_value(value, rest) || table.remove(key).is_some(),
    }
}

fn take_out_of_value(value: &mut Spanned<DeValue<'_>>, path: &[&Segment]) -> bool {
    match (value.get_mut(), path.split_first()) {
        (DeValue::Table(table), Some((Segment::Map { key }, rest))) => {
            take_out_of_table(table, key, rest)
        }
        (DeValue::Array(values), Some((Segment::Seq { index }, rest))) => {
            if !rest.is_empty()
                && let Some(value) = values.get_mut(*index)
                && take_out_of_value(value, rest)
            {
                return true;
            }
            let count = values.len();
            let kept = std::mem::replace(values, DeArray::new());
            let kept = kept.into_iter().enumerate();
            *values = kept
                .filter(|(place, _)| place != index)
                .map(|(_, value)| value)
                .collect::<DeArray<'_>>();
            values.len() < count
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "mistakes_tests.rs"]
mod tests;
