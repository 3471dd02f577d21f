//! The listener of the management API: what it takes, and the router behind it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use chassis::config::ControlConfig;
use chassis::server::{ConnectionState, Serve, ServerLimits};
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use crate::body::READ_TIMEOUT;

/// Headers of one request; hyper answers 431 to more.
const MAX_HEADERS: usize = 100;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 100;

/// The routes as a listener serves them.
#[derive(Clone, Debug)]
pub(crate) struct Routes(pub(crate) Router);

/// What the listener takes.
pub(crate) fn limits(config: &ControlConfig) -> ServerLimits {
    ServerLimits {
        head: config.header_read_timeout,
        idle: config.idle_timeout,
        write: config.write_timeout,
        request: (config.header_read_timeout + READ_TIMEOUT + config.request_timeout).min(config.drain),
        connections: config.max_connections,
        per_address: config.connections_per_address,
        head_bytes: MAX_HEAD_BYTES,
        headers: Some(MAX_HEADERS),
        streams: MAX_STREAMS,
    }
}

// === impl Routes ===

impl Serve for Routes {
    type Body = Body;

    async fn serve(&self, connection: &Arc<ConnectionState>, mut request: Request<Incoming>) -> Response<Body> {
        request.extensions_mut().insert(Arc::clone(connection));
        self.0.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
    }
}

#[cfg(test)]
mod tests;
