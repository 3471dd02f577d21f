//! A record that a source is tried on, and what is shown of what it becomes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use catalog::acceptance::{self, Unaccepted};
use catalog::{Catalog, Subscription};
use filter::Facts;
use schemas::control::TopicSource;
use schemas::event::StringMap;
use schemas::header;
use schemas::ids::OrganizationId;
use schemas::problem::Code;
use schemas::record::Record;
use schemas::rejected::RejectReason;
use serde::Serialize;
use serde_json::Value;
use sources::{Event, Rejection};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Fields;
use crate::problem::{Problem, unavailable};

/// Filters that one trial evaluates: each may have to be compiled first.
const MAX_TRIED: usize = 1_000;
/// Headers of a record.
const MAX_HEADERS: usize = 100;

/// A record as a request gives it.
#[derive(Debug)]
pub(crate) struct TrialRecord {
    pub(crate) topic: String,
    pub(crate) record: Record,
}

/// The event that a record becomes, of its own: what is done with it outlives the record's mapping.
#[derive(Debug)]
pub(crate) struct TrialEvent {
    application: String,
    event_type: String,
    id: String,
    time: Option<String>,
    labels: StringMap,
    content_type: Option<String>,
    payload: Bytes,
    note: Option<String>,
    now_ms: i64,
}

/// Subscriptions that an event would be sent to.
#[derive(Debug)]
struct TrialCount {
    matches: usize,
    /// Those among them whose filters were too many to try.
    untried: usize,
}

/// What becomes of a record: one of the three.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = SourceTrial)]
pub(crate) struct SourceTrialShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<TrialEventShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejection: Option<TrialRejectionShown>,
    /// Why it is no event, though nothing is wrong: `tombstone`, `snapshot`, `heartbeat`, `transaction`, `schema_change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
}

/// The event that a record becomes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrialEvent)]
struct TrialEventShown {
    application_id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    labels: StringMap,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    payload_base64: String,
    /// Subscriptions that it would be sent to, as they are now.
    matches: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Why a record would be rejected.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrialRejection)]
struct TrialRejectionShown {
    reason: &'static str,
    detail: String,
    /// Where in the value: a byte, or a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

// === impl TrialRecord ===

impl TrialRecord {
    /// `{key?, value_base64?, headers?, topic?}`; without a value it is a tombstone.
    pub(crate) fn read(given: Option<Value>, source: &TopicSource, now_ms: i64) -> Result<Self, Problem> {
        let Some(Value::Object(map)) = given else {
            return Err(Problem::field(
                "record",
                Code::InvalidField,
                "is required: {\"value_base64\", \"key\", \"headers\"}",
            ));
        };
        let mut fields = Fields::new(map, "record.", &["key", "value_base64", "headers", "topic"])?;
        let key = fields.text("key", 0..=10_000)?.flatten();
        let value = fields.text("value_base64", 0..=usize::MAX)?.flatten();
        let value = value.map(|it| STANDARD.decode(it)).transpose();
        let value = value.map_err(|error| fields.wrong("value_base64", format!("is no base64: {error}")))?;
        let headers = fields.map("headers", MAX_HEADERS)?.unwrap_or_default();
        let topic = fields.text("topic", 1..=249)?.flatten();
        let first = || source.topics.first().map_or("topic", |it| it.trim_end_matches('*')).to_owned();
        let record = Record {
            offset: 0,
            timestamp_ms: now_ms,
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        };
        Ok(Self { topic: topic.unwrap_or_else(first), record })
    }
}

// === impl SourceTrialShown ===

impl SourceTrialShown {
    /// Of an event, in an application of this organization. The subscriptions are found under the catalog's lock and counted after it: filters of
    /// strangers take their time.
    ///
    /// # Errors
    /// A 503: they could not be tried.
    pub(crate) async fn of(
        event: TrialEvent,
        catalog: &Catalog,
        organization: OrganizationId,
    ) -> Result<Self, Problem> {
        let of = {
            let snapshot = catalog.read();
            snapshot.application_in(organization, &event.application).map(|application| {
                let mut found = Vec::new();
                snapshot.matches(application.application_id, &event.event_type, &event.labels, &mut found);
                let event_type = acceptance::event_type(&snapshot, application, &event.event_type);
                (application.application_id, event_type, found)
            })
        };
        let Some((application, event_type, found)) = of else {
            let shown: String = event.application.chars().take(80).collect();
            let detail = format!("there is no application `{shown}` in the source's organization");
            return Ok(Self::rejected(&Rejection::new(RejectReason::UnknownApplication, detail)));
        };
        let trying = tokio::task::spawn_blocking(move || {
            let fits = event_type.and_then(|event_type| match event_type {
                Some(event_type) => acceptance::payload(&event_type, &event.event_type, &event.payload),
                None => Ok(()),
            });
            (fits.map(|()| event.count(&found)), event)
        });
        let failed = |_panic| unavailable("the filters of the subscriptions could not be tried");
        let (count, event) = trying.await.map_err(failed)?;
        let TrialCount { matches, untried } = match count {
            Ok(count) => count,
            Err(Unaccepted { reason, detail }) => return Ok(Self::rejected(&Rejection::new(reason, detail))),
        };
        let untried = (untried > 0)
            .then(|| format!("{MAX_TRIED} filters were tried, {untried} more are counted as if the event fitted them"));
        let notes: Vec<String> = event.note.into_iter().chain(untried).collect();
        let event = TrialEventShown {
            application_id: application.0,
            event_type: event.event_type,
            id: event.id,
            time: event.time,
            labels: event.labels,
            content_type: event.content_type,
            payload_base64: STANDARD.encode(&event.payload),
            matches,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        };
        Ok(Self { event: Some(event), ..Self::default() })
    }

    pub(crate) fn rejected(rejection: &Rejection) -> Self {
        let shown = TrialRejectionShown {
            reason: rejection.reason.as_str(),
            detail: rejection.detail.to_string(),
            at: rejection.position.as_ref().map(ToString::to_string),
        };
        Self { rejection: Some(shown), ..Self::default() }
    }

    pub(crate) fn skipped(why: &'static str) -> Self {
        Self { skipped: Some(why), ..Self::default() }
    }
}

// === impl TrialEvent ===

impl TrialEvent {
    /// What a record became, as if it was accepted now.
    ///
    /// # Errors
    /// Why it would be rejected whatever application it is of.
    pub(crate) fn new(event: &Event<'_>, now_ms: i64) -> Result<Self, Rejection> {
        let map = |name, json| {
            let rejection = |Unaccepted { reason, detail }| Rejection::new(reason, detail);
            acceptance::string_map(name, json).map_err(rejection)
        };
        let labels = map(header::LABELS, event.labels.as_deref())?;
        map(header::METADATA, event.metadata.as_deref())?;
        Ok(Self {
            application: event.application.to_string(),
            event_type: event.event_type.to_string(),
            id: event.id.to_string(),
            time: event.time.as_deref().map(str::to_owned),
            labels,
            content_type: event.content_type.as_deref().map(str::to_owned),
            payload: event.payload.clone(),
            note: event.note.clone(),
            now_ms,
        })
    }

    /// How many of these subscriptions let the event through their filters.
    fn count(&self, found: &[Arc<Subscription>]) -> TrialCount {
        let facts = Facts::new(filter::Event {
            event_type: &self.event_type,
            id: &self.id,
            labels: &self.labels,
            time: self.time.as_deref(),
            accepted_ms: self.now_ms,
            payload: &self.payload,
        });
        let (filtered, whole): (Vec<_>, Vec<_>) = found.iter().partition(|it| it.has_filter());
        let (tried, untried) = filtered.split_at(filtered.len().min(MAX_TRIED));
        let fits = |it: &&&Arc<Subscription>| match it.filter() {
            None => true,
            Some(filter) => filter.is_ok_and(|filter| filter.matches(&facts).unwrap_or(false)),
        };
        let matches = whole.len() + tried.iter().filter(fits).count() + untried.len();
        TrialCount { matches, untried: untried.len() }
    }
}
