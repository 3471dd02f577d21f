//! A connection that carries one request at a time.
//!
//! Nobody drives it but who uses it: the attempt polls the connection beside its own response, so a request passes no channel
//! to another task and back. While it is kept nobody polls it; the pool looks at it before it hands it out, and once a second.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Request};
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::slot::PoolSlot;
use super::way::ConnectTimes;
use super::wire::{Wire, WireCount};
use super::{HEAD_LIMIT, SendResult};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// See the module.
pub(crate) struct Http1 {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<Wire>, Full<Bytes>>,
    is_over: bool,
    pub(super) count: Arc<WireCount>,
    pub(super) address: SocketAddr,
    /// How long it took to be made.
    pub(super) times: ConnectTimes,
    pub(super) born: Instant,
    /// Last given back.
    pub(super) used: Instant,
    /// How long its server keeps it, if it says so.
    pub(super) promised: Option<Duration>,
    /// Requests it carried before the present one.
    pub(super) served: u64,
    /// Given when it joins the pool.
    pub(super) slot: Option<PoolSlot>,
}

impl Http1 {
    /// Over bytes; nothing is sent yet.
    ///
    /// # Errors
    /// None in practice: the protocol begins with the first request.
    pub(super) async fn handshake(
        wire: Wire,
        count: Arc<WireCount>,
        address: SocketAddr,
        now: Instant,
    ) -> hyper::Result<Self> {
        let mut builder = Builder::new();
        // As lenient with heads as browsers are: what counts is the status line.
        builder
            .max_buf_size(HEAD_LIMIT)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true);
        let (sender, connection) = builder.handshake(TokioIo::new(wire)).await?;
        let (born, used) = (now, now);
        Ok(Self {
            sender,
            connection,
            is_over: false,
            count,
            address,
            times: ConnectTimes::default(),
            born,
            used,
            promised: None,
            served: 0,
            slot: None,
        })
    }

    /// Hands a request to the connection. It goes out when the connection is driven.
    pub(super) fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> impl Future<Output = SendResult> + Send + use<> {
        let uri = std::mem::take(request.uri_mut());
        if !request.headers().contains_key(HOST)
            && let Some(host) = host_header(&uri)
        {
            request.headers_mut().insert(HOST, host);
        }
        *request.uri_mut() = origin_form(uri);
        self.count.allow(1);
        self.sender.try_send_request(request)
    }

    /// Reads and writes as far as it goes now.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        if !self.is_over && Pin::new(&mut self.connection).poll(context).is_ready() {
            // How it ended is what its request hears.
            self.is_over = true;
        }
    }

    /// Whether it could carry another request, after all of an answer was read.
    pub(super) fn is_reusable(&mut self) -> bool {
        // What ends an answer may be read and not yet dealt with.
        (!self.is_over && self.sender.is_ready()) || (self.is_alive() && self.sender.is_ready())
    }

    /// Whether its server has closed it, or sent what nobody asked for, while it was kept.
    pub(super) fn is_alive(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.is_over
    }

    /// Remembers what an answer says about how long the connection is kept.
    pub(super) fn heed(&mut self, headers: &HeaderMap) {
        if headers.contains_key(KEEP_ALIVE) {
            self.promised = promised(headers);
        }
    }

    /// It carried a request to its end.
    pub(super) fn served(&mut self, now: Instant) {
        self.used = now;
        self.served += 1;
    }
}

impl std::fmt::Debug for Http1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1").field("address", &self.address).field("served", &self.served).finish_non_exhaustive()
    }
}

/// The host, with its port where that is not the usual one. The URL's user is no part of it.
pub(crate) fn host_header(uri: &Uri) -> Option<HeaderValue> {
    let host = uri.host()?;
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let port = uri.port_u16().filter(|port| *port != usual);
    HeaderValue::try_from(port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))).ok()
}

/// What stands in the request line: the path alone.
fn origin_form(uri: Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    let path = uri.into_parts().path_and_query;
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

/// What an answer says about how long its connection is kept.
pub(super) fn promised(headers: &HeaderMap) -> Option<Duration> {
    headers.get(KEEP_ALIVE)?.to_str().ok().and_then(timeout)
}

/// `timeout=5, max=100`.
fn timeout(keep_alive: &str) -> Option<Duration> {
    let mut parameters = keep_alive.split(',').filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// Waits for something of a connection while driving it.
pub(super) fn poll_with<T>(
    context: &mut Context<'_>,
    connection: &mut Http1,
    mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    // What was read already comes first; taking it may be what the connection waits for.
    if let Poll::Ready(ready) = wanted(context) {
        return Poll::Ready(ready);
    }
    connection.drive(context);
    wanted(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_promise_is_read_in_every_spelling() {
        for (text, seconds) in [
            ("timeout=5", Some(5)),
            ("timeout=5, max=1000", Some(5)),
            ("max=3,Timeout = 12", Some(12)),
            ("max=3", None),
            ("timeout=soon", None),
            ("", None),
        ] {
            assert_eq!(timeout(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_host_has_its_port_where_that_is_unusual_and_never_a_user() {
        for (uri, expected) in [
            ("https://a.example/x", "a.example"),
            ("https://a.example:443/", "a.example"),
            ("http://a.example:443/", "a.example:443"),
            ("https://user:secret@a.example:8443/", "a.example:8443"),
            ("http://[::1]:80/", "[::1]"),
        ] {
            assert_eq!(host_header(&uri.parse().unwrap()).unwrap(), expected, "{uri}");
        }
        assert_eq!(host_header(&"/path".parse().unwrap()), None);
    }

    #[test]
    fn the_request_line_has_the_path_alone() {
        for (uri, expected) in [("https://a.example:1/x/y?z=1", "/x/y?z=1"), ("http://a.example", "/"), ("/p", "/p")] {
            assert_eq!(origin_form(uri.parse().unwrap()).to_string(), expected);
        }
    }
}
