//! What the tests of several files share: subscriptions and deliveries made of a few words.

use std::sync::Arc;

use bytes::Bytes;
use catalog::Subscription;
use schemas::control::{self, ControlKey, Sealed, SigningSecret, Target};
use schemas::delivery::{Again, Delivery, Hop, MadeBy, NewDelivery, key};
use schemas::identity::{delivery_id, gateway_source};
use schemas::ids::{ApplicationId, Generation, JobId, SubscriptionId};
use schemas::ordering::OrderingKey;
use schemas::record::{Headers, OutRecord, Record};
use target::{AllowList, TargetPolicy, TargetRules};
use testkit::dns::NameServer;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use crate::resolve::TargetResolver;

pub(crate) const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(0xa));
pub(crate) const SECRET: &str = "3b0b1bdc-1a26-4f5c-9a0f-0d5f7d0d7a11";

/// What may be called: with http or without, public addresses and these networks.
pub(crate) fn policy(allow_http: bool, networks: &[&str]) -> TargetPolicy {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    TargetPolicy::new(TargetRules { allow_http, ..TargetRules::default() }, AllowList { networks, hosts: Vec::new() })
}

/// The system's names under such a policy.
pub(crate) fn resolver(allow_http: bool, networks: &[&str]) -> TargetResolver {
    TargetResolver::new(policy(allow_http, networks), &[])
}

/// The names of a fake name server under such a policy.
pub(crate) fn resolver_at(names: &NameServer, allow_http: bool, networks: &[&str]) -> TargetResolver {
    TargetResolver::new(policy(allow_http, networks), &[names.address()])
}

pub(crate) fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(&[EncryptionKey::new("test", [7; 32])], &[9; 32]).unwrap())
}

pub(crate) fn subscription_id(number: u128) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(0x5000 + number))
}

pub(crate) fn seal(vault: &Vault, id: SubscriptionId, text: &str) -> Sealed {
    let context = ControlKey::Subscription(APPLICATION, id).to_string();
    let sealed = vault.seal(&context, text.as_bytes()).unwrap();
    serde_json::from_value(serde_json::to_value(&sealed).unwrap()).unwrap()
}

/// The control object of a subscription with all defaults.
pub(crate) fn object(number: u128, url: &str, vault: &Vault) -> control::Subscription {
    let id = subscription_id(number);
    control::Subscription {
        target: Target { method: "POST".into(), url: url.into(), ..Target::default() },
        secrets: vec![SigningSecret { sealed: seal(vault, id, SECRET), expires_ms: None }],
        ..control::Subscription::new(id, APPLICATION, 0)
    }
}

pub(crate) fn subscription(object: control::Subscription, offset: i64, vault: &Arc<Vault>) -> Arc<Subscription> {
    Arc::new(Subscription::new(object, offset, Arc::clone(vault)).unwrap())
}

/// The record of a new delivery of event `event` for subscription `number`.
pub(crate) fn record(event: &str, number: u128, deadline_ms: i64) -> Record {
    matched(event, number, deadline_ms, 5)
}

/// The same, matched when this was the newest record of `control`.
pub(crate) fn matched(event: &str, number: u128, deadline_ms: i64, control_offset: i64) -> Record {
    let source = gateway_source(APPLICATION);
    let inbound: Headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", event),
        ("ce_source", source.as_str()),
        ("ce_type", "invoice.paid"),
        ("ce_time", "2026-11-22T01:02:03Z"),
        ("content-type", "application/json"),
    ]
    .into_iter()
    .collect();
    let subscription = subscription_id(number);
    let new = NewDelivery {
        id: delivery_id(APPLICATION, &source, event, subscription, Generation::default()),
        subscription,
        generation: Generation::default(),
        made_by: None,
        accepted_ms: 1_000,
        deadline_ms,
        control_offset,
        ordering_key: None,
        deprecation: None,
    };
    Record {
        offset: 0,
        timestamp_ms: 0,
        key: Some(key(subscription)),
        value: Some(Bytes::from_static(br#"{"a": 1}"#)),
        headers: new.encode(&inbound, APPLICATION, "hookbus.events/0/7"),
    }
}

/// The same of an event with an ordering key.
pub(crate) fn ordered(event: &str, number: u128, key: u64, control_offset: i64) -> Record {
    let Record { headers, .. } = matched(event, number, i64::MAX, control_offset);
    let mut builder = Headers::builder(headers.len() + 1, headers.size() + 64);
    builder.copy_if(&headers, |_| true);
    builder.push_display(schemas::header::ORDERING_KEY, OrderingKey(key));
    Record { headers: builder.build(), ..matched(event, number, i64::MAX, control_offset) }
}

/// The record of a delivery that was tried once and is due again.
pub(crate) fn retry(event: &str, number: u128, deadline_ms: i64, control_offset: i64) -> Record {
    let first = matched(event, number, deadline_ms, control_offset);
    let delivery = Delivery::decode(&first).unwrap();
    let hop = Hop { attempt: delivery.hop.attempt + 1, ..delivery.hop };
    let headers = delivery.to_hop(Arc::from("hookbus.deliveries"), None, hop, None).headers;
    Record { headers, ..first }
}

pub(crate) fn delivery(event: &str, number: u128) -> Delivery {
    Delivery::decode(&record(event, number, i64::MAX)).unwrap()
}

/// The record of a delivery that a job has made.
pub(crate) fn sent_again(event: &str, number: u128, job: JobId) -> Record {
    let again = Again {
        job,
        made_by: MadeBy::Replay,
        deadline_ms: i64::MAX,
        control_offset: 9,
        redrives: None,
        is_once: false,
    };
    let OutRecord { key, value, headers, .. } = delivery(event, number).again(Arc::from("hookbus.deliveries"), again);
    Record { offset: 0, timestamp_ms: 0, key, value, headers }
}

/// One attempt of it that somebody asked for.
pub(crate) fn once(event: &str, number: u128) -> Delivery {
    let again = Again {
        job: JobId(Uuid::from_u128(7)),
        made_by: MadeBy::Retry,
        deadline_ms: i64::MAX,
        control_offset: 9,
        redrives: None,
        is_once: true,
    };
    let OutRecord { key, value, headers, .. } = delivery(event, number).again(Arc::from("hookbus.deliveries"), again);
    Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key, value, headers }).unwrap()
}

/// Of a subscription whose origin no other one has.
pub(crate) fn url(number: u128) -> String {
    format!("https://{number}.example.com/")
}

thread_local! {
    /// Sealing its secrets is most of what a subscription costs.
    static SHARED: std::cell::RefCell<std::collections::HashMap<u128, Arc<Subscription>>> = Default::default();
    static OBJECTS: std::cell::RefCell<std::collections::HashMap<u128, control::Subscription>> = Default::default();
}

/// The control object of a subscription with all defaults; its secret is sealed once per thread.
pub(crate) fn shared_object(number: u128, url: &str, vault: &Vault) -> control::Subscription {
    OBJECTS.with_borrow_mut(|objects| {
        let made = objects.entry(number).or_insert_with(|| object(number, url, vault));
        control::Subscription { target: Target { url: url.into(), ..made.target.clone() }, ..made.clone() }
    })
}

/// A subscription with all defaults and an origin of its own, made once per thread.
pub(crate) fn shared_subscription(number: u128) -> Arc<Subscription> {
    SHARED.with_borrow_mut(|shared| {
        let made = shared.entry(number).or_insert_with(|| {
            let vault = vault();
            subscription(object(number, &url(number), &vault), 1, &vault)
        });
        Arc::clone(made)
    })
}
