//! The HTTP server of the roles: what a listener does about peers that are slow, silent, many, or do not read.
//!
//! ```text
//! accept --a place of its address?--> [TLS handshake] --> hyper --> the role's Serve
//!    |      no: closed                                      |
//!    |                                                      +-- a token: counts against its organization from now on
//!    |                                                      +-- socket, answer: tell what the connection does
//!    +-- a slot of all connections, else new ones           |
//!        wait in the kernel's queue                         v
//!                                          watchdog: head, idle and write limits, from the accept on
//! ```
//!
//! hyper's own limits begin with the first byte, so a peer that sends none would stay for ever; and none of them ends an
//! HTTP/2 connection whose client answers pings, or an answer that nobody reads.

mod addresses;
mod answer;
mod connection;
mod holders;
mod listening;
mod metrics;
mod owed;
mod socket;
mod streams;
mod timer;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use self::addresses::network;
pub use self::connection::{ConnectionState, Peer};
pub use self::metrics::ServerMetrics;
pub use self::timer::Timer;

use self::addresses::Addresses;
use self::connection::Patience;
use self::holders::Holders;
use self::listening::Listening;
use self::streams::StreamExecutor;
use self::tls::ListenerTls;
use crate::limited::Limited;
use crate::proxies::TrustedProxies;
use crate::shutdown::Shutdown;

/// How often a repeated failure is logged.
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// The least buffer hyper takes.
const MIN_BUFFER: usize = 8 * 1024;
/// Bytes of one request's body that HTTP/2 takes before they are asked for. No budget of bodies knows of them.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes of an answer that HTTP/2 has before it wants no more. Small, so that an answer is over for us when it nearly is.
const SEND_BUFFER: usize = 16 * 1024;

/// Any error of a response body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What answers the requests of a listener.
pub trait Serve: Send + Sync + 'static {
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Answers one request.
    fn serve(
        &self,
        connection: &Arc<ConnectionState>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// How much of everything a listener takes.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// From a request's first byte to the end of its head; for the first request, and for TLS, from the accept on.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Without the peer taking anything of an answer.
    pub write: Duration,
    /// From a request's head to its answer at the longest, within the grace period: so long a shutdown waits for what is in flight.
    pub request: Duration,
    /// Connections served at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Connections of one address that showed no token; more are closed. `None`: as many as it likes.
    pub per_address: Option<usize>,
    /// Bytes of a head.
    pub head_bytes: usize,
    /// Headers that hyper parses; `None` is its own number.
    pub headers: Option<usize>,
    /// Requests of one HTTP/2 connection at once.
    pub streams: u32,
}

/// A listener of a role.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    limits: ServerLimits,
    tls: Option<ListenerTls>,
    metrics: ServerMetrics,
    /// The places that are free.
    slots: Arc<Semaphore>,
    addresses: Addresses,
    holders: Holders,
    limited: Limited,
}

/// Why the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    SlowHead,
    Idle,
    Unread,
    /// One of its streams.
    UnreadStream,
    Handshake,
    AddressLimit,
    HolderLimit,
}

// === impl Closed ===

impl Closed {
    const ALL: [Self; 7] = [
        Self::SlowHead,
        Self::Idle,
        Self::Unread,
        Self::UnreadStream,
        Self::Handshake,
        Self::AddressLimit,
        Self::HolderLimit,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::Unread => "unread_answer",
            Self::UnreadStream => "unread_stream",
            Self::Handshake => "tls_handshake",
            Self::AddressLimit => "address_limit",
            Self::HolderLimit => "organization_limit",
        }
    }

    /// What it says in a log line; nothing for what is everyday.
    const fn line(self) -> Option<&'static str> {
        match self {
            Self::SlowHead => Some("a connection was closed: it sent no whole request head in time"),
            Self::Idle => None,
            Self::Unread => Some("a connection was closed: its client does not read what it asked for"),
            Self::UnreadStream => {
                Some("an answer was ended: its client does not read it, while others of its HTTP/2 connection go on")
            }
            Self::Handshake => Some("a connection was closed: its TLS handshake failed or came too slowly"),
            Self::HolderLimit => Some(
                "a connection was closed after its last answer: few are free, and its organization, or its balancer, has many",
            ),
            Self::AddressLimit => {
                Some("a connection was refused: its address holds as many without a token as one address may")
            }
        }
    }
}

// === impl Server ===

impl Server {
    /// A listener named in log lines.
    #[must_use]
    pub fn new(name: &'static str, limits: ServerLimits, tls: Option<ListenerTls>, metrics: ServerMetrics) -> Self {
        let addresses = Addresses::new(limits.per_address, metrics.without_token.clone());
        let slots = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        let holders = Holders::new(Arc::clone(&slots), limits.connections);
        Self { name, limits, tls, metrics, slots, addresses, holders, limited: Limited::new(LOG_PERIOD) }
    }

    /// The same, for proxies of ours that bound what they pass on: one address of theirs may hold up to half of what is free.
    #[must_use]
    pub fn trusting(self, proxies: TrustedProxies) -> Self {
        Self { addresses: self.addresses.trusting(proxies), ..self }
    }

    /// Serves until the shutdown is requested and every connection has ended.
    pub async fn serve<S: Serve>(self, service: Arc<S>, listener: TcpListener, shutdown: Shutdown) {
        let connections = TaskTracker::new();
        let longest = self.limits.request;
        let listening = Arc::new(Listening {
            builder: builder(&self.limits),
            server: self,
            service,
            shutdown,
            ended: CancellationToken::new(),
        });
        listening.accept_all(&listener, &connections).await;
        // From here on the kernel refuses, and a balancer goes elsewhere.
        drop(listener);
        connections.close();
        info!(listener = listening.server.name, connections = connections.len(), "draining");
        if tokio::time::timeout(longest, connections.wait()).await.is_err() {
            warn!(connections = connections.len(), "connections are cut: they outlast the longest request");
            listening.ended.cancel();
            connections.wait().await;
        }
    }

    fn closed(&self, why: Closed, peer: SocketAddr) {
        self.metrics.closed.with_label_values(&[why.name()]).inc();
        let Some(line) = why.line() else { return };
        if let Some(swallowed) = self.limited.permit(why.name()) {
            warn!(listener = self.name, address = %peer.ip().to_canonical(), swallowed, "{line}");
        }
    }

    fn patience(&self) -> Patience {
        let ServerLimits { head, idle, write, streams, .. } = self.limits;
        Patience { head, idle, write, streams }
    }
}

fn builder(limits: &ServerLimits) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor);
    let mut http1 = builder.http1();
    // Our own watchdog ends slow heads and idle connections.
    http1.timer(TokioTimer::new()).header_read_timeout(None);
    // Answers are short: one buffer and one `send` cost less than two buffers and a `writev`.
    http1.half_close(false).writev(false).max_buf_size(limits.head_bytes.saturating_mul(2).max(MIN_BUFFER));
    if let Some(count) = limits.headers {
        http1.max_headers(count);
    }
    let head_bytes = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(limits.streams).max_header_list_size(head_bytes);
    http2.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    http2.max_send_buf_size(SEND_BUFFER);
    http2.keep_alive_interval(limits.head).keep_alive_timeout(limits.write);
    builder
}

#[cfg(test)]
mod tests;
