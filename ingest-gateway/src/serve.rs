//! The listener, and when it may be sent requests.

use std::sync::Arc;

use chassis::health::Latch;
use chassis::server::Server;
use chassis::server::tls::ListenerTls;
use chassis::shutdown::Shutdown;
use chassis::tasks;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::gateway::Gateway;
use crate::replicas::FirstCount;

/// Serves until the shutdown is requested and every connection has ended.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    tls: Option<ListenerTls>,
    listener: TcpListener,
    ready: (Latch, FirstCount),
    shutdown: Shutdown,
) {
    let (latch, counted) = ready;
    let ready = tasks::spawn("gateway-ready", become_ready(Arc::clone(&gateway), latch, counted, shutdown.clone()));
    let server = Server::new("gateway", gateway.server_limits(), tls, gateway.metrics().server.clone());
    server.serve(gateway, listener, shutdown).await;
    if let Err(error) = ready.await {
        warn!(error = %error, "the gateway's start failed");
    }
}

async fn become_ready(gateway: Arc<Gateway>, latch: Latch, counted: FirstCount, shutdown: Shutdown) {
    let both = async {
        counted.known().await;
        gateway.become_ready().await;
    };
    tokio::select! {
        () = both => {
            latch.release();
            info!("events are taken");
        }
        () = shutdown.requested() => {}
    }
}

#[cfg(test)]
mod tests;
