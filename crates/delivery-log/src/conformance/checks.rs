//! What a store holds and answers, beside a filter over all that was made.

use std::collections::BTreeMap;

use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use uuid::Uuid;

use super::made::{Made, position_of_event, position_of_fact};
use super::{Fixture, all_events, all_facts};
use crate::attempt_id::{attempt_id, delivery_prefix};
use crate::day::Day;
use crate::fact::{Fact, FactKind, Kinds, LoggedEvent, OpenDelivery};
use crate::histogram::Histogram;
use crate::minute::{BucketQuery, MINUTE, MinuteBucket};
use crate::query::{EventName, EventQuery, FactQuery, ListOrder, Subject, Times};
use crate::store::{AcceptedCounts, DeliveryStore, Projected};

/// Everything a store says of an application.
#[derive(Debug, PartialEq)]
struct Told {
    facts: Vec<Fact>,
    events: Vec<LoggedEvent>,
    open: Vec<OpenDelivery>,
    buckets: Vec<MinuteBucket>,
    accepted: AcceptedCounts,
}

async fn told(store: &impl DeliveryStore, made: &Made) -> Vec<Told> {
    let mut all = Vec::new();
    for application in &made.applications {
        let mut told = Told {
            facts: all_facts(store, &FactQuery::of(*application, 250)).await,
            events: all_events(store, &EventQuery::of(*application, 250)).await,
            open: store.open_deliveries(deliveries(&made.facts, *application)).await.unwrap(),
            buckets: Vec::new(),
            accepted: accepted(store, *application).await,
        };
        let mut subscriptions: Vec<_> = told.facts.iter().filter_map(|it| it.subscription).collect();
        subscriptions.sort_unstable();
        subscriptions.dedup();
        for subscription in subscriptions {
            told.buckets.extend(minutes(store, *application, Some(subscription)).await);
        }
        told.buckets.extend(minutes(store, *application, None).await);
        all.push(told);
    }
    all
}

/// All minutes of a subscription, or of all of an application's.
async fn minutes(
    store: &impl DeliveryStore,
    application: ApplicationId,
    subscription: Option<SubscriptionId>,
) -> Vec<MinuteBucket> {
    let query = BucketQuery { application, subscription, times: Times::default(), step_ms: MINUTE };
    store.buckets(query).await.unwrap()
}

async fn accepted(store: &impl DeliveryStore, application: ApplicationId) -> AcceptedCounts {
    store.accepted(vec![application], Day::of(0), Day::of(i64::MAX)).await.unwrap()
}

fn deliveries(facts: &[Fact], application: ApplicationId) -> Vec<DeliveryId> {
    let own = facts.iter().filter(|fact| fact.application == Some(application));
    let mut ids: Vec<DeliveryId> = own.filter_map(|fact| fact.delivery).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Some hours of traffic over a midnight or two.
fn made(seed: u64) -> Made {
    let mut made = Made::new(seed, 3, 600_000);
    made.go_on(120);
    made
}

pub(crate) async fn what_is_projected_twice_changes_nothing<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(1));
    let store = fixture.open().await;
    let mut chunks = made.chunks();
    let first = store.project(chunks.clone()).await.unwrap();
    let rows = (made.facts.len() + made.events.len()) as u64;
    assert_eq!(first, Projected { new: rows, known: 0, too_old: 0 });
    let before = told(store, &made).await;
    made.shuffle(&mut chunks);
    assert_eq!(store.project(chunks).await.unwrap(), Projected { new: 0, known: rows, too_old: 0 });
    assert_eq!(told(store, &made).await, before);
    assert!(made.is_covered_by(&store.coverage().await.unwrap()));
}

pub(crate) async fn the_order_of_chunks_does_not_matter<F: Fixture>() {
    for seed in 0..6 {
        let (mut one, mut other, mut made) = (F::empty(), F::empty(), made(seed));
        let mut chunks = made.chunks();
        let (one, other) = (one.open().await, other.open().await);
        one.project(chunks.clone()).await.unwrap();
        made.shuffle(&mut chunks);
        for chunk in chunks {
            other.project(vec![chunk]).await.unwrap();
        }
        let told_of_one = told(one, &made).await;
        assert_eq!(told_of_one, told(other, &made).await, "seed {seed}");
        for (application, told) in made.applications.iter().zip(told_of_one) {
            assert_eq!(told.open, naive_open(&made.facts, *application), "seed {seed}");
        }
    }
}

/// Deliveries whose highest fact is an attempt that is repeated.
fn naive_open(facts: &[Fact], application: ApplicationId) -> Vec<OpenDelivery> {
    let highest = |delivery: DeliveryId| {
        let own = facts.iter().filter(|it| it.delivery == Some(delivery) && Kinds::ATTEMPTS.has(it.kind));
        own.reduce(|one, other| if other.is_above(one) { other } else { one })
    };
    let open = deliveries(facts, application).into_iter().filter_map(|delivery| {
        let fact = highest(delivery).filter(|fact| fact.kind == FactKind::Attempted)?;
        Some(OpenDelivery {
            delivery,
            application: fact.application,
            subscription: fact.subscription,
            attempt: fact.attempt?,
            since_ms: fact.at_ms,
            due_ms: fact.due_ms,
            coordinates: fact.coordinates,
        })
    });
    open.collect()
}

pub(crate) async fn lists_are_what_a_filter_over_all_rows_would_be<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(2));
    let store = fixture.open().await;
    store.project(made.chunks()).await.unwrap();
    for query in fact_queries(&made) {
        let mut expected: Vec<Fact> = made.facts.iter().filter(|fact| query.matches(fact)).cloned().collect();
        expected.sort_unstable_by_key(position_of_fact);
        if query.page.order == ListOrder::Descending {
            expected.reverse();
        }
        assert_eq!(all_facts(store, &query).await, expected, "{query:?}");
    }
    for query in event_queries(&made) {
        let mut expected: Vec<LoggedEvent> =
            made.events.iter().filter(|event| query.matches(event)).map(listed).collect();
        expected.sort_unstable_by_key(position_of_event);
        if query.page.order == ListOrder::Descending {
            expected.reverse();
        }
        assert_eq!(all_events(store, &query).await, expected, "{query:?}");
    }
}

/// An event as lists give it.
fn listed(event: &LoggedEvent) -> LoggedEvent {
    LoggedEvent { subscriptions: None, control_offset: None, ..event.clone() }
}

fn fact_queries(made: &Made) -> Vec<FactQuery> {
    let fact = made.facts.iter().find(|fact| fact.kind == FactKind::DeadLettered).unwrap();
    let plain = FactQuery::of(fact.application.unwrap(), 250);
    let mut ascending = plain.clone();
    ascending.page.order = ListOrder::Ascending;
    let middle = made.facts[made.facts.len() / 2].stored_ms;
    let pattern = |text: &str| EventTypePattern::parse(text).unwrap();
    vec![
        plain.clone(),
        ascending.clone(),
        FactQuery { subject: Subject::Subscription(fact.subscription.unwrap()), ..plain.clone() },
        FactQuery { subject: Subject::Event(fact.event.unwrap()), ..ascending.clone() },
        FactQuery { subject: Subject::Delivery(fact.delivery.unwrap()), ..plain.clone() },
        FactQuery { kinds: Kinds::FAILED, ..plain.clone() },
        FactQuery { kinds: Kinds::of(&[FactKind::DeadLettered]), ..ascending },
        FactQuery { kinds: Kinds::of(&[FactKind::Repeat]), ..plain.clone() },
        FactQuery { types: vec![pattern("invoice.*")], status: Some(500..=599), ..plain.clone() },
        FactQuery { types: vec![pattern("nothing.*")], ..plain.clone() },
        FactQuery { error: Some("timeout".into()), ..plain.clone() },
        FactQuery { reason: Some("schedule".into()), ..plain.clone() },
        FactQuery { made_by: Some("replay".into()), ..plain.clone() },
        FactQuery { subject: Subject::Event(fact.event.unwrap()), subscription: fact.subscription, ..plain.clone() },
        FactQuery { subscription: Some(SubscriptionId(Uuid::nil())), ..plain.clone() },
        FactQuery { times: Times { from_ms: Some(middle), to_ms: None }, ..plain.clone() },
        FactQuery { times: Times { from_ms: None, to_ms: Some(middle) }, ..plain.clone() },
        FactQuery { times: Times { from_ms: Some(1), to_ms: Some(2) }, ..plain.clone() },
        FactQuery { times: Times { from_ms: Some(i64::MIN), to_ms: Some(i64::MAX) }, ..plain },
    ]
}

fn event_queries(made: &Made) -> Vec<EventQuery> {
    let event = made.events.iter().find(|event| event.source.is_some()).unwrap();
    let plain = EventQuery::of(event.application, 250);
    let mut ascending = plain.clone();
    ascending.page.order = ListOrder::Ascending;
    let middle = made.events[made.events.len() / 2].accepted_ms;
    let own = schemas::identity::gateway_source(event.application);
    vec![
        plain.clone(),
        ascending.clone(),
        EventQuery { types: vec![EventTypePattern::parse("order.**").unwrap()], ..plain.clone() },
        EventQuery { labels: vec![("color".into(), "red".into())], ..ascending },
        EventQuery { source: event.source.clone(), ..plain.clone() },
        EventQuery { source: Some(own), ..plain.clone() },
        EventQuery { times: Times { from_ms: Some(middle), to_ms: Some(middle + 7_200_000) }, ..plain },
    ]
}

pub(crate) async fn what_was_projected_is_there_when_the_store_is_opened_again<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(3));
    let store = fixture.open().await;
    assert!(!store.bind("attempts a".to_owned()).await.unwrap());
    store.project(made.chunks()).await.unwrap();
    let before = told(store, &made).await;
    let store = fixture.open().await;
    assert!(!store.bind("attempts a".to_owned()).await.unwrap());
    assert_eq!(told(store, &made).await, before);
    assert!(made.is_covered_by(&store.coverage().await.unwrap()));
    made.go_on(20);
    let more = store.project(made.chunks()).await.unwrap();
    assert!(more.new > 0);
    assert_eq!(more.known, 0);
}

pub(crate) async fn a_day_is_given_up_as_a_whole_and_does_not_come_back<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(4));
    let store = fixture.open().await;
    let chunks = made.chunks();
    store.project(chunks.clone()).await.unwrap();
    let days = made.days();
    assert!(days.len() >= 2, "{days:?}");
    let summaries = store.days().await.unwrap();
    assert_eq!(summaries.iter().rev().map(|it| it.day).collect::<Vec<_>>(), days);
    assert!(summaries.iter().all(|it| it.bytes > 0), "{summaries:?}");
    let gone = store.retain(days[1]).await.unwrap();
    assert_eq!(gone, [days[0]]);
    let left = |ms: i64| Day::of(ms) >= days[1];
    for application in &made.applications {
        let facts = all_facts(store, &FactQuery::of(*application, 250)).await;
        let expected = made.facts.iter().filter(|it| it.application == Some(*application) && left(it.stored_ms));
        assert_eq!(facts.len(), expected.count());
    }
    let again = store.project(chunks).await.unwrap();
    let old = made.facts.iter().filter(|it| !left(it.stored_ms)).count()
        + made.events.iter().filter(|it| !left(it.stored_ms)).count();
    assert_eq!((again.new, again.too_old), (0, old as u64));
    assert_eq!(store.days().await.unwrap().len(), days.len() - 1);
}

pub(crate) async fn another_topic_is_another_log<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(5));
    let store = fixture.open().await;
    assert!(!store.bind("attempts a".to_owned()).await.unwrap());
    let chunks = made.chunks();
    store.project(chunks.clone()).await.unwrap();
    let before = told(store, &made).await;
    assert!(store.bind("attempts b".to_owned()).await.unwrap());
    assert_eq!(store.coverage().await.unwrap().ends(), BTreeMap::new());
    let empty = told(store, &made).await;
    assert!(empty.iter().all(|it| it.facts.is_empty() && it.events.is_empty() && it.open.is_empty()));
    store.project(chunks).await.unwrap();
    assert_eq!(told(store, &made).await, before);
    assert!(!fixture.open().await.bind("attempts b".to_owned()).await.unwrap());
}

pub(crate) async fn nothing_of_one_application_is_in_an_answer_to_another<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(6));
    let store = fixture.open().await;
    store.project(made.chunks()).await.unwrap();
    let fact = made.facts.iter().find(|fact| fact.delivery.is_some()).unwrap().clone();
    let event = made.events.iter().find(|event| event.source.is_some()).unwrap().clone();
    let stranger = *made.applications.iter().find(|it| Some(**it) != fact.application).unwrap();
    let (subscription, delivery) = (fact.subscription.unwrap(), fact.delivery.unwrap());
    for subject in
        [Subject::Subscription(subscription), Subject::Event(fact.event.unwrap()), Subject::Delivery(delivery)]
    {
        let of = |application| FactQuery { subject, ..FactQuery::of(application, 250) };
        assert!(!all_facts(store, &of(fact.application.unwrap())).await.is_empty());
        assert_eq!(all_facts(store, &of(stranger)).await, []);
    }
    assert_eq!(minutes(store, stranger, Some(subscription)).await, []);
    let day = Day::of(0);
    let (prefix, _) = delivery_prefix(attempt_id(delivery, 1)).unwrap();
    assert_eq!(store.histories(stranger, vec![(delivery, day)]).await.unwrap(), []);
    assert_eq!(store.history_of(stranger, prefix).await.unwrap(), []);
    let stranger = *made.applications.iter().find(|it| **it != event.application).unwrap();
    assert_eq!(store.event(stranger, EventName::Uuid(event.uuid)).await.unwrap(), None);
    assert_eq!(store.event(stranger, EventName::Id(event.id)).await.unwrap(), None);
    assert_eq!(store.events_of(stranger, vec![(event.uuid, day)]).await.unwrap(), []);
    let nobody = ApplicationId(Uuid::from_u128(99));
    assert_eq!(all_facts(store, &FactQuery::of(nobody, 250)).await, []);
    assert_eq!(accepted(store, nobody).await, BTreeMap::new());
}

pub(crate) async fn events_and_deliveries_are_found_by_their_names<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(7));
    // More deliveries of an application than one question is about.
    made.go_on(250);
    let store = fixture.open().await;
    store.project(made.chunks()).await.unwrap();
    for event in &made.events {
        let found = store.event(event.application, EventName::Uuid(event.uuid)).await.unwrap();
        assert_eq!(found.as_ref(), Some(event));
        let by_id = store.event(event.application, EventName::Id(event.id.clone())).await.unwrap();
        assert_eq!(by_id.as_ref(), event.source.is_some().then_some(event));
        let since = Day::of(event.accepted_ms);
        let found = store.events_of(event.application, vec![(event.uuid, since), (Uuid::nil(), since)]).await.unwrap();
        assert_eq!(found, [listed(event)]);
    }
    for application in &made.applications {
        let all = deliveries(&made.facts, *application);
        let of_all = store.histories(*application, all.iter().map(|id| (*id, Day::of(0))).collect()).await.unwrap();
        let mut one_by_one = Vec::new();
        for delivery in all {
            let mut expected: Vec<Fact> =
                made.facts.iter().filter(|it| it.delivery == Some(delivery)).cloned().collect();
            expected.sort_unstable_by_key(position_of_fact);
            let since = Day::of(expected[0].accepted_ms.unwrap());
            assert_eq!(store.histories(*application, vec![(delivery, since)]).await.unwrap(), expected);
            let (prefix, _) = delivery_prefix(attempt_id(delivery, 1)).unwrap();
            assert_eq!(store.history_of(*application, prefix).await.unwrap(), expected);
            one_by_one.extend(expected);
        }
        assert_eq!(of_all, one_by_one, "however many are asked for");
    }
}

pub(crate) async fn minutes_and_days_count_each_row_once<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(8));
    let store = fixture.open().await;
    // In several parts, so that minutes are added to.
    for chunk in made.chunks() {
        store.project(vec![chunk]).await.unwrap();
    }
    let mut expected: BTreeMap<_, BTreeMap<i64, MinuteBucket>> = BTreeMap::new();
    let is_counted = |fact: &&Fact| Kinds::ATTEMPTS.has(fact.kind) || Kinds::SETTLED.has(fact.kind);
    for fact in made.facts.iter().filter(is_counted) {
        let from_ms = fact.stored_ms - fact.stored_ms.rem_euclid(MINUTE);
        for owner in [fact.subscription, None] {
            let minutes = expected.entry((fact.application.unwrap(), owner)).or_default();
            let bucket = minutes.entry(from_ms).or_insert_with(|| MinuteBucket { from_ms, ..MinuteBucket::default() });
            bucket.add(&counted(fact));
        }
    }
    assert!(expected.len() > made.applications.len());
    for ((application, subscription), all) in expected {
        assert_eq!(minutes(store, application, subscription).await, all.values().cloned().collect::<Vec<_>>());
        let from = all.keys().nth(all.len() / 2).copied();
        let times = Times { from_ms: from, to_ms: None };
        let query = BucketQuery { application, subscription, times, step_ms: MINUTE };
        let later = store.buckets(query).await.unwrap();
        assert_eq!(later, all.range(from.unwrap()..).map(|(_, it)| it.clone()).collect::<Vec<_>>());
        let mut hours = Vec::new();
        let query = BucketQuery { times: Times::default(), step_ms: 60 * MINUTE, ..query };
        all.values().for_each(|minute| query.take(minute, &mut hours));
        assert_eq!(store.buckets(query).await.unwrap(), hours);
    }
    for application in &made.applications {
        let mut expected = AcceptedCounts::new();
        for event in made.events.iter().filter(|event| event.application == *application) {
            *expected.entry((Day::of(event.stored_ms), *application)).or_default() += 1;
        }
        assert_eq!(accepted(store, *application).await, expected);
    }
}

/// What one fact adds to its minute.
fn counted(fact: &Fact) -> MinuteBucket {
    let is = |kind| u64::from(fact.kind == kind);
    let mut latency = Histogram::default();
    fact.exchange.iter().for_each(|exchange| latency.record(exchange.elapsed_ms));
    MinuteBucket {
        from_ms: 0,
        delivered: is(FactKind::Delivered),
        retried: is(FactKind::Attempted),
        dead_lettered: is(FactKind::DeadLettered),
        cancelled: is(FactKind::Cancelled),
        settled: is(FactKind::Redriven) + is(FactKind::Discarded),
        attempts: latency.count(),
        latency,
    }
}
