//! The way through the operator's proxy: HTTP CONNECT to an address that was resolved and judged here. It is told no name, so it can lead
//! nobody elsewhere, and what goes through it (TLS, HTTP) is the target's as if it were dialled.
//!
//! | what the proxy does | whose it is |
//! |---|---|
//! | it has no address, is not reached, wants credentials (407 with `Proxy-Authenticate`) | own lack: no attempt of anybody |
//! | it breaks off, or answers what no proxy answers to `CONNECT` | own lack, if it does so for every address of the target |
//! | 403, 407 without a challenge, 500, 502 and above: it does not connect there | no connection, as if the target were dialled |
//! | it says nothing | no connection: it may be waiting for the target |
//!
//! Where it does not connect to anything, each of these is the same as a network that is down, and the watch over egress sees it
//! ([`crate::lanes::egress`]). Whoever owns a target is told the status and nothing else that the proxy says: it may quote us.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chassis::config::EgressProxy;
use chassis::limited::Limited;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::connect::{ConnectPhase, STAGGER, dialled, first_of};
use super::why::{AttemptPhase, NoConnection};
use crate::classify::NoAnswer;
use crate::resolve::TargetResolver;

/// Of what the proxy says before the connection is the target's.
pub(super) const HEAD_LIMIT: usize = 8 * 1024;
/// The proxy is asked for the next address as well when it has not connected to the one before within this time: it dials on its own,
/// and each is a connection of its own to it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A way to a proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct EgressWay<'a> {
    pub(super) proxy: &'a EgressProxy,
    pub(super) resolver: &'a TargetResolver,
    /// Sockets beside the first.
    pub(super) spare: &'a Semaphore,
    pub(super) phase: &'a ConnectPhase,
    /// What is wrong with the proxy is the operator's to know, once in a while.
    pub(super) limited: &'a Limited,
}

// === impl EgressWay ===

impl EgressWay<'_> {
    /// Connects to the first of these addresses that the proxy reaches.
    ///
    /// # Errors
    /// The first failure, of an address for which the proxy serves us if there is one. One of the proxy itself, or of who may use it, is
    /// this worker's own lack and nobody's attempt.
    pub(super) async fn connect(self, addresses: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), NoConnection> {
        self.phase.enter(AttemptPhase::Proxy, None);
        first_of(addresses, (self.spare, PATIENCE), |to| self.tunnel(to)).await
    }

    async fn tunnel(self, to: SocketAddr) -> Result<TcpStream, NoConnection> {
        let EgressProxy { host, port, .. } = self.proxy;
        let places = self.resolver.unjudged(host, *port).await;
        let places = places.map_err(|error| self.own("has no address", &error))?;
        let reached = first_of(places, (self.spare, STAGGER), dialled).await;
        let (mut stream, _) = reached.map_err(|error| self.own("cannot be reached", &error.reason))?;
        self.phase.enter(AttemptPhase::Tunnel, Some(to));
        let head = match ask(&mut stream, self.proxy, to).await {
            Ok(head) => head,
            Err(error) => return Err(self.unserved(to, "broke the connection", &error)),
        };
        let status = status(&head);
        match status {
            Some(200..=299) => Ok(stream),
            Some(407) if is_challenge(&head) => Err(self.own("wants other credentials", &"it answers 407")),
            Some(status @ (403 | 407 | 500 | 502..=599)) => {
                let reason = format!("the egress proxy does not connect there: it answers {status}");
                Err(NoConnection::new(NoAnswer::Connect, AttemptPhase::Tunnel, Some(to), reason))
            }
            Some(status) => {
                Err(self.unserved(to, "does not connect for this worker", &format_args!("it answers {status}")))
            }
            None => Err(self.unserved(to, "answers no HTTP", &"its first line has no status")),
        }
    }

    /// What is wrong with the proxy or with us there, perhaps only where this address is asked for: one that knows no IPv6 may answer
    /// that it understands nothing.
    fn unserved(&self, to: SocketAddr, what: &'static str, why: &dyn std::fmt::Display) -> NoConnection {
        NoConnection { phase: AttemptPhase::Tunnel, address: Some(to), ..self.own(what, why) }
    }

    /// What is wrong with the proxy, or with us there, whatever is asked for.
    fn own(&self, what: &'static str, why: &dyn std::fmt::Display) -> NoConnection {
        let EgressProxy { host, port, .. } = self.proxy;
        if let Some(swallowed) = self.limited.permit(what) {
            tracing::warn!(
                egress_proxy.host = host,
                egress_proxy.port = port,
                %why,
                swallowed,
                "the egress proxy {what}: what is not sent for that counts as no attempt"
            );
        }
        NoConnection::new(NoAnswer::Local, AttemptPhase::Proxy, None, format!("the egress proxy {what}"))
    }
}

/// What it says to a request to connect there.
async fn ask(stream: &mut TcpStream, proxy: &EgressProxy, to: SocketAddr) -> std::io::Result<Vec<u8>> {
    stream.write_all(request(proxy, to).as_bytes()).await?;
    let mut head = Vec::with_capacity(256);
    // One by one: what follows the head is the target's.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_LIMIT {
            return Err(std::io::Error::other("its answer has a head without an end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let (version, rest) = head.split_at_checked(b"HTTP/1.1 ".len())?;
    let (digits, end) = rest.split_at_checked(3)?;
    let is_status = version.starts_with(b"HTTP/1.") && end.first().is_some_and(|byte| b" \r".contains(byte));
    std::str::from_utf8(digits).ok().filter(|_| is_status)?.parse().ok()
}

/// Whether the proxy says how it wants to be shown who asks: one that only refuses a target does not.
fn is_challenge(head: &[u8]) -> bool {
    const NAME: &[u8] = b"proxy-authenticate:";
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
}

fn request(proxy: &EgressProxy, to: SocketAddr) -> String {
    let basic = |pair: &String| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair));
    let authorization = proxy.credentials.as_ref().map(basic);
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{}\r\n", authorization.unwrap_or_default())
}
