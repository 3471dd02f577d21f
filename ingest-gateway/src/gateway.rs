//! One request: routed, admitted by its head, its body read, its events handed on, the outcome as a response.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chassis::body_budget::BodyBudget;
use chassis::clock;
use chassis::limited::Limited;
use chassis::server::{ConnectionState, Serve, ServerLimits};
use http::header::{CONTENT_TYPE, EXPECT};
use http::request::Parts as Head;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use schemas::ids::OrganizationId;
use schemas::topics::Topics;

use crate::body::{self, BodyLimits};
use crate::check_budget::CheckBudget;
use crate::cloud_event;
use crate::config::{GatewayConfig, HTTP2_STREAMS, PARSED_HEADERS};
use crate::cors::CrossOrigin;
use crate::directory::{Caller, Directory, Recheck};
use crate::encoding::Encoding;
use crate::fallback::Fallback;
use crate::forward::Forwarder;
use crate::ingest::{Asking, Fresh};
use crate::limits::SendLimits;
use crate::metrics::GatewayMetrics;
use crate::problem::{self, Refused};
use crate::publish::Publish;
use crate::recent_ids::RecentIds;
use crate::response::{self, GatewayBody, RequestIds};
use crate::route::Route;
use crate::{parse, query, validate};

/// How often a repeated failure is logged.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// What requests are served with.
pub(crate) struct GatewayParts {
    pub(crate) topics: Topics,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) publisher: Arc<dyn Publish>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) forwarder: Option<Forwarder>,
    pub(crate) metrics: GatewayMetrics,
}

/// Serves requests; shared by all connections.
pub(crate) struct Gateway {
    config: GatewayConfig,
    parts: GatewayParts,
    ready: AtomicBool,
    recheck: Recheck,
    recent: RecentIds,
    limits: SendLimits,
    budget: BodyBudget,
    request_ids: RequestIds,
    cross_origin: CrossOrigin,
    limited: Limited,
}

/// What a body holds, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventForm {
    /// Our own JSON.
    Json,
    /// One event per line.
    Lines,
    /// A `CloudEvent` whose attributes are headers.
    CloudBinary,
    /// A `CloudEvent` in JSON.
    CloudStructured,
    /// Many of them.
    CloudBatch,
}

/// A request that its head does not refuse.
struct Admitted {
    form: EventForm,
    encoding: Encoding,
    caller: Caller,
    /// Whose it is; the operator's is nobody's.
    organization: Option<OrganizationId>,
}

/// An answer that is no refusal.
struct Answered {
    status: StatusCode,
    body: Vec<u8>,
    /// The event's type should not be sent any more.
    is_deprecated: bool,
}

// === impl Gateway ===

impl Gateway {
    pub(crate) fn new(config: GatewayConfig, parts: GatewayParts) -> Arc<Self> {
        Arc::new(Self {
            ready: AtomicBool::new(false),
            recheck: Recheck::default(),
            recent: RecentIds::new(config.recent_ids),
            limits: SendLimits::new(config.replicas.unwrap_or(1)),
            budget: BodyBudget::new(config.max_in_flight_bytes, parts.metrics.server.body_bytes.clone()),
            request_ids: RequestIds::new(),
            cross_origin: CrossOrigin::new(&config.cors_origins),
            limited: Limited::new(LOG_PERIOD),
            config,
            parts,
        })
    }

    pub(crate) fn config(&self) -> &GatewayConfig {
        &self.config
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.parts.topics
    }

    pub(crate) fn directory(&self) -> &dyn Directory {
        &*self.parts.directory
    }

    pub(crate) fn publisher(&self) -> &dyn Publish {
        &*self.parts.publisher
    }

    pub(crate) fn metrics(&self) -> &GatewayMetrics {
        &self.parts.metrics
    }

    pub(crate) fn recent(&self) -> &RecentIds {
        &self.recent
    }

    pub(crate) fn limits(&self) -> &SendLimits {
        &self.limits
    }

    pub(crate) fn limited(&self) -> &Limited {
        &self.limited
    }

    /// What its listener takes.
    pub(crate) fn server_limits(&self) -> ServerLimits {
        let config = &self.config;
        let forwarded = self.parts.forwarder.as_ref().map_or(Duration::ZERO, Forwarder::timeout);
        let longest = (config.body_read_timeout + config.request_timeout).max(forwarded) + config.header_read_timeout;
        ServerLimits {
            head: config.header_read_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
            request: longest.min(config.drain),
            connections: config.max_connections,
            per_address: config.connections_per_address,
            head_bytes: config.header_limit,
            headers: parsed_headers(config.header_count_limit),
            streams: HTTP2_STREAMS,
        }
    }

    /// Events are taken from the first catch-up of the catalog on; before it they are answered with a 503.
    pub(crate) async fn become_ready(&self) {
        self.directory().caught_up().await;
        self.ready.store(true, Ordering::Release);
    }

    /// Brings the snapshot up to date, once per request. `Ok(false)`: it was already.
    pub(crate) async fn make_fresh(&self, fresh: &mut Fresh) -> Result<bool, Refused> {
        if fresh.0 {
            return Ok(false);
        }
        self.metrics().rechecks.inc();
        // Boxed like every rare path, to keep the common future small: hyper moves all of it once per request.
        let refreshed = Box::pin(self.recheck.refresh(self.directory())).await;
        refreshed.map_err(|error| {
            if let Some(swallowed) = self.limited.permit("recheck") {
                tracing::warn!(error, swallowed, "the catalog could not be brought up to date before a refusal");
            }
            problem::catalog_behind("whether this is known could not be checked now")
        })?;
        fresh.0 = true;
        Ok(true)
    }

    async fn events(
        &self,
        route: Route,
        connection: &Arc<ConnectionState>,
        request: Request<Incoming>,
    ) -> Result<Answered, Refused> {
        let limits = BodyLimits { size: self.config.request_limit, time: self.config.body_read_timeout };
        let (head, mut body) = request.into_parts();
        let mut fresh = Fresh::default();
        let mut share = self.budget.share();
        let admitted = match body::check_announced(&body, limits) {
            Ok(()) => self.admit(route, connection, &head, &mut fresh).await,
            Err(refused) => Err(refused),
        };
        let received = match admitted {
            Ok(admitted) => {
                share.belong(admitted.organization);
                let received = body::receive(&mut body, limits, &connection.body_timer, &mut share).await;
                received
                    .inspect_err(|refused| self.count_refused(admitted.caller, [refused]))
                    .map(|body| (admitted, body))
            }
            Err(refused) => Err(refused),
        };
        let (Admitted { form, encoding, caller, .. }, body) = match received {
            Ok(received) => received,
            Err(refused) => {
                share.end();
                // A client that waits for `100 Continue` sends nothing yet, and one that was too slow had its time.
                if !head.headers.contains_key(EXPECT) && refused.status != 408 {
                    Box::pin(body::drain(body, limits)).await;
                }
                return Err(refused);
            }
        };
        let decoded = encoding.decode(body, limits.size, &mut share);
        let body = decoded.inspect_err(|refused| self.count_refused(caller, [refused]))?;
        let hook0 = head.headers.contains_key("hook0-client-options");
        let (now_ms, checks) = (clock::now_ms(), CheckBudget::new());
        let ip = self.caller_address(connection, &head.headers);
        let asking = Asking { caller, ip: &ip, now_ms, hook0, fresh, checks };
        let done = pin!(self.ingest_body(route, form, head, body, asking));
        let done = connection.request_timer.within(self.config.request_timeout, done).await;
        let done = done.unwrap_or_else(|| Err(problem::kafka_unavailable("no acknowledgement in time")));
        done.inspect_err(|refused| self.count_refused(caller, [refused]))
    }

    /// Everything that can be said by a request's head alone.
    async fn admit(
        &self,
        route: Route,
        connection: &Arc<ConnectionState>,
        head: &Head,
        fresh: &mut Fresh,
    ) -> Result<Admitted, Refused> {
        self.check_head(&head.headers)?;
        if route == Route::Other {
            return Err(problem::not_found());
        }
        if head.method != Method::POST {
            return Err(problem::method_not_allowed(&head.method));
        }
        if !self.ready.load(Ordering::Acquire) {
            return Err(problem::catalog_behind("the gateway is starting"));
        }
        let caller = self.authenticate(&head.headers, fresh).await?;
        let senders = self.directory().senders(caller);
        let organization = senders.map(|it| it.organization);
        if organization.is_some() || caller == Caller::Admin {
            connection.trust(organization);
        }
        query::check(head.uri.query())?;
        if let Some(senders) = senders {
            let now_ms = clock::now_ms();
            self.limits().ask_rate(senders, now_ms).map_err(problem::over_limit)?;
            let of_refused = self.directory().refused_senders(caller, senders);
            self.limits().ask_refused(of_refused, now_ms).map_err(problem::over_limit)?;
        }
        let (form, encoding) = (EventForm::of(route, &head.headers)?, Encoding::of(&head.headers)?);
        Ok(Admitted { form, encoding, caller, organization })
    }

    fn check_head(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let (count, limit) = (headers.len(), self.config.header_count_limit);
        if count > limit {
            return Err(problem::headers_too_large(format!("{count} headers, at most {limit} are accepted")));
        }
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let limit = self.config.header_limit;
        if size > limit {
            return Err(problem::headers_too_large(format!("{size} bytes of headers, at most {limit} are accepted")));
        }
        Ok(())
    }

    async fn ingest_body(
        &self,
        route: Route,
        form: EventForm,
        head: Head,
        body: Bytes,
        mut asking: Asking<'_>,
    ) -> Result<Answered, Refused> {
        let limit = self.config.payload_limit;
        let event = match (route, form) {
            (Route::Batch, EventForm::Lines) => return Box::pin(self.lines(&body, asking)).await.map(Answered::batch),
            (Route::Batch, EventForm::CloudBatch) => {
                return Box::pin(self.cloud_batch(&body, asking)).await.map(Answered::batch);
            }
            (Route::Batch, _) => return Box::pin(self.batch(&body, asking)).await.map(Answered::batch),
            (Route::Event | Route::Other, EventForm::CloudBinary) => cloud_event::binary(&head.headers, &body, limit)?,
            (Route::Event | Route::Other, EventForm::CloudStructured) => cloud_event::structured(&body, limit)?,
            (Route::Event | Route::Other, EventForm::Json | EventForm::Lines | EventForm::CloudBatch) => {
                validate::event(&parse::event(parse::utf8(&body)?)?, &body, limit)?
            }
        };
        let prepared = self.prepare(&mut asking, &event).await?;
        drop(event);
        // What is sent is copied then, and hyper can read the next request into the same buffer.
        drop((head, body));
        let accepted = self.publish_in_turn(prepared).await?;
        let body = serde_json::to_vec(&accepted).expect("three strings are JSON");
        Ok(Answered { status: StatusCode::CREATED, body, is_deprecated: accepted.is_deprecated })
    }
}

impl Serve for Gateway {
    type Body = GatewayBody;

    async fn serve(&self, connection: &Arc<ConnectionState>, mut request: Request<Incoming>) -> Response<GatewayBody> {
        let route = Route::of(request.uri().path());
        if let (Route::Other, Some(fallback)) = (route, &self.parts.fallback) {
            request.extensions_mut().insert(Arc::clone(connection));
            return fallback.answer(request).await.map(GatewayBody::Stream);
        }
        let request_id = self.request_ids.of(request.headers());
        if let (Route::Other, Some(forwarder)) = (route, &self.parts.forwarder) {
            return self.forward((forwarder, request_id), connection, request).await;
        }
        let to_page = self.cross_origin.asked(request.headers());
        let asked = if route == Route::Other { None } else { to_page.preflight(&request, &request_id) };
        let mut response = match asked {
            Some(answer) => answer,
            None => match self.events(route, connection, request).await {
                Ok(answer) => answer.response(request_id),
                Err(refused) => self.refuse(&refused, request_id),
            },
        };
        to_page.say(&mut response);
        response
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

// === impl EventForm ===

impl EventForm {
    fn of(route: Route, headers: &HeaderMap) -> Result<Self, Refused> {
        let given = headers.get(CONTENT_TYPE).map_or(Ok(""), http::HeaderValue::to_str).unwrap_or("?");
        let media_type = given.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        let json = is("application/json") || given.is_empty();
        match route {
            Route::Batch if json => Ok(Self::Json),
            Route::Batch if is("application/x-ndjson") || is("application/ndjson") => Ok(Self::Lines),
            Route::Batch if is("application/cloudevents-batch+json") => Ok(Self::CloudBatch),
            Route::Batch => {
                let accepted = "`application/json`, `application/x-ndjson` and `application/cloudevents-batch+json`";
                Err(problem::unsupported_media_type(given, accepted))
            }
            Route::Event | Route::Other if is("application/cloudevents+json") => Ok(Self::CloudStructured),
            Route::Event | Route::Other if headers.contains_key("ce-specversion") => Ok(Self::CloudBinary),
            Route::Event | Route::Other if json => Ok(Self::Json),
            Route::Event | Route::Other => {
                let accepted = "`application/json`, `application/cloudevents+json` and CloudEvents with `ce-` headers";
                Err(problem::unsupported_media_type(given, accepted))
            }
        }
    }
}

impl Answered {
    fn response(self, request_id: http::HeaderValue) -> Response<GatewayBody> {
        let mut response = response::json(self.status, self.body, request_id);
        if self.is_deprecated {
            response::mark_deprecated(&mut response);
        }
        response
    }

    fn batch(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, body, is_deprecated: false }
    }
}

/// Headers hyper is told to parse: never fewer than it does anyway, so that most floods get a problem of ours.
fn parsed_headers(limit: usize) -> Option<usize> {
    (limit >= PARSED_HEADERS).then_some(limit + 1)
}
