//! What is no event route, passed on to a control plane in another process: one address for all of the API.
//!
//! ```text
//! client --> gateway --> [one of so many at once, of one caller fewer] --> control plane
//!   <---- pieces of the body, both ways, as they come ---->
//! ```
//!
//! Nothing of a body is kept, so nothing of it is counted here; what is too large is the control plane's to refuse. Whoever called is
//! told in `X-Forwarded-For` and `Forwarded`, as the gateway knows it: what the client says of itself does not get through.

mod answer;
mod lent;
mod places;

use std::sync::Arc;
use std::time::Duration;

use chassis::config::ForwardConfig;
use chassis::limited::Limited;
use chassis::server::{ConnectionState, network};
use chassis::telemetry;
use http::header::{
    CONNECTION, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tracing::warn;

pub(crate) use self::places::PlaceHolder;

use self::answer::ForwardedBody;
use self::lent::{BodyLender, LentBody};
use self::places::ForwardPlaces;
use crate::body::BodyLimits;
use crate::directory::Caller;
use crate::error::Error;
use crate::fallback::FallbackBody;
use crate::gateway::Gateway;
use crate::metrics::{ForwardOutcome, GatewayMetrics};
use crate::problem::{self, Refused};
use crate::response::{self, GatewayBody};

/// A control plane that is there takes a connection sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Connections without a request; below the idle timeout of the other side, which would close them under a request.
const IDLE: Duration = Duration::from_secs(30);
/// Most bytes that hyper keeps of each connection, in each direction; its own default is 408 KiB, and there are hundreds of them.
const BUFFER_BYTES: usize = 64 * 1024;
/// How often a repeated failure is logged.
const LOG_PERIOD: Duration = Duration::from_secs(10);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Stands in what a gateway passed on: one that meets it is the target of another, or of itself.
const PASSED_ON: HeaderName = HeaderName::from_static("x-hookbus-forwarded");
/// Of one connection, not of the request.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Passes requests on. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    config: Arc<ForwardConfig>,
    client: Client<HttpsConnector<HttpConnector>, LentBody>,
    places: ForwardPlaces,
    metrics: GatewayMetrics,
    limited: Arc<Limited>,
}

// === impl Forwarder ===

impl Forwarder {
    /// # Errors
    /// The certificates of authorities cannot be used.
    pub(crate) fn new(config: ForwardConfig, metrics: GatewayMetrics) -> Result<Self, Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(&config)?).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.at_once)
            .http1_max_buf_size(BUFFER_BYTES)
            .build(connector.wrap_connector(tcp));
        let places = ForwardPlaces::new(config.at_once);
        let limited = Arc::new(Limited::new(LOG_PERIOD));
        Ok(Self { config: Arc::new(config), client, places, metrics, limited })
    }

    /// How long a request may take until its answer begins.
    pub(crate) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// The control plane's answer. `caller`: the address that the request came from; `holder`: whom it counts against.
    ///
    /// # Errors
    /// Nobody answers there, or not in time; too many are passed on; this one was passed on already. With what is left of the
    /// request's body.
    pub(crate) async fn answer(
        &self,
        (caller, holder): (&str, PlaceHolder),
        request: Request<Incoming>,
    ) -> Result<Response<FallbackBody>, (Refused, Option<Incoming>)> {
        if request.headers().contains_key(PASSED_ON) {
            return Err((problem::not_found(), Some(request.into_body())));
        }
        let Some(place) = self.places.take(holder) else {
            self.metrics.forwarded(ForwardOutcome::Overloaded);
            let refused = problem::overloaded("too many requests of the management API are under way");
            return Err((refused, Some(request.into_body())));
        };
        // The control plane reads keys of `POST` alone: with any other method a key has nothing done once.
        let is_keyed = request.method() == Method::POST && request.headers().contains_key(IDEMPOTENCY_KEY);
        let may_be_done = !request.method().is_safe();
        let lender = BodyLender::default();
        let request = self.passed_on(caller, request.map(|body| lender.lend(body)));
        let answered = tokio::time::timeout(self.config.timeout, self.client.request(request)).await;
        let (outcome, reason, is_sent) = match answered {
            Ok(Ok(mut response)) => {
                self.metrics.forwarded(ForwardOutcome::Answered);
                without_connection(response.headers_mut());
                let timeout = self.config.timeout;
                return Ok(response.map(|body| ForwardedBody::new(body, place, timeout).boxed_unsync()));
            }
            Ok(Err(error)) => (ForwardOutcome::Unreachable, telemetry::chain(&error), !error.is_connect()),
            Err(_elapsed) => {
                let reason = format!("no answer within {} ms", self.config.timeout.as_millis());
                (ForwardOutcome::TimedOut, reason, true)
            }
        };
        self.metrics.forwarded(outcome);
        if let Some(swallowed) = self.limited.permit(outcome.name()) {
            warn!(to = ?self.config.to, reason, swallowed, "the control plane does not answer what is passed on to it");
        }
        let refused =
            if is_sent && may_be_done { problem::outcome_unknown(is_keyed) } else { problem::control_unavailable() };
        Err((refused, lender.returned()))
    }

    /// The request as the control plane gets it.
    fn passed_on<B>(&self, caller: &str, mut request: Request<B>) -> Request<B> {
        let own = request.uri().authority().map(ToString::to_string);
        let path = request.uri().path_and_query().cloned();
        let to = &self.config.to;
        let headers = request.headers_mut();
        without_connection(headers);
        // HTTP/2 names the host in its URI.
        if let Some(host) = own.filter(|_| !headers.contains_key(HOST)).and_then(|own| HeaderValue::try_from(own).ok())
        {
            headers.insert(HOST, host);
        }
        // The control plane believes one of the two, as it is configured; what the client says in either does not get through.
        let node = if caller.contains(':') { format!("for=\"[{caller}]\"") } else { format!("for=\"{caller}\"") };
        for (name, value) in [(X_FORWARDED_FOR, caller), (FORWARDED, &node)] {
            headers.remove(&name);
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers.insert(PASSED_ON, HeaderValue::from_static("1"));
        // `*`, of OPTIONS, is no path.
        let path = path.filter(|path| path.path() != "*").unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(to.scheme.clone()).authority(to.authority.clone()).path_and_query(path);
        *request.uri_mut() = uri.build().expect("a scheme, an authority and a path are a URI");
        *request.version_mut() = Version::HTTP_11;
        request
    }
}

impl Gateway {
    /// Passes a request on that is none of ours. A token that is known here tells whose the connection is; whether it may do what is
    /// asked is the control plane's to say.
    pub(crate) async fn forward(
        &self,
        (forwarder, request_id): (&Forwarder, HeaderValue),
        connection: &Arc<ConnectionState>,
        request: Request<Incoming>,
    ) -> Response<GatewayBody> {
        let holder = match self.known(request.headers()) {
            Some(Caller::Admin) => Some(PlaceHolder::Operator),
            Some(Caller::ReadOnly(organization)) => organization.map(PlaceHolder::Organization),
            Some(Caller::Organization(organization)) => Some(PlaceHolder::Organization(organization)),
            Some(caller @ Caller::Application(_)) => {
                self.directory().senders(caller).map(|it| PlaceHolder::Organization(it.organization))
            }
            None => None,
        };
        match holder {
            Some(PlaceHolder::Operator) => connection.trust(None),
            Some(PlaceHolder::Organization(organization)) => connection.trust(Some(organization)),
            Some(PlaceHolder::Network(_)) | None => {}
        }
        let ip = self.caller_ip(connection, request.headers());
        let holder = holder.unwrap_or_else(|| PlaceHolder::Network(network(ip)));
        let address = ip.to_string();
        // Who waits for `100 Continue` sends nothing yet.
        let sends = !request.headers().contains_key(EXPECT);
        match Box::pin(forwarder.answer((&address, holder), request)).await {
            Ok(response) => response.map(GatewayBody::Stream),
            Err((refused, rest)) => {
                if let Some(rest) = rest.filter(|_| sends) {
                    let limits =
                        BodyLimits { size: self.config().request_limit, time: self.config().body_read_timeout };
                    Box::pin(crate::body::drain(rest, limits)).await;
                }
                response::problem(&refused, request_id)
            }
        }
    }
}

/// Takes out what is of one connection: by name, and what `Connection` names.
fn without_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OF_THE_CONNECTION.iter().chain(&named) {
        headers.remove(name);
    }
}

fn tls(config: &ForwardConfig) -> Result<ClientConfig, Error> {
    let unusable = |reason: String| Error::ForwardAuthorities { reason };
    let mut roots = RootCertStore::empty();
    if let Some(path) = &config.ca_file {
        let shown = path.display();
        let read = CertificateDer::pem_file_iter(path).map_err(|error| unusable(format!("{shown}: {error}")))?;
        for certificate in read {
            let certificate = certificate.map_err(|error| unusable(format!("{shown}: {error}")))?;
            roots.add(certificate).map_err(|error| unusable(format!("{shown}: {error}")))?;
        }
        if roots.is_empty() {
            return Err(unusable(format!("{shown} holds no certificate")));
        }
    } else {
        // Those that cannot be read are left out: what needs them fails by name.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
