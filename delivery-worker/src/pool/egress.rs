//! The way through the operator's proxy: HTTP CONNECT to an address that was resolved and judged here. It is told no name, so it can lead
//! nobody elsewhere, and what goes through it (TLS, HTTP) is the target's as if it were dialled.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chassis::config::EgressProxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::connect::first_of;
use super::why::{AttemptPhase, NoConnection, clipped};
use crate::classify::NoAnswer;
use crate::resolve::TargetResolver;

/// Of what the proxy says before the connection is the target's.
const HEAD_LIMIT: usize = 8 * 1024;

/// Connects to the first of these addresses that the proxy reaches, one after another.
///
/// # Errors
/// The first failure. One of the proxy itself, or of who may use it, is this worker's own lack and nobody's attempt.
pub(super) async fn through(
    proxy: &EgressProxy,
    resolver: &TargetResolver,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), NoConnection> {
    let mut failed = None;
    for to in addresses {
        match connect(proxy, resolver, *to).await {
            Ok(stream) => return Ok((stream, *to)),
            Err(error) if error.error == NoAnswer::Local => return Err(error),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    let none = || NoConnection::new(NoAnswer::Dns, AttemptPhase::Name, None, "the name has no address");
    Err(failed.unwrap_or_else(none))
}

async fn connect(proxy: &EgressProxy, resolver: &TargetResolver, to: SocketAddr) -> Result<TcpStream, NoConnection> {
    let failed = |class, why: String| {
        NoConnection::new(class, AttemptPhase::Connect, Some(to), clipped(format!("the egress proxy {why}")))
    };
    let own = |why: String| failed(NoAnswer::Local, why);
    let places = resolver.unjudged(&proxy.host, proxy.port).await;
    let places = places.map_err(|error| own(format!("`{}` has no address: {error}", proxy.host)))?;
    let dialled = first_of(places, &Semaphore::new(0)).await;
    let (mut stream, _) = dialled.map_err(|error| own(format!("cannot be reached: {}", error.reason)))?;
    let broken = |error: std::io::Error| own(format!("broke the connection: {error}"));
    stream.write_all(request(proxy, to).as_bytes()).await.map_err(broken)?;
    let mut head = Vec::with_capacity(256);
    // One by one: what follows the head is the target's.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_LIMIT {
            return Err(own("answers with a head without an end".to_owned()));
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let said = line.split_once(' ').map_or(line.as_str(), |(_, said)| said);
    match said.split(' ').next().and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=299) => Ok(stream),
        Some(502..=504) => Err(failed(NoAnswer::Connect, format!("does not reach it: {said}"))),
        Some(407) | None => Err(own(format!("answers: {said}"))),
        Some(_) => Err(failed(NoAnswer::Refused, format!("refuses it: {said}"))),
    }
}

fn request(proxy: &EgressProxy, to: SocketAddr) -> String {
    let basic = |pair: &String| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair));
    let authorization = proxy.credentials.as_ref().map(basic);
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{}\r\n", authorization.unwrap_or_default())
}
