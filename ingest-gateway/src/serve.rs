//! The listener: connections in, a task each, and the drain at the end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use chassis::health::Latch;
use chassis::shutdown::Shutdown;
use chassis::{clock, tasks};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::config::{ACCEPT_PAUSE, GatewayConfig, HTTP2_STREAMS};
use crate::connection::{ConnectionState, WatchdogAction};
use crate::gateway::{Gateway, parsed_headers};
use crate::socket::WatchedSocket;

/// The least buffer hyper takes.
const MIN_BUFFER: usize = 8 * 1024;

/// Serves until the shutdown is requested and every connection has ended.
pub(crate) async fn serve(gateway: Arc<Gateway>, listener: TcpListener, latch: Latch, shutdown: Shutdown) {
    let ready = tasks::spawn("gateway-ready", become_ready(Arc::clone(&gateway), latch, shutdown.clone()));
    let connections = TaskTracker::new();
    let ended = CancellationToken::new();
    accept_all(&gateway, &listener, &connections, &shutdown, &ended).await;
    // From here on the kernel refuses, and a balancer goes elsewhere.
    drop(listener);
    connections.close();
    let config = gateway.config();
    let longest = config.body_read_timeout + config.request_timeout + config.header_read_timeout;
    if tokio::time::timeout(longest, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "connections are cut: they outlast the longest request");
        ended.cancel();
        connections.wait().await;
    }
    if let Err(error) = ready.await {
        warn!(error = %error, "the gateway's start failed");
    }
}

async fn become_ready(gateway: Arc<Gateway>, latch: Latch, shutdown: Shutdown) {
    tokio::select! {
        () = gateway.become_ready() => {
            latch.release();
            info!("events are taken");
        }
        () = shutdown.requested() => {}
    }
}

async fn accept_all(
    gateway: &Arc<Gateway>,
    listener: &TcpListener,
    connections: &TaskTracker,
    shutdown: &Shutdown,
    ended: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(gateway.config().max_connections.min(Semaphore::MAX_PERMITS)));
    let builder = Arc::new(builder(gateway.config()));
    loop {
        let next = async {
            let slot = slot(gateway, &slots).await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            next = next => next,
            () = shutdown.requested() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                let connection = ServedConnection {
                    gateway: Arc::clone(gateway),
                    builder: Arc::clone(&builder),
                    shutdown: shutdown.clone(),
                    ended: ended.clone(),
                    _slot: slot,
                };
                let task = connections.track_future(connection.serve(socket, peer));
                // The tracker joins it.
                let _joined_by_tracker = tasks::spawn("gateway-connection", task);
            }
            Err(error) => pause(gateway, &error).await,
        }
    }
}

/// A connection's slot. While none is free nothing is accepted: clients wait in the kernel's queue.
async fn slot(gateway: &Gateway, slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return slot;
    }
    if let Some(swallowed) = gateway.limited().permit("connections") {
        let limit = gateway.config().max_connections;
        warn!(limit, swallowed, "all connections are taken, new ones wait");
    }
    Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed")
}

async fn pause(gateway: &Gateway, error: &io::Error) {
    let of_the_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if of_the_client {
        return;
    }
    if let Some(swallowed) = gateway.limited().permit("accept") {
        warn!(error = %error, swallowed, "a connection could not be accepted");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn builder(config: &GatewayConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    // Our own watchdog ends slow heads and idle connections.
    http1.timer(TokioTimer::new()).header_read_timeout(None);
    // Answers are short: one buffer and one `send` cost less than two buffers and a `writev`.
    http1.half_close(false).writev(false).max_buf_size(config.header_limit.saturating_mul(2).max(MIN_BUFFER));
    if let Some(count) = parsed_headers(config.header_count_limit) {
        http1.max_headers(count);
    }
    let header_limit = u32::try_from(config.header_limit).unwrap_or(u32::MAX);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(HTTP2_STREAMS).max_header_list_size(header_limit);
    http2.keep_alive_interval(config.header_read_timeout).keep_alive_timeout(config.body_read_timeout);
    builder
}

struct ServedConnection {
    gateway: Arc<Gateway>,
    builder: Arc<Builder<TokioExecutor>>,
    shutdown: Shutdown,
    ended: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

/// How a connection ends.
enum Ending {
    /// After the request it is at.
    Graceful,
    /// Now.
    Cut,
}

impl ServedConnection {
    async fn serve(self, socket: TcpStream, peer: SocketAddr) {
        if let Err(error) = socket.set_nodelay(true) {
            debug!(error = %error, "a connection was gone before it was served");
            return;
        }
        self.gateway.metrics().connections.inc();
        let state = ConnectionState::new(peer, self.gateway.metrics().requests.clone());
        self.drive(socket, &state).await;
        self.gateway.metrics().connections.dec();
    }

    /// Drives the connection to its end.
    async fn drive(&self, socket: TcpStream, state: &Arc<ConnectionState>) {
        // One reference count of the connection's own for each request: all of them on the gateway's would be in each
        // other's way.
        let served = Arc::new((Arc::clone(&self.gateway), Arc::clone(state)));
        let service = service_fn(move |request| {
            let served = Arc::clone(&served);
            async move { Ok::<_, Infallible>(served.0.answer(&served.1, request).await) }
        });
        let io = TokioIo::new(WatchedSocket::new(socket, Arc::clone(state)));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        // Polled only when something of its own woke it: each look at the shutdown takes a lock that all connections share.
        let mut endings = FuturesUnordered::from_iter([self.ending(state, false)]);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(error, "a connection ended early");
                    }
                    return;
                }
                Some(ending) = endings.next() => match ending {
                    Ending::Graceful => {
                        connection.as_mut().graceful_shutdown();
                        endings.push(self.ending(state, true));
                    }
                    Ending::Cut => return,
                },
            }
        }
    }

    /// Waits for a reason to end the connection, `closing` if it ends gracefully already. The watchdog looks at its state
    /// now and then.
    async fn ending(&self, state: &ConnectionState, closing: bool) -> Ending {
        let patience = self.gateway.patience();
        let now = clock::instant();
        let first = match state.verdict(now, patience) {
            WatchdogAction::Wait(until) => until,
            WatchdogAction::Close => now + patience.head,
            WatchdogAction::Drop => now,
        };
        let mut watchdog = pin!(tokio::time::sleep_until(first.into()));
        let mut requested = pin!(self.shutdown.requested());
        loop {
            tokio::select! {
                biased;
                () = requested.as_mut(), if !closing => return Ending::Graceful,
                () = self.ended.cancelled() => return Ending::Cut,
                () = watchdog.as_mut() => match state.verdict(clock::instant(), patience) {
                    WatchdogAction::Wait(until) => watchdog.as_mut().reset(until.into()),
                    WatchdogAction::Close if !closing => return Ending::Graceful,
                    WatchdogAction::Close | WatchdogAction::Drop => return Ending::Cut,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
