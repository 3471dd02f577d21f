//! A listener at work: accepts within its limits, and drives each connection to its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::answer::WatchedBody;
use super::connection::{ConnectionAction, ConnectionState};
use super::socket::WatchedSocket;
use super::streams::StreamExecutor;
use super::tls::{ListenerSession, ListenerTls};
use super::{Closed, Serve, Server};
use crate::shutdown::Shutdown;
use crate::tasks;

/// Pause after an accept that failed for want of file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of a listener share.
pub(super) struct Listening<S> {
    pub(super) server: Server,
    pub(super) service: Arc<S>,
    pub(super) builder: Builder<StreamExecutor>,
    pub(super) shutdown: Shutdown,
    /// Cancelled when what is still open is cut.
    pub(super) ended: CancellationToken,
}

/// How a connection ends.
enum Ending {
    /// After the request it is at.
    Graceful,
    /// Now.
    Cut,
}

/// Tells a client with an answer to send its next request elsewhere. What it sends before it knows is served.
fn say_that_it_ends(state: &ConnectionState, version: Version, headers: &mut HeaderMap) {
    if version == Version::HTTP_2 {
        state.part();
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

// === impl Listening ===

impl<S: Serve> Listening<S> {
    /// Accepts until the shutdown is requested; the tracker knows what was accepted.
    pub(super) async fn accept_all(self: &Arc<Self>, listener: &TcpListener, connections: &TaskTracker) {
        let slots = &self.server.slots;
        loop {
            let next = async {
                let slot = self.slot(slots).await;
                (listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                next = next => next,
                () = self.shutdown.requested() => return,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let task = connections.track_future(Arc::clone(self).connection(
                        socket,
                        peer,
                        (slot, slots.available_permits()),
                    ));
                    // The tracker joins it.
                    let _joined_by_tracker = tasks::spawn("connection", task);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// A connection's slot. While none is free nothing is accepted: clients wait in the kernel's queue.
    async fn slot(&self, slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return slot;
        }
        let server = &self.server;
        if let Some(swallowed) = server.limited.permit("connections") {
            let (limit, without_token) = (server.limits.connections, server.metrics.without_token.get());
            let line = "all connections are taken, new ones wait";
            warn!(listener = server.name, limit, without_token, swallowed, "{line}");
        }
        Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed")
    }

    async fn pause(&self, error: &io::Error) {
        let of_the_client = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if of_the_client {
            return;
        }
        if let Some(swallowed) = self.server.limited.permit("accept") {
            warn!(listener = self.server.name, error = %error, swallowed, "a connection could not be accepted");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    async fn connection(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        (_place, free): (OwnedSemaphorePermit, usize),
    ) {
        let Some(slot) = self.server.addresses.take(peer.ip(), free) else {
            self.server.closed(Closed::AddressLimit, peer);
            return;
        };
        if let Err(error) = socket.set_nodelay(true) {
            debug!(error = %error, "a connection was gone before it was served");
            return;
        }
        let metrics = &self.server.metrics;
        metrics.connections.inc();
        let state = ConnectionState::new(peer, Some(slot), self.server.holders.clone(), metrics.requests.clone());
        match &self.server.tls {
            None => self.drive(socket, &state).await,
            Some(tls) => {
                if let Some(session) = self.handshake(tls, socket, peer).await {
                    self.drive(session, &state).await;
                }
            }
        }
        metrics.connections.dec();
    }

    /// The session over a socket. It has as long as a head.
    async fn handshake(&self, tls: &ListenerTls, socket: TcpStream, peer: SocketAddr) -> Option<ListenerSession> {
        let session = tokio::select! {
            session = tokio::time::timeout(self.server.limits.head, tls.accept(socket)) => session,
            () = self.shutdown.requested() => return None,
        };
        match session {
            Ok(Ok(session)) => return Some(session),
            // A balancer that only looks whether the port is open, and everybody who hangs up, ends it itself.
            Ok(Err(error)) if is_hang_up(&error) => {
                debug!(%error, %peer, "a client ended its TLS handshake");
                return None;
            }
            Ok(Err(error)) => debug!(%error, %peer, "a TLS handshake failed"),
            Err(_elapsed) => debug!(%peer, "a TLS handshake came too slowly"),
        }
        self.server.closed(Closed::Handshake, peer);
        None
    }

    /// Drives the connection to its end.
    pub(super) async fn drive<I>(self: &Arc<Self>, socket: I, state: &Arc<ConnectionState>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // One reference count of the connection's own for each request: all of them on the listener's would be in each
        // other's way.
        let served = Arc::new((Arc::clone(self), Arc::clone(state)));
        let service = service_fn(move |request: Request<Incoming>| {
            let served = Arc::clone(&served);
            async move {
                let (listening, state) = &*served;
                let version = request.version();
                let busy = state.enter(version);
                let mut response = listening.service.serve(state, request).await;
                if listening.shutdown.is_announced() {
                    say_that_it_ends(state, version, response.headers_mut());
                }
                Ok::<_, Infallible>(response.map(|body| WatchedBody::new(body, busy)))
            }
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
        let (server, peer) = (&self.server, state.peer().0);
        let patience = server.patience();
        let now = state.now();
        let first = match state.verdict(now, patience) {
            ConnectionAction::Wait(until) => until,
            ConnectionAction::Close => now + patience.head,
            ConnectionAction::DropSlowHead | ConnectionAction::DropUnread | ConnectionAction::ResetUnread => now,
        };
        let mut watchdog = pin!(tokio::time::sleep_until(first.into()));
        let mut requested = pin!(self.shutdown.requested());
        let (mut told, mut parting) = (pin!(state.told_to_leave()), pin!(state.told_to_part()));
        let (mut announced, mut is_heard) = (pin!(self.shutdown.announced()), false);
        loop {
            tokio::select! {
                biased;
                () = requested.as_mut(), if !closing => return Ending::Graceful,
                () = told.as_mut(), if !closing => {
                    server.closed(Closed::HolderLimit, peer);
                    return Ending::Graceful;
                }
                () = parting.as_mut(), if !closing => return Ending::Graceful,
                // GOAWAY cuts nothing, so it need not wait for a request. Of a connection that showed none it is not known yet
                // what it speaks, and one of HTTP/1.1 can be told only with an answer: closed now it may cross a request.
                () = announced.as_mut(), if !closing && !is_heard => {
                    if state.is_http2() {
                        return Ending::Graceful;
                    }
                    is_heard = true;
                }
                () = self.ended.cancelled() => return Ending::Cut,
                () = watchdog.as_mut() => {}
            }
            let now = state.now();
            match state.verdict(now, patience) {
                ConnectionAction::Wait(until) => watchdog.as_mut().reset(until.into()),
                ConnectionAction::Close if !closing => {
                    server.closed(Closed::Idle, peer);
                    return Ending::Graceful;
                }
                ConnectionAction::Close => return Ending::Cut,
                ConnectionAction::DropSlowHead => {
                    server.closed(Closed::SlowHead, peer);
                    return Ending::Cut;
                }
                ConnectionAction::DropUnread => {
                    server.closed(Closed::Unread, peer);
                    return Ending::Cut;
                }
                ConnectionAction::ResetUnread => {
                    (0..state.reset_unread(now, patience)).for_each(|_| server.closed(Closed::UnreadStream, peer));
                    watchdog.as_mut().reset(now.into());
                }
            }
        }
    }
}
