//! hyper-util's pooled client: so many signed requests, so many at a time. Measures itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kafka::clock::{instant, now_ms};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use schemas::identity;
use schemas::ids::ApplicationId;
use signing::{Schemes, Secret, Signer};
use testkit::supervisor::cpu_time;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::table::say;
use crate::workload;

/// Requests before the measured ones.
const WARM_UP: u32 = 5_000;

/// `bench bare delivery`
#[derive(Debug, Args)]
pub(crate) struct Delivery {
    #[arg(long)]
    url: http::Uri,
    #[arg(long)]
    count: u32,
    #[arg(long)]
    in_flight: u32,
    /// Certificates that are trusted.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Over TLS nothing but HTTP/2.
    #[arg(long)]
    http2: bool,
}

struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    signer: Signer,
    url: http::Uri,
    payload: Bytes,
    next: AtomicU32,
}

impl Delivery {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let connector = self.connector()?;
        let sender = Arc::new(Sender {
            client: Client::builder(TokioExecutor::new()).build(connector),
            signer: Signer::new(&[Secret::generate()?], Vec::new(), Schemes::default())?,
            url: self.url,
            payload: workload::payload(),
            next: AtomicU32::new(0),
        });
        sender.send_all(WARM_UP, self.in_flight).await?;
        let this = i32::try_from(std::process::id())?;
        let (cpu, started) = (cpu_time(this)?, instant());
        sender.send_all(self.count, self.in_flight).await?;
        let (wall, cpu) = (started.elapsed(), cpu_time(this)?.saturating_sub(cpu));
        say(&format!("{} {}", wall.as_micros(), cpu.as_micros()))?;
        Ok(())
    }

    fn connector(&self) -> anyhow::Result<HttpsConnector<HttpConnector>> {
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        plain.enforce_http(false);
        let mut trusted = RootCertStore::empty();
        for certificate in self.ca.iter().map(CertificateDer::pem_file_iter) {
            for certificate in certificate? {
                trusted.add(certificate?)?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        Ok(if self.http2 {
            connector.enable_http2().wrap_connector(plain)
        } else {
            connector.enable_http1().wrap_connector(plain)
        })
    }
}

impl Sender {
    async fn send_all(self: &Arc<Self>, count: u32, in_flight: u32) -> anyhow::Result<()> {
        self.next.store(0, Ordering::Relaxed);
        let mut tasks = JoinSet::new();
        for _ in 0..in_flight {
            let sender = Arc::clone(self);
            tasks.spawn(async move { sender.send_in_turn(count).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn send_in_turn(&self, count: u32) -> anyhow::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            self.send(number).await?;
        }
    }

    async fn send(&self, number: u32) -> anyhow::Result<()> {
        let application = ApplicationId(Uuid::nil());
        let (id, event_type, now) = (workload::event_id(number), workload::event_type(0), now_ms() / 1_000);
        let delivery = identity::event_uuid(application, "/applications/x", &id).to_string();
        let body: signing::Body<'_> = &[&self.payload];
        let standard = self.signer.standard(&id, now, body).unwrap_or_default();
        let headers = [("content-type", "application/json"), ("x-event-id", &id), ("x-event-type", &event_type)];
        let hook0 = self.signer.hook0(now, &headers, body).unwrap_or_default();
        let request = Request::post(self.url.clone())
            .header("content-type", "application/json")
            .header("user-agent", "Hookbus/bench")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", standard)
            .header("x-event-id", &id)
            .header("x-event-type", &event_type)
            .header("x-hook0-signature", hook0)
            .header("x-hookbus-delivery-id", delivery)
            .header("x-hookbus-attempt", 1)
            .body(Full::new(self.payload.clone()))?;
        let answer = self.client.request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        if !status.is_success() {
            bail!("{status}");
        }
        Ok(())
    }
}
