//! Connects to addresses that were judged, and to no others.

use std::error::Error as StdError;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::resolve::Resolver;

/// Resolves, then dials.
#[derive(Clone, Debug)]
pub(super) struct Dialler {
    resolver: Resolver,
    connect_timeout: Duration,
}

/// What a connector takes for a resolver: it knows the addresses already.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Dialler {
    pub(super) fn new(resolver: Resolver, connect_timeout: Duration) -> Self {
        Self { resolver, connect_timeout }
    }
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { resolver, connect_timeout } = self.clone();
        Box::pin(async move {
            let by_scheme = if uri.scheme_str() == Some("http") { 80 } else { 443 };
            let port = uri.port_u16().unwrap_or(by_scheme);
            let addresses = resolver.resolve(uri.host().unwrap_or_default(), port).await?;
            let mut tcp = HttpConnector::new_with_resolver(Resolved(addresses));
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(connect_timeout));
            tcp.set_keepalive(Some(Duration::from_secs(60)));
            Ok(tcp.call(uri).await?)
        })
    }
}

impl Service<Name> for Resolved {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _name: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}
