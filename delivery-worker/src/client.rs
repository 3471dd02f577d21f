//! Sends requests: one pool of kept connections, HTTP/1.1 and HTTP/2, TLS on ring, bounded in every direction.
//!
//! An attempt ends by its timeout, body included. Redirects are never followed. Of a response so much is kept as the delivery
//! log shows; when more comes the connection is dropped, nobody reads on.

mod dial;
mod own;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::util::MapResponse;

use crate::classify::{NoAnswer, Verdict, answered, unanswered};

use self::dial::Dialler;
pub(crate) use self::own::Clients;
use self::stream::Joined;
pub(crate) use self::tls::Tls;
pub use self::tls::TlsError;
use crate::resolve::{ResolveError, Resolver};

/// Most bytes of a response head. Hyper's own default is 400 KiB per connection.
const HEAD_LIMIT: usize = 64 * 1024;

/// What the client is bounded by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLimits {
    /// TCP connect.
    pub(crate) connect_timeout: Duration,
    /// Response headers kept, bytes.
    pub(crate) headers: usize,
    /// Response body kept, bytes.
    pub(crate) body: usize,
    /// Idle connections live this long.
    pub(crate) idle_timeout: Duration,
    /// Idle connections kept per host.
    pub(crate) idle_per_host: usize,
}

/// Connects to what may be called.
type Tcp = MapResponse<Dialler, fn(TokioIo<TcpStream>) -> Joined<TokioIo<TcpStream>>>;

/// The pooled client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Shared: a clone of hyper's own is a clone of everything that connecting needs.
    inner: Arc<legacy::Client<HttpsConnector<Tcp>, Full<Bytes>>>,
    /// Whom its connections go to.
    resolver: Resolver,
    limits: ClientLimits,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it means.
    pub(crate) verdict: Verdict,
    /// Status, if one came.
    pub(crate) status: Option<StatusCode>,
    /// Why the answer is missing or not whole.
    pub(crate) error: Option<NoAnswer>,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, cut.
    pub(crate) body: Bytes,
    /// What there is to say beyond that, for people.
    pub(crate) detail: Option<String>,
}

impl Client {
    /// A client that connects to what this resolver allows.
    pub(crate) fn new(resolver: Resolver, limits: ClientLimits, tls: ClientConfig) -> Self {
        let tcp: Tcp = MapResponse::new(Dialler::new(resolver.clone(), limits.connect_timeout), Joined);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle_timeout)
            .pool_max_idle_per_host(limits.idle_per_host)
            .http1_max_buf_size(HEAD_LIMIT)
            .http2_max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX));
        Self { inner: Arc::new(builder.build(connector)), resolver, limits }
    }

    /// The same connections, but so much of a response's body is kept.
    pub(crate) fn with_body_limit(&self, body: usize) -> Self {
        let (inner, resolver) = (Arc::clone(&self.inner), self.resolver.clone());
        Self { inner, resolver, limits: ClientLimits { body, ..self.limits } }
    }

    /// Sends one request and waits for the whole answer, at most `timeout`. Never fails: a failure is an answer too.
    ///
    /// The request is handed on here and not in the future: it would be the largest part of what every attempt carries.
    pub(crate) fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        now_ms: i64,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let response = self.inner.request(request);
        let body_limit = self.limits.body;
        async move {
            let mut answer = Answer::none();
            let ended = tokio::time::timeout(timeout, exchange(response, body_limit, &mut answer)).await;
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(verdict)) => {
                    answer.verdict = verdict;
                    return answer;
                }
                Err(_elapsed) => answer.error = Some(NoAnswer::Timeout),
            }
            answer.verdict = match (answer.error, answer.status) {
                (None, Some(status)) => answered(status, &answer.headers, now_ms),
                (error, _) => unanswered(error.unwrap_or(NoAnswer::Protocol)),
            };
            answer
        }
    }

    /// What it is bounded by.
    #[cfg(test)]
    pub(crate) fn limits(&self) -> ClientLimits {
        self.limits
    }

    /// Response headers kept, bytes.
    pub(crate) fn headers_limit(&self) -> usize {
        self.limits.headers
    }
}

impl Answer {
    /// Nothing came yet.
    fn none() -> Self {
        Self::of(unanswered(NoAnswer::Timeout))
    }

    /// A verdict without any exchange.
    pub(crate) fn of(verdict: Verdict) -> Self {
        Self { verdict, status: None, error: None, headers: HeaderMap::new(), body: Bytes::new(), detail: None }
    }
}

/// Fills the answer as it comes in, so that what came before a timeout is known.
async fn exchange(response: ResponseFuture, body_limit: usize, answer: &mut Answer) -> Result<(), Verdict> {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => {
            if let Some(unresolved) = unresolved(&error) {
                answer.detail = Some(unresolved.to_string());
            }
            answer.error = Some(no_answer(&error)?);
            return Ok(());
        }
    };
    let (head, body) = response.into_parts();
    answer.status = Some(head.status);
    answer.headers = head.headers;
    if body.is_end_stream() {
        return Ok(());
    }
    answer.error = read(body, body_limit, &mut answer.body).await;
    Ok(())
}

/// Keeps the beginning of a body. Dropping the rest unread closes the connection (or resets the stream).
async fn read(mut body: Incoming, limit: usize, kept: &mut Bytes) -> Option<NoAnswer> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => {
                *kept = whole.freeze();
                return Some(broken(&error));
            }
        };
        if whole.len() + data.len() > limit {
            whole.extend_from_slice(&data[..limit - whole.len()]);
            break;
        }
        if whole.is_empty() && body.is_end_stream() {
            // The usual case: one frame, no copy.
            *kept = data;
            return None;
        }
        whole.extend_from_slice(&data);
    }
    *kept = whole.freeze();
    None
}

/// What the resolver said, if it is the reason.
fn unresolved(error: &legacy::Error) -> Option<&ResolveError> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(unresolved) = error.downcast_ref() {
            return Some(unresolved);
        }
        cause = error.source();
    }
    None
}

/// Why no response came.
///
/// # Errors
/// The verdict, if the policy refuses the target as it is written.
fn no_answer(error: &legacy::Error) -> Result<NoAnswer, Verdict> {
    match unresolved(error) {
        Some(ResolveError::Refused(refused)) => return Err(Verdict::Refused(refused.to_string())),
        Some(ResolveError::RefusedNow { .. }) => return Ok(NoAnswer::Refused),
        Some(ResolveError::Unresolved { .. }) => return Ok(NoAnswer::Dns),
        None => {}
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return Ok(NoAnswer::Tls);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return Ok(broken(error));
        }
        // An I/O error's source is its content's source: the content itself has to be asked for.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    Ok(if error.is_connect() { NoAnswer::Connect } else { NoAnswer::Reset })
}

fn broken(error: &hyper::Error) -> NoAnswer {
    if error.is_parse() {
        NoAnswer::Protocol
    } else if error.is_timeout() {
        NoAnswer::Timeout
    } else {
        NoAnswer::Reset
    }
}
