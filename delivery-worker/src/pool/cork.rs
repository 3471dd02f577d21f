//! The writes of one poll in one piece, for connections that carry many requests.
//!
//! h2 writes and flushes after each DATA frame, so ten requests that leave together would be ten records of TLS and ten calls of
//! the kernel. Here they are held back until the connection was polled to its end, and go out together then: nothing waits for a
//! time, and nothing stays behind, because whoever polls the connection lets go of what is held ([`Uncork`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is held at most: as much as a record of TLS carries.
const MOST: usize = 16 * 1024;

/// See the module. Its lock is never waited for: one task alone polls the connection and lets go of what is held.
#[derive(Debug)]
pub(super) struct Corked<W>(Arc<Mutex<CorkedWire<W>>>);

/// Lets go of what a connection holds, for as long as that is there.
#[derive(Debug)]
pub(super) struct Uncork<W>(Weak<Mutex<CorkedWire<W>>>);

#[derive(Debug)]
struct CorkedWire<W> {
    wire: W,
    held: BytesMut,
    /// Why what was held could not be written: for the next who reads or writes.
    failed: Option<io::Error>,
}

// === impl Corked ===

impl<W: AsyncRead + AsyncWrite + Unpin> Corked<W> {
    pub(super) fn new(wire: W) -> Self {
        Self(Arc::new(Mutex::new(CorkedWire { wire, held: BytesMut::new(), failed: None })))
    }

    /// For who polls it.
    pub(super) fn uncork(&self) -> Uncork<W> {
        Uncork(Arc::downgrade(&self.0))
    }
}

impl<W: AsyncRead + AsyncWrite + Unpin> Uncork<W> {
    /// Writes what is held, as far as that goes; the context is woken when there is more to do.
    pub(super) fn write(&self, context: &mut Context<'_>) {
        let Some(corked) = self.0.upgrade() else { return };
        let mut corked = corked.lock();
        if let Poll::Ready(Err(error)) = corked.write_held(context) {
            corked.held.clear();
            corked.failed = Some(error);
            // Whoever polls the connection hears of it then.
            context.waker().wake_by_ref();
        }
    }
}

impl<W> Clone for Uncork<W> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<W: AsyncRead + AsyncWrite + Unpin> AsyncRead for Corked<W> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut corked = self.0.lock();
        corked.healthy()?;
        Pin::new(&mut corked.wire).poll_read(context, to)
    }
}

impl<W: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Corked<W> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is held stays held.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.lock().healthy())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut corked = self.0.lock();
        corked.healthy()?;
        ready!(corked.write_held(context))?;
        Pin::new(&mut corked.wire).poll_shutdown(context)
    }
}

// === impl CorkedWire ===

impl<W: AsyncRead + AsyncWrite + Unpin> CorkedWire<W> {
    fn healthy(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn write(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.healthy()?;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.held.len() + length > MOST {
            ready!(self.write_held(context))?;
        }
        if length > MOST {
            // As large as it is it gains nothing by a copy.
            return Pin::new(&mut self.wire).poll_write_vectored(context, slices);
        }
        slices.iter().for_each(|slice| self.held.extend_from_slice(slice));
        Poll::Ready(Ok(length))
    }

    fn write_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.wire).poll_write(context, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        Pin::new(&mut self.wire).poll_flush(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes, call by call; then it is full, or broken.
    #[derive(Debug, Default)]
    struct Taking {
        calls: Vec<Vec<u8>>,
        room: usize,
        is_broken: bool,
    }

    impl AsyncRead for Taking {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Taking {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.room);
            if self.is_broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.calls.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn corked(room: usize) -> Corked<Taking> {
        Corked::new(Taking { room, ..Taking::default() })
    }

    fn write(corked: &mut Corked<Taking>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut *corked).poll_write(&mut context, bytes);
        assert!(matches!(Pin::new(corked).poll_flush(&mut context), Poll::Ready(_)));
        written
    }

    fn calls(corked: &Corked<Taking>) -> Vec<Vec<u8>> {
        corked.0.lock().wire.calls.clone()
    }

    #[test]
    fn what_one_poll_writes_goes_out_at_once_and_in_order() {
        let mut corked = corked(1 << 20);
        for part in ["head", "body", "another"] {
            assert!(matches!(write(&mut corked, part.as_bytes()), Poll::Ready(Ok(length)) if length == part.len()));
        }
        assert!(calls(&corked).is_empty());
        corked.uncork().write(&mut Context::from_waker(Waker::noop()));
        assert_eq!(calls(&corked), [b"headbodyanother".to_vec()]);
        corked.uncork().write(&mut Context::from_waker(Waker::noop()));
        assert_eq!(calls(&corked).len(), 1, "nothing is held any more");
    }

    #[test]
    fn no_more_is_held_than_allowed_and_what_is_large_follows_what_was_held() {
        let mut corked = corked(1 << 20);
        let (small, large) = (vec![b's'; MOST - 1], vec![b'l'; MOST + 1]);
        assert!(write(&mut corked, &small).is_ready() && write(&mut corked, b"ab").is_ready());
        assert_eq!(calls(&corked), std::slice::from_ref(&small));
        assert!(write(&mut corked, &large).is_ready());
        assert_eq!(calls(&corked), [small, b"ab".to_vec(), large]);
    }

    #[test]
    fn what_the_kernel_does_not_take_waits_and_nothing_more_is_accepted_meanwhile() {
        let mut corked = corked(3);
        assert!(write(&mut corked, b"abcd").is_ready());
        corked.uncork().write(&mut Context::from_waker(Waker::noop()));
        assert!(write(&mut corked, &[b'x'; MOST]).is_pending());
        corked.0.lock().wire.room = 1 << 20;
        assert!(write(&mut corked, &[b'x'; MOST]).is_ready());
        corked.uncork().write(&mut Context::from_waker(Waker::noop()));
        assert_eq!(calls(&corked), [b"abc".to_vec(), b"d".to_vec(), vec![b'x'; MOST]]);
    }

    #[test]
    fn a_write_that_failed_is_told_to_who_comes_next() {
        let mut corked = corked(0);
        corked.0.lock().wire.is_broken = true;
        assert!(write(&mut corked, b"lost").is_ready());
        let mut context = Context::from_waker(Waker::noop());
        corked.uncork().write(&mut context);
        let mut room = [0; 8];
        let read = Pin::new(&mut corked).poll_read(&mut context, &mut ReadBuf::new(&mut room));
        assert!(matches!(read, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    }
}
