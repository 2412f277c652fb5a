//! A stream that can be cut from outside, that gathers writes, and whose reads go through a [`PeerGuard`].
//!
//! fe2o3-amqp flushes after every frame. Here a flush only promises: bytes are gathered, and
//! written when the connection's task reads and nothing was added since it read before. Its engine
//! reads before it ever waits (it selects on the transport in every round); behind the first read
//! it is woken at once, so that those who make frames have their turn in between. Many small
//! transfers then share one system call.
//!
//! Between its own close frame and the peer's, fe2o3-amqp 0.18.4 spins: its engine polls a channel
//! that is closed already and goes round without waiting. With a peer that has vanished that takes
//! a whole core for ever. So a connection is never left to itself: when its [`StreamCut`] is dropped,
//! reads and writes fail, and the engine stops.

use super::guard::{PeerGuard, TransferMeter};
use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug, Default)]
struct CutSwitch {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// Why the guard let nothing pass any more.
    refusal: OnceLock<String>,
}

impl CutSwitch {
    fn check(&self, waker: &AtomicWaker, context: &Context<'_>) -> Result<(), Error> {
        // Registered before the flag is read, so a cut in between still wakes.
        waker.register(context.waker());
        if self.cut.load(Ordering::Acquire) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// Cuts its stream when dropped.
#[derive(Debug)]
pub(super) struct StreamCut(Arc<CutSwitch>);

impl StreamCut {
    /// What the peer sent that was not passed on.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.0.refusal.get().map(String::as_str)
    }
}

impl Drop for StreamCut {
    fn drop(&mut self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }
}

/// Bytes that are gathered before a write must take place.
const GATHER_BYTES_MAX: usize = 64 << 10;
/// Bytes from which a write is not gathered: to copy them costs more than a system call of their own.
const DIRECT_BYTES_MIN: usize = 16 << 10;
/// Bytes of one read.
const READ_BYTES: usize = 8 << 10;

/// A stream under a [`StreamCut`].
#[derive(Debug)]
pub(super) struct SeverableStream<Io> {
    inner: Io,
    switch: Arc<CutSwitch>,
    gathered: BytesMut,
    /// Whether something was gathered since the last read.
    added: bool,
    guard: PeerGuard,
    meter: TransferMeter,
    /// What was just read.
    chunk: Box<[u8]>,
}

/// Puts `inner` under a cut.
pub(super) fn severable<Io>(inner: Io) -> (SeverableStream<Io>, StreamCut) {
    let switch = Arc::new(CutSwitch::default());
    let cut = StreamCut(Arc::clone(&switch));
    let stream = SeverableStream {
        inner,
        switch,
        gathered: BytesMut::new(),
        added: false,
        guard: PeerGuard::new(),
        meter: TransferMeter::default(),
        chunk: vec![0; READ_BYTES].into(),
    };
    (stream, cut)
}

impl<Io> SeverableStream<Io> {
    /// Takes note of what we send.
    fn note(&mut self, bytes: &[u8]) {
        let transfers = self.meter.count(bytes);
        self.guard.sent(transfers);
    }
}

impl<Io: AsyncWrite + Unpin> SeverableStream<Io> {
    /// Writes what is gathered, all of it.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.gathered.is_empty() {
            match Pin::new(&mut self.inner).poll_write(context, &self.gathered) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.gathered.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for SeverableStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.switch.check(&self.switch.reader, context)?;
        if std::mem::take(&mut self.added) {
            context.waker().wake_by_ref();
        } else if let Poll::Ready(Err(error)) = self.poll_drain(context) {
            return Poll::Ready(Err(error));
        }
        let this = &mut *self;
        loop {
            let passed = this.guard.take(buffer.remaining());
            if !passed.is_empty() {
                buffer.put_slice(&passed);
                return Poll::Ready(Ok(()));
            }
            let mut chunk = ReadBuf::new(&mut this.chunk);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = this.guard.put(chunk.filled()) {
                // fe2o3-amqp keeps errors of its stream to itself.
                this.switch.refusal.get_or_init(|| error.to_string());
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for SeverableStream<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.switch.check(&self.switch.writer, context)?;
        let direct = bytes.len() >= DIRECT_BYTES_MIN;
        if direct || self.gathered.len() + bytes.len() > GATHER_BYTES_MAX {
            ready!(self.poll_drain(context))?;
        }
        if direct {
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
            self.note(&bytes[..written]);
            return Poll::Ready(Ok(written));
        }
        self.note(bytes);
        self.gathered.extend_from_slice(bytes);
        self.added = true;
        Poll::Ready(Ok(bytes.len()))
    }

    /// Writes nothing: see the module.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.switch.check(&self.switch.writer, context)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.switch.check(&self.switch.writer, context)?;
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_cut_wakes_a_waiting_reader_and_fails_writers() {
        let (near, _far) = tokio::io::duplex(8);
        let (mut stream, cut) = severable(near);
        stream.write_all(b"ok").await.unwrap();
        let reading = tokio::spawn(async move {
            let read = stream.read(&mut [0; 8]).await;
            (read, stream.write_all(b"x").await)
        });
        tokio::task::yield_now().await;
        drop(cut);
        let (read, write) = reading.await.unwrap();
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(write.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn writes_are_gathered_until_a_read_without_news_or_the_bound() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut stream, _cut) = severable(near);
        for byte in 0..10 {
            stream.write_all(&[byte]).await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut seen = [0; 10];
        assert!(far.read_exact(&mut seen).now_or_never().is_none());
        // More may come while the others have their turn.
        assert!(stream.read(&mut [0; 1]).now_or_never().is_none());
        assert!(far.read_exact(&mut seen).now_or_never().is_none());
        assert!(stream.read(&mut [0; 1]).now_or_never().is_none());
        far.read_exact(&mut seen[..]).await.unwrap();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // Small ones are gathered, large ones go past them: all in their order.
        let large: Vec<u8> = (0..=u8::MAX)
            .cycle()
            .take(5 * GATHER_BYTES_MAX + 1)
            .collect();
        let mut left = &large[..];
        for bytes in [1_000, 999, DIRECT_BYTES_MIN, 1, DIRECT_BYTES_MIN - 1]
            .into_iter()
            .cycle()
        {
            let (chunk, rest) = left.split_at(bytes.min(left.len()));
            stream.write_all(chunk).await.unwrap();
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, large);
    }
}
