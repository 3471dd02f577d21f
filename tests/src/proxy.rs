//! A proxy between Kafka and its clients that fails the way networks do.
//!
//! It understands just enough of the protocol to lose one answer of one kind: "the commit whose answer is lost" is an
//! `EndTxn` that reached the broker.
//!
//! A client follows what the broker advertises, so the broker needs a listener of its own for this: start it with a
//! [`kafka_dev::Proxied`] and the proxy with [`Proxy::start`] on the same pair of ports.

mod connection;
mod frame;
mod trap;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use kafka_dev::Proxied;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::trap::Traps;
pub use self::trap::{Action, Api, Sprung};
use crate::engine::Engine;

/// What the proxy does with everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Forwards.
    Open,
    /// Every connection is closed, new ones are closed at once.
    Cut,
    /// Requests reach the broker, answers wait.
    StallAnswers,
    /// Nothing moves, connections stay open.
    StallAll,
}

/// A running proxy. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _engine: Engine,
}

/// What all connections look at.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) upstream: SocketAddr,
    pub(crate) flow: watch::Sender<Flow>,
    pub(crate) traps: Traps,
    delay_ms: AtomicU64,
}

impl Proxy {
    /// Listens where the broker's listener is advertised and forwards to where it listens.
    ///
    /// # Errors
    /// The advertised port is taken: by another test's proxy, for one.
    pub fn start(listener: Proxied) -> anyhow::Result<Self> {
        let engine = Engine::start("chaos-proxy", 1)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.advertised));
        let bound = std::net::TcpListener::bind(address).with_context(|| format!("binding {address}"))?;
        bound.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port)),
            flow: watch::channel(Flow::Open).0,
            traps: Traps::default(),
            delay_ms: AtomicU64::new(0),
        });
        engine.spawn(listen(engine.handle(), bound, Arc::clone(&shared)));
        Ok(Self { port: listener.advertised, shared, _engine: engine })
    }

    /// What clients are to be given as their broker.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Closes every connection, and new ones at once, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.shared.flow.send_replace(Flow::Cut);
    }

    /// Holds what the broker answers; requests still reach it.
    pub fn stall_answers(&self) {
        self.shared.flow.send_replace(Flow::StallAnswers);
    }

    /// Holds everything; connections stay open.
    pub fn stall(&self) {
        self.shared.flow.send_replace(Flow::StallAll);
    }

    /// Forwards again; what was held goes first.
    pub fn restore(&self) {
        self.shared.flow.send_replace(Flow::Open);
    }

    /// Holds each answer for so long, one after the other on a connection.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// Does something to the next request of a kind, on whichever connection it comes.
    #[must_use]
    pub fn on_next(&self, api: Api, action: Action) -> Sprung {
        self.shared.traps.set(api, None, action)
    }

    /// The same for the requests of one client of a process, by its `client.id`.
    #[must_use]
    pub fn on_next_of(&self, client_id: &'static str, api: Api, action: Action) -> Sprung {
        self.shared.traps.set(api, Some(client_id), action)
    }
}

impl Shared {
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.load(Ordering::Relaxed))
    }
}

async fn listen(engine: tokio::runtime::Handle, bound: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = match TcpListener::from_std(bound) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the chaos proxy cannot listen"),
    };
    while Arc::strong_count(&shared) > 1 {
        // A connection that was gone before it was accepted is the client's matter.
        let Ok((client, _)) = listener.accept().await else { continue };
        drop(engine.spawn(connection::serve(client, Arc::clone(&shared))));
    }
}

#[cfg(test)]
mod tests;
