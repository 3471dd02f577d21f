//! A connection's socket: tells the watchdog when a head begins and when the peer reads, and gives hyper's own refusals a body.
//!
//! What is no readable request (a head beyond all limits, no HTTP at all) never reaches a service: hyper answers it with a
//! bare status and closes. Here that answer is exchanged for the same status as a problem.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use schemas::problem::{Code, Problem, ProblemId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::ConnectionState;

/// The socket of one connection, or the TLS session over it.
#[derive(Debug)]
pub(super) struct WatchedSocket<S> {
    socket: S,
    state: Arc<ConnectionState>,
    /// What is written instead of hyper's bare answer.
    instead: Bytes,
}

/// The full answer for a bare one. Our own responses always have a body, so nothing of ours looks like this.
fn answer_for(bare: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(bare).ok()?;
    let status = match text.get(..12)? {
        "HTTP/1.1 400" => 400,
        "HTTP/1.1 414" => 414,
        "HTTP/1.1 431" => 431,
        _other => return None,
    };
    let (head, _body) = text.split_once("\r\ncontent-length: 0\r\n")?;
    let body = serde_json::to_string(&unreadable(status)).expect("a problem holds nothing that is not JSON");
    let status_line = head.lines().next()?;
    let (content_type, length) = (Problem::CONTENT_TYPE, body.len());
    let answer = format!(
        "{status_line}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    Some(answer.into())
}

/// What hyper refused by itself, because it was no request it could read.
fn unreadable(status: u16) -> Problem {
    let (detail, code) = match status {
        431 => ("the request's head is too large", Some(Code::HeadersTooLarge)),
        414 => ("the request's path is too long", None),
        _other => ("this is no HTTP request", None),
    };
    let problem = Problem::new(ProblemId::Validation, detail).with_status(status);
    match code {
        Some(code) => problem.with_code(code),
        None => problem,
    }
}

/// Bytes that were taken; none where nothing could be.
fn taken(written: &Poll<io::Result<usize>>) -> Option<usize> {
    match written {
        Poll::Ready(written) => Some(written.as_ref().copied().unwrap_or_default()),
        Poll::Pending => None,
    }
}

// === impl WatchedSocket ===

impl<S: AsyncWrite + Unpin> WatchedSocket<S> {
    pub(super) fn new(socket: S, state: Arc<ConnectionState>) -> Self {
        Self { socket, state, instead: Bytes::new() }
    }

    /// Writes what stands instead of a bare answer.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &self.instead);
            self.state.wrote(taken(&written));
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a bare answer of hyper's as written.
    fn exchange(&mut self, buf: &[u8]) -> bool {
        // A request of ours is over only when its response is handed on whole.
        let bare = !self.state.is_busy() && buf.starts_with(b"HTTP/1.1 4");
        match bare.then(|| answer_for(buf)).flatten() {
            Some(answer) => {
                self.instead = answer;
                true
            }
            None => false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.state.received();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(cx))?;
        if self.exchange(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.state.wrote(taken(&written));
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(cx))?;
        if let [only] = bufs
            && self.exchange(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.state.wrote(taken(&written));
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.state.wrote(flushed.is_ready().then_some(0));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_exchanged() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let answer = answer_for(bare).unwrap();
        let text = std::str::from_utf8(&answer).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json")
        );
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
        for other in [
            &b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 4",
        ] {
            assert_eq!(answer_for(other), None);
        }
    }
}
