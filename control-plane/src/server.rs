//! Serves the routes: a bounded number of connections, slow heads cut off, a drain that lets requests finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chassis::config::ControlConfig;
use chassis::limited::Limited;
use chassis::shutdown::Shutdown;
use chassis::tasks;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use crate::actor::Peer;

/// Headers of one request; hyper answers 431 to more.
const MAX_HEADERS: usize = 100;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 100;
/// Pause after a failed accept (usually: out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until shutdown is requested, then waits for what is in flight. The caller's grace period bounds that.
pub(crate) async fn serve(config: &ControlConfig, router: Router, listener: TcpListener, shutdown: Shutdown) {
    let builder = Arc::new(builder(config));
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let graceful = GracefulShutdown::new();
    let limited: Limited<String> = Limited::new(Duration::from_secs(10));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = shutdown.requested() => break,
        };
        match accepted {
            Ok((stream, peer, permit)) => connection((stream, peer), permit, &builder, router.clone(), &graceful),
            Err(error) => {
                if let Some(swallowed) = limited.permit("accept") {
                    warn!(%error, swallowed, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    info!(connections = graceful.count(), "control plane drains");
    graceful.shutdown().await;
}

fn builder(config: &ControlConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_read_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    permit: OwnedSemaphorePermit,
    builder: &Arc<Builder<TokioExecutor>>,
    router: Router,
    graceful: &GracefulShutdown,
) {
    let service = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
    let watched = graceful.watch(connection);
    let _connection = tasks::spawn("control-connection", async move {
        if let Err(error) = watched.await {
            debug!(%error, "connection ended");
        }
        drop(permit);
    });
}

#[cfg(test)]
mod tests;
