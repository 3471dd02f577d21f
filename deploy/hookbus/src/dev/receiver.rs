//! The demo receiver of `hookbus dev`: what a customer would run. It verifies both signatures and says what it got.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use chassis::clock::now_ms;
use chassis::shutdown::Shutdown;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use signing::{StandardHeaders, Verifier};
use tokio::net::TcpListener;

use crate::screen;

/// More than any payload Hookbus accepts by default.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// Serves until shutdown.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn run(listener: TcpListener, verifier: Arc<Verifier>, shutdown: Shutdown) -> Result<()> {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            () = shutdown.requested() => return Ok(()),
        };
        let verifier = Arc::clone(&verifier);
        let served = hyper::server::conn::http1::Builder::new().serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let verifier = Arc::clone(&verifier);
                async move { Ok::<_, Infallible>(receive(request, &verifier).await) }
            }),
        );
        let until = shutdown.clone();
        drop(chassis::tasks::spawn("demo receiver", async move {
            tokio::select! {
                outcome = served => if let Err(error) = outcome {
                    tracing::debug!(%error, "a connection to the demo receiver ended early");
                },
                () = until.forced() => {}
            }
        }));
    }
}

async fn receive(request: Request<Incoming>, verifier: &Verifier) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return answer(StatusCode::BAD_REQUEST, &format!("the body could not be read: {error}\n")),
    };
    let verdict = verify(&head.headers, &body, verifier);
    let id = header(&head.headers, "webhook-id");
    let event_type = header(&head.headers, "x-event-type");
    let said = match &verdict {
        Ok(schemes) => format!("signature verified ({schemes}), {} bytes: {}", body.len(), screen::text(&body, 160)),
        Err(why) => format!("SIGNATURE REFUSED: {why}"),
    };
    let now = now_ms();
    let shown = screen::progress(&format!("{}  received   {id}  {event_type}  {said}", screen::clock(now)));
    if let Err(error) = shown {
        tracing::warn!(%error, "cannot print what the demo receiver got");
    }
    match verdict {
        Ok(_) => answer(StatusCode::OK, "thank you\n"),
        Err(why) => answer(StatusCode::UNAUTHORIZED, &format!("{why}\n")),
    }
}

/// One signature must be there, and a Standard Webhooks one must be right.
fn verify(headers: &http::HeaderMap, body: &[u8], verifier: &Verifier) -> Result<String, String> {
    let now_s = now_ms() / 1_000;
    let mut schemes = String::new();
    if headers.contains_key("webhook-signature") {
        let standard = StandardHeaders {
            id: header(headers, "webhook-id"),
            timestamp: header(headers, "webhook-timestamp"),
            signature: header(headers, "webhook-signature"),
        };
        verifier.standard(&standard, &[body], now_s).map_err(|error| format!("webhook-signature: {error}"))?;
        schemes.push_str("standard");
    }
    if let Some(signature) = headers.get("x-hook0-signature").and_then(|value| value.to_str().ok()) {
        let lookup = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let verified = verifier.hook0_v1(signature, lookup, &[body], now_s);
        match verified {
            Ok(()) if schemes.is_empty() => schemes.push_str("hook0"),
            Ok(()) => schemes.push_str(", hook0"),
            Err(error) if schemes.is_empty() => return Err(format!("X-Hook0-Signature: {error}")),
            // It holds one signature, and that is the former secret's until the overlap of a rotation ends.
            Err(_former) => schemes.push_str("; hook0 not, as while a secret is rotated"),
        }
    }
    if schemes.is_empty() { Err("there is no signature".to_owned()) } else { Ok(schemes) }
}

fn header<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn answer(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response
}
