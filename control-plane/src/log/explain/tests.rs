//! Explanations beside a naive matcher, over subscriptions that come, change and go.

use std::sync::Arc;

use schemas::event_type::EventTypePattern;
use schemas::ids::ApplicationId;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::*;
use crate::log::made;

const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(1));
const SEEDS: u64 = 1_000;

/// Random numbers of a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// A subscription with its last write's offset on `control`.
#[derive(Clone, Debug)]
struct WrittenObject(control::Subscription, i64);

fn change(dice: &mut Dice, object: &mut control::Subscription) {
    object.is_enabled = dice.below(5) > 0;
    let pattern = dice.one(&["invoice.paid", "invoice.*", "order.**", "**"]);
    object.event_types = vec![EventTypePattern::parse(pattern).unwrap()];
    object.labels.clear();
    if dice.below(3) == 0 {
        object.labels.insert("env".to_owned(), dice.one(&["live", "test"]).to_owned());
    }
    let filters = ["data.amount > 10", "data.missing == 1", "type == 'invoice.paid'"];
    object.filter = (dice.below(3) == 0).then(|| dice.one(&filters).to_owned());
}

/// Whether a subscription lets an event through: written anew, with no index and no short cut.
fn naive(object: &control::Subscription, event: &LoggedEvent, payload: &[u8]) -> bool {
    let labels: StringMap = serde_json::from_str(event.labels.as_deref().unwrap()).unwrap();
    let amount = serde_json::from_slice::<serde_json::Value>(payload).unwrap()["amount"].as_i64().unwrap();
    let fits_type = object.event_types.iter().any(|pattern| match pattern.as_str() {
        "**" => true,
        "invoice.*" => event.event_type == "invoice.paid" || event.event_type == "invoice.sent",
        "order.**" => event.event_type.starts_with("order."),
        exact => exact == event.event_type,
    });
    let fits_filter = match object.filter.as_deref() {
        None => true,
        Some("data.amount > 10") => amount > 10,
        Some("type == 'invoice.paid'") => event.event_type == "invoice.paid",
        // What is not there fails, and what fails is no match.
        Some(_missing) => false,
    };
    object.is_enabled
        && fits_type
        && object.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && fits_filter
}

fn compiled(written: &WrittenObject) -> Subscription {
    let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
    Subscription::new(written.0.clone(), written.1, vault).unwrap()
}

/// An explanation that claims to be certain is right about then.
fn check(seed: u64, said: &Explanation, then: Option<&control::Subscription>, event: &LoggedEvent, payload: &[u8]) {
    let was_matched = then.is_some_and(|object| naive(object, event, payload));
    assert_eq!(said.result != ExplainedResult::NotMatched, was_matched, "seed {seed}: {said:?}");
    if !said.is_certain || was_matched {
        return;
    }
    // Whether it would have matched without its filter, and without its labels as well.
    let would = |without_labels: bool| {
        let mut mended = then.unwrap_or_else(|| panic!("seed {seed}: {said:?}")).clone();
        mended.filter = None;
        if without_labels {
            mended.labels.clear();
        }
        naive(&mended, event, payload)
    };
    match said.reason.as_deref() {
        Some("created_later") => assert!(then.is_none(), "seed {seed}: it was there"),
        Some("disabled") => assert!(!then.unwrap().is_enabled, "seed {seed}"),
        Some("event_type") => assert!(then.unwrap().is_enabled && !would(true), "seed {seed}"),
        Some("label") => assert!(would(true) && !would(false), "seed {seed}"),
        Some("filter") => assert!(would(false), "seed {seed}"),
        other => panic!("seed {seed}: {other:?} is certain"),
    }
}

#[test]
fn every_certain_answer_is_that_of_a_naive_matcher_and_every_reason_is_met() {
    let (mut reasons, mut certain) = (std::collections::BTreeSet::new(), 0);
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let make = |dice: &mut Dice, number: u128, offset| {
            let id = SubscriptionId(Uuid::from_u128(100 + number));
            let mut object = control::Subscription::new(id, APPLICATION, offset);
            change(dice, &mut object);
            WrittenObject(object, offset)
        };
        let before: Vec<WrittenObject> =
            (0..6).map(|number| make(&mut dice, number, i64::try_from(number).unwrap() + 1)).collect();
        let payload = format!(r#"{{"amount":{}}}"#, dice.below(20)).into_bytes();
        let mut event = LoggedEvent {
            at_ms: 500,
            accepted_ms: 400,
            event_type: dice.one(&["invoice.paid", "invoice.sent", "order.made"]).to_owned(),
            labels: Some(format!(r#"{{"env":"{}"}}"#, dice.one(&["live", "test"]))),
            control_offset: Some(50),
            ..made::event(APPLICATION)
        };
        let matched: Vec<&WrittenObject> = before.iter().filter(|it| naive(&it.0, &event, &payload)).collect();
        event.matched = u32::try_from(matched.len()).unwrap();
        event.subscriptions = Some(matched.iter().flat_map(|it| *it.0.subscription_id.0.as_bytes()).collect());

        // What happens afterwards: some change, some come, some go.
        let mut now: Vec<Option<WrittenObject>> = before.iter().cloned().map(Some).collect();
        for written in &mut now {
            match dice.below(4) {
                0 => {
                    let WrittenObject(object, offset) = written.as_mut().unwrap();
                    change(&mut dice, object);
                    (object.updated_ms, *offset) = (600, 60);
                }
                1 if dice.below(3) == 0 => *written = None,
                _ => {}
            }
        }
        now.push(Some(make(&mut dice, 90, 700)));
        let all = before.iter().map(Some).chain([None]);
        let has_payload = dice.below(4) > 0;
        let explained = ExplainedEvent::new(&event, has_payload.then_some(&payload));
        for (then, now) in all.zip(&now) {
            let id = then.map_or(SubscriptionId(Uuid::from_u128(190)), |then| then.0.subscription_id);
            let said = explained.explain(id, now.as_ref().map(compiled).as_ref(), &[]);
            check(seed, &said, then.map(|then| &then.0), &event, &payload);
            certain += u64::from(said.is_certain);
            reasons.extend(said.reason.filter(|_| said.is_certain));
        }
    }
    assert_eq!(Vec::from_iter(reasons), ["created_later", "disabled", "event_type", "filter", "label"]);
    assert!(certain > SEEDS * 4, "{certain}: few answers are certain");
}

#[test]
fn a_delivery_is_explained_by_its_highest_fact() {
    let event = LoggedEvent { matched: 1, ..made::event(APPLICATION) };
    let explained = ExplainedEvent::new(&event, None);
    let id = SubscriptionId(Uuid::from_u128(5));
    let fact = |kind, attempt| Fact {
        attempt: Some(attempt),
        reason: Some("schedule".to_owned()),
        ..made::fact(APPLICATION, kind)
    };
    let result = |facts: &[Fact]| explained.explain(id, None, facts).result;
    assert_eq!(result(&[fact(FactKind::Attempted, 1)]), ExplainedResult::Waiting);
    assert_eq!(result(&[fact(FactKind::DeadLettered, 2), fact(FactKind::Attempted, 1)]), ExplainedResult::Failed);
    assert_eq!(result(&[fact(FactKind::Attempted, 1), fact(FactKind::Delivered, 2)]), ExplainedResult::Delivered);
    assert_eq!(result(&[fact(FactKind::Cancelled, 1)]), ExplainedResult::Cancelled);
    let unknown = explained.explain(id, None, &[]);
    assert!(!unknown.is_certain, "the record names nobody, though one matched");
}
