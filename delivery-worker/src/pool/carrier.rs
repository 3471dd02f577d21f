//! What one request goes out on.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::TrySendError;

use super::ConnectionPool;
use super::http1::{self, Http1};
use super::http2::Http2Stream;
use super::way::{Protocol, Way};

/// What carries one request.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A whole connection.
    Http1(Box<Http1>),
    /// A part of one.
    Http2(Http2Stream),
}

/// What became of a request that was handed to a connection.
pub(crate) type SendResult = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>;
/// It is waited for. Boxed: hyper's own keeps room for a whole request, and every attempt would carry that several times.
pub(crate) type Sending = Pin<Box<dyn Future<Output = SendResult> + Send>>;

// === impl Carrier ===

impl Carrier {
    /// Hands a request over. It goes out while its answer is polled for with [`Carrier::poll_with`].
    pub(crate) fn send(&mut self, request: Request<Full<Bytes>>) -> Sending {
        match self {
            Self::Http1(connection) => Box::pin(connection.send(request)),
            Self::Http2(stream) => stream.send(request),
        }
    }

    /// Polls for something of this request, and drives the connection if nobody else does.
    pub(crate) fn poll_with<T>(
        &mut self,
        context: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match self {
            Self::Http1(connection) => http1::poll_with(context, connection, wanted),
            Self::Http2(_) => wanted(context),
        }
    }

    /// The next part of an answer's body.
    pub(crate) async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        std::future::poll_fn(|context| self.poll_with(context, |context| Pin::new(&mut *body).poll_frame(context)))
            .await
    }

    /// The whole answer was read: the connection goes back, if it can carry another request.
    pub(crate) fn finish(self, pool: &ConnectionPool, headers: &HeaderMap) {
        let Self::Http1(mut connection) = self else { return };
        if connection.is_reusable() {
            connection.heed(headers);
            pool.give(connection);
        }
    }

    /// Where it leads, and how it came to be.
    pub(crate) fn way(&self) -> Way {
        let (to, protocol, times) = match self {
            Self::Http1(connection) => (connection.address, Protocol::Http1, connection.times),
            Self::Http2(stream) => (stream.connection().address, Protocol::Http2, stream.connection().times),
        };
        Way { to, protocol: Some(protocol), is_kept: self.is_kept(), times }
    }

    /// Whether it carried a request before this one.
    pub(crate) fn is_kept(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.served > 0,
            Self::Http2(stream) => stream.is_kept,
        }
    }

    /// The head of this request's answer is here.
    pub(crate) fn answered(&self) {
        if let Self::Http2(stream) = self {
            stream.connection().answered();
        }
    }

    /// Answers that came over the connection so far, where it carries several at once.
    pub(crate) fn answers(&self) -> u64 {
        match self {
            Self::Http1(_) => 0,
            Self::Http2(stream) => stream.connection().answers(),
        }
    }

    /// Bytes that were read and written over the connection so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let count = match self {
            Self::Http1(connection) => &connection.count,
            Self::Http2(stream) => &stream.connection().count,
        };
        (count.read(), count.written())
    }
}
