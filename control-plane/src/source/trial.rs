//! A record that a source is tried on, and what is shown of what it becomes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use catalog::{Snapshot, Subscription};
use filter::Facts;
use schemas::control::TopicSource;
use schemas::event::StringMap;
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
use crate::problem::Problem;

/// Headers of a record.
const MAX_HEADERS: usize = 100;

/// A record as a request gives it.
#[derive(Debug)]
pub(crate) struct TrialRecord {
    pub(crate) topic: String,
    pub(crate) record: Record,
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
    pub(crate) fn of(event: &Event<'_>, snapshot: &Snapshot, (organization, now_ms): (OrganizationId, i64)) -> Self {
        let Some(application) = snapshot.application_in(organization, &event.application) else {
            let shown: String = event.application.chars().take(80).collect();
            let detail = format!("there is no application `{shown}` in the source's organization");
            return Self::rejected(&Rejection::new(RejectReason::UnknownApplication, detail));
        };
        let labels: StringMap =
            event.labels.as_deref().and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default();
        let mut found = Vec::new();
        snapshot.matches(application.application_id, &event.event_type, &labels, &mut found);
        let matches = count(&found, event, &labels, now_ms);
        let event = TrialEventShown {
            application_id: application.application_id.0,
            event_type: event.event_type.to_string(),
            id: event.id.to_string(),
            time: event.time.as_deref().map(str::to_owned),
            labels,
            content_type: event.content_type.as_deref().map(str::to_owned),
            payload_base64: STANDARD.encode(&event.payload),
            matches,
            note: event.note.clone(),
        };
        Self { event: Some(event), ..Self::default() }
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

/// How many of these subscriptions let the event through their filters.
fn count(found: &[Arc<Subscription>], event: &Event<'_>, labels: &StringMap, now_ms: i64) -> usize {
    let facts = Facts::new(filter::Event {
        event_type: &event.event_type,
        id: &event.id,
        labels,
        time: event.time.as_deref(),
        accepted_ms: now_ms,
        payload: &event.payload,
    });
    let fits = |it: &&Arc<Subscription>| match it.filter() {
        None => true,
        Some(filter) => filter.is_ok_and(|filter| filter.matches(&facts).unwrap_or(false)),
    };
    found.iter().filter(fits).count()
}
