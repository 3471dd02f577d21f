//! A response's body as the watchdog sees it: its connection is busy until it is written, and it says when it waits for the
//! peer to make room.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::connection::Busy;
use super::owed::OwedAnswer;

pin_project! {
    /// The body of a response.
    #[derive(Debug)]
    pub(super) struct WatchedBody<B> {
        #[pin]
        body: B,
        // What is left of a frame that is handed on in pieces.
        rest: Bytes,
        // Of HTTP/2, which writes to the connection by itself.
        is_http2: bool,
        owed: Owed,
    }
}

/// A frame is handed on in pieces of so many bytes: HTTP takes a whole one at once, and would seem to have written a list of many
/// megabytes of which the peer has read nothing.
pub(super) const PIECE: usize = 64 * 1024;

/// Whether the next bytes wait for the peer.
#[derive(Debug)]
struct Owed {
    owes: Option<OwedAnswer>,
    busy: Busy,
}

// === impl Owed ===

impl Owed {
    fn set(&mut self, owes: bool) {
        match (self.owes.take(), owes) {
            (None, true) => self.owes = Some(self.busy.owe()),
            (Some(owed), false) => self.busy.paid(owed),
            (still, _) => self.owes = still,
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.set(false);
    }
}

// === impl WatchedBody ===

impl<B: Body> WatchedBody<B> {
    pub(super) fn new(body: B, busy: Busy) -> Self {
        let is_http2 = busy.is_http2();
        let mut owed = Owed { owes: None, busy };
        owed.set(!body.is_end_stream());
        Self { body, rest: Bytes::new(), is_http2, owed }
    }
}

impl<B: Body<Data = Bytes>> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        // Who asks for more has had room for what came before.
        this.owed.set(false);
        let frame = next_piece(this.body, this.rest, *this.is_http2, cx);
        // The last one too: over HTTP/2 it waits for the peer's window, and this body with it.
        this.owed.set(matches!(frame, Poll::Ready(Some(Ok(_)))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(left));
        }
        hint.set_lower(hint.lower().saturating_add(left));
        hint
    }
}

/// The next frame: a piece of the one that `rest` is left of, else of the body's next one.
///
/// HTTP/2 takes a piece whole as soon as there is room for a byte of it, and lets go of the body with the last one. So the last byte of
/// what the body gave comes by itself: until the peer has made room for all before it the body is there, and waits.
fn next_piece<B: Body<Data = Bytes>>(
    body: Pin<&mut B>,
    rest: &mut Bytes,
    is_http2: bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    if rest.is_empty() {
        let frame = match ready!(body.poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            ended @ (None | Some(Err(_))) => return Poll::Ready(ended),
        };
        match frame.into_data() {
            Ok(data) => *rest = data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        }
    }
    let whole = if is_http2 && rest.len() > 1 { rest.len() - 1 } else { rest.len() };
    Poll::Ready(Some(Ok(Frame::data(rest.split_to(whole.min(PIECE))))))
}
