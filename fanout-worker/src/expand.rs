//! One event becomes records: a delivery per subscription, one lifecycle record, or its place in `rejected`. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::Subscription;
use schemas::attempt::{EventFacts, Kind, Lifecycle, foreign_source, name_subscriptions};
use schemas::dead_letter::{Death, DeathReason};
use schemas::delivery::{self, Delivery, Deprecation, MadeBy, NewDelivery};
use schemas::identity;
use schemas::ids::{ApplicationId, Generation, OrganizationId, SourceId};
use schemas::ordering::OrderingKey;
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::rejected::{self, NewRejection, RejectReason};
use schemas::slices::SliceCursor;
use schemas::topics::Topics;
use schemas::{header, seen};
use serde_json::value::RawValue;

use crate::filter::Failure;
use sources::{Event, Rejection};

/// Longest text of a rejected record that its lifecycle record repeats, bytes.
const MAX_REPEATED: usize = 1_000;
/// What a repeat's lifecycle record says.
pub(crate) const SAME_ID: &str = "the same id was accepted from this source within the dedup window";
/// What it says where nothing but the record's place tells.
pub(crate) const SAME_PLACE: &str =
    "its source handled this record before it was moved back, and is not told to do it again";

/// Makes records. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Expander {
    topics: Topics,
    /// A delivery's life, where neither its subscription nor that one's schedule says.
    max_age: Duration,
    no_headers: Headers,
}

/// Where a record stands and when it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The record.
    pub(crate) record: &'a Record,
    /// Its partition.
    pub(crate) partition: &'a TopicPartition,
    /// Now, Unix ms.
    pub(crate) now_ms: i64,
    /// How often it was retried.
    pub(crate) retries: u32,
}

/// Whose a rejected record is, and how much of its event is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RejectedOf {
    /// The source that it came through.
    pub(crate) source: Option<SourceId>,
    /// The organization of its source.
    pub(crate) organization: Option<OrganizationId>,
    /// The application that it means.
    pub(crate) application: Option<ApplicationId>,
    /// How far its event was written, where a part of it was: a retry goes on there.
    pub(crate) written: Option<SliceCursor>,
}

/// An event whose application is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted<'a> {
    /// The event.
    pub(crate) event: &'a Event<'a>,
    /// Its application.
    pub(crate) application: ApplicationId,
    /// [`Place::origin`], made once for all its records.
    pub(crate) origin: &'a str,
    /// The first, or the one that a source makes again.
    pub(crate) generation: Generation,
    /// That its type is deprecated, if it is.
    pub(crate) deprecation: Option<Deprecation>,
}

// === impl Place ===

impl Place<'_> {
    /// When the event was accepted: when Kafka wrote it.
    pub(crate) fn accepted_ms(&self) -> i64 {
        if self.record.timestamp_ms > 0 { self.record.timestamp_ms } else { self.now_ms }
    }

    /// The id that the record has by its place.
    pub(crate) fn positional_id(&self) -> String {
        let TopicPartition { topic, partition } = self.partition;
        identity::positional_id(topic, *partition, self.record.offset, self.record.timestamp_ms)
    }

    /// The record's place, `topic/partition/offset`.
    pub(crate) fn origin(&self) -> String {
        let mut origin = String::with_capacity(64);
        write!(origin, "{}/{}", self.partition, self.record.offset).expect("writing to a string cannot fail");
        origin
    }
}

// === impl Expander ===

impl Expander {
    /// For these topics; a delivery lives so long unless its subscription says otherwise.
    pub(crate) fn new(topics: Topics, max_age: Duration) -> Self {
        Self { topics, max_age, no_headers: Headers::default() }
    }

    /// Largest record of any topic, bytes.
    pub(crate) fn limit(&self) -> usize {
        self.topics.max_message_bytes
    }

    /// Appends the lifecycle record of an event that was matched, by the snapshot at a control offset: by so many, and who they are as far
    /// as that is known.
    pub(crate) fn matched(
        &self,
        accepted: Accepted<'_>,
        place: Place<'_>,
        control_offset: i64,
        (matched, matching): (usize, &[Arc<Subscription>]),
        out: &mut Vec<OutRecord>,
    ) {
        // Who was written before a restart is not known any more: then none is named.
        let known = Some(matching).filter(|matching| matching.len() == matched).unwrap_or_default();
        // One that takes half of the largest record is left out: no event may be refused for it.
        let named = name_subscriptions(known.iter().map(|subscription| subscription.id()));
        let named = named.filter(|named| named.len() <= self.limit() / 2);
        let told = |named: Option<&str>| {
            let facts = EventFacts {
                control_offset: Some(control_offset),
                subscriptions: named.map(Cow::Borrowed),
                ..Self::facts(accepted, matched)
            };
            let detail = accepted.event.note.as_deref().map(Cow::Borrowed);
            let about = Self::about(Kind::Matched, accepted, place);
            self.lifecycle(&Lifecycle { event: Some(facts), detail, ..about })
        };
        let whole = told(named.as_deref());
        // Or one that does not fit beside what the event says itself.
        let is_too_large = named.is_some() && whole.batch_size() > self.limit();
        out.push(if is_too_large { told(None) } else { whole });
    }

    /// Appends one delivery per subscription.
    pub(crate) fn deliveries(
        &self,
        accepted: Accepted<'_>,
        place: Place<'_>,
        control_offset: i64,
        subscriptions: &[Arc<Subscription>],
        out: &mut Vec<OutRecord>,
    ) {
        let Accepted { event, application, origin, generation, deprecation } = accepted;
        let made_by = generation.0.map(|_| MadeBy::Replay);
        let accepted_ms = place.accepted_ms();
        // An event without a key is in order with none.
        let own_key = event.ordering_key.as_deref().map(str::as_bytes);
        let ordering_key = own_key.or(place.record.key.as_deref());
        for subscription in subscriptions {
            let id = subscription.id();
            let max_age = subscription.own_max_age().unwrap_or(self.max_age);
            let max_age_ms = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
            let new = NewDelivery {
                id: identity::delivery_id(application, &event.source, &event.id, id, generation),
                subscription: id,
                generation,
                made_by,
                accepted_ms,
                // A delivery's life begins with its first write, which is now: a backlog costs it nothing.
                deadline_ms: place.now_ms.saturating_add(max_age_ms),
                control_offset,
                ordering_key: ordering_key.filter(|_| subscription.is_ordered()).map(OrderingKey::of),
                deprecation,
            };
            out.push(OutRecord {
                topic: Arc::clone(&self.topics.deliveries),
                partition: None,
                key: Some(delivery::key(id)),
                value: Some(event.payload.clone()),
                headers: new.encode(&event.headers, application, origin),
            });
        }
    }

    /// Appends the dead letter of a delivery that its topic never takes, and the lifecycle record that says so; of what is a dead letter
    /// already nothing, because that is said. What is neither stays as it is.
    pub(crate) fn bury(&self, place: Place<'_>, output: OutRecord, detail: &str, out: &mut Vec<OutRecord>) {
        if output.topic == self.topics.dead_letters {
            return;
        }
        let OutRecord { key, value, headers, .. } = output.clone();
        let record = Record { offset: place.record.offset, timestamp_ms: place.now_ms, key, value, headers };
        let delivery = Delivery::decode(&record).ok().filter(|_| output.topic == self.topics.deliveries);
        let Some(delivery) = delivery else { return out.push(output) };
        let (reason, last) = (DeathReason::Unwritable, None);
        let death = Death { reason, detail, attempts: 0, last, at_ms: place.now_ms };
        out.push(death.to_record(Arc::clone(&self.topics.dead_letters), &delivery, self.limit()));
        out.push(self.lifecycle(&Lifecycle {
            attempt: Some(0),
            reason: Some(Cow::Borrowed(reason.as_str())),
            detail: Some(Cow::Borrowed(detail)),
            ..Lifecycle::of_delivery(Kind::DeadLettered, place.now_ms, &delivery)
        }));
    }

    /// Appends the lifecycle record of a repeat.
    pub(crate) fn repeat(&self, accepted: Accepted<'_>, place: Place<'_>, why: &'static str, out: &mut Vec<OutRecord>) {
        let lifecycle = Lifecycle { detail: Some(Cow::Borrowed(why)), ..Self::about(Kind::Repeat, accepted, place) };
        out.push(self.lifecycle(&lifecycle));
    }

    /// Appends the lifecycle record of a filter that failed: no match.
    pub(crate) fn filter_failed(
        &self,
        accepted: Accepted<'_>,
        place: Place<'_>,
        failure: &Failure,
        out: &mut Vec<OutRecord>,
    ) {
        out.push(self.lifecycle(&Lifecycle {
            subscription_id: Some(failure.subscription),
            reason: Some(Cow::Borrowed(failure.reason)),
            detail: Some(Cow::Borrowed(&failure.detail)),
            ..Self::about(Kind::FilterFailed, accepted, place)
        }));
    }

    /// Appends the lifecycle record of a type to be declared.
    pub(crate) fn undeclared(&self, accepted: Accepted<'_>, place: Place<'_>, out: &mut Vec<OutRecord>) {
        out.push(self.lifecycle(&Self::about(Kind::Undeclared, accepted, place)));
    }

    /// Appends the record on `rejected` and the lifecycle record that says so.
    pub(crate) fn rejection(&self, place: Place<'_>, of: RejectedOf, rejection: &Rejection, out: &mut Vec<OutRecord>) {
        let Rejection { reason, detail, position } = rejection;
        let RejectedOf { source, organization, application, written } = of;
        let (topic, seen_at) = (Arc::clone(&self.topics.rejected), position.as_ref().map(ToString::to_string));
        let new = NewRejection {
            reason: *reason,
            detail,
            seen_at: seen_at.as_deref(),
            source,
            organization,
            application,
            retries: place.retries,
            written,
        };
        out.push(rejected::to_record(topic, place.partition, place.record, new, self.limit()));
        out.push(self.rejected_lifecycle(place, application, *reason, detail));
    }

    /// As [`Self::rejection`] with nothing of the record but its coordinates: for what even `rejected` cannot take.
    pub(crate) fn bare_rejection(&self, place: Place<'_>, of: RejectedOf, detail: &str, out: &mut Vec<OutRecord>) {
        let RejectedOf { source, organization, application: _, written } = of;
        let new = NewRejection {
            source,
            organization,
            retries: place.retries,
            written,
            ..NewRejection::new(RejectReason::Unwritable, detail)
        };
        out.push(rejected::bare_record(Arc::clone(&self.topics.rejected), place.partition, place.record, new));
        let bare = Record { key: None, value: None, headers: Headers::default(), ..place.record.clone() };
        out.push(self.rejected_lifecycle(Place { record: &bare, ..place }, None, RejectReason::Unwritable, detail));
    }

    /// The record on `seen` of what one partition accepted in one transaction.
    pub(crate) fn seen(
        &self,
        from: &TopicPartition,
        partition: i32,
        ids: &[(seen::Hash, i64)],
        newest_ms: i64,
    ) -> OutRecord {
        let mut headers = Headers::builder(1, 32);
        // The window is counted in the source's time: the record's own time is later by the lag.
        headers.push_i64(header::ACCEPTED, newest_ms);
        // A time further back than the longest window there is counts as that.
        let age = |at_ms: i64| u32::try_from(newest_ms.saturating_sub(at_ms)).unwrap_or(u32::MAX);
        let ids: Vec<(seen::Hash, u32)> = ids.iter().map(|(id, at_ms)| (*id, age(*at_ms))).collect();
        OutRecord {
            topic: Arc::clone(&self.topics.seen),
            partition: Some(partition),
            key: Some(seen::key(from)),
            value: Some(seen::encode(&ids)),
            headers: headers.build(),
        }
    }

    fn rejected_lifecycle(
        &self,
        place: Place<'_>,
        application: Option<ApplicationId>,
        reason: RejectReason,
        detail: &str,
    ) -> OutRecord {
        let headers = &place.record.headers;
        let text = |name| headers.text(name).filter(|text| text.len() <= MAX_REPEATED).map(Cow::Borrowed);
        let detail = detail.char_indices().nth(MAX_REPEATED).and_then(|(end, _)| detail.get(..end)).unwrap_or(detail);
        self.lifecycle(&Lifecycle {
            application_id: application,
            event_id: text(header::CE_ID),
            event_source: text(header::CE_SOURCE),
            event_type: text(header::CE_TYPE),
            origin: Some(Cow::Owned(place.origin())),
            accepted_ms: Some(place.accepted_ms()),
            reason: Some(Cow::Borrowed(reason.as_str())),
            detail: Some(Cow::Borrowed(detail)),
            ..Lifecycle::new(Kind::Rejected, place.now_ms)
        })
    }

    fn facts(accepted: Accepted<'_>, matched: usize) -> EventFacts<'_> {
        let event = accepted.event;
        EventFacts {
            matched: u32::try_from(matched).unwrap_or(u32::MAX),
            payload_bytes: event.payload.len() as u64,
            content_type: event.content_type.as_deref().map(Cow::Borrowed),
            occurred_at: event.time.as_deref().map(Cow::Borrowed),
            labels: raw(event.labels.as_deref()),
            metadata: raw(event.metadata.as_deref()),
            ip: event.ip.map(Cow::Borrowed),
            control_offset: None,
            subscriptions: None,
        }
    }

    fn about<'a>(kind: Kind, accepted: Accepted<'a>, place: Place<'a>) -> Lifecycle<'a> {
        let event = accepted.event;
        Lifecycle {
            application_id: Some(accepted.application),
            event_id: Some(Cow::Borrowed(&event.id)),
            event_source: foreign_source(accepted.application, &event.source),
            event_type: Some(Cow::Borrowed(&event.event_type)),
            origin: Some(Cow::Borrowed(accepted.origin)),
            accepted_ms: Some(place.accepted_ms()),
            ..Lifecycle::new(kind, place.now_ms)
        }
    }

    fn lifecycle(&self, lifecycle: &Lifecycle<'_>) -> OutRecord {
        let value = lifecycle.encode().expect("texts, integers and checked JSON always are JSON");
        OutRecord {
            topic: Arc::clone(&self.topics.attempts),
            partition: None,
            key: None,
            value: Some(Bytes::from(value)),
            headers: self.no_headers.clone(),
        }
    }
}

/// A JSON object as it stands; it was checked when the event was matched.
fn raw(json: Option<&[u8]>) -> Option<&RawValue> {
    json.and_then(|json| serde_json::from_slice(json).ok())
}
