//! A ping is a delivery like any other.

use schemas::control::{self, Target};
use schemas::delivery::{Delivery, Hop};
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::record::Record;
use serde_json::Value;
use vault::{EncryptionKey, Vault};

use super::*;

pub(in crate::subscription) fn subscription(change: impl FnOnce(&mut control::Subscription)) -> Subscription {
    let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
    let (id, application) = (SubscriptionId(Uuid::from_u128(1)), ApplicationId(Uuid::from_u128(2)));
    let mut object = control::Subscription::new(id, application, 0);
    object.target = Target { method: "POST".into(), url: "https://e.example/".into(), ..Target::default() };
    change(&mut object);
    Subscription::new(object, 3, Arc::new(vault)).unwrap()
}

fn made(subscription: &Subscription) -> Result<(OutRecord, PingShown), Problem> {
    ping(subscription, 7, &Arc::from("deliveries"), Uuid::from_u128(9), 1_000)
}

#[test]
fn it_is_a_delivery_of_a_generation_of_its_own() {
    let (out, shown) = made(&subscription(|object| object.max_age_ms = Some(5_000))).unwrap();
    assert_eq!(out.key.as_deref(), Some(Uuid::from_u128(1).to_string().as_bytes()));
    let OutRecord { key, value, headers, .. } = out;
    let delivery = Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key, value, headers }).unwrap();
    assert_eq!((delivery.generation, delivery.made_by()), (Generation(Some(Uuid::from_u128(9))), Some("ping")));
    assert_eq!((delivery.event_type(), delivery.event_id()), (EVENT_TYPE, Uuid::from_u128(9).to_string().as_str()));
    assert_eq!((delivery.control_offset, delivery.deadline_ms, delivery.hop), (7, 6_000, Hop::first()));
    assert_eq!((delivery.id, delivery.origin()), (shown.delivery_id, None));
    let payload: Value = serde_json::from_slice(&delivery.payload).unwrap();
    assert_eq!(payload["type"], EVENT_TYPE);
}

#[test]
fn a_paused_subscription_takes_it_and_a_disabled_one_does_not() {
    assert!(made(&subscription(|object| object.is_paused = true)).unwrap().1.is_paused);
    let problem = made(&subscription(|object| object.is_enabled = false)).unwrap_err();
    assert_eq!((problem.status, problem.code), (409, Some(Code::SubscriptionDisabled)));
}
