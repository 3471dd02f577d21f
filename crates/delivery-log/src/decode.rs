//! From a record of `attempts` to a row: the one place that knows the layout of both.

use std::borrow::Cow;

use schemas::attempt::{EventFacts, Kind, Lifecycle, VERSION};
use schemas::identity::{event_uuid, gateway_source};
use schemas::ids::SubscriptionId;
use schemas::record::Record;

use crate::fact::{Fact, FactKind, LogRow, LoggedEvent, LoggedExchange, LoggedTarget, RowContent};
use crate::position::Coordinates;

/// Longest sentence that is kept of a record, bytes.
const MAX_DETAIL: usize = 300;

/// What this build makes rows of, as a text: the record's version, and the kinds. Whoever meets another text in a file has met
/// another build's, which passed over what this one keeps.
#[must_use]
pub fn kept_kinds() -> String {
    let words: Vec<&str> = FactKind::ALL.iter().map(|kind| kind.as_str()).chain(["matched", "target"]).collect();
    format!("v{VERSION} {}", words.join(" "))
}

/// The row of a record, and why it says nothing where it cannot be read.
#[must_use]
pub fn decode(partition: i32, record: &Record) -> (LogRow, Option<String>) {
    let row = |content| LogRow { offset: record.offset, stored_ms: record.timestamp_ms, content };
    let coordinates = Coordinates { partition, offset: record.offset };
    match Lifecycle::decode(record.value.as_deref().unwrap_or_default()) {
        Ok(lifecycle) => (row(content(coordinates, record.timestamp_ms, lifecycle)), None),
        Err(error) => (row(RowContent::Nothing), Some(error.to_string())),
    }
}

fn content(coordinates: Coordinates, stored_ms: i64, mut lifecycle: Lifecycle<'_>) -> RowContent {
    if let Some(facts) = lifecycle.event.take() {
        return event(coordinates, stored_ms, lifecycle, facts)
            .map_or(RowContent::Nothing, |it| RowContent::Event(Box::new(it)));
    }
    if lifecycle.kind == Kind::Target {
        return target(coordinates, &lifecycle).map_or(RowContent::Nothing, |it| RowContent::Target(Box::new(it)));
    }
    fact(coordinates, stored_ms, lifecycle).map_or(RowContent::Nothing, |it| RowContent::Fact(Box::new(it)))
}

fn kind(kind: Kind) -> Option<FactKind> {
    match kind {
        // Without the facts of its event it says nothing.
        Kind::Matched => None,
        Kind::Repeat => Some(FactKind::Repeat),
        Kind::Rejected => Some(FactKind::Rejected),
        Kind::FilterFailed => Some(FactKind::FilterFailed),
        Kind::Attempted => Some(FactKind::Attempted),
        Kind::Parked => Some(FactKind::Parked),
        Kind::Delivered => Some(FactKind::Delivered),
        Kind::DeadLettered => Some(FactKind::DeadLettered),
        Kind::Cancelled => Some(FactKind::Cancelled),
        Kind::EndpointGone => Some(FactKind::EndpointGone),
        Kind::Failing => Some(FactKind::Failing),
        Kind::Recovered => Some(FactKind::Recovered),
        Kind::Undeclared => Some(FactKind::Undeclared),
        Kind::TriedOnce => Some(FactKind::TriedOnce),
        Kind::Redriven => Some(FactKind::Redriven),
        Kind::Discarded => Some(FactKind::Discarded),
        Kind::Erased => Some(FactKind::Erased),
        // It is no fact of a delivery.
        Kind::Target
        // A newer build wrote it.
        | Kind::Unknown => None,
    }
}

fn fact(coordinates: Coordinates, stored_ms: i64, lifecycle: Lifecycle<'_>) -> Option<Fact> {
    let application = lifecycle.application_id;
    let source = lifecycle.source();
    let event = application.zip(lifecycle.event_id.as_deref()).zip(source.as_deref());
    let event = event.map(|((application, id), source)| event_uuid(application, source, id));
    let exchange = lifecycle.exchange.map(|exchange| LoggedExchange {
        started_ms: exchange.started_ms,
        elapsed_ms: exchange.elapsed_ms,
        first_byte_ms: exchange.first_byte_ms,
        status: exchange.status,
        error: exchange.error.map(Cow::into_owned),
        to: exchange.to.map(|to| to.to_string()),
    });
    Some(Fact {
        coordinates,
        stored_ms,
        kind: kind(lifecycle.kind)?,
        at_ms: lifecycle.at_ms,
        application,
        event,
        event_type: lifecycle.event_type.map(Cow::into_owned),
        accepted_ms: lifecycle.accepted_ms,
        subscription: lifecycle.subscription_id,
        delivery: lifecycle.delivery_id,
        generation: lifecycle.generation,
        made_by: lifecycle.made_by.map(Cow::into_owned),
        attempt: lifecycle.attempt,
        due_ms: lifecycle.due_ms,
        reason: lifecycle.reason.map(Cow::into_owned),
        detail: lifecycle.detail.map(cut),
        exchange,
        record: lifecycle.record.map(|at| Coordinates { partition: at.partition, offset: at.offset }),
    })
}

fn target(coordinates: Coordinates, lifecycle: &Lifecycle<'_>) -> Option<LoggedTarget> {
    let facts = lifecycle.target.as_ref()?;
    Some(LoggedTarget {
        coordinates,
        application: lifecycle.application_id?,
        subscription: lifecycle.subscription_id?,
        offset: facts.offset,
        facts: serde_json::to_string(facts).ok()?,
    })
}

fn event(
    coordinates: Coordinates,
    stored_ms: i64,
    lifecycle: Lifecycle<'_>,
    facts: EventFacts<'_>,
) -> Option<LoggedEvent> {
    let application = lifecycle.application_id?;
    let (origin, subscriptions) = (lifecycle.origin(), subscriptions(facts.subscription_ids()));
    let (id, own) = (lifecycle.event_id?, gateway_source(application));
    let source = lifecycle.event_source.filter(|source| **source != *own);
    Some(LoggedEvent {
        coordinates,
        stored_ms,
        at_ms: lifecycle.at_ms,
        application,
        uuid: event_uuid(application, source.as_deref().unwrap_or(&own), &id),
        id: id.into_owned(),
        source: source.map(Cow::into_owned),
        event_type: lifecycle.event_type.unwrap_or_default().into_owned(),
        accepted_ms: lifecycle.accepted_ms.unwrap_or(lifecycle.at_ms),
        origin,
        matched: facts.matched,
        payload_bytes: facts.payload_bytes,
        content_type: facts.content_type.map(Cow::into_owned),
        occurred_at: facts.occurred_at.map(Cow::into_owned),
        labels: facts.labels.map(|labels| labels.get().to_owned()),
        metadata: facts.metadata.map(|metadata| metadata.get().to_owned()),
        ip: facts.ip.map(Cow::into_owned),
        detail: lifecycle.detail.map(cut),
        subscriptions,
        control_offset: facts.control_offset,
    })
}

fn subscriptions(ids: Option<Vec<SubscriptionId>>) -> Option<Vec<u8>> {
    Some(ids?.into_iter().flat_map(|id| *id.0.as_bytes()).collect())
}

fn cut(text: Cow<'_, str>) -> String {
    let mut text = text.into_owned();
    if text.len() > MAX_DETAIL {
        let end = (0..=MAX_DETAIL).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::record::Headers;

    use super::*;

    fn record(value: &str) -> Record {
        let value = Some(Bytes::copy_from_slice(value.as_bytes()));
        Record { offset: 42, timestamp_ms: 1_790_000_000_060, key: None, value, headers: Headers::default() }
    }

    #[test]
    fn the_golden_record_is_a_fact_of_its_event_and_delivery() {
        let (row, problem) = decode(3, &record(include_str!("../../../schemas/golden/lifecycle.v1.json")));
        let RowContent::Fact(fact) = row.content else { panic!("{row:?}, {problem:?}") };
        assert_eq!(fact.coordinates, Coordinates { partition: 3, offset: 42 });
        assert_eq!((fact.kind, fact.attempt), (FactKind::Delivered, Some(1)));
        let application = fact.application.unwrap();
        assert_eq!(fact.event, Some(event_uuid(application, "/applications/x", "evt_1")));
        assert_eq!(fact.exchange.map(|it| (it.status, it.elapsed_ms)), Some((Some(204), 9)));
    }

    #[test]
    fn an_event_of_the_gateway_has_no_source_of_its_own_whether_or_not_the_record_names_it() {
        let id = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";
        let of = |source: &str| {
            let value = format!(
                r#"{{"v":1,"kind":"matched","at_ms":9,"application_id":"{id}","event_id":"e"{source},"event_type":"a.b",
                "origin":{{"topic":"h.events","partition":1,"offset":2}},"accepted_ms":7,
                "event":{{"matched":2,"payload_bytes":5,"labels":{{"a":"b"}}}}}}"#
            );
            let (row, problem) = decode(0, &record(&value));
            let RowContent::Event(event) = row.content else { panic!("{row:?}, {problem:?}") };
            event
        };
        let own = format!(r#","event_source":"/applications/{id}""#);
        assert_eq!(of(&own), of(""));
        assert_eq!(of(&own).source, None);
        assert_eq!(of(&own).labels.as_deref(), Some(r#"{"a":"b"}"#));
        let foreign = of(r#","event_source":"/topics/x""#);
        assert_eq!(foreign.source.as_deref(), Some("/topics/x"));
        assert_ne!(foreign.uuid, of("").uuid);
    }

    #[test]
    fn what_attempts_have_in_common_is_a_target_of_its_subscription() {
        let id = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";
        let value = format!(
            r#"{{"v":2,"kind":"target","at_ms":9,"application_id":"{id}","subscription_id":"{id}","target":{{"offset":7,
            "method":"POST","url":"https://example.com/","headers":{{"x-key":null}},"body":"raw","timeout_ms":15000}}}}"#
        );
        let (row, problem) = decode(0, &record(&value));
        let RowContent::Target(target) = row.content else { panic!("{row:?}, {problem:?}") };
        assert_eq!((target.offset, target.subscription.to_string()), (7, id.to_owned()));
        let facts: schemas::attempt::TargetFacts<'_> = serde_json::from_str(&target.facts).unwrap();
        assert_eq!((&*facts.url, facts.timeout_ms), ("https://example.com/", 15_000));
    }

    #[test]
    fn what_cannot_be_read_is_a_row_that_says_nothing_and_tells_why() {
        for bad in ["", "{", r#"{"v":1,"kind":"matched"}"#] {
            let (row, problem) = decode(0, &record(bad));
            assert!(matches!(row.content, RowContent::Nothing), "{bad}");
            assert!(problem.is_some(), "{bad}");
        }
    }

    #[test]
    fn what_a_newer_build_wrote_is_a_row_that_says_nothing() {
        let (row, problem) = decode(0, &record(r#"{"v":2,"kind":"unheard_of","at_ms":1}"#));
        assert!(matches!(row.content, RowContent::Nothing));
        assert_eq!(problem, None);
    }

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        assert_eq!(cut(Cow::Borrowed("short")), "short");
        assert_eq!(cut(Cow::Owned("€".repeat(200))).len(), 300);
        assert_eq!(cut(Cow::Owned("a".to_owned() + &"€".repeat(200))).len(), 298);
    }
}
