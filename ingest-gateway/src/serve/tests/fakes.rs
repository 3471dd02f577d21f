//! A gateway on a loopback port, its publisher and directory scripted.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use catalog::{Catalog, EventType};
use chassis::config::Config;
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use chassis::tasks;
use kafka::{KafkaError, Written};
use parking_lot::Mutex;
use schemas::control::{self, ControlObject};
use schemas::event_type::EventTypeName;
use schemas::ids::{ApplicationId, OrganizationId};
use schemas::record::OutRecord;
use schemas::topics::TopicSettings;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use crate::config::GatewayConfig;
use crate::directory::{Caller, Declared, Directory, DirectoryAnswer};
use crate::fallback::Fallback;
use crate::forward::Forwarder;
use crate::gateway::{Gateway, GatewayParts};
use crate::limits::{Allowance, Senders};
use crate::metrics::GatewayMetrics;
use crate::publish::{PendingRecord, Publish};
use crate::replicas::FirstCount;

pub(super) const APPLICATION: &str = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";
pub(super) const SECRET: &str = "00000000-0000-4000-8000-000000000001";
pub(super) const OTHER_SECRET: &str = "00000000-0000-4000-8000-000000000002";
pub(super) const SERVICE: &str = "a-service-token-of-the-organization";
pub(super) const OTHER_SERVICE: &str = "a-service-token-of-another-organization";
/// Of an application of another organization.
pub(super) const NEIGHBOUR: &str = "00000000-0000-4000-8000-000000000003";
pub(super) const ADMIN: &str = "the-admin-key-of-the-tests";

pub(super) struct Fixture {
    pub(super) address: SocketAddr,
    pub(super) publisher: Arc<Publisher>,
    pub(super) directory: Arc<Names>,
    pub(super) shutdown: Shutdown,
    pub(super) health: Health,
    server: Option<JoinHandle<()>>,
}

/// Acknowledges records, when the test lets it.
pub(super) struct Publisher {
    records: watch::Sender<Vec<OutRecord>>,
    held: watch::Sender<bool>,
    failing: AtomicBool,
    refusing: Mutex<Option<KafkaError>>,
}

/// While it lives nothing is acknowledged.
pub(super) struct Hold(Arc<Publisher>);

/// What the gateway may know.
pub(super) struct Names {
    tokens: Mutex<HashSet<String>>,
    types: Mutex<HashSet<String>>,
    demanding: Mutex<Option<Arc<EventType>>>,
    deprecated: AtomicBool,
    has_window: AtomicBool,
    limits: Mutex<(Allowance, Allowance)>,
    appearing: Mutex<Vec<(String, String)>>,
    caught_up: watch::Sender<bool>,
    refreshes: AtomicUsize,
    broken: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Value,
}

/// An event of the known type, with more fields.
pub(super) fn event(more: &str) -> String {
    format!(r#"{{"event_type":"invoice.paid","payload":{{"a": 1}}{more}}}"#)
}

/// A request that keeps its connection.
pub(super) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

// === impl Fixture ===

impl Fixture {
    pub(super) async fn start() -> Self {
        Self::with(|_config| {}, None).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut GatewayConfig), fallback: Option<Fallback>) -> Self {
        let fixture = Self::serve(change, fallback).await;
        fixture.directory.catch_up();
        fixture.ready().await;
        fixture
    }

    pub(super) async fn start_behind() -> Self {
        Self::serve(|_config| {}, None).await
    }

    async fn serve(change: impl FnOnce(&mut GatewayConfig), fallback: Option<Fallback>) -> Self {
        let mut config = Config::for_tests().gateway;
        change(&mut config);
        let (publisher, directory) = (Publisher::new(), Names::new());
        let metrics = GatewayMetrics::new(&Registry::new()).unwrap();
        let parts = GatewayParts {
            topics: TopicSettings::default().topics(),
            directory: Arc::clone(&directory) as Arc<dyn Directory>,
            publisher: Arc::clone(&publisher) as Arc<dyn Publish>,
            fallback,
            forwarder: config.forward.clone().map(|to| Forwarder::new(to, metrics.clone()).unwrap()),
            metrics,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, health) = (Shutdown::new(), Health::new());
        let latch = health.latch("gateway");
        let serving = crate::serve::serve(
            Gateway::new(config, parts),
            None,
            listener,
            (latch, FirstCount::not_needed()),
            shutdown.clone(),
        );
        let server = Some(tasks::spawn("server", serving));
        Self { address, publisher, directory, shutdown, health, server }
    }

    pub(super) async fn ready(&self) {
        while !self.health.is_ready() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn ended(&mut self) {
        self.server.take().unwrap().await.unwrap();
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One event with the application's secret.
    pub(super) async fn send(&self, body: &str) -> Reply {
        self.ask("POST", "/api/v1/event", Some(SECRET), "application/json", body.as_bytes()).await
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        content_type: &str,
        body: &[u8],
    ) -> Reply {
        let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: gateway\r\n{authorization}content-type: {content_type}\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    pub(super) async fn raw(&self, bytes: &[u8]) -> Reply {
        let mut socket = self.connect().await;
        // A server that has seen enough may close before everything is written: what it answered counts.
        let _written = socket.write_all(bytes).await;
        Reply::read(&mut socket).await
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

// === impl Reply ===

impl Reply {
    pub(super) async fn read(socket: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        loop {
            if let Some(reply) = Self::parse(&bytes) {
                return reply;
            }
            let read = socket.read_buf(&mut bytes).await.unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().unwrap();
        let body = body.get(..length)?;
        Some(Self { status, headers, body: serde_json::from_str(body).unwrap_or(Value::Null) })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn id(&self) -> &str {
        self.body["id"].as_str().unwrap_or_default()
    }

    pub(super) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

// === impl Publisher ===

impl Publisher {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            records: watch::Sender::new(Vec::new()),
            held: watch::Sender::new(false),
            failing: AtomicBool::new(false),
            refusing: Mutex::new(None),
        })
    }

    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        self.held.send_replace(true);
        Hold(Arc::clone(self))
    }

    /// Whether the next record is not acknowledged.
    pub(super) fn fail_next(&self, fail: bool) {
        self.failing.store(fail, Ordering::SeqCst);
    }

    /// What every record is refused with.
    pub(super) fn refuse(&self, error: Option<KafkaError>) {
        *self.refusing.lock() = error;
    }

    pub(super) fn count(&self) -> usize {
        self.records.borrow().len()
    }

    /// All records, as soon as there are this many.
    pub(super) async fn taken(&self, count: usize) -> Vec<OutRecord> {
        let mut records = self.records.subscribe();
        records.wait_for(|records| records.len() >= count).await.unwrap().clone()
    }
}

impl Publish for Publisher {
    fn send(&self, record: &OutRecord) -> Result<PendingRecord, KafkaError> {
        if let Some(error) = self.refusing.lock().clone() {
            return Err(error);
        }
        let failing = self.failing.swap(false, Ordering::SeqCst);
        self.records.send_modify(|records| records.push(record.clone()));
        let mut held = self.held.subscribe();
        Ok(PendingRecord::Scripted(Box::pin(async move {
            let _open = held.wait_for(|held| !*held).await;
            let written = Written { partition: 0, offset: 0, timestamp_ms: 1_795_343_400_123 };
            if failing { Err(KafkaError::Closed) } else { Ok(written) }
        })))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.held.send_replace(false);
    }
}

// === impl Names ===

impl Names {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            tokens: Mutex::new(HashSet::from([SECRET.to_owned()])),
            types: Mutex::new(HashSet::from(["invoice.paid".to_owned()])),
            demanding: Mutex::default(),
            deprecated: AtomicBool::new(false),
            has_window: AtomicBool::new(false),
            limits: Mutex::default(),
            appearing: Mutex::default(),
            caught_up: watch::Sender::new(false),
            refreshes: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        })
    }

    pub(super) fn catch_up(&self) {
        self.caught_up.send_replace(true);
    }

    /// A token and an event type that the next refresh finds.
    pub(super) fn on_refresh(&self, token: &str, event_type: &str) {
        self.appearing.lock().push((token.to_owned(), event_type.to_owned()));
    }

    pub(super) fn refreshes(&self) -> usize {
        self.refreshes.load(Ordering::SeqCst)
    }

    /// The limits of the application and of its organization.
    pub(super) fn limit(&self, application: Allowance, organization: Allowance) {
        *self.limits.lock() = (application, organization);
    }

    /// The event type should not be sent any more.
    pub(super) fn deprecate(&self) {
        self.deprecated.store(true, Ordering::SeqCst);
    }

    /// The application says how long an id counts as a repeat.
    pub(super) fn give_window(&self) {
        self.has_window.store(true, Ordering::SeqCst);
    }

    /// What the event type of the tests asks of an event.
    pub(super) fn demand(&self, schema: Value) {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k", [1; 32])], &[2; 32]).unwrap());
        let name = EventTypeName::parse("invoice.paid").unwrap();
        let event_type = control::EventType { schema: Some(schema), ..control::EventType::new(application(), name, 1) };
        let owner = control::Application::new(application(), organization(), "one", 1);
        let objects = [ControlObject::Application(owner), ControlObject::EventType(event_type)];
        let catalog = Catalog::of(objects, vault);
        *self.demanding.lock() = catalog.read().event_type(application(), "invoice.paid").cloned();
    }

    pub(super) fn fail_refresh(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

fn organization() -> OrganizationId {
    OrganizationId(Uuid::from_u128(7))
}

fn application() -> ApplicationId {
    ApplicationId(Uuid::parse_str(APPLICATION).unwrap())
}

fn neighbour() -> ApplicationId {
    ApplicationId(Uuid::from_u128(9))
}

fn owner(of: ApplicationId) -> Option<OrganizationId> {
    match of {
        it if it == application() => Some(organization()),
        it if it == neighbour() => Some(OrganizationId(Uuid::from_u128(8))),
        _other => None,
    }
}

impl Names {
    fn senders_of(&self, application: ApplicationId) -> Option<Senders> {
        let (application_allowance, organization_allowance) = *self.limits.lock();
        let organization = owner(application)?;
        let shared_allowance = Allowance::default();
        Some(Senders { application, application_allowance, organization, organization_allowance, shared_allowance })
    }
}

impl Directory for Names {
    fn caller(&self, token: &str) -> Option<Caller> {
        match token {
            ADMIN => Some(Caller::Admin),
            "viewer" => Some(Caller::ReadOnly(Some(OrganizationId(Uuid::from_u128(7))))),
            OTHER_SECRET => Some(Caller::Application(ApplicationId(Uuid::from_u128(2)))),
            SERVICE => Some(Caller::Organization(organization())),
            NEIGHBOUR => Some(Caller::Application(neighbour())),
            OTHER_SERVICE => Some(Caller::Organization(OrganizationId(Uuid::from_u128(8)))),
            token => self.tokens.lock().contains(token).then(|| Caller::Application(application())),
        }
    }

    fn application(&self, caller: Caller, id_or_uid: &str) -> Option<ApplicationId> {
        let may = match caller {
            Caller::Admin => true,
            Caller::Application(own) => own == application(),
            Caller::Organization(own) => own == organization(),
            Caller::ReadOnly(_) => false,
        };
        (may && id_or_uid == APPLICATION).then(application)
    }

    fn event_type(&self, of: ApplicationId, name: &str) -> Option<Declared> {
        let (senders, demanding) = (self.senders_of(of)?, self.demanding.lock().clone());
        let (is_deprecated, is_repeat_told) =
            (self.deprecated.load(Ordering::SeqCst), !self.has_window.load(Ordering::SeqCst));
        let declared = Declared { demanding, is_deprecated, senders, is_repeat_told };
        self.types.lock().contains(name).then_some(declared)
    }

    fn senders(&self, caller: Caller) -> Option<Senders> {
        match caller {
            Caller::Application(own) => self.senders_of(own),
            Caller::Admin | Caller::Organization(_) | Caller::ReadOnly(_) => None,
        }
    }

    fn refused_senders(&self, _caller: Caller, senders: Senders) -> Senders {
        senders
    }

    fn caught_up(&self) -> DirectoryAnswer<'_, ()> {
        let mut caught_up = self.caught_up.subscribe();
        Box::pin(async move {
            let _caught_up = caught_up.wait_for(|caught_up| *caught_up).await;
        })
    }

    fn refresh(&self) -> DirectoryAnswer<'_, Result<(), String>> {
        self.refreshes.fetch_add(1, Ordering::SeqCst);
        for (token, event_type) in self.appearing.lock().drain(..) {
            self.tokens.lock().insert(token);
            self.types.lock().insert(event_type);
        }
        let broken = self.broken.load(Ordering::SeqCst);
        Box::pin(async move { if broken { Err("broken on purpose".to_owned()) } else { Ok(()) } })
    }
}
