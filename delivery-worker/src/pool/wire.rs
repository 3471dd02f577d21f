//! A connection's bytes: plain or TLS, counted, small requests in one piece.
//!
//! **One piece.** Hyper hands out head and body apart, for one gathering write. For the kernel that is dearer than the copy of
//! a few KiB (3 % of an attempt's CPU), and TLS would make two records of it. Hyper's own way to join them keeps room for its
//! largest body in every connection; here the piece lives on the stack.
//!
//! **Counted.** What an endpoint may send per request is bounded here, below HTTP: interim responses without end, a flood of
//! frames, whatever it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What fits is copied together: a head and a payload of usual size.
const PIECE: usize = 4 * 1024;
/// An answer: its head at its largest twice over, and of its body what is kept at most or fits a window.
const PER_REQUEST: u64 = 256 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    bytes: Layer,
    count: Arc<WireCount>,
}

#[derive(Debug)]
enum Layer {
    Plain(TcpStream),
    /// Boxed: most of it is rustls' state.
    Tls(Box<TlsStream<Socket>>),
}

/// What lies below TLS: says how much was read, handshake and tickets included.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    read: Arc<AtomicU64>,
}

/// Bytes of one connection above TLS. Its own task alone counts, so nothing here needs to be one step.
#[derive(Debug, Default)]
pub(super) struct WireCount {
    read: AtomicU64,
    written: AtomicU64,
    /// An endpoint that sends more than this sends more than answers.
    allowed: AtomicU64,
}

/// An endpoint sent more than an answer may have.
#[derive(Debug, thiserror::Error)]
#[error("more than an answer may have")]
pub(crate) struct Flood;

// === impl Wire ===

impl Wire {
    /// Over a plain connection.
    pub(super) fn plain(stream: TcpStream, count: Arc<WireCount>) -> Self {
        Self { bytes: Layer::Plain(stream), count }
    }

    /// Over a connection with TLS.
    pub(super) fn tls(stream: TlsStream<Socket>, count: Arc<WireCount>) -> Self {
        Self { bytes: Layer::Tls(Box::new(stream)), count }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.count.read() > self.count.allowed.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::Error::other(Flood)));
        }
        let before = to.filled().len();
        ready!(match &mut self.bytes {
            Layer::Plain(stream) => Pin::new(stream).poll_read(context, to),
            Layer::Tls(stream) => Pin::new(stream).poll_read(context, to),
        })?;
        WireCount::add(&self.count.read, to.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.bytes {
            Layer::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Layer::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        })?;
        WireCount::add(&self.count.written, written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut piece = [0; PIECE];
        if let Some(joined) = join(slices, &mut piece) {
            return self.poll_write(context, joined);
        }
        let written = ready!(match &mut self.bytes {
            Layer::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Layer::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        })?;
        WireCount::add(&self.count.written, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Layer::Plain(stream) => Pin::new(stream).poll_flush(context),
            Layer::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Layer::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Layer::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

// === impl Socket ===

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, read: Arc::default() }
    }

    /// Bytes that were read; it goes on counting.
    pub(super) fn read_so_far(&self) -> &Arc<AtomicU64> {
        &self.read
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, to))?;
        WireCount::add(&self.read, to.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // rustls gathers whatever it has, which is one record nearly always; for the kernel a plain write is cheaper.
        match slices {
            [record] => Pin::new(&mut self.stream).poll_write(context, record),
            records => Pin::new(&mut self.stream).poll_write_vectored(context, records),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// === impl WireCount ===

impl WireCount {
    /// One that allows what comes before the first request.
    pub(super) fn new() -> Self {
        let count = Self::default();
        count.allow(1);
        count
    }

    /// So many requests are under way now, each may be answered.
    pub(super) fn allow(&self, requests: usize) {
        self.allowed.store(self.read() + PER_REQUEST * requests as u64, Ordering::Relaxed);
    }

    /// Read so far.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn add(to: &AtomicU64, bytes: usize) {
        to.store(to.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }
}

/// All slices one after the other, if they fit.
fn join<'a>(slices: &[IoSlice<'_>], piece: &'a mut [u8; PIECE]) -> Option<&'a [u8]> {
    let mut end = 0;
    for slice in slices {
        piece.get_mut(end..end + slice.len())?.copy_from_slice(slice);
        end += slice.len();
    }
    piece.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_joined_in_order_and_nothing_else() {
        let (head, body) = (vec![b'h'; 96], vec![b'b'; PIECE - 96]);
        let mut piece = [0; PIECE];
        let joined = join(&[IoSlice::new(&head), IoSlice::new(&[]), IoSlice::new(&body)], &mut piece).unwrap();
        assert_eq!(joined, [head.clone(), body.clone()].concat());
        assert_eq!(join(&[IoSlice::new(&head), IoSlice::new(b"POST")], &mut piece).unwrap().len(), 100);
        assert!(join(&[IoSlice::new(&head), IoSlice::new(&body), IoSlice::new(b"x")], &mut piece).is_none());
        assert_eq!(join(&[], &mut piece), Some(&[][..]));
    }
}
