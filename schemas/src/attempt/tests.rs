//! Both layouts of the record, and what an ordinary one takes.

use super::*;
use crate::control::{BodyForm, SigningScheme};

/// Records of an older version are still in topics after an upgrade: this text never changes.
#[test]
fn the_golden_record_of_version_1_still_decodes() {
    let golden = include_str!("../../golden/lifecycle.v1.json").trim();
    let record = Lifecycle::decode(golden.as_bytes()).unwrap();
    assert_eq!((record.v, record.kind), (1, Kind::Delivered));
    assert_eq!(record.origin.as_deref(), Some("hookbus.events/3/42"));
    assert_eq!(record.origin(), Some(Origin { topic: "hookbus.events".into(), partition: 3, offset: 42 }));
    assert_eq!(record.source().as_deref(), Some("/applications/x"));
    let exchange = record.exchange.unwrap();
    assert_eq!((exchange.status, exchange.target, exchange.to), (Some(204), None, None));
    assert_eq!(exchange.headers, [(Cow::Borrowed("server"), Cow::Borrowed("x"))]);
    assert_eq!(exchange.body.as_deref(), Some("ok \"quoted\""));
}

#[test]
fn the_golden_records_of_version_2_decode_and_encode_to_themselves() {
    let golden = include_str!("../../golden/lifecycle.v2.txt");
    let mut kinds = Vec::new();
    for line in golden.lines() {
        let record = Lifecycle::decode(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(record.encode().unwrap()).unwrap(), line);
        assert_eq!(Kind::peek(line.as_bytes()), Some(record.kind));
        kinds.push(record.kind);
    }
    let expected = [
        Kind::Matched,
        Kind::Attempted,
        Kind::Delivered,
        Kind::DeadLettered,
        Kind::TriedOnce,
        Kind::Target,
        Kind::Redriven,
        Kind::Discarded,
        Kind::Erased,
    ];
    assert_eq!(kinds, expected);
}

fn golden(kind: Kind) -> Lifecycle<'static> {
    let golden = include_str!("../../golden/lifecycle.v2.txt");
    let records = golden.lines().map(|line| Lifecycle::decode(line.as_bytes()).unwrap());
    records.into_iter().find(|record| record.kind == kind).unwrap()
}

#[test]
fn an_ordinary_attempt_takes_at_most_600_bytes() {
    let delivered = golden(Kind::Delivered);
    assert!(delivered.exchange.as_ref().is_some_and(|exchange| exchange.target.is_some() && exchange.signed.is_some()));
    let size = delivered.encode().unwrap().len();
    assert!(size <= 600, "{size} bytes");
}

#[test]
fn a_source_that_is_left_out_is_the_gateways_and_nobody_elses() {
    let application = ApplicationId(Uuid::from_u128(1));
    let gateways = gateway_source(application);
    assert_eq!(foreign_source(application, &gateways), None);
    let record = Lifecycle {
        application_id: Some(application),
        event_id: Some("evt_1".into()),
        ..Lifecycle::new(Kind::Matched, 0)
    };
    assert_eq!(record.source().as_deref(), Some(&*gateways));
    let billing = Lifecycle { event_source: foreign_source(application, "/billing"), ..record.clone() };
    assert_eq!(billing.source().as_deref(), Some("/billing"));
    let rejected = Lifecycle { kind: Kind::Rejected, ..record };
    assert_eq!(rejected.source(), None, "a rejected record may have had none");
}

#[test]
fn a_target_shows_what_is_sent_and_no_secret() {
    let told = golden(Kind::Target).target.unwrap();
    assert_eq!((told.offset, &*told.method, &*told.url), (812, "POST", "https://example.com/hooks"));
    assert_eq!((told.headers.get("x-api-key"), told.body), (Some(&None), BodyForm::Raw));
    assert_eq!(told.signing, [SigningScheme::Standard, SigningScheme::Hook0]);
}

#[test]
fn a_place_that_is_none_is_said_to_be_none() {
    let value = br#"{"v":2,"kind":"delivered","at_ms":1,"record":"5"}"#;
    assert!(Lifecycle::decode(value).unwrap_err().to_string().contains("not `partition/offset`"));
    let value = br#"{"v":2,"kind":"delivered","at_ms":1,"origin":"nowhere"}"#;
    assert_eq!(Lifecycle::decode(value).unwrap().origin(), None);
}
