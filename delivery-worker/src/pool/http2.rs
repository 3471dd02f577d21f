//! A connection that carries many requests at once, and a request's part of it.
//!
//! It is driven by a task of its own. Pings go out while requests are under way; who does not answer them is gone. It takes no
//! request more than its server allows, and none before the server has said how many those are: what would wait inside hyper
//! waits in the pool instead, where another connection may take it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chassis::tasks;
use http::header::HOST;
use http::{Request, Version};
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::cork::{Corked, Uncork};
use super::rules::STREAMS;
use super::slot::PoolSlot;
use super::way::ConnectTimes;
use super::wire::{Wire, WireCount};
use super::{HEAD_LIMIT, PoolShared, Sending};

/// A ping goes out when nothing was heard for this long, and its answer has as long again.
const PING: Duration = Duration::from_secs(5);
/// What a server may send ahead of a stream being read. Answers are short, and no more than that is kept.
const STREAM_WINDOW: u32 = 32 * 1024;
/// The same of all streams together.
const WINDOW: u32 = 256 * 1024;
/// The limit of streams that no server sends: it has not sent any yet.
const UNSETTLED: usize = usize::MAX >> 1;

/// See the module. Dropping it closes the connection.
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    pub(super) count: Arc<WireCount>,
    pub(super) address: SocketAddr,
    /// How long it took to be made.
    pub(super) times: ConnectTimes,
    pub(super) born: Instant,
    limit: Arc<AtomicUsize>,
    /// Requests under way.
    active: AtomicUsize,
    has_served: AtomicBool,
    /// Answers whose head came.
    answers: AtomicU64,
    close: CancellationToken,
    /// Given when it joins the pool.
    pub(super) slot: Option<PoolSlot>,
}

/// A request's part of a connection.
#[derive(Debug)]
pub(crate) struct Http2Stream {
    pool: Arc<PoolShared>,
    /// Until it ends.
    connection: Option<Arc<Http2>>,
    /// The connection had carried others before.
    pub(super) is_kept: bool,
}

/// Runs hyper's parts of one connection.
#[derive(Clone)]
struct Driver {
    close: CancellationToken,
    is_settled: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    polled: Arc<Notify>,
    uncork: Uncork<Wire>,
}

/// The connection ended before its server said anything of use.
#[derive(Debug, thiserror::Error)]
#[error("closed before the server's preface")]
pub(super) struct NoPreface;

// === impl Http2 ===

impl Http2 {
    /// Over bytes: waits for the server's preface.
    ///
    /// # Errors
    /// The connection ended before it.
    pub(super) async fn handshake(
        wire: Wire,
        count: Arc<WireCount>,
        address: SocketAddr,
        now: Instant,
    ) -> Result<Self, NoPreface> {
        let wire = Corked::new(wire);
        let driver = Driver {
            close: CancellationToken::new(),
            is_settled: Arc::default(),
            is_over: Arc::default(),
            polled: Arc::default(),
            uncork: wire.uncork(),
        };
        // Until it is whole, whoever gives up on it closes it.
        let guard = driver.close.clone().drop_guard();
        let mut builder = Builder::new(driver.clone());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(WINDOW)
            .initial_max_send_streams(UNSETTLED)
            .max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX));
        let handshake = builder.handshake::<_, Full<Bytes>>(TokioIo::new(wire));
        let (sender, connection) = handshake.await.map_err(|_ended| NoPreface)?;
        while connection.current_max_send_streams() == UNSETTLED {
            if driver.is_over.load(Ordering::Acquire) {
                return Err(NoPreface);
            }
            driver.polled.notified().await;
        }
        driver.is_settled.store(true, Ordering::Release);
        let limit = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let seen = Arc::clone(&limit);
        drop(tasks::spawn("HTTP/2 requests", async move {
            let mut connection = pin!(connection);
            let ended = std::future::poll_fn(|context| {
                let polled = connection.as_mut().poll(context);
                seen.store(connection.current_max_send_streams(), Ordering::Relaxed);
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "an HTTP/2 connection ended");
            }
        }));
        let close = guard.disarm();
        let (active, has_served, answers) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicU64::new(0));
        let times = ConnectTimes::default();
        Ok(Self { sender, count, address, times, born: now, limit, active, has_served, answers, close, slot: None })
    }

    /// Requests it may carry at once.
    pub(super) fn streams(&self) -> usize {
        self.limit.load(Ordering::Relaxed).clamp(1, STREAMS)
    }

    /// One more request was answered.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were answered so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether it is over.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl Http2Stream ===

impl Http2Stream {
    /// One more request of a connection. The pool has counted it.
    pub(super) fn new(pool: &Arc<PoolShared>, connection: Arc<Http2>) -> Self {
        let is_kept = connection.has_served.swap(true, Ordering::Relaxed);
        connection.active.fetch_add(1, Ordering::Relaxed);
        Self { pool: Arc::clone(pool), connection: Some(connection), is_kept }
    }

    /// Hands a request to the connection.
    pub(super) fn send(&mut self, mut request: Request<Full<Bytes>>) -> Sending {
        *request.version_mut() = Version::HTTP_2;
        // It is the authority of the URI here.
        request.headers_mut().remove(HOST);
        let connection = self.connection();
        connection.count.allow(connection.active.load(Ordering::Relaxed));
        Box::pin(connection.sender.clone().try_send_request(request))
    }

    /// Its connection.
    pub(super) fn connection(&self) -> &Arc<Http2> {
        self.connection.as_ref().expect("a stream has its connection until it ends")
    }

    /// Ends without the pool hearing of it: for the pool.
    pub(super) fn forget(mut self) -> Option<Arc<Http2>> {
        let connection = self.connection.take();
        if let Some(connection) = &connection {
            connection.active.fetch_sub(1, Ordering::Relaxed);
        }
        connection
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.active.fetch_sub(1, Ordering::Relaxed);
            self.pool.end_stream(&connection);
        }
    }
}

// === impl Driver ===

impl<F> Executor<F> for Driver
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        // The first is the connection itself; what comes later ends with it.
        if self.is_settled.load(Ordering::Acquire) {
            drop(tasks::spawn("HTTP/2 request", future));
            return;
        }
        let Self { close, is_settled, is_over, polled, uncork } = self.clone();
        drop(tasks::spawn("HTTP/2 connection", async move {
            let mut future = pin!(future);
            let watched = std::future::poll_fn(|context| {
                let ended = future.as_mut().poll(context);
                uncork.write(context);
                if !is_settled.load(Ordering::Acquire) {
                    polled.notify_one();
                }
                ended
            });
            let _closed = close.run_until_cancelled(watched).await;
            is_over.store(true, Ordering::Release);
            polled.notify_one();
        }));
    }
}
