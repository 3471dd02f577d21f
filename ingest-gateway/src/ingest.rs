//! One event: whose it is, whether it may be sent, its record, and the acknowledgement.

use std::borrow::Cow;
use std::sync::Arc;

use catalog::EventType;
use catalog::schema::{MAX_CHECK_NS, READ_NS};
use chassis::clock;
use jiff::Timestamp;
use kafka::{KafkaError, Written};
use schemas::event::EventHeaders;
use schemas::identity::{event_uuid, gateway_source};
use schemas::ids::ApplicationId;
use schemas::problem::ProblemId;
use schemas::record::OutRecord;
use serde::Serialize;
use tracing::warn;
use uuid::Uuid;

use crate::check_budget::CheckBudget;
use crate::config::LATER_HEADERS;
use crate::directory::{Caller, Declared};
use crate::gateway::Gateway;
use crate::json::quoted;
use crate::limits::{Counted, Senders};
use crate::problem::{self, Refused, problem};
use crate::publish::PendingRecord;
use crate::recent_ids::{ClaimedId, IdKey};
use crate::validate::Event;

/// Whether the snapshot was brought up to date for this request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fresh(pub(crate) bool);

/// The request an event came with.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) caller: Caller,
    pub(crate) ip: &'a str,
    pub(crate) now_ms: i64,
    /// A published client of Hook0: it decodes UUIDs only.
    pub(crate) hook0: bool,
    pub(crate) fresh: Fresh,
    /// What is left for the checks of its events.
    pub(crate) checks: CheckBudget,
}

/// What a 201 says.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted {
    application_id: ApplicationId,
    event_id: String,
    received_at: String,
    /// Its type should not be sent any more: a header says so.
    #[serde(skip)]
    pub(crate) is_deprecated: bool,
}

/// An event that may be published.
#[derive(Debug)]
pub(crate) struct PreparedEvent {
    /// Absent for an id that was made here: nobody can repeat it.
    key: Option<IdKey>,
    record: OutRecord,
    senders: Senders,
    asked: Asked,
}

/// What the answer needs of an event whose record is handed on and forgotten: the body it lies in is free again.
#[derive(Debug)]
struct Asked {
    application: ApplicationId,
    event_id: String,
    /// The id as this client sees it, if that is another.
    shown_id: Option<String>,
    is_deprecated: bool,
    now_ms: i64,
    payload_bytes: usize,
    batch_bytes: usize,
}

/// Why an event may not be published.
enum Unprepared {
    /// A current snapshot may know more.
    Unknown(Refused),
    /// Whatever the snapshot says.
    Refused(Refused),
}

/// A record on its way, with the claim on its id.
pub(crate) struct Sent<'g> {
    pending: PendingRecord,
    claim: Option<ClaimedId<'g>>,
    counted: Option<Counted>,
    asked: Asked,
    at: std::time::Instant,
}

impl Gateway {
    /// Waits for whoever is at the same id, then publishes.
    pub(crate) async fn publish_in_turn(&self, prepared: PreparedEvent) -> Result<Accepted, Refused> {
        let claim = match prepared.key {
            None => None,
            Some(key) => match self.recent().claim_in_turn(key).await {
                Some(claim) => Some(claim),
                None => return Err(problem::repeat(prepared.event_id())),
            },
        };
        let sent = self.send(prepared, claim)?;
        self.acknowledged(sent).await
    }

    /// Asks the catalog about the event and makes its record. What is not in it is looked for again in a current one.
    pub(crate) async fn prepare(&self, asking: &mut Asking<'_>, event: &Event<'_>) -> Result<PreparedEvent, Refused> {
        loop {
            match self.prepared(asking, event) {
                Err(Unprepared::Unknown(refused)) => {
                    if !self.make_fresh(&mut asking.fresh).await? {
                        return Err(refused);
                    }
                }
                Err(Unprepared::Refused(refused)) => return Err(refused),
                Ok(prepared) => return Ok(prepared),
            }
        }
    }

    /// Decides over the current snapshot. Synchronous on purpose: what is held across an `.await` enlarges the future that hyper
    /// moves for each request.
    fn prepared(&self, asking: &mut Asking<'_>, event: &Event<'_>) -> Result<PreparedEvent, Unprepared> {
        let application = self.application(asking, event.application.as_deref())?;
        let Declared { demanding, is_deprecated, senders, is_repeat_told } =
            self.event_type(application, &event.event_type)?;
        if let Some(demanding) = demanding {
            check(&demanding, event, &mut asking.checks)?;
        }
        let key = event
            .id
            .as_ref()
            .filter(|_| is_repeat_told)
            .map(|id| self.recent().key(application, event.source.as_deref(), id));
        let event_id = event.id.as_deref().map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let source = event.source.as_deref().map_or_else(|| Cow::Owned(gateway_source(application)), Cow::Borrowed);
        let shown_id = (asking.hook0 && Uuid::parse_str(&event_id).is_err())
            .then(|| event_uuid(application, &source, &event_id).to_string());
        let mut application_text = Uuid::encode_buffer();
        let headers = EventHeaders {
            id: &event_id,
            is_id_made: event.id.is_none(),
            event_type: &event.event_type,
            source: &source,
            time: &event.occurred_at.as_deref().map_or_else(|| Cow::Owned(rfc3339(asking.now_ms)), Cow::Borrowed),
            content_type: &event.content_type,
            application: application.0.hyphenated().encode_lower(&mut application_text),
            labels: Some(&event.labels),
            metadata: Some(&event.metadata),
            ip: Some(asking.ip),
        };
        let headers = headers.encode_with(&event.extensions).expect("maps of strings are JSON");
        let record_key = event.ordering_key.as_deref().unwrap_or(&event_id);
        let record = OutRecord {
            topic: Arc::clone(&self.topics().events),
            partition: None,
            key: Some(bytes::Bytes::copy_from_slice(record_key.as_bytes())),
            value: Some(event.payload.clone()),
            headers,
        };
        let (batch_bytes, limit) = (record.batch_size(), self.topics().max_message_bytes.saturating_sub(LATER_HEADERS));
        if batch_bytes > limit {
            return Err(problem::record_too_large(batch_bytes, limit).into());
        }
        let (payload_bytes, now_ms) = (event.payload.len(), asking.now_ms);
        let asked = Asked { application, event_id, shown_id, is_deprecated, now_ms, payload_bytes, batch_bytes };
        Ok(PreparedEvent { key, record, senders, asked })
    }

    fn application(&self, asking: &Asking<'_>, given: Option<&str>) -> Result<ApplicationId, Unprepared> {
        let given = match (asking.caller, given) {
            (Caller::Application(own), None) => return Ok(own),
            (Caller::Application(own), Some(given)) if Uuid::parse_str(given) == Ok(own.0) => return Ok(own),
            (Caller::Application(_) | Caller::Organization(_) | Caller::Admin, Some(given)) => given,
            (Caller::Organization(_) | Caller::Admin, None) => {
                return Err(
                    problem::field("application_id", "must be there: this token is of no one application").into()
                );
            }
            (Caller::ReadOnly(_), _) => {
                return Err(problem(ProblemId::Forbidden, "this token may not send events").into());
            }
        };
        // Among what the caller may send for only: what is another's and what is nobody's answer alike, and as late.
        let found = self.directory().application(asking.caller, given);
        found.ok_or_else(|| {
            Unprepared::Unknown(match asking.caller {
                Caller::Application(_) | Caller::ReadOnly(_) => {
                    problem(ProblemId::Forbidden, format!("this token is not of application {}", quoted(given)))
                }
                // What another organization has and what nobody has answer alike.
                Caller::Organization(_) | Caller::Admin => {
                    problem(ProblemId::NotFound, format!("there is no application {}", quoted(given)))
                }
            })
        })
    }

    fn event_type(&self, application: ApplicationId, name: &str) -> Result<Declared, Unprepared> {
        self.directory().event_type(application, name).ok_or_else(|| {
            let detail = format!("application {application} has no event type `{name}`");
            Unprepared::Unknown(problem(ProblemId::EventTypeDoesNotExist, detail))
        })
    }

    /// Counts the event against its limits and hands the record to the producer. Failed, it drops the claim: the id is forgotten.
    pub(crate) fn send<'g>(
        &'g self,
        prepared: PreparedEvent,
        claim: Option<ClaimedId<'g>>,
    ) -> Result<Sent<'g>, Refused> {
        // After the claim: a repeat is told that it is one, and counts against nothing.
        let PreparedEvent { record, senders, asked, .. } = prepared;
        let counted = self.limits().take(senders, asked.now_ms).map_err(problem::over_limit)?;
        let at = clock::instant();
        match self.publisher().send(&record) {
            Ok(pending) => Ok(Sent { pending, claim, counted, asked, at }),
            Err(error) => Err(self.not_written(&error, &asked, counted)),
        }
    }

    /// Waits for the acknowledgement; only then the id becomes known.
    pub(crate) async fn acknowledged(&self, sent: Sent<'_>) -> Result<Accepted, Refused> {
        // Field by field: taken apart at once, all of it would stand in the future twice.
        let written: Written = match sent.pending.written().await {
            Ok(written) => written,
            Err(error) => return Err(self.not_written(&error, &sent.asked, sent.counted)),
        };
        let (asked, at) = (sent.asked, sent.at);
        if let Some(claim) = sent.claim {
            claim.confirm();
        }
        let metrics = self.metrics();
        metrics.produce_seconds.observe(clock::instant().saturating_duration_since(at).as_secs_f64());
        metrics.accepted.inc();
        metrics.accepted_bytes.inc_by(asked.payload_bytes as u64);
        // The broker's time is what every later reader of the record sees.
        let received_ms = if written.timestamp_ms >= 0 { written.timestamp_ms } else { asked.now_ms };
        Ok(Accepted {
            application_id: asked.application,
            event_id: asked.shown_id.unwrap_or(asked.event_id),
            received_at: rfc3339(received_ms),
            is_deprecated: asked.is_deprecated,
        })
    }

    fn not_written(&self, error: &KafkaError, asked: &Asked, counted: Option<Counted>) -> Refused {
        if let Some(counted) = counted {
            self.limits().give_back(counted);
        }
        if let Some(swallowed) = self.limited().permit("produce") {
            let topic = &*self.topics().events;
            warn!(topic, error = %error, swallowed, "an event was not acknowledged, its sender got a problem");
        }
        if error.is_unwritable() {
            return problem::record_too_large(asked.batch_bytes, self.topics().max_message_bytes);
        }
        match error {
            KafkaError::QueueFull { .. } => problem::kafka_unavailable("more events are waiting for Kafka than fit"),
            KafkaError::RefusedProperty { .. }
            | KafkaError::Invalid { .. }
            | KafkaError::Client { .. }
            | KafkaError::Call { .. }
            | KafkaError::Unwritable { .. }
            | KafkaError::TooSlow { .. }
            | KafkaError::NoCommittedOffset { .. }
            | KafkaError::OffsetOutOfRange { .. }
            | KafkaError::Truncated { .. }
            | KafkaError::LogCut { .. }
            | KafkaError::Held { .. }
            | KafkaError::SecondProcess { .. }
            | KafkaError::NoTopic { .. }
            | KafkaError::NotOwned { .. }
            | KafkaError::Closed => problem::kafka_unavailable("Kafka did not acknowledge the event"),
        }
    }
}

impl From<Refused> for Unprepared {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl PreparedEvent {
    pub(crate) fn key(&self) -> Option<IdKey> {
        self.key
    }

    pub(crate) fn event_id(&self) -> &str {
        &self.asked.event_id
    }
}

/// Whether the payload fits its type's schema, as far as the request may still ask.
fn check(demanding: &EventType, event: &Event<'_>, checks: &mut CheckBudget) -> Result<(), Refused> {
    let unfit = |unfit| problem::unfit(&event.event_type, &unfit);
    // To know the price of a check the payload is read, which has its own; what would take longer than any check is not checked.
    let read_ns = READ_NS.saturating_mul(event.payload.len() as u64).min(MAX_CHECK_NS);
    if !checks.take(read_ns) {
        return Err(problem::checks_used_up());
    }
    if !demanding.is_compiled() {
        checks.end_turn();
    }
    let Some(check) = demanding.price(&event.payload).map_err(unfit)? else { return Ok(()) };
    if !checks.take(check.price_ns().saturating_sub(read_ns)) {
        return Err(problem::checks_used_up());
    }
    check.run().map_err(unfit)
}

/// Unix milliseconds as RFC 3339.
fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or_default().to_string()
}
