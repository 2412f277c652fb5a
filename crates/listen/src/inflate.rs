//! Bodies that arrive compressed: inflated within the limits of bodies.
//!
//! A few kilobytes of gzip can inflate to gigabytes. Here they inflate to the limit and no further, piece by
//! piece, with a pause for other work after each. What all of it takes counts against the budget that all bodies
//! share, before it is taken: the body as it came, the decoder, and what is inflated, twice while it moves.

use crate::budget::{BodyPermit, BudgetExhausted, HeldBuffer};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, header};
use std::io::{self, Read as _};
use tokio::task::yield_now;

/// What is inflated before other work gets its turn: well below a millisecond of it.
const PIECE_BYTES: usize = 64 << 10;

/// What is inflated before it is counted, on the stack.
const STEP_BYTES: usize = 4 << 10;

/// How a body was made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    /// Not at all.
    Identity,
    /// RFC 1952; `x-gzip` is the same (RFC 9110 §8.4.1.3).
    Gzip,
}

/// A compressed body that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// It inflates to more than a body may have.
    #[error("the body inflates to more than {bytes_max} bytes, which is the limit")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// All bodies together hold as much as they may.
    #[error(transparent)]
    Crowded(#[from] BudgetExhausted),
    /// It says gzip and is something else, or is cut off.
    #[error("the body is not what content-encoding: gzip says, or is cut off")]
    Broken(#[source] io::Error),
}

impl ContentEncoding {
    /// What a request says of its body.
    ///
    /// # Errors
    /// The header's value, when it names anything else, or several one after the other.
    pub fn of(headers: &HeaderMap) -> Result<Self, &HeaderValue> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Ok(Self::Identity);
        };
        if let Some(second) = values.next() {
            return Err(second);
        }
        let is = |word: &[u8]| value.as_bytes().eq_ignore_ascii_case(word);
        if is(b"gzip") || is(b"x-gzip") {
            Ok(Self::Gzip)
        } else if is(b"identity") {
            Ok(Self::Identity)
        } else {
            Err(value)
        }
    }
}

/// What one decoder takes: 43 KB of miniz_oxide's state, of which 32 KiB are the window, and a header.
const DECODER_BYTES: usize = 48 << 10;

/// Inflates `body` to at most `bytes_max`, counted in `hold` together with what was read. The caller keeps
/// `hold` as long as the bytes: at the end it counts these alone.
///
/// Dropping the future gives the body up.
///
/// # Errors
/// [`InflateError`], each naming its limit.
pub async fn inflate(
    encoding: ContentEncoding,
    body: Bytes,
    bytes_max: usize,
    hold: &mut BodyPermit<'_>,
) -> Result<Bytes, InflateError> {
    match encoding {
        ContentEncoding::Identity => return Ok(body),
        ContentEncoding::Gzip => {}
    }
    // At once, so that of many that come together those that find no room hold nothing.
    let room = announced(&body).min(bytes_max);
    let mut inflated = HeldBuffer::default();
    hold.grow(DECODER_BYTES)?;
    inflated.reserve(room, bytes_max, hold)?;
    let mut decoder = MultiGzDecoder::new(&body[..]);
    loop {
        let ended = inflate_piece(&mut decoder, &mut inflated, bytes_max, hold)?;
        if ended {
            let (inflated, bytes) = inflated.into_bytes();
            hold.shrink_to(bytes);
            return Ok(inflated);
        }
        yield_now().await;
    }
}

/// The most bytes that DEFLATE makes of one (zlib, "Technical Details": 1032:1).
const RATIO_MAX: usize = 1_032;

/// What a body says that it inflates to, as far as it can: the size in the last member's trailer (RFC 1952 §2.3.1,
/// ISIZE). A client that wants memory on its word has to send a part of it.
fn announced(body: &[u8]) -> usize {
    let size = body
        .last_chunk()
        .map_or(0, |size| u32::from_le_bytes(*size));
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    size.min(body.len().saturating_mul(RATIO_MAX))
}

/// Inflates one piece; says whether it was the last.
fn inflate_piece(
    decoder: &mut MultiGzDecoder<&[u8]>,
    inflated: &mut HeldBuffer,
    bytes_max: usize,
    hold: &mut BodyPermit<'_>,
) -> Result<bool, InflateError> {
    let mut left = PIECE_BYTES;
    let mut step = [0; STEP_BYTES];
    while left > 0 {
        let room = step.len().min(left);
        let read = decoder.read(&mut step[..room]);
        let read = read.map_err(InflateError::Broken)?;
        if read == 0 {
            return Ok(true);
        }
        if inflated.len() + read > bytes_max {
            return Err(InflateError::TooLarge { bytes_max });
        }
        inflated.reserve(read, bytes_max, hold)?;
        inflated.put(&step[..read]);
        left -= read;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::BodyBudget;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        Bytes::from(encoder.finish().unwrap())
    }

    async fn inflated(body: Bytes, bytes_max: usize, held_max: usize) -> Result<Bytes, String> {
        let budget = BodyBudget::new(held_max);
        let mut hold = budget.hold();
        let read = inflate(ContentEncoding::Gzip, body, bytes_max, &mut hold).await;
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn encodings_are_told_apart_from_one_another() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_static(value);
                headers.append(header::CONTENT_ENCODING, value);
            }
            ContentEncoding::of(&headers).map_err(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(of(&[]), Ok(ContentEncoding::Identity));
        assert_eq!(of(&["identity"]), Ok(ContentEncoding::Identity));
        assert_eq!(of(&["GZip"]), Ok(ContentEncoding::Gzip));
        assert_eq!(of(&["x-gzip"]), Ok(ContentEncoding::Gzip));
        assert_eq!(of(&["br"]), Err("br".to_owned()));
        assert_eq!(of(&["gzip, gzip"]), Err("gzip, gzip".to_owned()));
        assert_eq!(of(&["gzip", "gzip"]), Err("gzip".to_owned()));
    }

    #[tokio::test]
    async fn a_bomb_inflates_to_the_limit_and_no_further() {
        let limit = 1 << 20;
        let fits = vec![b' '; limit];
        let held_max = 2 * limit + DECODER_BYTES;
        assert_eq!(inflated(gzip(&fits), limit, held_max).await.unwrap(), fits);
        let bomb = gzip(&vec![b' '; 256 << 20]);
        assert!(bomb.len() < 300 << 10, "{}", bomb.len());
        let budget = BodyBudget::new(usize::MAX);
        let mut hold = budget.hold();
        let error = inflate(ContentEncoding::Gzip, bomb, limit, &mut hold).await;
        let text = "the body inflates to more than 1048576 bytes, which is the limit";
        assert_eq!(error.unwrap_err().to_string(), text);
        assert!(hold.bytes() <= limit + DECODER_BYTES, "{hold:?}");
    }

    #[tokio::test]
    async fn of_many_bombs_at_a_time_those_without_room_hold_nothing() {
        let limit = 1 << 20;
        let bomb = gzip(&vec![b' '; limit]);
        let budget = BodyBudget::new(3 * limit);
        let mut holds: Vec<_> = (0..5).map(|_| budget.hold()).collect();
        let all = holds.iter_mut().map(|hold| {
            let bomb = bomb.clone();
            async move {
                inflate(ContentEncoding::Gzip, bomb, limit, hold)
                    .await
                    .is_ok()
            }
        });
        let fit = futures_util::future::join_all(all).await;
        assert_eq!(fit, [true, true, false, false, false]);
        let held: Vec<usize> = holds.iter().map(BodyPermit::bytes).collect();
        assert!(
            held[2..].iter().all(|bytes| *bytes <= DECODER_BYTES),
            "{held:?}"
        );
        // A size that is not there is taken on nobody's word.
        let mut lies = gzip(b"{}").to_vec();
        let end = lies.len() - 4;
        lies[end..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(announced(&lies), lies.len() * RATIO_MAX);
        assert_eq!(announced(b"abc"), 0);
    }

    #[tokio::test]
    async fn what_is_inflated_counts_in_the_budget_of_all_bodies() {
        for held_max in [DECODER_BYTES - 1, DECODER_BYTES + 1_000] {
            let error = inflated(gzip(&[b'x'; 1001]), 5000, held_max).await;
            let text =
                format!("the bodies being read hold {held_max} bytes together, which is the limit");
            assert_eq!(error.unwrap_err(), text);
        }
        let budget = BodyBudget::new(usize::MAX);
        let mut hold = budget.hold();
        let body = gzip(&[b'x'; 10_000]);
        hold.grow(body.len()).unwrap();
        let read = inflate(ContentEncoding::Gzip, body, 10_000, &mut hold).await;
        // Neither the body as it came nor the decoder is held any more.
        assert_eq!((read.unwrap().len(), hold.bytes()), (10_000, 10_000));
    }

    #[tokio::test]
    async fn what_is_cut_off_or_no_gzip_is_refused() {
        let whole = gzip(b"{}");
        let text = "the body is not what content-encoding: gzip says, or is cut off";
        for len in 1..whole.len() {
            let error = inflated(whole.slice(..len), 100, 1 << 16).await;
            assert_eq!(error.unwrap_err(), text, "{len}");
        }
        let mut more = whole.to_vec();
        more.extend_from_slice(b"{}");
        for body in [Bytes::from_static(b"{}"), more.into()] {
            assert_eq!(inflated(body, 100, 1 << 16).await.unwrap_err(), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_body_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200_000), 1..3)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let all = parts.concat();
            // Several members one after the other are one body (RFC 1952 §2.2).
            let body = Bytes::from(parts.iter().flat_map(|part| gzip(part)).collect::<Vec<_>>());
            let read = runtime.block_on(inflated(body, all.len(), usize::MAX));
            prop_assert_eq!(read.unwrap(), all);
        }

        #[test]
        fn no_body_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
            let body = [&head[..], &bytes[..]].concat();
            drop(runtime.block_on(inflated(body.into(), 1000, 1 << 16)));
        }
    }
}
