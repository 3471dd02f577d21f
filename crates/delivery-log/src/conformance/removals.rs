//! What leaves a store before its day does: the content of erased events, and rows that their application does not keep.

use std::collections::BTreeSet;

use schemas::ids::ApplicationId;
use uuid::Uuid;

use super::made::Made;
use super::{Fixture, all_events, all_facts};
use crate::day::Day;
use crate::fact::{Fact, FactKind, LoggedEvent, RowContent};
use crate::minute::{BucketQuery, MINUTE};
use crate::query::{EventQuery, FactQuery, Times};
use crate::store::DeliveryStore;

/// Everything that a store has of all applications, by place.
async fn rows(store: &impl DeliveryStore, made: &Made) -> (Vec<Fact>, Vec<LoggedEvent>) {
    let (mut facts, mut events) = (Vec::new(), Vec::new());
    for application in &made.applications {
        facts.extend(all_facts(store, &FactQuery::of(*application, 250)).await);
        events.extend(all_events(store, &EventQuery::of(*application, 250)).await);
    }
    facts.sort_unstable_by_key(|it| it.coordinates);
    events.sort_unstable_by_key(|it| it.coordinates);
    (facts, events)
}

/// What was made, without the content of these events.
fn without(made: &Made, erased: &BTreeSet<Uuid>) -> (Vec<Fact>, Vec<LoggedEvent>) {
    let (mut facts, mut events) = (Vec::new(), Vec::new());
    let all = made.facts.iter().map(|it| RowContent::Fact(Box::new(it.clone())));
    for mut row in all.chain(made.events.iter().map(|it| RowContent::Event(Box::new(it.clone())))) {
        if row.event().is_some_and(|event| erased.contains(&event)) {
            row.erase();
        }
        match row {
            RowContent::Fact(fact) => facts.push(*fact),
            // As lists give it.
            RowContent::Event(event) => {
                events.push(LoggedEvent { subscriptions: None, control_offset: None, ..*event });
            }
            RowContent::Target(_) | RowContent::Nothing => {}
        }
    }
    facts.sort_unstable_by_key(|it| it.coordinates);
    events.sort_unstable_by_key(|it| it.coordinates);
    (facts, events)
}

pub(crate) async fn what_is_erased_is_without_content_whatever_comes_first<F: Fixture>() {
    for seed in 0..20 {
        let mut fixture = F::empty();
        let mut made = Made::new(seed, 2, 1_500_000);
        made.go_on(60);
        let mut chunks = made.chunks();
        // Some is taken before it is erased, and some of what is erased is still under way.
        let later = chunks.split_off(chunks.len() / 2);
        let store = fixture.open().await;
        store.project(chunks.clone()).await.unwrap();
        let mut erased = made.erase_some();
        made.go_on(20);
        let mut later = [later, made.chunks()].concat();
        made.shuffle(&mut later);
        for some in later.chunks(3) {
            store.project(some.to_vec()).await.unwrap();
        }
        assert_eq!(rows(store, &made).await, without(&made, &erased), "seed {seed}");
        // Asked for here, its record not read yet.
        let one = made.events[0].uuid;
        store.erase(one).await.unwrap();
        erased.insert(one);
        let asked = made.events.iter().map(|it| it.uuid).collect();
        let told: BTreeSet<Uuid> = store.erased(asked).await.unwrap().into_iter().collect();
        assert_eq!(told, erased, "seed {seed}");
        let store = fixture.open().await;
        let asked = made.events.iter().map(|it| it.uuid).collect();
        let told: BTreeSet<Uuid> = store.erased(asked).await.unwrap().into_iter().collect();
        assert_eq!(told, erased, "seed {seed}, opened again");
        assert_eq!(rows(store, &made).await, without(&made, &erased), "seed {seed}, opened again");
        store.give_up_all().await.unwrap();
        assert_eq!(store.days().await.unwrap().iter().map(|it| it.rows).sum::<u64>(), 0);
        let mut all = [chunks, later].concat();
        made.shuffle(&mut all);
        let store = fixture.open().await;
        store.project(all).await.unwrap();
        assert_eq!(rows(store, &made).await, without(&made, &erased), "seed {seed}, made again");
    }
}

pub(crate) async fn what_was_erased_does_not_come_back_while_the_log_is_made_again<F: Fixture>() {
    let mut fixture = F::empty();
    let mut made = Made::new(4, 1, 0);
    made.go_on(20);
    let accepted = made.chunks();
    let erased = made.erase_some();
    let said = made.chunks();
    let asked = made.events.iter().map(|it| it.uuid).find(|it| !erased.contains(it)).unwrap();
    let erased: BTreeSet<Uuid> = erased.into_iter().chain([asked]).collect();
    let store = fixture.open().await;
    store.project(accepted.clone()).await.unwrap();
    store.project(said.clone()).await.unwrap();
    // Its record is not read yet when all of it goes.
    store.erase(asked).await.unwrap();
    store.give_up_all().await.unwrap();
    store.project(accepted.clone()).await.unwrap();
    let (_, events) = rows(store, &made).await;
    assert_eq!(events, without(&made, &erased).1, "before the erasures are read");
    store.give_up_all().await.unwrap();
    let store = fixture.open().await;
    store.project(accepted).await.unwrap();
    let (_, events) = rows(store, &made).await;
    assert_eq!(events, without(&made, &erased).1, "nor where the process began anew in the middle");
    store.project(said).await.unwrap();
    assert_eq!(rows(store, &made).await, without(&made, &erased));
}

pub(crate) async fn an_erasure_outlives_the_day_of_its_record<F: Fixture>() {
    const DAY_MS: i64 = 86_400_000;
    let mut fixture = F::empty();
    let mut made = Made::new(3, 1, 0);
    made.go_on(1);
    let event = made.events[0].clone();
    let first = Day::of(event.stored_ms);
    let accepted = made.chunks();
    made.wait(DAY_MS);
    made.say(&event, FactKind::Erased, None);
    let erased = made.chunks();
    made.wait(DAY_MS);
    made.say(&event, FactKind::Attempted, Some("it said hello"));
    let store = fixture.open().await;
    // The newest day comes first, and the erasure the last.
    for chunks in [made.chunks(), accepted, erased] {
        store.project(chunks).await.unwrap();
    }
    store.retain(first.next().next()).await.unwrap();
    let store = fixture.open().await;
    assert_eq!(store.days().await.unwrap().len(), 1);
    assert_eq!(store.erased(vec![event.uuid]).await.unwrap(), [event.uuid], "what is under way still ends");
    made.wait(DAY_MS);
    made.say(&event, FactKind::DeadLettered, Some("it said hello again"));
    store.project(made.chunks()).await.unwrap();
    let found = all_facts(store, &FactQuery::of(event.application, 10)).await;
    assert_eq!(found.iter().map(|it| it.kind).collect::<Vec<_>>(), [FactKind::DeadLettered, FactKind::Attempted]);
    assert!(found.iter().all(|it| it.detail.is_none()), "{found:?}");
    store.retain(Day::of(found[0].stored_ms).next()).await.unwrap();
    assert!(store.erased(vec![event.uuid]).await.unwrap().is_empty(), "nothing is left of it");
}

/// Asks until there is nothing left to remove.
async fn forget_all(store: &impl DeliveryStore, before: (ApplicationId, i64)) {
    let mut looks = 0;
    loop {
        let forgotten = store.forget(vec![before]).await.unwrap();
        looks += 1;
        if !forgotten.is_more {
            break;
        }
        assert!(forgotten.rows > 0 && looks < 1_000);
    }
    assert!(looks > 1, "some at once");
    assert_eq!(store.forget(vec![before]).await.unwrap().rows, 0);
}

pub(crate) async fn what_an_application_does_not_keep_is_removed_and_nothing_else<F: Fixture>() {
    let mut fixture = F::empty();
    let mut made = Made::new(5, 2, 900_000);
    made.go_on(1_500);
    let store = fixture.open().await;
    store.project(made.chunks()).await.unwrap();
    let days = made.days();
    assert!(days.len() > 3, "{days:?}");
    let (whose, other) = (made.applications[0], made.applications[1]);
    let before_ms = days[days.len() - 2].start_ms() + 40_000_000;
    let (others_facts, others_events) =
        (all_facts(store, &FactQuery::of(other, 250)).await, all_events(store, &EventQuery::of(other, 250)).await);
    let buckets = |application| {
        let query = BucketQuery { application, subscription: None, times: Times::default(), step_ms: MINUTE };
        store.buckets(query)
    };
    let others_buckets = buckets(other).await.unwrap();
    forget_all(store, (whose, before_ms)).await;
    let (facts, events) = rows(store, &made).await;
    let is_kept = |application, ms| application != whose || ms >= before_ms;
    let (mut kept_facts, mut kept_events) = without(&made, &BTreeSet::new());
    kept_facts.retain(|it| is_kept(it.application.unwrap(), it.stored_ms));
    kept_events.retain(|it| is_kept(it.application, it.accepted_ms));
    assert!(kept_facts.len() < made.facts.len() && kept_facts.iter().any(|it| it.application == Some(whose)));
    assert_eq!((facts, events), (kept_facts.clone(), kept_events.clone()));
    assert_eq!(all_facts(store, &FactQuery::of(other, 250)).await, others_facts);
    assert_eq!(all_events(store, &EventQuery::of(other, 250)).await, others_events);
    assert_eq!(buckets(other).await.unwrap(), others_buckets);
    let last_whole = Day::of(before_ms).start_ms();
    assert!(buckets(whose).await.unwrap().iter().all(|it| it.from_ms >= last_whole), "counts go with their day");
    let open = made.facts.iter().filter_map(|it| it.delivery).collect();
    let open = store.open_deliveries(open).await.unwrap();
    assert!(open.iter().all(|it| is_kept(it.application.unwrap(), it.since_ms)), "nothing waits that is forgotten");
    let rows = store.days().await.unwrap().iter().map(|it| it.rows).sum::<u64>();
    assert_eq!(rows, (kept_facts.len() + kept_events.len()) as u64);
}
