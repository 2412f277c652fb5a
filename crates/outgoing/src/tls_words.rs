//! What the TLS library says of a handshake, in words: some of its texts end in names of its code.

use std::borrow::Cow;

/// What stands before such a name, and what stands there instead.
const PHRASES: [(&str, &str); 5] = [
    ("invalid peer certificate: ", "invalid peer certificate: "),
    (
        "received corrupt message of type ",
        "the peer's TLS cannot be read: ",
    ),
    (
        "peer is incompatible: ",
        "the peer's TLS does not fit this one: ",
    ),
    ("peer misbehaved: ", "the peer breaks the rules of TLS: "),
    (
        "invalid certificate revocation list: ",
        "invalid certificate revocation list: ",
    ),
];

/// Names that words of their own say more of.
const MEANINGS: [(&str, &str); 13] = [
    ("UnknownIssuer", "this machine does not trust who issued it"),
    ("BadSignature", "its signature is wrong"),
    ("BadEncoding", "it cannot be read"),
    ("Revoked", "it was revoked"),
    ("Expired", "it has expired"),
    ("NotValidYet", "it is not valid yet"),
    ("NotValidForName", "it is for another name"),
    ("InvalidPurpose", "it is for another purpose"),
    (
        "CaUsedAsEndEntity",
        "it is one of an authority; let that issue one for the server, without CA:TRUE",
    ),
    ("UnsupportedCertVersion", "it is not of X.509 version 3"),
    (
        "InvalidContentType",
        "what answers does not speak TLS on this port",
    ),
    ("NoCipherSuitesInCommon", "no cipher suite in common"),
    (
        "ServerDoesNotSupportTls12Or13",
        "it has neither TLS 1.2 nor 1.3",
    ),
];

/// The text with words for each name of the TLS library's code.
#[must_use]
pub fn tls_words(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for (before, instead) in PHRASES {
        let Some(at) = text.find(before) else {
            continue;
        };
        let rest = &text[at + before.len()..];
        if let Some((name, length)) = code_name(rest) {
            let meaning = MEANINGS.iter().find(|(known, _)| *known == name);
            let words = meaning.map_or_else(|| words(name), |(_, meaning)| (*meaning).to_owned());
            let (head, tail) = (&text[..at], &rest[length..]);
            text = format!("{head}{instead}{words}{tail}").into();
        }
    }
    text
}

/// The innermost name at the beginning of `text`, where Rust debug text stands there, and the bytes of all of that:
/// `Other(OtherError(CaUsedAsEndEntity))`.
fn code_name(text: &str) -> Option<(&str, usize)> {
    let end = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric());
    let length = end(text).unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let open = [("(", ')'), (" { ", '}')];
    let inside = open.iter().find(|(open, _)| rest.starts_with(open));
    let Some((open, close)) = inside else {
        return Some((name, length));
    };
    // Errors hold each other at the end, so the last bracket closes the first.
    let closed = rest
        .rfind(*close)
        .map_or(rest.len(), |at| at + close.len_utf8());
    let inner = code_name(&rest[open.len()..]).filter(|_| *open == "(");
    Some((inner.map_or(name, |(inner, _)| inner), length + closed))
}

/// `NoKxGroupsInCommon`: `no kx groups in common`.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved,
    };
    use std::sync::Arc;

    #[derive(Debug)]
    struct CaUsedAsEndEntity;

    impl std::fmt::Display for CaUsedAsEndEntity {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(formatter, "{self:?}")
        }
    }

    impl std::error::Error for CaUsedAsEndEntity {}

    #[test]
    fn peer_texts_of_the_tls_library_are_words() {
        let other = CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity)));
        let context = CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![1, 2],
            supported_algorithms: Vec::new(),
        };
        for (error, expect) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "invalid peer certificate: this machine does not trust who issued it",
            ),
            (
                Error::InvalidCertificate(other),
                "invalid peer certificate: it is one of an authority; let that issue one for the server, without \
                 CA:TRUE",
            ),
            (
                Error::InvalidCertificate(context),
                "invalid peer certificate: unsupported signature algorithm context",
            ),
            (
                Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
                "invalid peer certificate: unhandled critical extension",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "the peer's TLS cannot be read: what answers does not speak TLS on this port",
            ),
            (
                Error::InvalidMessage(InvalidMessage::MessageTooLarge),
                "the peer's TLS cannot be read: message too large",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
                "the peer's TLS does not fit this one: no kx groups in common",
            ),
            (
                Error::PeerMisbehaved(PeerMisbehaved::TooManyEmptyFragments),
                "the peer breaks the rules of TLS: too many empty fragments",
            ),
        ] {
            assert_eq!(tls_words(&error.to_string()), expect);
            let within = format!("connect: {error}: more");
            assert_eq!(tls_words(&within), format!("connect: {expect}: more"));
        }
    }

    #[test]
    fn peer_texts_that_are_words_stay() {
        for text in [
            "",
            "Connection refused (os error 111)",
            "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
            "invalid peer certificate: ",
            "received fatal alert: CertificateRequired",
        ] {
            assert!(
                matches!(tls_words(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }
}
