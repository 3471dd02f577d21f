//! The fake endpoint: an HTTP server on loopback that answers by script and remembers what it was sent.
//!
//! One server stands in for many receivers: a script, a secret and a count belong to a path and to everything below it,
//! so `/a/1` and `/a/2` can share a script and have secrets of their own. It runs on threads of its own and costs a few
//! microseconds per request, so that it can stand at the end of a load test.

mod body;
mod routes;
pub mod script;
pub mod secure;
pub mod seen;
mod serve;
mod socket;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::routes::Routes;
pub use self::script::{Reply, Script};
pub use self::secure::{Flaw, Secure, TestAuthority};
use self::seen::SeenLog;
pub use self::seen::{Seen, Signature};
use self::serve::Server;
use crate::engine::Engine;

/// How an endpoint is set up.
#[derive(Clone, Copy, Debug)]
pub struct EndpointOptions {
    /// Its port on 127.0.0.1; 0 chooses.
    pub port: u16,
    /// Its threads.
    pub threads: usize,
    /// How much of each body is kept.
    pub body_limit: usize,
    /// Whether requests are kept at all; if not, they are only counted.
    pub keep: bool,
}

/// A running endpoint. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    server: Arc<Server>,
    listening: watch::Sender<bool>,
    _engine: Engine,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self { port: 0, threads: 1, body_limit: 64 * 1024, keep: true }
    }
}

impl Endpoint {
    /// Starts one with the default options. Every path answers 204 until a script says otherwise.
    ///
    /// # Errors
    /// No free port.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(EndpointOptions::default())
    }

    /// Starts one.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start_with(options: EndpointOptions) -> anyhow::Result<Self> {
        Self::start_as(options, None)
    }

    /// Starts one that speaks TLS.
    ///
    /// # Errors
    /// As [`Endpoint::start_with`].
    pub fn start_secure(options: EndpointOptions, secure: Secure) -> anyhow::Result<Self> {
        Self::start_as(options, Some(secure))
    }

    fn start_as(options: EndpointOptions, secure: Option<Secure>) -> anyhow::Result<Self> {
        let port = if options.port == 0 { kafka_dev::ports::choose()? } else { options.port };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let engine = Engine::start("fake-endpoint", options.threads)?;
        let server =
            Arc::new(Server { routes: Routes::default(), log: SeenLog::new(options.body_limit, options.keep), secure });
        let first = bind(address).with_context(|| format!("binding {address}"))?;
        let (listening, changes) = watch::channel(true);
        engine.spawn(listen(engine.handle(), Arc::clone(&server), first, changes));
        Ok(Self { address, server, listening, _engine: engine })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.server.secure.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Answers a path and everything below it by this script, with call numbers from 1.
    pub fn answer(&self, path: &str, script: Script) {
        self.server.routes.set_script(path, script);
    }

    /// The same from a script's text: `endpoint.script("/a", "500x2 204")`. Calls are counted per delivery, so that
    /// every event meets the same replies.
    ///
    /// # Errors
    /// When the text is no script.
    pub fn script(&self, path: &str, text: &str) -> anyhow::Result<()> {
        self.answer(path, text.parse::<Script>()?.per_delivery());
        Ok(())
    }

    /// Verifies the signatures of what arrives at this path and below with this secret from now on (given once more
    /// with another secret, either may have signed).
    ///
    /// # Errors
    /// When the text is no secret.
    pub fn expect_secret(&self, path: &str, secret: &str) -> anyhow::Result<()> {
        self.server.routes.add_secret(path, &signing::Secret::parse(secret)?);
        Ok(())
    }

    /// Closes the port and all connections: connecting is refused until [`Endpoint::open`].
    pub fn close(&self) {
        self.listening.send_replace(false);
    }

    /// Listens again.
    pub fn open(&self) {
        self.listening.send_replace(true);
    }

    /// What arrived at this path and below, in order.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<Arc<Seen>> {
        self.server.log.requests(path)
    }

    /// How many requests arrived whole at this path and below.
    #[must_use]
    pub fn count(&self, path: &str) -> u64 {
        self.server.log.count(path)
    }

    /// Waits for requests with this number or a later one: for whoever shows them as they come.
    pub async fn next_after(&self, number: u64) -> Vec<Arc<Seen>> {
        self.server.log.until(|log| Some(log.since(number)).filter(|seen| !seen.is_empty())).await
    }

    /// Waits until so many requests have arrived whole at this path and below, and returns them.
    ///
    /// # Errors
    /// Fewer came; the message says how many.
    pub async fn wait_for(&self, path: &str, count: u64, within: Duration) -> anyhow::Result<Vec<Arc<Seen>>> {
        let enough = self.server.log.until(|log| (log.count(path) >= count).then_some(()));
        if tokio::time::timeout(within, enough).await.is_err() {
            bail!("{} of {count} requests to {path} within {within:?}", self.count(path));
        }
        Ok(self.requests(path))
    }

    /// Waits until what arrived at this path and below satisfies a condition; asked again after every arrival and
    /// answer. Copies the list each time: not for load.
    ///
    /// # Errors
    /// It never did; the message names what was waited for.
    pub async fn wait_until(
        &self,
        path: &str,
        what: &str,
        within: Duration,
        holds: impl Fn(&[Arc<Seen>]) -> bool + Send + Sync,
    ) -> anyhow::Result<Vec<Arc<Seen>>> {
        let met = self.server.log.until(|log| {
            let requests = log.requests(path);
            holds(&requests).then_some(requests)
        });
        match tokio::time::timeout(within, met).await {
            Ok(requests) => Ok(requests),
            Err(_) => bail!("waited {within:?} in vain at {path} for: {what} ({} requests there)", self.count(path)),
        }
    }
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts while it should, lets the port go while it should not.
async fn listen(
    engine: tokio::runtime::Handle,
    server: Arc<Server>,
    first: std::net::TcpListener,
    mut changes: watch::Receiver<bool>,
) {
    let mut bound = Some(first);
    loop {
        if let Some(listener) = bound.take().and_then(|listener| TcpListener::from_std(listener).ok()) {
            let address = listener.local_addr();
            accept_until_closed(&engine, &server, listener, changes.clone()).await;
            if changes.wait_for(|open| *open).await.is_err() {
                return;
            }
            // Ports are chosen where nobody else looks, so this fails only while old connections linger.
            bound = address.ok().and_then(|address| bind(address).ok());
        }
        if bound.is_none() {
            tracing::error!("the fake endpoint cannot listen again on its port");
            return;
        }
    }
}

async fn accept_until_closed(
    engine: &tokio::runtime::Handle,
    server: &Arc<Server>,
    listener: TcpListener,
    mut changes: watch::Receiver<bool>,
) {
    let closed = changes.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = changes.wait_for(|open| !*open) => return,
        };
        // A connection that was gone before it was accepted is no fault of the server.
        let Ok((stream, _)) = accepted else { continue };
        let server = Arc::clone(server);
        let mut closed = closed.clone();
        drop(engine.spawn(async move {
            tokio::select! {
                () = Arc::clone(&server).serve(stream) => {}
                _ = closed.wait_for(|open| !*open) => {}
            }
        }));
    }
}

#[cfg(test)]
mod tests;
