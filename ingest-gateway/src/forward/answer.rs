//! The body of an answer that is passed on: piece by piece, as long as pieces come, holding its place among those at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chassis::clock;
use chassis::server::BoxError;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::places::ForwardPlace;

/// A body that ends with an error when no piece came for so long.
pub(super) struct ForwardedBody {
    inner: Incoming,
    _place: ForwardPlace,
    timeout: Duration,
    /// Runs while a piece is waited for.
    patience: Pin<Box<Sleep>>,
    waits: bool,
}

// === impl ForwardedBody ===

impl ForwardedBody {
    pub(super) fn new(inner: Incoming, place: ForwardPlace, timeout: Duration) -> Self {
        Self { inner, _place: place, timeout, patience: Box::pin(tokio::time::sleep(timeout)), waits: false }
    }
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(piece) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waits = false;
            return Poll::Ready(piece.map(|piece| piece.map_err(Into::into)));
        }
        if !self.waits {
            // From now on; how long the client took for the piece before is its own time.
            let until = clock::instant() + self.timeout;
            self.patience.as_mut().reset(until.into());
            self.waits = true;
        }
        match self.patience.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let stuck = io::Error::new(io::ErrorKind::TimedOut, "the control plane's answer stands still");
                Poll::Ready(Some(Err(stuck.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
