//! Bodies: what answers carry, and how a request's body is collected within its limits.

use crate::activity::ConnectionActivity;
use crate::budget::{BodyBudget, BodyPermit, BudgetExhausted, HeldBuffer};
use crate::io::READ_BUFFER_BYTES_MAX;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use http::Version;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The body of an answer: one piece, its length known, or pieces that are made as the client takes them.
#[derive(Debug)]
pub struct ServerBody(AnswerBodyKind);

enum AnswerBodyKind {
    Whole(Full<Bytes>),
    Pieces {
        pieces: Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send>>,
        /// The connection that it is sent on.
        activity: Option<Arc<ConnectionActivity>>,
    },
}

/// An answer that cannot be given to its end. The client sees a connection that breaks, not an end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is broken off: {0}")]
pub struct BrokenOff(pub String);

impl ServerBody {
    /// A body in one piece.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self(AnswerBodyKind::Whole(Full::new(bytes)))
    }

    /// A body whose next piece is asked for when the client has taken the one before. A client that takes
    /// nothing for [`HttpLimits::keep_alive_timeout`](crate::HttpLimits::keep_alive_timeout) is disconnected.
    #[must_use]
    pub fn pieces(pieces: impl Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static) -> Self {
        Self(AnswerBodyKind::Pieces {
            pieces: Box::pin(pieces),
            activity: None,
        })
    }

    /// Shows the connection that it is alive as long as pieces are asked for.
    pub(crate) fn recorded_by(mut self, recorder: &Arc<ConnectionActivity>) -> Self {
        if let AnswerBodyKind::Pieces { activity, .. } = &mut self.0 {
            *activity = Some(Arc::clone(recorder));
        }
        self
    }
}

impl Default for ServerBody {
    fn default() -> Self {
        Self::new(Bytes::new())
    }
}

impl fmt::Debug for AnswerBodyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(formatter),
            Self::Pieces { .. } => formatter.write_str("Pieces"),
        }
    }
}

impl http_body::Body for ServerBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            AnswerBodyKind::Whole(whole) => Pin::new(whole)
                .poll_frame(context)
                .map_err(|never| match never {}),
            AnswerBodyKind::Pieces { pieces, activity } => {
                if let Some(activity) = activity {
                    activity.record_piece();
                }
                let piece = pieces.poll_next_unpin(context);
                piece.map(|piece| Some(piece?.map(Frame::data).map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            AnswerBodyKind::Whole(whole) => whole.is_end_stream(),
            AnswerBodyKind::Pieces { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            AnswerBodyKind::Whole(whole) => whole.size_hint(),
            AnswerBodyKind::Pieces { .. } => SizeHint::default(),
        }
    }
}

/// A request's body that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit, or says so.
    #[error("the body has more than {bytes_max} bytes, which is the limit")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// All bodies together hold as much as they may.
    #[error(transparent)]
    Crowded(#[from] BudgetExhausted),
    /// It did not arrive in time.
    #[error("the body did not arrive within {} ms, which is the limit", timeout.as_millis())]
    Timeout {
        /// The limit.
        timeout: Duration,
    },
    /// The client broke off or sent what is no body.
    #[error("the body is broken off or malformed")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Collects a body.
///
/// One that announces too many bytes is refused before a byte of it is read; one that arrived in a
/// single piece is not copied. Dropping the future gives the body up.
///
/// # Errors
/// [`BodyError`], each naming its limit.
pub async fn read_body<B>(body: B, bytes_max: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let unlimited = BodyBudget::new(usize::MAX);
    read_body_within(body, bytes_max, timeout, &mut unlimited.hold()).await
}

/// As [`read_body`], and counts the memory that the body takes against a budget shared with other bodies. The
/// caller keeps `hold` as long as the bytes.
///
/// # Errors
/// [`BodyError`], each naming its limit.
pub async fn read_body_within<B>(
    body: B,
    bytes_max: usize,
    timeout: Duration,
    hold: &mut BodyPermit<'_>,
) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let mut collected = pin!(collect(body, bytes_max, hold));
    // A body that came along with its headers is here at the second poll; only a slow one costs a
    // timer.
    if let Some(result) = poll_twice(collected.as_mut()).await {
        return result;
    }
    match tokio::time::timeout(timeout, collected).await {
        Ok(result) => result,
        Err(_) => Err(BodyError::Timeout { timeout }),
    }
}

async fn poll_twice<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut polled = false;
    // Woken by itself once, so that what is ready at the second poll never waits for a timer.
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polled => Poll::Ready(None),
        Poll::Pending => {
            polled = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

async fn collect<B>(
    mut body: B,
    bytes_max: usize,
    hold: &mut BodyPermit<'_>,
) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let announced = body.size_hint().exact();
    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    hold.grow(first.len())?;
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut second = None;
    if announced.is_none() {
        // The end of a chunked body is a frame of its own.
        second = next(&mut body).await?;
        if second.is_none() {
            return Ok(first);
        }
    }
    hold.hold_buffer(READ_BUFFER_BYTES_MAX)?;
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    // What is announced costs the client nothing, so at most this much is taken on its word. A batch of a hundred events
    // of 1 KiB fits, and is not moved to a larger buffer half-way.
    const TRUSTED: usize = 128 << 10;
    let room = announced.unwrap_or(2 * first.len()).min(TRUSTED);
    let mut all = HeldBuffer::default();
    all.reserve(room.max(first.len()), bytes_max, hold)?;
    all.put(&first);
    hold.shrink(first.len());
    drop(first);
    let mut piece = match second {
        Some(piece) => Some(piece),
        None => next(&mut body).await?,
    };
    while let Some(bytes) = piece {
        if all.len() + bytes.len() > bytes_max {
            return Err(BodyError::TooLarge { bytes_max });
        }
        all.reserve(bytes.len(), bytes_max, hold)?;
        all.put(&bytes);
        piece = next(&mut body).await?;
    }
    Ok(all.into_bytes().0)
}

/// The next piece of data; trailers are skipped. It stands in the connection's own buffer.
async fn next<B>(body: &mut B) -> Result<Option<Bytes>, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(BodyError::Broken(error.into())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Bytes of a refused request's body that are read all the same.
const DISCARDED_BYTES_MAX: usize = 64 << 10;

/// How long a refused request's body may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads a small body of a request that is refused, and forgets it: at most 64 KiB and one second of it, over
/// HTTP/2 alone.
///
/// A stream that is answered before it was sent whole is reset (RFC 9113 §8.1). Clients must read the answer
/// all the same, but curl 7.88 gives it up. Over HTTP/1.1 the connection itself waits. Dropping the future loses
/// nothing.
pub async fn discard<B>(mut body: B, version: Version)
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if version != Version::HTTP_2 {
        return;
    }
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARDED_BYTES_MAX {
                return;
            }
        }
    };
    // What did not come in time is abandoned.
    drop(tokio::time::timeout(DISCARD_TIMEOUT, reading).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use std::convert::Infallible;

    const SECOND: Duration = Duration::from_secs(1);

    fn chunks(pieces: &[&'static str]) -> impl http_body::Body<Data = Bytes, Error = Infallible> {
        let frames = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from(*piece))));
        StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>()))
    }

    #[tokio::test]
    async fn pieces_are_joined_and_a_single_one_is_not_copied() {
        for (pieces, expect) in [
            (&[][..], ""),
            (&["abc"][..], "abc"),
            (&["ab", "c", "d"][..], "abcd"),
        ] {
            let bytes = read_body(chunks(pieces), 4, SECOND).await.unwrap();
            assert_eq!(bytes, expect);
        }
        let whole = Bytes::from(vec![1; 100]);
        let read = read_body(Full::new(whole.clone()), 100, SECOND)
            .await
            .unwrap();
        assert_eq!(read.as_ptr(), whole.as_ptr());
    }

    #[tokio::test]
    async fn too_many_bytes_are_refused_wherever_they_show() {
        for pieces in [
            &["abcde"][..],
            &["abc", "de"][..],
            &["a", "b", "c", "d", "e"][..],
        ] {
            let error = read_body(chunks(pieces), 4, SECOND).await.unwrap_err();
            let text = "the body has more than 4 bytes, which is the limit";
            assert_eq!(error.to_string(), text);
        }
    }

    #[tokio::test]
    async fn bodies_share_a_budget() {
        let budget = BodyBudget::new(5);
        let mut first = budget.hold();
        let read = read_body_within(chunks(&["ab"]), 4, SECOND, &mut first).await;
        assert_eq!(read.unwrap(), "ab");
        let mut second = budget.hold();
        let error = read_body_within(chunks(&["ab", "c"]), 4, SECOND, &mut second).await;
        let text = "the bodies being read hold 5 bytes together, which is the limit";
        assert_eq!(error.unwrap_err().to_string(), text);
        drop((first, second));
        // While it is moved, a body is there twice.
        let budget = BodyBudget::new(12);
        let mut hold = budget.hold();
        let read = read_body_within(chunks(&["ab", "cdef"]), 8, SECOND, &mut hold).await;
        assert_eq!((read.unwrap().len(), hold.bytes()), (6, 8));
        drop(hold);
        let read = read_body_within(chunks(&["abcd"]), 4, SECOND, &mut budget.hold()).await;
        assert_eq!(read.unwrap(), "abcd");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_times_out() {
        let never = StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, Infallible>,
        >());
        let error = read_body(never, 4, SECOND).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body did not arrive within 1000 ms, which is the limit"
        );
    }

    /// A body of pieces of 1 KiB; and how many of them were read.
    fn counted(
        pieces: usize,
    ) -> (
        impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin,
        Arc<std::sync::atomic::AtomicUsize>,
    ) {
        let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let frames = (0..pieces).map(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))
        });
        let body = StreamBody::new(futures_util::stream::iter(frames));
        (body, read)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_body_is_read_over_http2_and_no_more_than_a_little_of_it() {
        for (version, pieces, expect) in [
            (Version::HTTP_2, 3, 3),
            (Version::HTTP_2, usize::MAX, 65),
            (Version::HTTP_11, 3, 0),
        ] {
            let (body, read) = counted(pieces);
            discard(body, version).await;
            let read = read.load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(read, expect, "{version:?} {pieces}");
        }
        let never = StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, Infallible>,
        >());
        discard(never, Version::HTTP_2).await;
    }
}
