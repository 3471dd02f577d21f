//! What serves the routes that are not ours: the control plane's router, when both roles run in one process.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use chassis::server::BoxError;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};

/// The body of a fallback's response.
pub type FallbackBody = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) type Answer = Pin<Box<dyn Future<Output = Response<FallbackBody>> + Send>>;

/// A boxed service for everything that is not an event route.
///
/// It finds the connection's [`ConnectionState`](chassis::server::ConnectionState) in the request's extensions: the client's
/// address, and what to tell when a token is known.
#[derive(Clone)]
pub struct Fallback(Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>);

impl Fallback {
    /// Wraps an async function; an axum router fits as `Fallback::new(move |request| router.clone().oneshot(request)...)`.
    pub fn new<F, A, B>(serve: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(move |request| {
            let answer = serve(request);
            Box::pin(async move { answer.await.map(|body| body.map_err(Into::into).boxed_unsync()) })
        }))
    }

    pub(crate) fn answer(&self, request: Request<Incoming>) -> Answer {
        (self.0)(request)
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fallback")
    }
}
