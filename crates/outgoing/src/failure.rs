//! What went wrong on the way to a peer, as a sentence.

use crate::tls_words::tls_words;
use std::error::Error;

/// Layers of the HTTP client that say where they are, and not what happened; some hold Rust debug text.
const LAYERS: [&str; 6] = [
    "client error (",
    "error sending request",
    "failed to execute `reqwest` request",
    "error trying to connect",
    "tcp connect error",
    "error converting `reqwest` request",
];

/// An error and its causes: what happened, from the outside in, each once, without URLs of requests.
///
/// The texts may be a peer's: bound them, and let them pass a gate before they are shown.
#[must_use]
pub fn failure_text(error: &(dyn Error + 'static)) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut last = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        last = tls_words(&error.to_string()).into_owned();
        let layer = LAYERS.iter().any(|layer| last.starts_with(layer));
        let known = causes.iter().any(|cause| cause.contains(&last));
        if !layer && !known && !last.is_empty() {
            causes.push(last.clone());
        }
        next = error.source();
    }
    match causes.is_empty() {
        true => last,
        false => causes.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;
    use std::io;

    #[derive(Debug)]
    struct FailureLayer(&'static str, Option<Box<dyn Error>>);

    impl fmt::Display for FailureLayer {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for FailureLayer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref()
        }
    }

    fn layers(texts: &[&'static str]) -> FailureLayer {
        let mut inner: Option<Box<dyn Error>> = None;
        for text in texts[1..].iter().rev() {
            inner = Some(Box::new(FailureLayer(text, inner)));
        }
        FailureLayer(texts[0], inner)
    }

    #[test]
    fn causes_are_a_sentence_without_the_layers_of_the_client() {
        let check = |texts: &[&'static str], expect: &str| {
            assert_eq!(failure_text(&layers(texts)), expect);
        };
        check(
            &[
                "error sending request for url (http://h/?sig=x)",
                "client error (Connect)",
                "tcp connect error",
                "Connection refused (os error 111)",
            ],
            "Connection refused (os error 111)",
        );
        check(
            &[
                "error sending request",
                "client error (Connect)",
                "invalid peer certificate: UnknownIssuer",
            ],
            "invalid peer certificate: this machine does not trust who issued it",
        );
        check(&["a: b", "b", "c"], "a: b: c");
        check(
            &["client error (SendRequest)"],
            "client error (SendRequest)",
        );
        let reset = io::Error::from_raw_os_error(104);
        assert!(failure_text(&reset).contains("reset"), "{reset}");
    }
}
