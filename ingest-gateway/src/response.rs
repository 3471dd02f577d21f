//! Responses: small bodies of ours, streamed ones of the fallback, problems, request ids.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use chassis::server::BoxError;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use schemas::problem::{Code, Problem};
use uuid::Uuid;

use crate::fallback::FallbackBody;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Says that an event of a deprecated type was accepted.
const EVENT_TYPE: HeaderName = HeaderName::from_static("x-hookbus-event-type");
/// Longest request id of a client that is echoed.
const REQUEST_ID_BYTES: usize = 128;

/// The body of every response.
#[derive(Debug)]
pub(crate) enum GatewayBody {
    Whole(Bytes),
    Stream(FallbackBody),
}

/// Ids for requests that bring none: unique in the process, and very likely among all.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

// === impl GatewayBody ===

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

// === responses ===

/// JSON with a status.
pub(crate) fn json(status: StatusCode, body: Vec<u8>, request_id: HeaderValue) -> Response<GatewayBody> {
    respond(status, HeaderValue::from_static("application/json"), body, request_id)
}

/// Nothing but headers.
pub(crate) fn empty(status: StatusCode, request_id: HeaderValue) -> Response<GatewayBody> {
    let mut response = Response::new(GatewayBody::Whole(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

/// Says in a header that the event's type is deprecated.
pub(crate) fn mark_deprecated(response: &mut Response<GatewayBody>) {
    response.headers_mut().insert(EVENT_TYPE, HeaderValue::from_static("deprecated"));
}

/// A problem with its headers.
pub(crate) fn problem(problem: &Problem, request_id: HeaderValue) -> Response<GatewayBody> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).expect("a problem holds nothing that is not JSON");
    let content_type = HeaderValue::from_static(Problem::CONTENT_TYPE);
    let mut response = respond(status, content_type, body, request_id);
    let headers = response.headers_mut();
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        // What the client still sends cannot be told apart from a next request.
        StatusCode::REQUEST_TIMEOUT => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE if problem.code == Some(Code::UnsupportedEncoding) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        _other => {}
    }
    response
}

fn respond(
    status: StatusCode,
    content_type: HeaderValue,
    body: Vec<u8>,
    request_id: HeaderValue,
) -> Response<GatewayBody> {
    let mut response = Response::new(GatewayBody::Whole(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // With what hyper adds: `date` and `content-length`.
    headers.reserve(4);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(REQUEST_ID, request_id);
    response
}

// === impl RequestIds ===

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { prefix: Uuid::new_v4().as_u64_pair().0, next: AtomicU64::new(1) }
    }

    /// The client's own id if it is one, else a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(given) = headers.get(REQUEST_ID)
            && (1..=REQUEST_ID_BYTES).contains(&given.len())
            && given.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return given.clone();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = Uuid::from_u64_pair(self.prefix, number);
        HeaderValue::from_str(id.simple().encode_lower(&mut Uuid::encode_buffer()))
            .expect("hex digits are a header value")
    }
}
