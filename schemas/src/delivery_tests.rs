//! Round trips and refusals of deliveries, and the golden record of version 1.

use std::sync::Arc;

use super::*;

fn sample() -> Record {
    let inbound: Headers = [
        (header::CE_ID, "evt_1"),
        (header::CE_TYPE, "invoice.paid"),
        (header::CE_SOURCE, "/applications/x"),
        (header::CONTENT_TYPE, "application/json"),
        (header::APPLICATION, "by-uid"),
    ]
    .into_iter()
    .collect();
    let new = NewDelivery {
        id: DeliveryId(Uuid::from_u128(1)),
        subscription: SubscriptionId(Uuid::from_u128(2)),
        generation: Generation(None),
        made_by: None,
        accepted_ms: 1_000,
        deadline_ms: 9_000,
        control_offset: 7,
        ordering_key: None,
        deprecation: None,
    };
    let headers = new.encode(&inbound, ApplicationId(Uuid::from_u128(3)), "hookbus.events/0/42");
    Record { offset: 5, timestamp_ms: 1_001, key: None, value: Some(Bytes::from_static(b"{ \"a\":1 }")), headers }
}

#[test]
fn a_new_delivery_decodes_to_what_was_encoded() {
    let delivery = Delivery::decode(&sample()).unwrap();
    assert_eq!(delivery.id, DeliveryId(Uuid::from_u128(1)));
    assert_eq!(delivery.application, ApplicationId(Uuid::from_u128(3)));
    assert_eq!(delivery.hop, Hop::first());
    assert_eq!(delivery.event_id(), "evt_1");
    assert_eq!(delivery.origin(), Some(Origin { topic: "hookbus.events".into(), partition: 0, offset: 42 }));
    assert_eq!(&delivery.payload[..], b"{ \"a\":1 }");
}

#[test]
fn a_later_generation_says_what_made_it_on_every_hop() {
    let first = Delivery::decode(&sample()).unwrap();
    assert_eq!((first.made_by(), first.redrives(), first.record), (None, None, None));
    let new = NewDelivery {
        id: first.id,
        subscription: first.subscription,
        generation: Generation(Some(Uuid::from_u128(9))),
        made_by: Some(MadeBy::Redrive),
        accepted_ms: 1_000,
        deadline_ms: 9_000,
        control_offset: 7,
        ordering_key: None,
        deprecation: None,
    };
    let mut headers = Headers::builder(0, 0);
    headers.copy_if(&new.encode(&sample().headers, first.application, ""), |_| true).push(header::REDRIVES, b"3");
    let again = Delivery::decode(&Record { headers: headers.build(), ..sample() }).unwrap();
    let out = again.to_hop(Arc::from("hookbus.retry.5s"), None, again.hop, None);
    let record = Record { offset: 0, timestamp_ms: 0, key: None, value: out.value, headers: out.headers };
    let hopped = Delivery::decode(&record).unwrap();
    assert_eq!((hopped.made_by(), hopped.redrives()), (Some("redrive"), Some(3)));
}

#[test]
fn that_a_type_is_deprecated_goes_on_with_every_hop_and_generation() {
    let deprecation = Deprecation { deprecated_ms: 1_790_000_000_000, sunset_ms: 1_805_000_000_000 };
    let plain = Delivery::decode(&sample()).unwrap();
    assert_eq!(plain.deprecation(), None);
    let mut headers = Headers::builder(0, 0);
    headers.copy_if(&sample().headers, |_| true).push_display(header::DEPRECATION, deprecation);
    let record = Record { headers: headers.build(), ..sample() };
    assert_eq!(record.headers.text(header::DEPRECATION), Some("1790000000000/1805000000000"));
    let first = Delivery::decode(&record).unwrap();
    let decode = |out: OutRecord| {
        let record = Record { offset: 0, timestamp_ms: 0, key: None, value: out.value, headers: out.headers };
        Delivery::decode(&record).unwrap()
    };
    let again = Again {
        job: crate::ids::JobId(Uuid::from_u128(5)),
        made_by: MadeBy::Redrive,
        deadline_ms: 100,
        control_offset: 50,
        redrives: Some(1),
        is_once: false,
    };
    let hopped = decode(first.to_hop(Arc::from("hookbus.retry.5s"), None, first.hop, None));
    let again = decode(hopped.again(Arc::from("hookbus.deliveries"), again));
    assert_eq!([&first, &hopped, &again].map(Delivery::deprecation), [Some(deprecation); 3]);
    let mut headers = Headers::builder(0, 0);
    headers.copy_if(&sample().headers, |_| true).push(header::DEPRECATION, b"soon");
    let strange = Delivery::decode(&Record { headers: headers.build(), ..sample() }).unwrap();
    assert_eq!(strange.deprecation(), None, "no delivery is lost for it");
}

#[test]
fn the_mark_of_a_made_id_ends_with_the_event() {
    let event: Headers = [(header::CE_ID, "evt_1"), (header::ID_MADE, "1")].into_iter().collect();
    let new = NewDelivery {
        id: DeliveryId(Uuid::from_u128(1)),
        subscription: SubscriptionId(Uuid::from_u128(2)),
        generation: Generation(None),
        made_by: None,
        accepted_ms: 1_000,
        deadline_ms: 9_000,
        control_offset: 7,
        ordering_key: None,
        deprecation: None,
    };
    let headers = new.encode(&event, ApplicationId(Uuid::from_u128(3)), "hookbus.events/0/42");
    assert_eq!((headers.text(header::CE_ID), headers.get(header::ID_MADE)), (Some("evt_1"), None));
}

#[test]
fn a_hop_replaces_only_its_own_headers() {
    let first = Delivery::decode(&sample()).unwrap();
    let parks = Parks::default().parked(4_000);
    let hop = Hop { attempt: 3, due_ms: 5_000, wait: Wait::Circuit, parks, failing_since_ms: Some(3_000) };
    let out = first.to_hop(Arc::from("hookbus.retry.5s"), None, hop, None);
    let record = Record { offset: 0, timestamp_ms: 0, key: None, value: out.value, headers: out.headers };
    let second = Delivery::decode(&record).unwrap();
    assert_eq!(second.hop, hop);
    assert_eq!(second.id, first.id);
    assert_eq!(second.headers.len(), first.headers.len() + 4);
}

#[test]
fn a_retry_carries_how_the_last_attempt_ended_until_there_is_another() {
    let topic = || Arc::from("hookbus.retry.5s");
    let decode = |out: OutRecord| {
        Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key: None, value: out.value, headers: out.headers })
            .unwrap()
    };
    let first = Delivery::decode(&sample()).unwrap();
    let long = "\u{e9}".repeat(200);
    let last = LastAttempt { status: Some(503), error: &long };
    let failed = decode(first.to_hop(topic(), None, first.hop, Some(last)));
    assert_eq!(failed.headers.text(header::LAST_STATUS), Some("503"));
    assert_eq!(failed.headers.text(header::LAST_ERROR).map(str::len), Some(300), "whole characters");
    let kept = decode(failed.to_hop(topic(), None, first.hop, None));
    assert_eq!(kept.headers.text(header::LAST_STATUS), Some("503"));
    let last = LastAttempt { status: None, error: "connect: refused" };
    let again = decode(kept.to_hop(topic(), None, first.hop, Some(last)));
    assert_eq!(again.headers.get(header::LAST_STATUS), None, "no answer came");
    assert_eq!(again.headers.text(header::LAST_ERROR), Some("connect: refused"));
    assert_eq!(again.headers.len(), first.headers.len() + 1);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let mut record = sample();
    let mut builder = Headers::builder(0, 0);
    builder.copy_if(&record.headers, |name| name != header::ATTEMPT.as_bytes());
    record.headers = builder.build();
    assert_eq!(Delivery::decode(&record).unwrap_err(), DeliveryError::Missing(header::ATTEMPT));
    let mut builder = Headers::builder(0, 0);
    builder.copy_if(&sample().headers, |_| true).push(header::DUE, b"soon");
    record.headers = builder.build();
    assert_eq!(
        Delivery::decode(&record).unwrap_err().to_string(),
        "header `hookbus-due` holds `soon`, which is not Unix ms"
    );
    record.value = None;
    assert_eq!(Delivery::decode(&record).unwrap_err(), DeliveryError::NoValue);
}

#[test]
fn parks_start_anew_every_hour() {
    let parks = Parks::default().parked(1_000).parked(2_000);
    assert_eq!(parks, Parks { count: 2, since_ms: 1_000 });
    assert_eq!(parks.in_hour(3_601_000), 0);
    assert_eq!(parks.parked(3_601_000).count, 1);
    assert_eq!(parks.to_string().parse(), Ok(parks));
}

/// Deliveries of an older version are still in topics after an upgrade: this text never changes.
#[test]
fn the_golden_delivery_of_version_1_still_decodes() {
    let golden = include_str!("../golden/delivery.v1.txt");
    let headers: Headers = golden.lines().filter_map(|line| line.split_once(": ")).collect();
    let record = Record { headers, ..sample() };
    let delivery = Delivery::decode(&record).unwrap();
    assert_eq!(delivery.hop.attempt, 3);
    assert_eq!(delivery.hop.parks, Parks { count: 2, since_ms: 1_790_000_000_000 });
    assert_eq!(delivery.hop.wait, Wait::Lane);
    assert_eq!(delivery.control_offset, 12);
    assert!(delivery.generation.0.is_some());
}
