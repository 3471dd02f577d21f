//! The stub registry: Confluent's API as far as schemas are read, with failures that can be switched on.
//!
//! ```text
//! registry.schema(7, "AVRO", text)                     GET /schemas/ids/7
//! registry.guid(guid, 7)                               GET /schemas/guids/{guid}
//! registry.version("orders", 1, "AVRO", text)          GET /subjects/orders/versions/1, and the same schema by an id
//! registry.fails(Some(RegistryFault::Status(503)))     until it is told otherwise
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::endpoint::Secure;
use crate::engine::Engine;

/// What a request gets in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryFault {
    /// This status, with Confluent's shape of an error.
    Status(u16),
    /// An empty 404, as Apicurio answers a wrong route.
    WrongRoute,
    /// 200 with a page.
    NoJson,
    /// 200 with so many bytes.
    Long(usize),
    /// The end of its connection.
    Closes,
    /// Nothing.
    Silent,
}

/// A running one. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct StubRegistry {
    scheme: &'static str,
    address: SocketAddr,
    shelf: Arc<SchemaShelf>,
    _engine: Engine,
}

/// What the stub has, and what it was asked.
#[derive(Debug)]
struct SchemaShelf {
    held: Mutex<ShelfHeld>,
    /// Requests that came.
    requests: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct ShelfHeld {
    ids: BTreeMap<u32, Value>,
    guids: BTreeMap<String, u32>,
    has_no_guids: bool,
    versions: BTreeMap<(String, u32), Value>,
    fault: Option<RegistryFault>,
    authorization: Option<String>,
    asked: BTreeMap<String, u64>,
}

/// A subject's version under the name that a schema calls it by.
pub type Reference<'a> = (&'a str, &'a str, u32);

impl StubRegistry {
    /// Starts one that has no schemas.
    ///
    /// # Errors
    /// No free port.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_as(None)
    }

    /// The same behind TLS.
    ///
    /// # Errors
    /// No free port.
    pub fn start_secure(secure: &Secure) -> anyhow::Result<Self> {
        Self::start_as(Some(secure.acceptor()))
    }

    fn start_as(acceptor: Option<tokio_rustls::TlsAcceptor>) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, kafka_dev::ports::choose()?));
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let engine = Engine::start("stub-registry", 1)?;
        let shelf = Arc::new(SchemaShelf { held: Mutex::default(), requests: watch::Sender::new(0) });
        let (handle, shared) = (engine.handle(), Arc::clone(&shelf));
        engine.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                drop(handle.spawn(Arc::clone(&shared).accept(stream, acceptor.clone())));
            }
        });
        Ok(Self { scheme, address, shelf, _engine: engine })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Has a schema under an id. `kind`: `AVRO`, `PROTOBUF`, `JSON`, or what nobody knows.
    pub fn schema(&self, id: u32, kind: &str, text: &str) {
        self.schema_with(id, kind, text, &[]);
    }

    /// The same with what it refers to.
    pub fn schema_with(&self, id: u32, kind: &str, text: &str, references: &[Reference<'_>]) {
        self.shelf.held.lock().ids.insert(id, shown(kind, text, references));
    }

    /// Has a schema of an id under a GUID too.
    pub fn guid(&self, guid: &str, id: u32) {
        self.shelf.held.lock().guids.insert(guid.to_owned(), id);
    }

    /// Has no path for GUIDs, as older ones.
    pub fn without_guids(&self) {
        self.shelf.held.lock().has_no_guids = true;
    }

    /// Has a schema under a subject's version: what others refer to.
    pub fn version(&self, subject: &str, version: u32, kind: &str, text: &str, references: &[Reference<'_>]) {
        self.shelf.held.lock().versions.insert((subject.to_owned(), version), shown(kind, text, references));
    }

    /// Fails so from now on; none: answers again.
    pub fn fails(&self, fault: Option<RegistryFault>) {
        self.shelf.held.lock().fault = fault;
    }

    /// Answers only who shows this `Authorization`; others get 401.
    pub fn expects(&self, authorization: &str) {
        self.shelf.held.lock().authorization = Some(authorization.to_owned());
    }

    /// How often a path was asked for, whatever came of it.
    #[must_use]
    pub fn asked(&self, path: &str) -> u64 {
        self.shelf.held.lock().asked.get(path).copied().unwrap_or_default()
    }

    /// Waits until a path was asked for so often.
    ///
    /// # Errors
    /// It was not; the message says how often.
    pub async fn wait_for(&self, path: &str, count: u64, within: Duration) -> anyhow::Result<()> {
        let mut requests = self.shelf.requests.subscribe();
        let enough = requests.wait_for(|_| self.asked(path) >= count);
        match tokio::time::timeout(within, enough).await {
            Ok(Ok(_)) => Ok(()),
            _ => bail!("{path} was asked for {} of {count} times within {within:?}", self.asked(path)),
        }
    }
}

impl RegistryFault {
    async fn answer(self) -> Result<Response<Full<Bytes>>, std::io::Error> {
        Ok(match self {
            Self::Status(status) => {
                let body = json!({"error_code": u32::from(status) * 100 + 1, "message": "as told"});
                json_answer(status, &body)
            }
            Self::WrongRoute => bytes_answer(404, Bytes::new()),
            Self::NoJson => bytes_answer(200, Bytes::from_static(b"<html>welcome</html>")),
            Self::Long(bytes) => bytes_answer(200, Bytes::from(vec![b' '; bytes])),
            Self::Closes => return Err(std::io::ErrorKind::ConnectionReset.into()),
            Self::Silent => match std::future::pending::<Infallible>().await {},
        })
    }
}

impl SchemaShelf {
    async fn accept(self: Arc<Self>, stream: TcpStream, acceptor: Option<tokio_rustls::TlsAcceptor>) {
        let service = service_fn(|request| self.answer(request));
        // How a connection ends is the client's choice, or the fault's.
        let _ended = match acceptor {
            None => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
            Some(acceptor) => match acceptor.accept(stream).await {
                Ok(stream) => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
                Err(_no_handshake) => return,
            },
        };
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let path = request.uri().path().to_owned();
        let shown = request.headers().get(AUTHORIZATION).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let (fault, is_known) = {
            let mut held = self.held.lock();
            *held.asked.entry(path.clone()).or_default() += 1;
            (held.fault.clone(), held.authorization.is_none() || held.authorization == shown)
        };
        self.requests.send_modify(|requests| *requests += 1);
        if let Some(fault) = fault {
            return fault.answer().await;
        }
        if !is_known {
            return Ok(json_answer(401, &json!({"error_code": 401, "message": "Unauthorized"})));
        }
        Ok(self.held.lock().find(&path))
    }
}

impl ShelfHeld {
    fn find(&self, path: &str) -> Response<Full<Bytes>> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let not_found =
            |code: u32| json_answer(404, &json!({"error_code": code, "message": format!("{path} not found")}));
        match parts[..] {
            ["schemas", "ids", id] => {
                let found = id.parse().ok().and_then(|id: u32| self.ids.get(&id));
                found.map_or_else(|| not_found(40_403), |found| json_answer(200, found))
            }
            ["schemas", "guids", guid] if !self.has_no_guids => {
                let found = self.guids.get(guid).and_then(|id| self.ids.get(id));
                found.map_or_else(|| not_found(40_403), |found| json_answer(200, found))
            }
            ["subjects", subject, "versions", version] => {
                let subject = subject.replace("%2F", "/");
                let found = version.parse().ok().and_then(|version| self.versions.get(&(subject, version)));
                found.map_or_else(|| not_found(40_402), |found| json_answer(200, found))
            }
            ["subjects"] => {
                let subjects: BTreeSet<&String> = self.versions.keys().map(|(subject, _)| subject).collect();
                json_answer(200, &json!(subjects))
            }
            _ => bytes_answer(404, Bytes::new()),
        }
    }
}

fn shown(kind: &str, text: &str, references: &[Reference<'_>]) -> Value {
    let reference =
        |(name, subject, version): &Reference<'_>| json!({"name": name, "subject": subject, "version": version});
    let references: Vec<Value> = references.iter().map(reference).collect();
    // Avro goes without saying, as with Confluent.
    match kind {
        "AVRO" => json!({"schema": text, "references": references}),
        kind => json!({"schema": text, "schemaType": kind, "references": references}),
    }
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    bytes_answer(status, Bytes::from(body.to_string()))
}

fn bytes_answer(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
