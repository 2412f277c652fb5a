//! Texts as parts of URIs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What is percent-encoded in a segment of a path and in a value of a query, as every Azure client does: everything but
/// the unreserved characters of RFC 3986 §2.3.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
