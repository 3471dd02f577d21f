//! The cache and its task against a registry on loopback: one question for each schema, and news at once.

use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use chassis::{clock, tasks};
use schema_registry::{CacheLimits, SchemaCache, SchemaCompiler, SchemaFetcher};
use schemas::control::{ControlObject, SchemaRegistry};
use schemas::ids::SchemaRegistryId;
use schemas::record::{Headers, OutRecord};
use sources::schema::{SchemaId, SchemaKey, SchemaLookup, SchemaState};
use testkit::StubRegistry;
use testkit::registry::RegistryFault;
use tokio::task::JoinHandle;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

const SOON: Duration = Duration::from_secs(60);

/// A cache, its task, and a catalog that knows one registry.
struct World {
    catalog: Catalog,
    cache: SchemaCache,
    task: JoinHandle<()>,
}

impl World {
    fn start(url: &str) -> Self {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let catalog = Catalog::of([ControlObject::SchemaRegistry(Box::new(registry(url)))], vault);
        let cache = SchemaCache::new(CacheLimits { grace: Duration::ZERO, ..CacheLimits::default() });
        let fetcher = SchemaFetcher::new(cache.clone(), catalog.clone(), SchemaCompiler::default());
        let task = tasks::spawn("schema fetcher", fetcher.run());
        Self { catalog, cache, task }
    }

    /// The registry is this one from now on, or gone.
    fn write(&self, url: Option<&str>) {
        self.feed(registry(url.unwrap_or_default()), url.is_some());
    }

    fn feed(&self, registry: SchemaRegistry, is_there: bool) {
        let object = ControlObject::SchemaRegistry(Box::new(registry));
        let record = OutRecord {
            topic: "control".into(),
            partition: None,
            key: Some(object.key().to_string().into()),
            value: is_there.then(|| object.encode().unwrap().into()),
            headers: Headers::default(),
        };
        self.catalog.feed([record]);
    }

    fn state(&self, id: u32) -> SchemaState {
        self.cache.at(clock::instant()).schema(&key(id))
    }

    fn want(&self, id: u32) {
        self.cache.want(key(id), clock::instant());
    }

    /// Waits for answers until this holds.
    async fn until(&self, holds: impl Fn(&Self) -> bool + Send + Sync) {
        let mut answers = self.cache.answers();
        let met = answers.wait_for(|_| holds(self));
        tokio::time::timeout(SOON, met).await.unwrap().unwrap();
    }

    fn is_up(&self) -> Option<bool> {
        self.cache.registries_up().get(&id()).copied()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn id() -> SchemaRegistryId {
    SchemaRegistryId(Uuid::from_u128(5))
}

fn key(schema: u32) -> SchemaKey {
    SchemaKey { registry: id(), id: SchemaId::Number(schema) }
}

fn registry(url: &str) -> SchemaRegistry {
    SchemaRegistry { urls: vec![url.to_owned()], ..SchemaRegistry::new(id(), "main", 0) }
}

#[tokio::test]
async fn what_is_wanted_is_asked_for_once_and_kept() {
    let registry = StubRegistry::start().unwrap();
    registry.schema(7, "AVRO", r#""long""#);
    registry.schema(8, "AVRO", "nonsense");
    let world = World::start(&registry.url());
    for _ in 0..5 {
        world.want(7);
    }
    world.want(8);
    world.want(9);
    world.until(|it| (7..=9).all(|id| !matches!(it.state(id), SchemaState::Wanted))).await;
    assert!(matches!(world.state(7), SchemaState::Ready(_)));
    assert!(matches!(world.state(8), SchemaState::Unusable(_)));
    assert!(matches!(world.state(9), SchemaState::NotFound));
    (7..=9).for_each(|id| world.want(id));
    assert_eq!([7, 8, 9].map(|id| registry.asked(&format!("/schemas/ids/{id}"))), [1, 1, 1]);
    assert_eq!(world.is_up(), Some(true));
}

#[tokio::test]
async fn a_registry_that_is_down_is_asked_again_and_says_why_until_it_is_back() {
    let registry = StubRegistry::start().unwrap();
    registry.schema(7, "AVRO", r#""long""#);
    registry.fails(Some(RegistryFault::Status(503)));
    let world = World::start(&registry.url());
    world.want(7);
    world.until(|it| it.cache.is_unavailable(&key(7))).await;
    let why = world.cache.why(&key(7)).unwrap();
    assert_eq!(
        (&*why, world.is_up()),
        (&*format!("GET {}/schemas/ids/7 answered 503: as told", registry.url()), Some(false))
    );
    registry.wait_for("/schemas/ids/7", 2, SOON).await.unwrap();
    registry.fails(None);
    world.until(|it| matches!(it.state(7), SchemaState::Ready(_))).await;
    assert_eq!((world.cache.why(&key(7)), world.is_up()), (None, Some(true)));
}

#[tokio::test]
async fn a_registry_that_is_changed_is_used_at_once_and_one_that_is_gone_is_said_to_be() {
    let (silent, other) = (StubRegistry::start().unwrap(), StubRegistry::start().unwrap());
    silent.fails(Some(RegistryFault::Silent));
    other.schema(7, "AVRO", r#""long""#);
    let world = World::start(&silent.url());
    world.want(7);
    silent.wait_for("/schemas/ids/7", 1, SOON).await.unwrap();
    world.write(Some(&other.url()));
    world.until(|it| matches!(it.state(7), SchemaState::Ready(_))).await;
    world.write(None);
    world.want(8);
    world.until(|it| it.cache.is_unavailable(&key(8))).await;
    assert!(world.cache.why(&key(8)).unwrap().contains("there is no schema registry"));
    assert!(matches!(world.state(7), SchemaState::Wanted), "what it said does not count any more");
}

#[tokio::test]
async fn a_registry_that_is_asked_in_another_way_keeps_its_schemas_and_what_waits_is_asked_for_at_once() {
    let stub = StubRegistry::start().unwrap();
    stub.schema(7, "AVRO", r#""long""#);
    let world = World::start(&stub.url());
    world.want(7);
    world.until(|it| matches!(it.state(7), SchemaState::Ready(_))).await;
    stub.fails(Some(RegistryFault::Silent));
    world.want(8);
    stub.wait_for("/schemas/ids/8", 1, SOON).await.unwrap();
    let timeout_ms = registry("").timeout_ms + 1;
    world.feed(SchemaRegistry { timeout_ms, ..registry(&stub.url()) }, true);
    stub.wait_for("/schemas/ids/8", 2, SOON).await.unwrap();
    assert!(matches!(world.state(7), SchemaState::Ready(_)), "an edit of its timeout leaves what it said");
}
