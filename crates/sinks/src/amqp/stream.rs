//! A stream that can be cut from outside.
//!
//! Between its own close frame and the peer's, fe2o3-amqp 0.18.4 spins: its engine polls a channel that
//! is closed already and goes round without waiting. With a peer that has vanished that takes a whole
//! core for ever. So a connection is never left to itself: when its [`Cut`] is dropped, reads and writes
//! fail, and the engine stops.

use futures_util::task::AtomicWaker;
use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug, Default)]
struct Switch {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Switch {
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
pub(super) struct Cut(Arc<Switch>);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }
}

/// A stream under a [`Cut`].
#[derive(Debug)]
pub(super) struct Severable<Io> {
    inner: Io,
    switch: Arc<Switch>,
}

/// Puts `inner` under a cut.
pub(super) fn severable<Io>(inner: Io) -> (Severable<Io>, Cut) {
    let switch = Arc::new(Switch::default());
    let cut = Cut(Arc::clone(&switch));
    (Severable { inner, switch }, cut)
}

impl<Io: AsyncRead + Unpin> AsyncRead for Severable<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.switch.check(&self.switch.reader, context)?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Severable<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.switch.check(&self.switch.writer, context)?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.switch.check(&self.switch.writer, context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.switch.check(&self.switch.writer, context)?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.switch.check(&self.switch.writer, context)?;
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
