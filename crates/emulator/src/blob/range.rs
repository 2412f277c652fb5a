//! Parts of a blob.
//!
//! Source: Azure Storage REST API, "Specifying the range header for Blob service operations": one range in
//! bytes; `x-ms-range` goes before `Range`.

use super::refusal::BlobRefusal;
use http::StatusCode;
use std::ops::Range;

/// The part that a header asks for; `None` for a header that is to be ignored.
///
/// # Errors
/// 416 when the range begins behind the end.
pub(super) fn parse(header: &str, length: usize) -> Result<Option<Range<usize>>, BlobRefusal> {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    // RFC 9110 section 14.2: what is not understood is ignored. A last part without a first one, which
    // counts from the end, is not offered by the service.
    let Ok(first) = first.parse::<usize>() else {
        return Ok(None);
    };
    let end = if last.is_empty() {
        length
    } else {
        let Ok(last) = last.parse::<usize>() else {
            return Ok(None);
        };
        if last < first {
            return Ok(None);
        }
        last.saturating_add(1).min(length)
    };
    if first >= length {
        let text = format!("the range begins at {first}, the blob has {length} bytes");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        return Err(BlobRefusal::new(status, "InvalidRange", text));
    }
    Ok(Some(first..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end_and_refused_behind_it() {
        for (header, length, expect) in [
            ("bytes=0-3", 10, Ok(Some(0..4))),
            ("bytes=4-", 10, Ok(Some(4..10))),
            ("bytes=8-99", 10, Ok(Some(8..10))),
            ("bytes=0-18446744073709551615", 10, Ok(Some(0..10))),
            ("bytes=10-", 10, Err(416)),
            ("bytes=0-", 0, Err(416)),
            ("bytes=-5", 10, Ok(None)),
            ("bytes=5-4", 10, Ok(None)),
            ("bytes=a-b", 10, Ok(None)),
            ("lines=1-2", 10, Ok(None)),
        ] {
            let range = parse(header, length).map_err(|refusal| refusal.status.as_u16());
            assert_eq!(range, expect, "{header} of {length}");
        }
    }
}
