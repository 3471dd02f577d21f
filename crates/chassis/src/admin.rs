//! The admin port: `/livez`, `/readyz`, `/metrics` on a thread and runtime of its own, so that it answers while the
//! data path starves.
//!
//! `/livez` is 503 when a beat is stale (a poll thread hangs: restart me), `/readyz` while a latch is held
//! (do not send me requests yet). Both name what is wrong, one per line.
//!
//! **Nobody keeps a probe out**: a connection answers one request and lives for seconds at most, whatever its peer does, and
//! when all places are taken the newest connection gets that of the oldest. So peers that are silent, or do not read what
//! they asked for, hold places only until somebody else wants them. Nor do they hold up the end of the process.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle as TaskHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::health::Health;
use crate::limited::Limited;
use crate::server::tls::ListenerTls;
use crate::tasks;

/// Connections served at once: probes and a few scrapers. The next one ends the oldest.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may live: TLS, head, answer. Whoever has not read its answer by then does not read.
const LIFETIME: Duration = Duration::from_secs(10);
/// A peer that has not sent its head by then is gone.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (usually: out of file descriptors), so that the thread does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TEXT: &str = "text/plain; charset=utf-8";

/// The admin port could not be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The port is taken or not ours.
    #[error("HB-004: cannot listen on admin address {address}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The thread, its runtime or the listener could not be set up.
    #[error("cannot serve the admin port")]
    Serve {
        /// What the system said.
        #[from]
        source: std::io::Error,
    },
}

/// The running admin port; dropping it closes the port.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// The connections that are served, the oldest first.
#[derive(Default)]
struct Places(VecDeque<TaskHandle<()>>);

#[derive(Clone)]
struct Pages {
    registry: Registry,
    health: Health,
}

/// Binds the admin port; port 0 takes a free one.
///
/// # Errors
/// When the address cannot be listened on.
pub fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(address).map_err(|source| AdminError::Bind { address, source })
}

// === impl AdminServer ===

impl AdminServer {
    /// Serves the admin pages on this listener, over TLS if there is one.
    ///
    /// # Errors
    /// When the listener, the thread or its runtime cannot be set up.
    pub fn start(
        listener: TcpListener,
        tls: Option<ListenerTls>,
        registry: Registry,
        health: Health,
    ) -> Result<Self, AdminError> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let pages = Pages { registry, health };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, tls, pages, stopped)) {
                error!(%error, "admin port failed");
            }
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// The address that is served, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) {
            error!("the admin thread panicked");
        }
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<ListenerTls>,
    pages: Pages,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // They end with this runtime.
    let _follower = tls.clone().map(|tls| tasks::spawn("admin certificate", tls.follow("admin")));
    let mut places = Places::default();
    let failures = Limited::new(Duration::from_secs(10));
    while let Some(accepted) = accept(&listener, &stop).await {
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, tls.clone(), pages.clone());
                places.take(tasks::spawn("admin connection", connection));
                // Each is looked at before the next is accepted: many at once would end a probe that nobody has read yet.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                if let Some(swallowed) = failures.permit("accept") {
                    warn!(%error, swallowed, "admin port cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    Ok(())
}

/// One connection, for as long as it may live.
async fn connection(stream: tokio::net::TcpStream, tls: Option<ListenerTls>, pages: Pages) {
    let whole = async {
        match tls {
            None => answer(stream, pages).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(session) => answer(session, pages).await,
                Err(error) => debug!(%error, "a TLS handshake on the admin port failed"),
            },
        }
    };
    if tokio::time::timeout(LIFETIME, whole).await.is_err() {
        debug!("an admin connection outlived its time");
    }
}

/// One request: who keeps a connection would keep its place.
async fn answer(io: impl AsyncRead + AsyncWrite + Unpin, pages: Pages) {
    let service = service_fn(|request| {
        let answer = pages.answer(&request);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
    if let Err(error) = server.serve_connection(TokioIo::new(io), service).await {
        debug!(%error, "admin connection ended early");
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    stop: &CancellationToken,
) -> Option<std::io::Result<(tokio::net::TcpStream, SocketAddr)>> {
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = listener.accept() => Some(accepted),
    }
}

// === impl Places ===

impl Places {
    /// A place for the newest connection, if need be the oldest one's.
    fn take(&mut self, connection: TaskHandle<()>) {
        self.0.retain(|other| !other.is_finished());
        if self.0.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

// === impl Pages ===

impl Pages {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/livez" => verdict("alive", self.health.stale()),
            "/readyz" => verdict("ready", self.health.missing()),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, TEXT, "/livez /readyz /metrics\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(metrics) => text(StatusCode::OK, prometheus::TEXT_FORMAT, metrics),
            Err(error) => {
                error!(%error, "metrics cannot be encoded");
                text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n"))
            }
        }
    }
}

/// 200 with the good word, or 503 with one line per thing that is wrong.
fn verdict<T: ToString>(good: &str, wrong: Vec<T>) -> Response<Full<Bytes>> {
    if wrong.is_empty() {
        return text(StatusCode::OK, TEXT, format!("{good}\n"));
    }
    let lines: Vec<String> = wrong.iter().map(|item| format!("not {good}: {}\n", item.to_string())).collect();
    text(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines.concat())
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn get(address: SocketAddr, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn start(registry: Registry, health: Health) -> AdminServer {
        AdminServer::start(bind("127.0.0.1:0".parse().unwrap()).unwrap(), None, registry, health).unwrap()
    }

    #[test]
    fn readiness_names_what_is_missing() {
        let health = Health::new();
        let latch = health.latch("catalog");
        let server = start(Registry::new(), health);
        assert_eq!(get(server.address(), "GET /readyz"), (503, "not ready: catalog\n".to_owned()));
        latch.release();
        assert_eq!(get(server.address(), "GET /readyz"), (200, "ready\n".to_owned()));
    }

    #[test]
    fn liveness_names_what_hangs() {
        let health = Health::new();
        let server = start(Registry::new(), health.clone());
        assert_eq!(get(server.address(), "GET /livez"), (200, "alive\n".to_owned()));
        let _beat = health.beat("poller", || 9_000, 4_000);
        let (status, body) = get(server.address(), "GET /livez");
        assert_eq!((status, body.as_str()), (503, "not alive: poller: last turn 9000 ms ago, allowed 4000 ms\n"));
    }

    #[test]
    fn metrics_are_prometheus_text() {
        let registry = Registry::new();
        Metrics::new(&registry, "gateway").counter("accepted_total", "Events accepted.").unwrap().inc_by(3);
        let server = start(registry, Health::new());
        let (status, body) = get(server.address(), "GET /metrics");
        assert_eq!(status, 200);
        assert!(body.contains("# HELP hookbus_gateway_accepted_total Events accepted."), "{body}");
        assert!(body.contains("hookbus_gateway_accepted_total 3"), "{body}");
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let server = start(Registry::new(), Health::new());
        assert_eq!(get(server.address(), "GET /").0, 404);
        assert_eq!(get(server.address(), "POST /livez").0, 405);
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_it() {
        let server = start(Registry::new(), Health::new());
        let error = bind(server.address()).unwrap_err();
        assert_eq!(error.to_string(), format!("HB-004: cannot listen on admin address {}", server.address()));
    }

    /// A page that no kernel buffers whole, and peers that pipeline requests for it, never read, or say nothing.
    #[test]
    fn readers_that_do_not_read_keep_neither_probes_out_nor_the_process_alive() {
        let registry = Registry::new();
        let pages = Metrics::new(&registry, "gateway").counters("padding_total", "Padding.", &["text"]).unwrap();
        for number in 0..24 {
            pages.with_label_values(&[&format!("{number}{}", "x".repeat(250_000))]).inc();
        }
        let server = start(registry, Health::new());
        let address = server.address();
        let stuck: Vec<TcpStream> = (0..MAX_CONNECTIONS * 2)
            .map(|number| {
                let mut stream = TcpStream::connect(address).unwrap();
                let request = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
                let sent = if number % 8 == 0 { request.repeat(10) } else { String::new() };
                stream.write_all(sent.as_bytes()).unwrap();
                stream
            })
            .collect();
        assert_eq!(get(address, "GET /livez"), (200, "alive\n".to_owned()), "the probe has a place");
        drop(server);
        assert!(TcpStream::connect(address).is_err(), "it ended while they hang on");
        drop(stuck);
    }

    #[test]
    fn dropping_the_server_closes_the_port() {
        let server = start(Registry::new(), Health::new());
        let address = server.address();
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }
}
