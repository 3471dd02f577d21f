//! One connection: read, remember, verify, answer as the script says.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kafka::clock::now_ms;
use signing::{SigningError, StandardHeaders, Verifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::body::Sending;
use super::routes::Routes;
use super::script::{Fault, Reply};
use super::secure::Secure;
use super::seen::{Arrival, Seen, SeenLog, Signature};
use super::socket::{ResetSwitch, Socket};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) routes: Routes,
    pub(crate) log: SeenLog,
    pub(crate) secure: Option<Secure>,
}

/// A request whose body is still coming; remembered as incomplete if it never does.
struct Coming<'a> {
    log: &'a SeenLog,
    arrival: Option<Arrival>,
}

/// A request that has come and is not over; with its connection gone it is, answered or not.
struct Open<'a> {
    log: &'a SeenLog,
    seen: &'a Seen,
}

impl Server {
    /// Serves a connection to its end. How that comes is the client's choice, or the script's.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream) {
        stream.set_nodelay(true).ok();
        let reset = ResetSwitch::default();
        let socket = Socket::new(stream, Arc::clone(&reset));
        let Some(secure) = &self.secure else { return self.serve_http1(socket, &reset).await };
        if !secure.answers() {
            let _kept_open = socket;
            return pending().await;
        }
        let Ok(stream) = secure.acceptor().accept(socket).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Arc::clone(&self).serve_http2(stream, reset, secure).await;
        } else {
            self.serve_http1(stream, &reset).await;
        }
    }

    async fn serve_http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin, reset: &ResetSwitch) {
        let service = service_fn(|request| self.answer(request, reset));
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service).await.ok();
    }

    async fn serve_http2(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        reset: ResetSwitch,
        secure: &Secure,
    ) {
        let (served, is_enough) = (AtomicUsize::new(0), Arc::new(Notify::new()));
        let enough = Arc::clone(&is_enough);
        let goaway_after = secure.goaway_after;
        let service = service_fn(move |request| {
            if goaway_after == Some(served.fetch_add(1, Ordering::Relaxed) + 1) {
                enough.notify_one();
            }
            let (server, reset) = (Arc::clone(&self), Arc::clone(&reset));
            async move { server.answer(request, &reset).await }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(secure.max_streams);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ended = connection.as_mut() => return,
            () = is_enough.notified() => connection.as_mut().graceful_shutdown(),
        }
        connection.await.ok();
    }

    async fn answer(&self, request: Request<Incoming>, reset: &ResetSwitch) -> io::Result<Response<Sending>> {
        let arrived_ms = now_ms();
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let delivery = head.headers.get("x-hookbus-delivery-id").and_then(|id| id.to_str().ok());
        let route = self.routes.route(&path);
        let standard = Reply::status(204);
        let (call, reply) = route.as_deref().map_or((1, &standard), |route| route.next(&path, delivery));

        let arrival = Arrival {
            call,
            arrived_ms,
            method: head.method,
            path,
            headers: head.headers,
            body: Bytes::new(),
            complete: false,
            signature: Signature::Unchecked,
        };
        let coming = Coming { log: &self.log, arrival: Some(arrival) };
        let seen = if reply.early { coming.finish(None) } else { self.receive(coming, body).await? };
        let _open = Open { log: &self.log, seen: &seen };
        tokio::time::sleep(reply.delay).await;
        match reply.fault {
            Fault::Hang => pending().await,
            Fault::Reset => {
                reset.store(true, Ordering::Relaxed);
                return Err(io::Error::other("the script resets here"));
            }
            Fault::Cut => {}
            Fault::None => self.log.answer(&seen, reply.status.as_u16(), now_ms()),
        }
        Ok(response(reply, reset))
    }

    /// Reads the body; a request that breaks off stays incomplete.
    async fn receive(&self, mut coming: Coming<'_>, body: Incoming) -> io::Result<Arc<Seen>> {
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if let Some(arrival) = &mut coming.arrival
            && let Some(verifiers) = self.routes.secrets(&arrival.path)
        {
            arrival.signature = verify(&verifiers, &arrival.headers, &body);
        }
        Ok(coming.finish(Some(body)))
    }
}

impl Coming<'_> {
    fn finish(mut self, body: Option<Bytes>) -> Arc<Seen> {
        let mut arrival = self.arrival.take().expect("taken only here and on drop");
        arrival.complete = body.is_some();
        arrival.body = body.unwrap_or_default();
        self.log.push(arrival)
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            self.log.push(arrival);
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.log.end(self.seen, now_ms());
    }
}

fn response(reply: &Reply, reset: &ResetSwitch) -> Response<Sending> {
    let mut response = Response::new(Sending::new(reply, reset));
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers.iter().cloned());
    response
}

/// Every signature that is there must verify, each with any of the secrets.
fn verify(verifiers: &[Arc<Verifier>], headers: &HeaderMap, body: &[u8]) -> Signature {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let now = now_ms() / 1_000;
    let body: signing::Body<'_> = &[body];
    let standard = match (get("webhook-id"), get("webhook-timestamp"), get("webhook-signature")) {
        (Some(id), Some(timestamp), Some(signature)) => {
            let signed = StandardHeaders { id, timestamp, signature };
            Some(any(verifiers, |verifier| verifier.standard(&signed, body, now)))
        }
        (_, _, None) => None,
        (_, _, Some(_)) => {
            return Signature::Invalid("webhook-signature without webhook-id or webhook-timestamp".into());
        }
    };
    let hook0 = get("x-hook0-signature").map(|signature| {
        any(verifiers, |verifier| match signature.starts_with("sha256=") {
            true => verifier.hook0_body(signature, body),
            false => verifier.hook0_v1(signature, get, body, now),
        })
    });
    match (standard, hook0) {
        (None, None) => Signature::Invalid("no signature".into()),
        (Some(Err(error)), _) => Signature::Invalid(format!("webhook-signature: {error}")),
        (_, Some(Err(error))) => Signature::Invalid(format!("x-hook0-signature: {error}")),
        (standard, hook0) => Signature::Valid { standard: standard.is_some(), hook0: hook0.is_some() },
    }
}

/// The last refusal, if nobody accepts.
fn any(verifiers: &[Arc<Verifier>], check: impl Fn(&Verifier) -> Result<(), SigningError>) -> Result<(), SigningError> {
    let mut outcome = Err(SigningError::NoSecret);
    for verifier in verifiers {
        outcome = check(verifier);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
