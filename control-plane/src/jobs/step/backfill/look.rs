//! What a record of the past is to one subscription, by the rules that the fan-out has for one that comes now. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use catalog::{Catalog, acceptance};
use filter::Facts;
use schemas::delivery::Deprecation;
use schemas::header;
use schemas::identity::{delivery_id, event_uuid, is_gateway_source};
use schemas::ids::{DeliveryId, Generation, OrganizationId};
use schemas::ordering::OrderingKey;
use schemas::record::{Headers, Record, TopicPartition};
use sources::schema::{SchemaKey, SchemaLookup, SchemaState};
use sources::{Against, Event, Mapped, Mapping};
use uuid::Uuid;

use super::PastReceiver;

/// By what records are looked at.
#[derive(Debug)]
pub(super) struct PastRules {
    pub(super) catalog: Catalog,
    pub(super) to: PastReceiver,
    /// Whose uids records of `events` name.
    pub(super) installation: OrganizationId,
    /// The source that the topic is of; none: it is `events`.
    pub(super) source: Option<(OrganizationId, Mapping)>,
    /// Most bytes that a record is decoded to.
    pub(super) decoded_limit: usize,
    /// Where the records stand.
    pub(super) partition: TopicPartition,
    /// Events that were accepted between these times, both included, Unix ms.
    pub(super) times: (Option<i64>, Option<i64>),
}

/// What a record is.
#[derive(Debug)]
pub(super) enum LookedAt {
    /// Nothing that its subscription gets.
    Nothing,
    /// An event that it gets.
    Event(Box<PastEvent>),
    /// Nobody can tell before this schema is at hand.
    Needs(SchemaKey),
}

/// An event that a subscription gets.
#[derive(Debug)]
pub(super) struct PastEvent {
    /// The id that its delivery has, whoever makes it.
    pub(super) delivery: DeliveryId,
    /// The UUID of its identity.
    pub(super) event: Uuid,
    pub(super) accepted_ms: i64,
    pub(super) payload: Bytes,
    pub(super) headers: Headers,
    pub(super) origin: String,
    pub(super) ordering_key: Option<OrderingKey>,
    pub(super) deprecation: Option<Deprecation>,
}

/// Schemas that were needed so far.
#[derive(Debug, Default)]
pub(super) struct SchemasAtHand(pub(super) BTreeMap<SchemaKey, SchemaState>);

impl SchemaLookup for SchemasAtHand {
    fn schema(&self, key: &SchemaKey) -> SchemaState {
        self.0.get(key).cloned().unwrap_or(SchemaState::Wanted)
    }
}

// === impl PastRules ===

impl PastRules {
    /// What a record is; `now_ms`: when it was accepted if Kafka does not say.
    pub(super) fn look(&self, record: &Record, schemas: &dyn SchemaLookup, now_ms: i64) -> LookedAt {
        let accepted_ms = if record.timestamp_ms > 0 { record.timestamp_ms } else { now_ms };
        let (from_ms, to_ms) = self.times;
        if from_ms.is_some_and(|from_ms| accepted_ms < from_ms) || to_ms.is_some_and(|to_ms| accepted_ms > to_ms) {
            return LookedAt::Nothing;
        }
        let mapped = match &self.source {
            None => sources::decode(record, &self.partition).map_or_else(Mapped::Rejected, Mapped::Event),
            Some((_, mapping)) => {
                let against = Against { schemas, decoded_limit: self.decoded_limit };
                mapping.map(record, &self.partition, against)
            }
        };
        match mapped {
            Mapped::Event(event) => {
                let found = self.of_event(record, &event, accepted_ms);
                found.map_or(LookedAt::Nothing, |event| LookedAt::Event(Box::new(event)))
            }
            Mapped::NeedsSchema(key) => LookedAt::Needs(key),
            Mapped::Skipped(_) | Mapped::Rejected(_) => LookedAt::Nothing,
        }
    }

    /// The event, if its application takes it and the subscription gets it.
    fn of_event(&self, record: &Record, event: &Event<'_>, accepted_ms: i64) -> Option<PastEvent> {
        let PastReceiver { application, subscription, .. } = &self.to;
        let (id, receiver) = (application.application_id, subscription.id());
        let event_type = {
            let snapshot = self.catalog.read();
            let owners = (self.installation, self.source.as_ref().map(|(organization, _)| *organization));
            let named = acceptance::application(&snapshot, owners, &event.application)?;
            if named.application_id != id {
                return None;
            }
            acceptance::event_type(&snapshot, named, &event.event_type).ok()?
        };
        let is_gateways = is_gateway_source(id, &event.source);
        if is_gateways && self.source.is_some() {
            return None;
        }
        let labels = acceptance::string_map(header::LABELS, event.labels.as_deref()).ok()?;
        acceptance::string_map(header::METADATA, event.metadata.as_deref()).ok()?;
        if !subscription.listens_to(&event.event_type, &labels) {
            return None;
        }
        // The gateway has checked its own before it said 201.
        if let Some(event_type) = event_type.as_deref().filter(|_| !is_gateways) {
            acceptance::payload(event_type, &event.event_type, &event.payload).ok()?;
        }
        let facts = Facts::new(filter::Event {
            event_type: &event.event_type,
            id: &event.id,
            labels: &labels,
            time: event.time.as_deref(),
            accepted_ms,
            payload: &event.payload,
        });
        // One that fails, or that a newer build wrote, is no match, as in the fan-out.
        let lets_through = subscription
            .filter()
            .is_none_or(|filter| filter.is_ok_and(|filter| filter.matches(&facts).unwrap_or(false)));
        if !lets_through {
            return None;
        }
        let own_key = event.ordering_key.as_deref().map(str::as_bytes);
        let ordering_key = own_key.or(record.key.as_deref()).filter(|_| subscription.is_ordered());
        let mut origin = String::new();
        write!(origin, "{}/{}", self.partition, record.offset).ok()?;
        Some(PastEvent {
            delivery: delivery_id(id, &event.source, &event.id, receiver, Generation::default()),
            event: event_uuid(id, &event.source, &event.id),
            accepted_ms,
            payload: event.payload.clone(),
            headers: event.headers.clone(),
            origin,
            ordering_key: ordering_key.map(OrderingKey::of),
            deprecation: event_type.and_then(|event_type| event_type.deprecation()),
        })
    }
}
