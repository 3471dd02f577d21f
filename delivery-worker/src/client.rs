//! Sends requests over pooled connections, bounded in every direction, and says what came of them.
//!
//! ```text
//! request --pool--> carrier --> head ----> verdict
//!    ^                |          +-------> body: for the log, at most a second more
//!    +-- surely not processed: once more at once, and no attempt of its own
//! ```
//!
//! An attempt ends by its timeout. **Status and head decide**; what becomes of the body is noted and changes nothing. Redirects
//! are never followed. Of a response so much is kept as the delivery log shows; when more comes nobody reads on.

mod lost;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chassis::clock;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use rustls::ClientConfig;

use crate::classify::{AttemptVerdict, NoAnswer, answered};
use crate::config::ms;
use crate::pool::{
    Carrier, ClientIdentity, ConnectionPool, Holder, OriginRef, PoolLimits, QueuePlace, Sending, Taken, Way,
};
use crate::resolve::TargetResolver;

use self::lost::Lost;
pub use self::tls::TlsError;
pub(crate) use self::tls::{OwnTls, Tls};

/// What is left of an answer once its head is there is waited for this long: it is for the log alone.
const BODY_TIME: Duration = Duration::from_secs(1);
/// How often a request that was surely not processed goes out again. A server that says so again and again is at fault.
const REPEATS: u32 = 3;

/// What the client is bounded by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLimits {
    /// Response headers kept, bytes.
    pub(crate) headers: usize,
    /// Response body kept, bytes.
    pub(crate) body: usize,
    /// A body may take so long after its head.
    pub(crate) body_time: Duration,
    /// Of its connections.
    pub(crate) pool: PoolLimits,
}

/// Sends requests. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pool: ConnectionPool,
    limits: ClientLimits,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it means.
    pub(crate) verdict: AttemptVerdict,
    /// Status, if one came.
    pub(crate) status: Option<StatusCode>,
    /// Why the answer is missing or not whole.
    pub(crate) error: Option<NoAnswer>,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, cut.
    pub(crate) body: Bytes,
    /// Bytes of its body that came, where those are more than are kept.
    pub(crate) cut: Option<u64>,
    /// When its head was there.
    pub(crate) head_at: Option<Instant>,
    /// What the request went over, or tried to.
    pub(crate) way: Option<Way>,
    /// What there is to say beyond that, for people.
    pub(crate) detail: Option<String>,
}

/// A request, ready to go.
pub(crate) type HttpRequest = Request<Full<Bytes>>;

/// A request that was begun.
enum Outgoing {
    /// It is on its way, with a body of this length.
    Sent(Carrier, Sending, u64),
    /// It waits for a connection. Boxed: most never do.
    Waits(Box<(QueuePlace, HttpRequest)>),
    /// Its URI leads nowhere.
    Nowhere,
}

/// An answer's head, and what brought it. Failures are boxed: they are rare, and large.
type Head = Result<AnswerHead, Box<Lost>>;
type AnswerHead = (Carrier, Response<Incoming>);

/// How an answer's body ended.
enum BodyEnd {
    /// It came whole, in one piece: the usual case, and no copy.
    Piece(Bytes),
    /// It came whole.
    Whole,
    /// More than is kept: so many bytes came.
    Cut(u64),
    /// It broke off.
    Broken(hyper::Error),
}

// === impl ClientLimits ===

impl ClientLimits {
    /// So much is kept of an answer.
    pub(crate) fn new(headers: usize, body: usize, pool: PoolLimits) -> Self {
        Self { headers, body, body_time: BODY_TIME, pool }
    }
}

// === impl Client ===

impl Client {
    /// A client that connects to what this resolver allows.
    pub(crate) fn new(resolver: TargetResolver, limits: ClientLimits, tls: ClientConfig) -> Self {
        Self { pool: ConnectionPool::new(resolver, Arc::new(tls), limits.pool), limits }
    }

    /// The same connections, for answers whose body matters: so much of it, and it may take all the time there is.
    pub(crate) fn for_bodies(&self, body: usize) -> Self {
        Self { pool: self.pool.clone(), limits: ClientLimits { body, body_time: Duration::MAX, ..self.limits } }
    }

    /// Sends one request and waits for its answer, at most `timeout`. Never fails: a failure is an answer too. `now_ms`: the wall's time
    /// now, Unix ms.
    ///
    /// The request is handed on here and not in the future: it would be the largest part of what every attempt carries. Where it
    /// has to go out once more, `again` makes it.
    pub(crate) fn send<'a>(
        &'a self,
        request: HttpRequest,
        again: impl Fn() -> Result<HttpRequest, AttemptVerdict> + Send + Sync + 'a,
        identity: Option<&'a ClientIdentity>,
        timeout: Duration,
        now_ms: i64,
    ) -> impl Future<Output = Answer> + Send + 'a {
        let started = clock::instant();
        let deadline = started + timeout;
        let begun = self.begin(request, identity);
        async move {
            let lost = match self.head(begun, timeout, deadline).await {
                Ok(answered) => match self.answer(answered, deadline, (started, now_ms)) {
                    Ok(answer) => return answer,
                    Err(reading) => return reading.await,
                },
                Err(lost) => lost,
            };
            // Boxed: few need it.
            Box::pin(self.repeat(lost, &again, identity, (timeout, deadline), (started, now_ms))).await
        }
    }

    /// Goes out once more, as often as that is sure to do no harm.
    async fn repeat(
        &self,
        mut lost: Box<Lost>,
        again: &(dyn Fn() -> Result<HttpRequest, AttemptVerdict> + Send + Sync),
        identity: Option<&ClientIdentity>,
        (timeout, deadline): (Duration, Instant),
        started: (Instant, i64),
    ) -> Answer {
        for repeats in 0.. {
            if repeats >= lost.repeats(REPEATS) {
                break;
            }
            tracing::debug!(why = %lost, "a request was not processed and goes out once more");
            let request = match again() {
                Ok(request) => request,
                Err(verdict) => return Answer::of(verdict),
            };
            lost = match self.head(self.begin(request, identity), timeout, deadline).await {
                Ok(answered) => match self.answer(answered, deadline, started) {
                    Ok(answer) => return answer,
                    Err(reading) => return reading.await,
                },
                Err(lost) => lost,
            };
        }
        lost.into_answer()
    }

    /// Goes out over a connection that is there, or waits for one.
    fn begin(&self, request: HttpRequest, identity: Option<&ClientIdentity>) -> Outgoing {
        let Some(origin) = OriginRef::of(request.uri(), identity) else { return Outgoing::Nowhere };
        match self.pool.take(origin, identity) {
            Taken::Now(carrier) => Outgoing::sent(carrier, request),
            Taken::Waits(waiting) => Outgoing::Waits(Box::new((waiting, request))),
        }
    }

    /// Waits for an answer's head.
    async fn head(&self, begun: Outgoing, timeout: Duration, deadline: Instant) -> Head {
        let begun = match begun {
            Outgoing::Waits(waits) => Box::pin(self.wait(waits, timeout, deadline)).await?,
            begun @ (Outgoing::Sent(..) | Outgoing::Nowhere) => begun,
        };
        let Outgoing::Sent(mut carrier, mut sending, length) = begun else { return Err(Box::new(Lost::nowhere())) };
        let (before, answers) = (carrier.bytes(), carrier.answers());
        let head = std::future::poll_fn(|context| carrier.poll_with(context, |context| sending.as_mut().poll(context)));
        let lost = match tokio::time::timeout_at(deadline.into(), head).await {
            Ok(Ok(response)) => {
                carrier.answered();
                return Ok((carrier, response));
            }
            Ok(Err(error)) => Lost::broken(&carrier, before, error),
            Err(_elapsed) => Lost::late(&carrier, (before, answers), length, timeout),
        };
        if lost.condemns() {
            self.pool.condemn(&carrier, deadline - timeout);
        }
        Err(Box::new(lost))
    }

    /// Waits for a connection, and goes out over it.
    async fn wait(
        &self,
        waits: Box<(QueuePlace, HttpRequest)>,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<Outgoing, Box<Lost>> {
        let (mut waiting, request) = *waits;
        match tokio::time::timeout_at(deadline.into(), waiting.carrier()).await {
            Ok(Ok(carrier)) => Ok(Outgoing::sent(carrier, request)),
            Ok(Err(error)) => Err(Box::new(error.into())),
            Err(_elapsed) => Err(Box::new(self.pool.waited(&waiting, timeout).into())),
        }
    }

    /// The verdict on a head; its body is read for the log. What has none is done, and many have none: the rest is boxed.
    fn answer(
        &self,
        (carrier, response): AnswerHead,
        deadline: Instant,
        (started, started_ms): (Instant, i64),
    ) -> Result<Answer, impl Future<Output = Answer> + Send> {
        let (head, body) = response.into_parts();
        let head_at = clock::instant();
        let now_ms = started_ms.saturating_add(ms(head_at.saturating_duration_since(started)));
        let mut answer = Answer::of(answered(head.status, &head.headers, now_ms));
        answer.status = Some(head.status);
        answer.headers = head.headers;
        answer.head_at = Some(head_at);
        answer.way = Some(carrier.way());
        if body.is_end_stream() {
            carrier.finish(&self.pool, &answer.headers);
            return Ok(answer);
        }
        Err(Box::pin(self.body(answer, carrier, body, deadline)))
    }

    async fn body(&self, mut answer: Answer, mut carrier: Carrier, mut body: Incoming, deadline: Instant) -> Answer {
        let now = clock::instant();
        let until = now.checked_add(self.limits.body_time).map_or(deadline, |at| at.min(deadline));
        let mut kept = BytesMut::new();
        let reading = read(&mut carrier, &mut body, self.limits.body, &mut kept);
        let end = tokio::time::timeout_at(until.into(), reading).await;
        answer.body = kept.freeze();
        match end {
            Ok(BodyEnd::Piece(piece)) => {
                answer.body = piece;
                carrier.finish(&self.pool, &answer.headers);
            }
            Ok(BodyEnd::Whole) => carrier.finish(&self.pool, &answer.headers),
            Ok(BodyEnd::Cut(came)) => answer.cut = Some(came),
            Ok(BodyEnd::Broken(error)) => answer.lacks(&Lost::of_body(&carrier, &error)),
            Err(_elapsed) => answer.lacks(&Lost::late_body(&carrier, until.saturating_duration_since(now))),
        }
        answer
    }

    /// Gives up connections of subscriptions that are not what they were.
    pub(crate) fn keep_current(&self, is_current: impl Fn(Holder) -> bool) {
        self.pool.keep_current(is_current);
    }

    /// What it is bounded by.
    #[cfg(test)]
    pub(crate) fn limits(&self) -> ClientLimits {
        self.limits
    }

    /// Its connections, those under way included.
    pub(crate) fn connections(&self) -> usize {
        self.pool.open()
    }

    /// Response headers kept, bytes.
    pub(crate) fn headers_limit(&self) -> usize {
        self.limits.headers
    }
}

impl Outgoing {
    fn sent(mut carrier: Carrier, request: HttpRequest) -> Self {
        let length = request.body().size_hint().lower();
        let sending = carrier.send(request);
        Self::Sent(carrier, sending, length)
    }
}

impl Answer {
    /// A verdict without any exchange.
    pub(crate) fn of(verdict: AttemptVerdict) -> Self {
        // What was not sent for want of a key says so; other wants say which they are.
        let error = verdict.is_unsent().then_some(NoAnswer::Unsigned);
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { verdict, status: None, error, headers, body, cut: None, head_at: None, way: None, detail: None }
    }

    /// Its body is not whole. The verdict stays.
    fn lacks(&mut self, lost: &Lost) {
        self.error = Some(lost.error());
        self.detail = Some(lost.to_string());
    }
}

/// Keeps the beginning of a body. Dropping the rest unread closes the connection (or resets the stream).
async fn read(carrier: &mut Carrier, body: &mut Incoming, limit: usize, kept: &mut BytesMut) -> BodyEnd {
    while let Some(frame) = carrier.frame(body).await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return BodyEnd::Broken(error),
        };
        if kept.len() + data.len() > limit {
            let came = kept.len() + data.len();
            kept.extend_from_slice(&data[..limit - kept.len()]);
            return BodyEnd::Cut(came as u64);
        }
        if kept.is_empty() && body.is_end_stream() {
            return BodyEnd::Piece(data);
        }
        kept.extend_from_slice(&data);
    }
    BodyEnd::Whole
}
