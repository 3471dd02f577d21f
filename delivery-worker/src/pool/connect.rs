//! Makes one connection: name, addresses, TLS, protocol.
//!
//! ```text
//! name --judged addresses (at most 8)--> the first that answers, one more tried every 250 ms --> TLS, ALPN --+--> HTTP/1.1
//!                                                                                                          +--> HTTP/2
//! ```
//!
//! There is no deadline in here: the pool has one for the whole way, and dropping this future ends everything it began.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use chassis::limited::Limited;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::egress::EgressWay;
use super::http1::Http1;
use super::http2::{Http2, NoPreface};
use super::key::ConnectionKey;
use super::sessions::TlsSessions;
use super::way::{ConnectTimes, ms_since};
use super::why::{AttemptPhase, NoConnection, clipped};
use super::wire::{Socket, Wire, WireCount};
use crate::classify::NoAnswer;
use crate::resolve::{ResolveError, TargetResolver};

/// Addresses of a name that are tried.
const ADDRESSES: usize = 8;
/// The next address is tried as well when the one before has not answered within this time (RFC 8305).
pub(super) const STAGGER: Duration = Duration::from_millis(250);

/// Sockets of all connects together for addresses that are tried beside the one before: a connection counts as one, and what
/// answers at none of its eight addresses would be eight.
pub(super) const SPARE_SOCKETS: usize = 256;

/// How far the newest connect to an origin has got: for requests that give up while they wait for it.
#[derive(Debug)]
pub(super) struct ConnectPhase(Mutex<(AttemptPhase, Option<SocketAddr>)>);

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) resolver: TargetResolver,
    /// For who shows no certificate.
    pub(super) tls: Arc<ClientConfig>,
    pub(super) sessions: Arc<TlsSessions>,
    /// [`SPARE_SOCKETS`] that are free.
    pub(super) spare: Semaphore,
    /// What is told of an egress proxy.
    pub(super) limited: Limited,
}

/// A connection that was just made.
#[derive(Debug)]
pub(super) enum NewConnection {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
}

// === impl ConnectPhase ===

impl ConnectPhase {
    /// Nothing was done yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new((AttemptPhase::Connect, None)))
    }

    /// What is being done, and the address that was reached for, if it came so far.
    pub(super) fn now(&self) -> (AttemptPhase, Option<SocketAddr>) {
        *self.0.lock()
    }

    pub(super) fn enter(&self, phase: AttemptPhase, address: Option<SocketAddr>) {
        *self.0.lock() = (phase, address);
    }
}

// === impl NewConnection ===

impl NewConnection {
    /// Notes how long it took to be made.
    fn with_times(mut self, times: ConnectTimes) -> Self {
        match &mut self {
            Self::Http1(connection) => connection.times = times,
            Self::Http2(connection) => connection.times = times,
        }
        self
    }
}

// === impl Dialer ===

impl Dialer {
    /// Makes a connection, with this TLS instead of everybody's where it is given.
    ///
    /// # Errors
    /// The first step that failed, and why.
    pub(super) async fn dial(
        &self,
        key: &Arc<ConnectionKey>,
        tls: Option<Arc<ClientConfig>>,
        phase: &ConnectPhase,
    ) -> Result<NewConnection, NoConnection> {
        let mut times = ConnectTimes::default();
        match self.steps(key, tls, phase, &mut times).await {
            Ok(connection) => Ok(connection.with_times(times)),
            Err(why) => Err(NoConnection { times, ..why }),
        }
    }

    async fn steps(
        &self,
        key: &Arc<ConnectionKey>,
        tls: Option<Arc<ClientConfig>>,
        phase: &ConnectPhase,
        times: &mut ConnectTimes,
    ) -> Result<NewConnection, NoConnection> {
        phase.enter(AttemptPhase::Name, None);
        let began = clock::instant();
        let addresses = self.resolver.resolve(&key.host, key.port).await;
        times.dns_ms = Some(ms_since(began));
        let addresses = addresses.map_err(|error| not_found(&error))?;
        phase.enter(AttemptPhase::Connect, addresses.first().copied());
        let began = clock::instant();
        let connected = match self.resolver.egress() {
            None => first_of(addresses, (&self.spare, STAGGER), dialled).await,
            Some(proxy) => {
                let (resolver, spare, limited) = (&self.resolver, &self.spare, &self.limited);
                let way = EgressWay { proxy, resolver, spare, phase, limited };
                Box::pin(way.connect(addresses)).await
            }
        };
        times.connect_ms = Some(ms_since(began));
        let (stream, address) = connected?;
        let count = Arc::new(WireCount::new());
        if !key.is_tls {
            return http1(Wire::plain(stream, Arc::clone(&count)), count, address).await;
        }
        phase.enter(AttemptPhase::Tls, Some(address));
        let name = ServerName::try_from(key.host.trim_matches(['[', ']']).to_owned()).map_err(|_invalid| {
            let reason = "the host is no name that a certificate could be for";
            NoConnection::new(NoAnswer::Tls, AttemptPhase::Tls, Some(address), reason)
        })?;
        let stream = Socket::new(stream);
        let tls = self.sessions.config(tls.as_ref().unwrap_or(&self.tls), key, stream.read_so_far());
        let connector = TlsConnector::from(tls);
        let failed = |error| NoConnection::io(&error, AttemptPhase::Tls, Some(address));
        let began = clock::instant();
        let agreed = connector.connect(name, stream).await;
        times.tls_ms = Some(ms_since(began));
        let stream = agreed.map_err(failed)?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let wire = Wire::tls(stream, Arc::clone(&count));
        if !is_http2 {
            return http1(wire, count, address).await;
        }
        phase.enter(AttemptPhase::Preface, Some(address));
        let connection = Http2::handshake(wire, count, address, clock::instant()).await;
        connection.map(|connection| NewConnection::Http2(Box::new(connection))).map_err(|error: NoPreface| {
            NoConnection::new(NoAnswer::Reset, AttemptPhase::Preface, Some(address), error.to_string())
        })
    }
}

async fn http1(wire: Wire, count: Arc<WireCount>, address: SocketAddr) -> Result<NewConnection, NoConnection> {
    let connection = Http1::handshake(wire, count, address, clock::instant()).await;
    connection
        .map(|connection| NewConnection::Http1(Box::new(connection)))
        .map_err(|error| NoConnection::new(NoAnswer::Reset, AttemptPhase::Connect, Some(address), error.to_string()))
}

fn not_found(error: &ResolveError) -> NoConnection {
    let reason = error.to_string();
    match error {
        ResolveError::Refused(_) => NoConnection::refused(reason),
        ResolveError::RefusedNow { .. } => {
            NoConnection::new(NoAnswer::Refused, AttemptPhase::Name, None, clipped(reason))
        }
        ResolveError::Unresolved { .. } => NoConnection::new(NoAnswer::Dns, AttemptPhase::Name, None, clipped(reason)),
    }
}

/// Happy eyeballs: whoever connects first; the others are let go. The next address is tried as well after this time, and while no socket
/// is spare when the ones before it have failed.
pub(super) async fn first_of<F: Future<Output = Result<TcpStream, NoConnection>>>(
    addresses: Vec<SocketAddr>,
    (spare, stagger): (&Semaphore, Duration),
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(TcpStream, SocketAddr), NoConnection> {
    let mut left = addresses.into_iter().take(ADDRESSES);
    let mut under_way = FuturesUnordered::new();
    let mut failed: Option<NoConnection> = None;
    let is_unserved = |error: &NoConnection| (error.phase, error.error) == (AttemptPhase::Tunnel, NoAnswer::Local);
    loop {
        let permit = if under_way.is_empty() || left.len() == 0 { None } else { spare.try_acquire().ok() };
        if (permit.is_some() || under_way.is_empty())
            && let Some(address) = left.next()
        {
            let connecting = connect(address);
            under_way.push(async move {
                let connected = connecting.await;
                drop(permit);
                (connected, address)
            });
        }
        let has_more = left.len() > 0;
        tokio::select! {
            biased;
            ended = under_way.next() => match ended {
                Some((Ok(stream), address)) => return Ok((stream, address)),
                // No other address changes that.
                Some((Err(error), _)) if error.phase == AttemptPhase::Proxy => return Err(error),
                // The first error is kept: it is of the address that the resolver prefers. But one that an egress proxy does not serve us
                // for says nothing of the target.
                Some((Err(error), _)) => {
                    if failed.as_ref().is_none_or(|kept| is_unserved(kept) && !is_unserved(&error)) {
                        failed = Some(error);
                    }
                    if under_way.is_empty() && !has_more {
                        break;
                    }
                }
                None => break,
            },
            () = tokio::time::sleep(stagger), if has_more => {}
        }
    }
    Err(failed.unwrap_or_else(|| NoConnection::new(NoAnswer::Dns, AttemptPhase::Name, None, "the name has no address")))
}

/// Connects to an address.
///
/// # Errors
/// Why not.
pub(super) async fn dialled(address: SocketAddr) -> Result<TcpStream, NoConnection> {
    let failed = |error| NoConnection::io(&error, AttemptPhase::Connect, Some(address));
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}
