//! Bodies of replies as hyper sends them: whole, made up as they go, dripping, or ended by a reset.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::script::{Fault, Reply, ReplyBody};
use super::socket::ResetSwitch;

/// Bytes of one frame of a body that is made up.
const FRAME: &[u8] = &[b'.'; 16 * 1024];
/// The client has surely seen a part of the body when the reset comes this much later.
const BEFORE_CUT: Duration = Duration::from_millis(20);

/// A body under way.
pub(crate) struct Sending {
    plan: ReplyBody,
    left: usize,
    /// Set where the connection is to be reset after the first half.
    cut: Option<ResetSwitch>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Sending {
    /// The body of a reply on a connection with this switch.
    pub(crate) fn new(reply: &Reply, reset: &ResetSwitch) -> Self {
        let mut plan = reply.body.clone();
        let cut = (reply.fault == Fault::Cut).then(|| ResetSwitch::clone(reset));
        if cut.is_some() && plan.length() < 2 {
            plan = ReplyBody::Huge(FRAME.len());
        }
        Self { left: plan.length(), plan, cut, pause: None }
    }

    /// The next piece and the pause that follows it.
    fn piece(&mut self) -> (Bytes, Duration) {
        let most = if self.cut.is_some() { self.plan.length() / 2 } else { self.left };
        let (piece, pause) = match &self.plan {
            ReplyBody::Whole(bytes) => (bytes.slice(..most), Duration::ZERO),
            ReplyBody::Huge(_) => (Bytes::from_static(&FRAME[..most.min(FRAME.len())]), Duration::ZERO),
            ReplyBody::Drip(pause) => (Bytes::from_static(b"."), *pause),
        };
        self.left -= piece.len();
        (piece, pause)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let begun = self.left < self.plan.length();
        if begun && let Some(reset) = &self.cut {
            reset.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(io::Error::other("the script resets here"))));
        }
        let (piece, mut pause) = self.piece();
        if self.cut.is_some() {
            pause = BEFORE_CUT;
        }
        self.pause = (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.left).unwrap_or(u64::MAX))
    }
}
