//! A minimal server: read the body, produce it with `acks=all`, answer 201 on the acknowledgement.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use clap::Args;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kafka::{BareProducer, ProducerOptions};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::READY;
use crate::table::say;

/// `bench bare ingest`
#[derive(Debug, Args)]
pub(crate) struct Ingest {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    port: u16,
}

struct Server {
    producer: BareProducer,
    topic: Arc<str>,
    next: AtomicU64,
}

impl Ingest {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let options = ProducerOptions { queue_bytes: 128 * 1024 * 1024, ..ProducerOptions::new("bench-bare") };
        let producer = BareProducer::start(&super::connection(&self.brokers)?, &options)?;
        let server = Arc::new(Server { producer, topic: self.topic.into(), next: AtomicU64::new(0) });
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        say(READY)?;
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let server = Arc::clone(&server);
            connections.spawn(async move {
                let service = service_fn(|request| server.answer(request));
                // The load says what went wrong with a connection.
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let status = match self.accept(request).await {
            Ok(()) => StatusCode::CREATED,
            Err(error) => {
                tracing::error!("{error:#}");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let mut response = Response::new(Full::from("{}"));
        *response.status_mut() = status;
        Ok(response)
    }

    async fn accept(&self, request: Request<Incoming>) -> anyhow::Result<()> {
        let body = request.into_body().collect().await?.to_bytes();
        let key = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        self.producer.send(&self.topic, key.as_bytes(), &body).await?;
        Ok(())
    }
}
