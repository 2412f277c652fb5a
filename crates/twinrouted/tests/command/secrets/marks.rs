//! Secrets that are known again, whatever was made of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What every marked secret begins with, plain or below its base64.
const MARK: &str = "TwrMark";

/// Bytes that are shown around what was found.
const AROUND: usize = 90;

/// What only a credential looks like: a signature or a key that is no mask.
const SHAPES: [&str; 3] = ["sig=", "SharedAccessKey=", "SharedAccessSignature sr="];

/// The marked secrets, and all that was seen which must not hold them.
pub(super) struct SecretMarks {
    places: Vec<&'static str>,
    /// What cannot begin with [`MARK`], such as a private key: where it is and a part of it.
    others: Vec<(&'static str, String)>,
    seen: Vec<(String, Vec<u8>)>,
}

impl SecretMarks {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            others: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// A secret for a place that takes any text.
    pub(super) fn plain(&mut self, place: &'static str) -> String {
        self.places.push(place);
        // Letters and digits alone: they are the same in JSON, URLs and percent-encoding.
        format!("{MARK}{:02}zq9Xw7Rk5Tn3Hb1", self.places.len() - 1)
    }

    /// A secret for a place that takes base64 of 32 bytes.
    pub(super) fn base64(&mut self, place: &'static str) -> String {
        let mut bytes = self.plain(place).into_bytes();
        bytes.resize(32, b'.');
        BASE64.encode(bytes)
    }

    /// A secret that somebody else made.
    pub(super) fn also(&mut self, place: &'static str, secret: &str) {
        assert!(secret.len() > 16, "{place}");
        self.others.push((place, secret.to_owned()));
    }

    /// Keeps what came out somewhere.
    pub(super) fn saw(&mut self, at: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.seen.push((at.into(), bytes.into()));
    }

    /// Keeps every file below a folder but `but`, which are the secrets' own.
    pub(super) fn saw_folder(&mut self, folder: &Path, but: &[PathBuf]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                self.saw_folder(&path, but);
            } else if kind.is_file() && !but.contains(&path) {
                let bytes = fs::read(&path).unwrap();
                self.saw(path.display().to_string(), bytes);
            }
        }
    }

    /// How much was seen: (places, bytes).
    pub(super) fn extent(&self) -> (usize, usize) {
        let bytes = self.seen.iter().map(|(_, bytes)| bytes.len()).sum();
        (self.seen.len(), bytes)
    }

    /// Every place where a secret is found, a line each.
    pub(super) fn found(&self) -> String {
        let forms = forms(MARK);
        let mut found = String::new();
        for (at, bytes) in &self.seen {
            // Byte for byte, so that positions are the same.
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            for (form, pattern) in &forms {
                for (position, _) in text.match_indices(pattern.as_str()) {
                    let place = self.place(&text[position..]);
                    tell(&mut found, at, &text, position, &format!("{place}, {form}"));
                }
            }
            for (place, secret) in &self.others {
                for (form, pattern) in self::forms(secret) {
                    if let Some(position) = text.find(&pattern) {
                        tell(&mut found, at, &text, position, &format!("{place}, {form}"));
                    }
                }
            }
            for shape in SHAPES {
                for (position, _) in text.match_indices(shape) {
                    if !is_mask(&text[position + shape.len()..]) {
                        tell(&mut found, at, &text, position, "looks like a credential");
                    }
                }
            }
        }
        found
    }

    /// Whose secret stands there, if its number can be read.
    fn place(&self, text: &str) -> &'static str {
        let number = text.strip_prefix(MARK).and_then(|rest| rest.get(..2));
        let number = number.and_then(|number| number.parse::<usize>().ok());
        let place = number.and_then(|number| self.places.get(number));
        place.copied().unwrap_or("one of the marked secrets")
    }
}

/// Whether stars, the word of Azure's libraries, nothing, or an end of the value follow.
fn is_mask(text: &str) -> bool {
    text.starts_with("REDACTED")
        || !text.starts_with(|c: char| c.is_ascii_alphanumeric() || "+/%".contains(c))
}

fn tell(found: &mut String, at: &str, text: &str, position: usize, what: &str) {
    let line = text[..position].matches('\n').count() + 1;
    // A character is a byte of what was seen; some take two in here.
    let around: String = text[..position].chars().rev().take(AROUND).collect();
    let before: String = around.chars().rev().collect();
    let after: String = text[position..].chars().take(AROUND).collect();
    writeln!(found, "{at}:{line}: {what}: …{:?}…", before + &after).unwrap();
}

/// The text itself, its base64 wherever it begins, base64 of that, and all of it in hexadecimal digits.
fn forms(text: &str) -> Vec<(String, String)> {
    let mut forms = vec![("as it is".to_owned(), text.to_owned())];
    for (shift, once) in in_base64(text) {
        for (more, twice) in in_base64(&once) {
            forms.push((format!("in base64 twice ({shift}, {more})"), twice));
        }
        forms.push((format!("in base64 ({shift})"), once));
    }
    let plain = forms.clone();
    for (form, text) in plain {
        let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        forms.push((format!("{form}, in hex"), digits.to_uppercase()));
        forms.push((format!("{form}, in hex"), digits));
    }
    forms
}

/// What is the same in the base64 of anything that holds `text`, for each way that it may be shifted.
fn in_base64(text: &str) -> Vec<(usize, String)> {
    let shifted = |shift: usize| {
        let encoded = BASE64.encode([&vec![0; shift], text.as_bytes()].concat());
        let first = (shift * 8).div_ceil(6);
        let end = (shift + text.len()) * 8 / 6;
        (shift, encoded[first..end].to_owned())
    };
    (0..3).map(shifted).collect()
}

#[test]
fn a_mark_is_found_in_whatever_was_made_of_it() {
    let mut marks = SecretMarks::new();
    let (plain, base64) = (marks.plain("the password"), marks.base64("the key"));
    marks.saw("a clean log", "SharedAccessKey=***;sig=*** nothing\n");
    assert_eq!(marks.found(), "");
    let printed = [
        plain.clone(),
        format!("\n{base64}"),
        BASE64.encode(format!("user:{plain}")),
        BASE64.encode(format!("!{base64}")),
        plain.bytes().map(|byte| format!("{byte:02x}")).collect(),
        "https://h/c?sp=w&sig=abc".to_owned(),
    ];
    for (number, text) in printed.into_iter().enumerate() {
        let mut marks = SecretMarks {
            places: marks.places.clone(),
            ..SecretMarks::new()
        };
        marks.saw(format!("log {number}"), text);
        let found = marks.found();
        assert!(found.starts_with(&format!("log {number}:")), "{found}");
        assert_eq!(found.contains("the password"), number == 0, "{found}");
    }
}
