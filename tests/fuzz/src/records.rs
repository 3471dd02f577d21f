//! Records of Kafka: `name|value|name|value||value of the record`. What is read and written again is read as the same.

use std::sync::Arc;

use bytes::Bytes;
use schemas::attempt::{Kind, Lifecycle};
use schemas::dead_letter::{Death, DeathReason};
use schemas::delivery::{Delivery, LastAttempt, NewDelivery};
use schemas::header;
use schemas::ids::Generation;
use schemas::lanes::{decode_offsets, encode_offsets};
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::rejected::{self, NewRejection, RejectReason, RejectedRecord};

use crate::source_event;

/// `max.message.bytes` of a topic that the longest inputs do not fit.
const LIMIT: usize = 3_000;

fn record(data: &[u8]) -> Record {
    let cut = data.windows(2).position(|two| two == b"||");
    let (head, value) = cut.map_or((data, &[][..]), |at| (&data[..at], &data[at + 2..]));
    let mut builder = Headers::builder(8, head.len());
    let mut parts = head.split(|byte| *byte == b'|');
    while let (Some(name), Some(text)) = (parts.next(), parts.next()) {
        builder.push_raw(name, text);
    }
    let value = Some(Bytes::copy_from_slice(value));
    Record { offset: 7, timestamp_ms: 1_700_000_000_000, key: None, value, headers: builder.build() }
}

fn again(out: OutRecord) -> Record {
    Record { offset: 8, timestamp_ms: 1_700_000_000_001, key: out.key, value: out.value, headers: out.headers }
}

/// A record of a source, as the fan-out reads it; and as it goes to `rejected`.
pub(crate) fn source(data: &[u8]) -> bool {
    let (record, from) = (record(data), TopicPartition::new("orders", 3));
    let detail = String::from_utf8_lossy(data);
    let rejection = NewRejection::new(RejectReason::TooLarge, &detail);
    let out = rejected::to_record(Arc::from("rejected"), &from, &record, rejection, LIMIT);
    assert!(out.batch_size() <= LIMIT, "{} bytes", out.batch_size());
    let said = RejectedRecord::decode(&again(out)).expect("it was rejected");
    assert!(said.cut.is_some() || said.headers == record.headers, "nothing that it had is lost unsaid");
    source_event::record(&record, &from)
}

/// A record of `deliveries`: it hops, dies and is told of.
pub(crate) fn delivery(data: &[u8]) -> bool {
    let record = record(data);
    lifecycle(record.value.as_deref().unwrap_or_default());
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(offsets) = decode_offsets(text)
    {
        assert_eq!(decode_offsets(&encode_offsets(&offsets)), Some(offsets));
    }
    let Ok(delivery) = Delivery::decode(&record) else { return false };
    let last = LastAttempt { status: Some(503), error: delivery.event_type() };
    for last in [None, Some(last)] {
        let hop = again(delivery.to_hop(Arc::from("retry.10m"), None, delivery.hop, last));
        same(&Delivery::decode(&hop).expect("a hop is a delivery"), &delivery);
    }
    let death = Death {
        reason: DeathReason::MaxAge,
        detail: "too old",
        attempts: delivery.hop.attempt,
        last: Some(last),
        at_ms: 9,
    };
    let dead = again(death.to_record(Arc::from("dead-letters"), &delivery, LIMIT));
    let dead = Delivery::decode(&dead).expect("a dead letter is a delivery");
    assert_eq!(
        (dead.id, dead.subscription, dead.generation),
        (delivery.id, delivery.subscription, delivery.generation)
    );

    let new = NewDelivery {
        id: delivery.id,
        subscription: delivery.subscription,
        generation: Generation(delivery.generation.0),
        made_by: None,
        accepted_ms: delivery.accepted_ms,
        deadline_ms: delivery.deadline_ms,
        control_offset: delivery.control_offset,
        ordering_key: None,
        deprecation: delivery.deprecation(),
    };
    // What the fan-out lets in, as of any record.
    let is_ours = |name: &[u8]| name.starts_with(b"hookbus-");
    let may_stay = |name: &[u8]| !is_ours(name) || header::INBOUND.iter().any(|own| own.as_bytes() == name);
    let mut inbound = Headers::builder(8, 256);
    inbound.copy_if(&delivery.headers, may_stay);
    let headers = new.encode(&inbound.build(), delivery.application, delivery.origin_text().unwrap_or_default());
    let first = Delivery::decode(&Record { headers, ..record }).expect("a first hop is a delivery");
    assert_eq!((first.hop.attempt, first.hop.due_ms), (1, 0));
    assert_eq!(first.deprecation(), delivery.deprecation());
    assert_eq!((first.event_id(), first.event_type()), (delivery.event_id(), delivery.event_type()));

    let told = Lifecycle::of_delivery(Kind::Delivered, 5, &delivery).encode().expect("texts are JSON");
    let told = Lifecycle::decode(&told).expect("what is told is understood");
    assert_eq!(told.source().as_deref(), Some(delivery.event_source()));
    assert_eq!(told.origin(), delivery.origin());
    true
}

fn same(one: &Delivery, other: &Delivery) {
    assert_eq!(
        (one.id, one.application, one.subscription, one.generation, one.hop),
        (other.id, other.application, other.subscription, other.generation, other.hop)
    );
    assert_eq!(
        (one.accepted_ms, one.deadline_ms, one.control_offset, &one.payload),
        (other.accepted_ms, other.deadline_ms, other.control_offset, &other.payload)
    );
    assert_eq!(
        (one.event_id(), one.event_source(), one.event_type(), one.content_type(), one.occurred_at()),
        (other.event_id(), other.event_source(), other.event_type(), other.content_type(), other.occurred_at())
    );
    assert_eq!((one.origin(), one.made_by(), one.redrives()), (other.origin(), other.made_by(), other.redrives()));
}

fn lifecycle(value: &[u8]) {
    let Ok(read) = Lifecycle::decode(value) else { return };
    let written = read.encode().expect("texts and numbers are JSON");
    let again = Lifecycle::decode(&written).expect("what was written is read");
    if read.kind == Kind::Unknown {
        // Of what a newer build wrote only the time is promised.
        assert_eq!((again.kind, again.at_ms), (Kind::Unknown, read.at_ms));
    } else {
        assert_eq!(format!("{again:?}"), format!("{read:?}"));
    }
}
