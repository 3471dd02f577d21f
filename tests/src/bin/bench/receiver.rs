//! An endpoint in a process of its own, as customers' are: it answers 204 at once, and tells how many events came at a path, how
//! late, how often, and in which order.
//!
//! ```text
//! bench (running.rs) --/told, /forget, /open--> control port
//! worker ------------------webhooks-----------> port, on every loopback address, with or without TLS
//! ```
//!
//! How late an event is stands in its id ([`crate::workload::timed_id`]): all processes of a run have one clock.

mod running;
mod tally;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kafka::clock::now_ms;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::running::RunningReceiver;
use self::tally::Tallies;
pub(crate) use self::tally::Told;
use crate::workload;

/// `bench receiver`
#[derive(Debug, Args)]
pub(crate) struct Receiver {
    /// Where webhooks come.
    #[arg(long)]
    port: u16,
    /// Where it is asked.
    #[arg(long)]
    control: u16,
    /// Its certificate, with which it speaks TLS, PEM.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of that, PEM.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Refuses connections until it is told to open.
    #[arg(long)]
    closed: bool,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    tallies: Tallies,
    open: watch::Sender<bool>,
}

impl Receiver {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        // Every connection is a descriptor.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        let tls = self.acceptor()?;
        let (open, mut opened) = watch::channel(!self.closed);
        let shared = Arc::new(Shared { tallies: Tallies::default(), open });
        let control = TcpListener::bind((Ipv4Addr::LOCALHOST, self.control)).await?;
        let controlled = control_connections(control, Arc::clone(&shared));
        let webhooks = async {
            opened.wait_for(|open| *open).await?;
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).await?;
            webhook_connections(listener, tls, shared).await
        };
        tokio::try_join!(controlled, webhooks).map(|_never| ())
    }

    fn acceptor(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        let Some((certificate, key)) = self.certificate.as_ref().zip(self.key.as_ref()) else { return Ok(None) };
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // As servers of the web do: whoever was here before need not be remembered.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

async fn webhook_connections(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accepting a connection")?;
                connections.spawn(webhooks(stream, tls.clone(), Arc::clone(&shared)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// One connection to its end, which is its client's choice.
async fn webhooks(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let tallies = &shared.tallies;
    let service = service_fn(move |request| webhook(tallies, request));
    let Some(tls) = tls else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        return;
    };
    let Ok(stream) = tls.accept(stream).await else { return };
    tallies.handshake(stream.get_ref().1.handshake_kind());
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn webhook(tallies: &Tallies, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let arrived_ms = now_ms();
    let (head, body) = request.into_parts();
    body.collect().await?;
    let id = head.headers.get("webhook-id").and_then(|id| id.to_str().ok());
    tallies.came(head.uri.path(), id.and_then(workload::timed), arrived_ms);
    Ok(answer(StatusCode::NO_CONTENT, Bytes::new()))
}

async fn control_connections(listener: TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.context("accepting a connection of the control port")?;
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| std::future::ready(controlled(&shared, &request)));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

/// What the benchmark asks for.
#[expect(clippy::unnecessary_wraps, reason = "hyper wants a result")]
fn controlled(shared: &Shared, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().query().unwrap_or_default();
    Ok(match request.uri().path() {
        "/readyz" => answer(StatusCode::OK, Bytes::new()),
        "/told" => answer(StatusCode::OK, shared.tallies.told(path).to_string().into()),
        "/forget" => {
            shared.tallies.forget(path);
            answer(StatusCode::OK, Bytes::new())
        }
        "/open" => {
            shared.open.send_replace(true);
            answer(StatusCode::OK, Bytes::new())
        }
        _ => answer(StatusCode::NOT_FOUND, Bytes::new()),
    })
}

fn answer(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
