//! The routes over a store in memory: no Kafka, everything else real.

use std::time::Duration;

use catalog::Catalog;
use chassis::config::ControlConfig;
use chassis::metrics::Registry;
use http::{Method, Request};
use http_body_util::BodyExt;
use schemas::control::Organization;
use schemas::ids::OrganizationId;
use serde_json::{Value, json as value};
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::*;
use crate::metrics::ControlMetrics;
use crate::pings::Pings;
use crate::store::Store;
use target::TargetPolicy;

mod audit;
mod audited;
mod authorities;
mod backfill;
mod batch;
mod bola;
mod dry_run;
mod edges;
mod erasure;
mod errors;
mod explain;
mod health;
mod idempotency;
mod ids;
mod in_flight;
mod jobs;
mod jobs_keyed;
mod limits;
mod log;
mod log_behind;
mod newer;
mod operator;
mod pages;
mod preconditions;
mod rates;
mod rejected;
mod resources;
mod schema_registries;
mod silence;
mod skip;
mod sources;
mod subscriptions;
mod subscriptions_actions;
mod subscriptions_secrets;
mod tokens;

const ADMIN: &str = "admin-key-of-the-tests";
/// Another one, as while the first is replaced.
const SECOND_ADMIN: &str = "second-admin-key-of-the-tests";
const ORGANIZATION: u128 = 1;

/// A control plane in memory.
struct Api {
    router: Router,
    catalog: Catalog,
    app: Arc<App>,
    /// Where its delivery log is.
    _folder: Option<tempfile::TempDir>,
}

/// An application and its token.
struct Tenant {
    id: String,
    token: String,
}

impl Api {
    fn new() -> Self {
        Self::with_limit(1_000)
    }

    fn with_limit(max_subscriptions: usize) -> Self {
        Self::configured(config(max_subscriptions))
    }

    fn configured(config: ControlConfig) -> Self {
        Self::assembled(config, None)
    }

    /// With a delivery log, which the test fills.
    fn with_log() -> (Self, Arc<dyn delivery_log::DeliveryStore>) {
        let folder = tempfile::tempdir().unwrap();
        let options =
            delivery_log::SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 8 << 20 };
        let store: Arc<dyn delivery_log::DeliveryStore> = Arc::new(delivery_log::SqliteStore::open(&options).unwrap());
        (Self::assembled(config(1_000), Some((folder, Arc::clone(&store)))), store)
    }

    fn assembled(
        config: ControlConfig,
        log: Option<(tempfile::TempDir, Arc<dyn delivery_log::DeliveryStore>)>,
    ) -> Self {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let organization = Organization::new(OrganizationId(Uuid::from_u128(ORGANIZATION)), "default", 1);
        let catalog = Catalog::of([schemas::control::ControlObject::Organization(organization)], vault);
        let metrics = ControlMetrics::new(&Registry::new()).unwrap();
        let store = Store::in_memory(catalog.clone(), config.bytes, metrics.clone());
        let policy = TargetPolicy::default();
        let app =
            App::assemble(config, catalog.clone(), policy, store, Pings::new("deliveries".into()), metrics).unwrap();
        let (folder, app) = match log {
            Some((folder, store)) => {
                (Some(folder), app.with_log(crate::log::DeliveryLog::over(store, catalog.clone())))
            }
            None => (None, app),
        };
        let app = Arc::new(app);
        Self { router: router(Arc::clone(&app)), catalog, app, _folder: folder }
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it == "application/problem+json");
        assert_eq!(problem, status >= 400, "problems and nothing else are problem+json");
        assert!(response.headers().contains_key("x-request-id"));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    /// The whole answer to the admin: status, headers, body.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, http::HeaderMap, Value) {
        self.exchange_as(ADMIN, (method, path), headers, body).await
    }

    /// The same to another token.
    async fn exchange_as(
        &self,
        token: &str,
        (method, path): (Method, &str),
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, http::HeaderMap, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, headers, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    async fn patch(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(token, Method::PATCH, path, Some(body)).await
    }

    async fn get(&self, token: &str, path: &str) -> (u16, Value) {
        self.call(token, Method::GET, path, None).await
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(token, Method::POST, path, Some(body)).await
    }

    async fn put(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(token, Method::PUT, path, Some(body)).await
    }

    async fn delete(&self, token: &str, path: &str) -> u16 {
        self.call(token, Method::DELETE, path, None).await.0
    }

    /// A new application with the event type `invoice.paid`.
    async fn tenant(&self, name: &str) -> Tenant {
        let organization = Uuid::from_u128(ORGANIZATION);
        let (status, application) =
            self.post(ADMIN, "/applications", value!({"organization_id": organization, "name": name})).await;
        assert_eq!(status, 201, "{application}");
        let id = application["application_id"].as_str().unwrap().to_owned();
        let (status, secrets) = self.get(ADMIN, &format!("/application_secrets?application_id={id}")).await;
        assert_eq!(status, 200, "{secrets}");
        let token = secrets[0]["token"].as_str().unwrap().to_owned();
        let (status, _) =
            self.post(&token, "/event_types", value!({"application_id": id, "name": "invoice.paid"})).await;
        assert_eq!(status, 201);
        Tenant { id, token }
    }
}

impl Tenant {
    /// A subscription as Hook0's clients post it.
    fn subscription(&self) -> Value {
        value!({
            "application_id": self.id,
            "event_types": ["invoice.paid"],
            "is_enabled": true,
            "labels": {"environment": "production"},
            "target": {"type": "http", "method": "POST", "url": "https://example.com/hook", "headers": {"X-Tenant": "a"}},
        })
    }
}

pub(crate) fn config(max_subscriptions: usize) -> ControlConfig {
    ControlConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        admin_keys: [ADMIN, SECOND_ADMIN].map(|key| key.to_owned().into()).into(),
        organization_id: OrganizationId(Uuid::from_u128(ORGANIZATION)),
        organization_name: "default".into(),
        operational_application: None,
        request_limit: 64 * 1024,
        max_in_flight: 64 << 20,
        request_timeout: Duration::from_secs(10),
        header_read_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(10),
        max_connections: 10,
        connections_per_address: None,
        tls: None,
        max_subscriptions,
        bytes: chassis::config::ByteLimits::default(),
        rates: chassis::config::ControlRates::default(),
        limits: schemas::control::Limits::default(),
        trusted_proxies: chassis::proxies::TrustedProxies::default(),
        drain: Duration::from_secs(25),
        plans: std::collections::BTreeMap::new(),
        cors_origins: Vec::new(),
        dedup_window: Duration::from_secs(86_400),
        sources: chassis::config::SourcesConfig::default(),
        log: chassis::config::ControlLogConfig::none(),
        access_log: true,
    }
}
