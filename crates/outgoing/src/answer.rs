//! Reads what peers answer: each answer within a limit of its own, all of them within one of the process.
//!
//! Nothing of use stands behind some KiB of an error, so an error is cut there and its status stands; a success
//! that is longer than its limit is an error. Neither is waited for longer than its caller waits.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::header::{self, HeaderMap};
use std::error::Error as StdError;
use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Bytes of an error answer that are read.
pub const ERROR_BYTES_MAX: usize = 16 << 10;

/// How long the body of an error is waited for: its status is known and stands.
pub const ERROR_WAIT: Duration = Duration::from_secs(2);

/// Bytes that the answers being read hold together, in this process.
pub const ANSWERS_BYTES_MAX: usize = 64 << 20;

/// What every answer being read is counted against.
static ANSWERS: AnswerBudget = AnswerBudget::new(ANSWERS_BYTES_MAX);

/// Bytes that many answers may hold together.
#[derive(Debug)]
struct AnswerBudget {
    held: AtomicUsize,
    bytes_max: usize,
}

impl AnswerBudget {
    const fn new(bytes_max: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            bytes_max,
        }
    }
}

/// Why the body of an answer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is longer than the limit, or says so.
    #[error("the answer has more than {bytes_max} bytes, which is the limit")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// All answers together hold as much as they may; later there is room again.
    #[error("the answers being read hold {bytes_max} bytes together, which is the limit")]
    Crowded {
        /// The limit.
        bytes_max: usize,
    },
    /// It broke off.
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
}

/// What one answer holds; given back on drop.
#[derive(Debug)]
pub(crate) struct AnswerHold {
    budget: &'static AnswerBudget,
    bytes: usize,
    bytes_max: usize,
}

impl AnswerHold {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self::of(&ANSWERS, bytes_max)
    }

    fn of(budget: &'static AnswerBudget, bytes_max: usize) -> Self {
        Self {
            budget,
            bytes: 0,
            bytes_max,
        }
    }

    /// Counts `bytes` more, or none.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), AnswerError> {
        let bytes_max = self.bytes_max;
        if self.bytes.saturating_add(bytes) > bytes_max {
            return Err(AnswerError::TooLarge { bytes_max });
        }
        let before = self.budget.held.fetch_add(bytes, Relaxed);
        let bytes_max = self.budget.bytes_max;
        if before.saturating_add(bytes) > bytes_max {
            self.budget.held.fetch_sub(bytes, Relaxed);
            return Err(AnswerError::Crowded { bytes_max });
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for AnswerHold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

/// A body that was read. It counts against [`ANSWERS_BYTES_MAX`] as long as it is there.
#[derive(Debug)]
pub struct AnswerBody {
    bytes: Vec<u8>,
    // Counted as long as the bytes are held.
    _hold: AnswerHold,
}

impl Deref for AnswerBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AnswerBody {
    /// The bytes, counted no longer.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

/// Reads the body of a success, at most `bytes_max` of it. Dropping the future drops the connection.
///
/// # Errors
/// [`AnswerError`].
pub async fn read_success(
    response: reqwest::Response,
    bytes_max: usize,
) -> Result<AnswerBody, AnswerError> {
    let announced = response.content_length().unwrap_or_default();
    if usize::try_from(announced).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(AnswerError::TooLarge { bytes_max });
    }
    collect(pieces(response), AnswerHold::new(bytes_max)).await
}

/// Reads the begin of an error's body: [`ERROR_BYTES_MAX`], [`ERROR_WAIT`]. Whatever becomes of it, the status
/// stands. Nothing is unpacked: of a body with a content-encoding its name stands there instead. Dropping the
/// future drops the connection.
pub async fn read_error(response: reqwest::Response) -> Vec<u8> {
    let encoding = content_encoding(response.headers());
    let begin = error_begin(pieces(response)).await;
    match encoding {
        // An empty one hides nothing.
        Some(encoding) if !begin.is_empty() => {
            format!("(its text is not shown: content-encoding {encoding})").into_bytes()
        }
        _ => begin,
    }
}

/// What a body is packed with, cut to what a name may be.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    const CHARS_MAX: usize = 40;
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let names = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut names = names.map(|name| name.trim().chars().take(CHARS_MAX).collect::<String>());
    names.find(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
}

fn pieces(response: reqwest::Response) -> impl Stream<Item = reqwest::Result<Bytes>> {
    stream::try_unfold(response, |mut response| async {
        let piece = response.chunk().await?;
        Ok(piece.map(|piece| (piece, response)))
    })
}

pub(crate) async fn error_begin<E>(pieces: impl Stream<Item = Result<Bytes, E>>) -> Vec<u8> {
    let mut begin = Vec::new();
    let reading = async {
        let mut hold = AnswerHold::new(ERROR_BYTES_MAX);
        let mut pieces = pin!(pieces);
        while let Some(Ok(piece)) = pieces.next().await {
            let room = ERROR_BYTES_MAX - begin.len();
            let piece = &piece[..piece.len().min(room)];
            if hold.grow(piece.len()).is_err() {
                break;
            }
            begin.extend_from_slice(piece);
            if begin.len() == ERROR_BYTES_MAX {
                break;
            }
        }
    };
    // What came by then is enough.
    tokio::time::timeout(ERROR_WAIT, reading).await.ok();
    begin
}

/// Bytes by which a body that is collected grows, so that a long one is never held twice.
const GROWTH_BYTES: usize = 64 << 10;

async fn collect<E: Into<Box<dyn StdError + Send + Sync>>>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
    mut hold: AnswerHold,
) -> Result<AnswerBody, AnswerError> {
    let mut bytes = Vec::new();
    let mut pieces = pin!(pieces);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| AnswerError::Broken(error.into()))?;
        hold.grow(piece.len())?;
        if bytes.capacity() - bytes.len() < piece.len() {
            bytes.reserve_exact(piece.len() + GROWTH_BYTES.max(bytes.len() / 8));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(AnswerBody { bytes, _hold: hold })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn endless() -> impl Stream<Item = Result<Bytes, std::io::Error>> {
        stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 4_096])))
    }

    #[tokio::test]
    async fn endless_answers_are_cut_or_refused() {
        assert_eq!(error_begin(endless()).await.len(), ERROR_BYTES_MAX);
        let refused = collect(endless(), AnswerHold::new(1 << 20)).await;
        let text = "the answer has more than 1048576 bytes, which is the limit";
        assert_eq!(refused.unwrap_err().to_string(), text);
        let whole = endless().take(3);
        let whole = collect(whole, AnswerHold::new(3 * 4_096)).await.unwrap();
        assert_eq!(whole.len(), 3 * 4_096);
    }

    #[tokio::test]
    async fn endless_answers_share_one_limit_of_the_process() {
        static SMALL: AnswerBudget = AnswerBudget::new(10_000);
        let hold = || AnswerHold::of(&SMALL, 1 << 20);
        let first = collect(endless().take(2), hold()).await.unwrap();
        let refused = collect(endless().take(1), hold()).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the answers being read hold 10000 bytes together, which is the limit"
        );
        drop(first);
        collect(endless().take(1), hold()).await.unwrap();
        assert_eq!(SMALL.held.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_error_is_cut_by_time_and_a_broken_one_where_it_broke() {
        let begin = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"no"))]);
        let slow = begin.clone().chain(stream::pending());
        assert_eq!(error_begin(slow).await, b"no");
        let cut = std::io::Error::other("cut");
        let broken = stream::iter([Ok(Bytes::from_static(b"no")), Err(cut)]);
        assert_eq!(error_begin(broken).await, b"no");
        let cut = std::io::Error::other("cut");
        let broken = stream::iter([Ok(Bytes::from_static(b"no")), Err(cut)]);
        let broken = collect(broken, AnswerHold::new(100)).await;
        assert_eq!(broken.unwrap_err().to_string(), "the answer broke off");
    }
}
