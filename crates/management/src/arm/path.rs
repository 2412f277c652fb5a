//! The path of a request: taken apart once, and read by a cursor that goes down it.

use super::error::Error;
use percent_encoding::percent_decode_str;

/// Characters of a path's segment, decoded.
const SEGMENT_MAX: usize = 256;

/// Segments of a path. The longest that is served has twelve.
const SEGMENTS_MAX: usize = 24;

/// The reason of a segment whose bytes are no text.
pub(crate) const NOT_UTF_8: &str = "a segment is not UTF-8";

/// The segments of a path.
pub(crate) struct RequestPath {
    /// Decoded; what is not UTF-8 with U+FFFD in its place.
    pub(crate) names: Vec<String>,
    /// The same in lower case: what fixed words are compared with.
    pub(crate) words: Vec<String>,
    /// Which segment no name can be, and why. Whoever knows what stands there refuses it by its own rule.
    pub(crate) illegal: Option<(usize, &'static str)>,
}

impl RequestPath {
    /// Decodes the segments, and finds the first that no name can be: one that decodes to a separator, a dot segment
    /// or a control character would mean something else wherever it is shown or logged (RFC 3986 §3.3).
    ///
    /// Empty ones are skipped: az and azure-mgmt-resource leave one where a type has no parent.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn read(path: &str) -> Result<Self, Error> {
        let mut names = Vec::new();
        let mut illegal = None;
        for raw in path.split('/').filter(|raw| !raw.is_empty()) {
            if names.len() == SEGMENTS_MAX {
                let reason = "it has too many segments";
                return Err(Error::InvalidPath { reason });
            }
            let name = percent_decode_str(raw);
            let reason = match name.clone().decode_utf8() {
                Err(_) => Some(NOT_UTF_8),
                Ok(name) if name == "." || name == ".." => Some("a segment consists of dots"),
                Ok(name) if name.contains(['/', '\\', '?', '#', '%']) => {
                    Some("a segment holds a separator")
                }
                Ok(name) if name.chars().any(char::is_control) => {
                    Some("a segment holds a control character")
                }
                Ok(name) if name.len() > SEGMENT_MAX => Some("a segment is too long"),
                Ok(_) => None,
            };
            if let Some(reason) = reason {
                illegal = illegal.or(Some((names.len(), reason)));
            }
            names.push(name.decode_utf8_lossy().into_owned());
        }
        let words = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Self {
            names,
            words,
            illegal,
        })
    }

    /// All words, for a cursor.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// What of a path lies ahead of its reader.
#[derive(Clone, Copy)]
pub(crate) struct PathCursor<'a> {
    /// In lower case.
    pub(crate) words: &'a [&'a str],
    names: &'a [String],
}

impl<'a> PathCursor<'a> {
    /// At the beginning of a path of these words.
    pub(crate) fn new(path: &'a RequestPath, words: &'a [&'a str]) -> Self {
        let names = &path.names;
        Self { words, names }
    }

    /// The segment at a place ahead, as it came; the caller has seen that it is there.
    pub(crate) fn name(self, at: usize) -> &'a str {
        &self.names[at]
    }

    /// Behind the next segments, which the caller has seen.
    pub(crate) fn behind(self, segments: usize) -> Self {
        Self {
            words: &self.words[segments..],
            names: &self.names[segments..],
        }
    }
}

/// Where below the provider a request is: in a subscription or a group, or neither.
#[derive(Clone, Copy, Default)]
pub(crate) struct PathScope<'a> {
    pub(crate) subscription: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_mean_something_else_are_refused() {
        for (bad, at) in [
            ("/a/%2e%2e/b", 1),
            ("/a/../b", 1),
            ("/a%2fb", 0),
            ("/b/a%00b/%2f", 1),
            ("/%ff", 0),
            ("/a%5cb", 0),
            ("/a%25b", 0),
        ] {
            let illegal = RequestPath::read(bad).unwrap().illegal;
            assert_eq!(illegal.map(|(at, _)| at), Some(at), "{bad}");
        }
        assert!(RequestPath::read(&"/a".repeat(SEGMENTS_MAX + 1)).is_err());
        let good = RequestPath::read("/Subscriptions/a%20b/").unwrap();
        assert_eq!(good.names, ["Subscriptions", "a b"]);
        let words = good.words();
        assert_eq!(words, ["subscriptions", "a b"]);
        let behind = PathCursor::new(&good, &words).behind(1);
        assert_eq!((behind.words, behind.name(0)), (&["a b"][..], "a b"));
    }
}
