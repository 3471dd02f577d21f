//! The body of a request that is passed on, lent to whoever sends it: what was not sent comes back.
//!
//! A refusal beside a body that is still being sent has to read the rest of it: closing on unread bytes resets the connection, and the
//! client would never see why.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;

/// Where the body comes back to.
#[derive(Clone, Debug, Default)]
pub(super) struct BodyLender(Arc<Mutex<Option<Incoming>>>);

/// A body that comes back when it is dropped.
#[derive(Debug)]
pub(super) struct LentBody {
    /// Gone only in `drop`.
    body: Option<Incoming>,
    lender: BodyLender,
}

// === impl BodyLender ===

impl BodyLender {
    pub(super) fn lend(&self, body: Incoming) -> LentBody {
        LentBody { body: Some(body), lender: self.clone() }
    }

    /// The body, if it came back.
    pub(super) fn returned(&self) -> Option<Incoming> {
        self.0.lock().take()
    }
}

// === impl LentBody ===

impl Body for LentBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        *self.lender.0.lock() = self.body.take();
    }
}
