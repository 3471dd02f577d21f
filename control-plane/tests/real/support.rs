//! A topic set of one test, and control planes on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use catalog::{Catalog, CatalogDeps};
use chassis::config::{ControlConfig, ControlLogConfig, KafkaConfig, Properties};
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use chassis::tasks::Tasks;
use control_plane::{ControlPlane, Deps};
use http::{Method, Request};
use http_body_util::BodyExt;
use kafka::Connection;
use schemas::ids::OrganizationId;
use schemas::topics::{TopicSettings, Topics};
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

pub(crate) const ADMIN: &str = "admin-key-of-the-tests";
/// Far beyond anything a healthy cluster takes: reaching it is a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// One test's topics.
pub(crate) struct World {
    pub(crate) connection: Connection,
    pub(crate) topics: Topics,
    installation: String,
}

/// One control plane.
pub(crate) struct Replica {
    pub(crate) catalog: Catalog,
    router: Router,
    tasks: Tasks,
}

/// The cluster to test against.
#[expect(clippy::disallowed_methods, reason = "the testkit names its cluster in the environment")]
fn brokers() -> String {
    std::env::var("HOOKBUS_TEST_KAFKA").expect(
        "HOOKBUS_TEST_KAFKA is not set: run the tests with `make test`, or name a Kafka to test against (host:port)",
    )
}

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

impl World {
    pub(crate) async fn new() -> Self {
        let connection = Connection::new(&brokers(), &BTreeMap::new()).unwrap();
        let installation = format!("t{:x}", Uuid::new_v4().as_u128() >> 80);
        let settings = TopicSettings { prefix: format!("{installation}."), ..TopicSettings::default() };
        let topics = settings.topics();
        let wanted = [
            &topics.control,
            &topics.audit,
            &topics.attempts,
            &topics.status,
            &topics.deliveries,
            &topics.dead_letters,
            &topics.lanes,
            &topics.events,
            &topics.jobs,
            &topics.retried,
        ];
        let specs: Vec<_> = settings.specs().into_iter().filter(|spec| wanted.contains(&&spec.name)).collect();
        kafka::topics::ensure(&connection, &specs).await.unwrap();
        Self { connection, topics, installation }
    }

    /// A started control plane, ready, without a delivery log.
    pub(crate) async fn replica(&self, slot: &str) -> Replica {
        self.replica_with(slot, ControlLogConfig::none()).await
    }

    /// The same with a delivery log.
    pub(crate) async fn replica_with(&self, slot: &str, log: ControlLogConfig) -> Replica {
        let (registry, health) = (Registry::new(), Health::new());
        let tasks = Tasks::new(Shutdown::new());
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let catalog = Catalog::start(CatalogDeps {
            connection: self.connection.clone(),
            topics: self.topics.clone(),
            vault,
            tasks: tasks.clone(),
            health: health.clone(),
            registry: registry.clone(),
            keeps_answers: true,
        })
        .unwrap();
        let deps = Deps {
            connection: self.connection.clone(),
            topics: self.topics.clone(),
            kept_ms: control_plane::kept_ms(&TopicSettings::default()),
            catalog: catalog.clone(),
            kafka: self.kafka(slot),
            policy: target::TargetPolicy::default(),
            registry,
            health,
            tasks: tasks.clone(),
        };
        let router = ControlPlane::start(ControlConfig { log, ..config() }, deps).await.unwrap().router();
        let replica = Replica { catalog, router, tasks };
        let mut changed = replica.catalog.changed();
        soon("the first organization is there", async {
            while replica.catalog.read().organizations().next().is_none() {
                changed.changed().await.unwrap();
            }
        })
        .await;
        replica
    }

    fn kafka(&self, slot: &str) -> KafkaConfig {
        KafkaConfig {
            brokers: self.connection.brokers().to_owned(),
            properties: Properties::default(),
            installation: self.installation.clone(),
            slot: slot.to_owned(),
            session_timeout: Duration::from_secs(8),
            live_budget_bytes: 256 * 1024 * 1024,
            transaction_timeout: Duration::from_secs(10),
            handover_wait: Duration::from_secs(3),
        }
    }
}

impl Replica {
    pub(crate) async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    /// Status, entity tag and body of a `POST` with an `Idempotency-Key`.
    pub(crate) async fn keyed(&self, token: &str, key: &str, path: &str, body: Value) -> (u16, Option<String>, Value) {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key);
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, tag, serde_json::from_slice(&bytes).unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(ADMIN, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(ADMIN, Method::POST, path, Some(body)).await
    }

    /// Drains and leaves the group; every background task must end well.
    pub(crate) async fn stop(self) {
        self.tasks.shutdown().request();
        self.tasks.join(PATIENCE).await.unwrap();
    }
}

fn config() -> ControlConfig {
    ControlConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        admin_keys: vec![ADMIN.to_owned().into()],
        organization_id: OrganizationId(Uuid::from_u128(1)),
        organization_name: "default".into(),
        operational_application: None,
        request_limit: 64 * 1024,
        max_in_flight: 64 << 20,
        request_timeout: PATIENCE,
        header_read_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(10),
        max_connections: 10,
        connections_per_address: None,
        tls: None,
        max_subscriptions: 1_000,
        bytes: chassis::config::ByteLimits::default(),
        rates: chassis::config::ControlRates::default(),
        limits: schemas::control::Limits::default(),
        trusted_proxies: chassis::proxies::TrustedProxies::default(),
        drain: Duration::from_secs(25),
        plans: BTreeMap::new(),
        cors_origins: Vec::new(),
        dedup_window: Duration::from_secs(86_400),
        sources: chassis::config::SourcesConfig::default(),
        log: ControlLogConfig::none(),
        access_log: true,
    }
}
