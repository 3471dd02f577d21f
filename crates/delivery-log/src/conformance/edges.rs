//! Where a log's life is not ordinary: the longest histories, clocks that were set, and topics that were cut back.

use std::collections::BTreeMap;

use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use uuid::Uuid;

use super::{Fixture, all_facts};
use crate::attempt_id::{attempt_id, delivery_prefix};
use crate::day::Day;
use crate::fact::{Fact, FactKind, LogChunk, LogRow, RowContent};
use crate::position::Coordinates;
use crate::query::FactQuery;
use crate::store::DeliveryStore;

const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(7 << 64));
const SUBSCRIPTION: SubscriptionId = SubscriptionId(Uuid::from_u128(9 << 64));
/// 2026-11-29.
const FIRST: i64 = 1_795_910_400_000;
const DAY_MS: i64 = 86_400_000;

/// An id as deliveries have them: of version 5.
fn delivery(number: u128) -> DeliveryId {
    DeliveryId(uuid::Builder::from_u128(number << 16).with_version(uuid::Version::Sha1).into_uuid())
}

fn day(number: i64) -> Day {
    Day::of(FIRST + number * DAY_MS)
}

/// What happened to a delivery, as the record at this offset says that was written so late on this day.
fn fact(kind: FactKind, of: DeliveryId, attempt: u32, (offset, day, late_ms): (i64, i64, i64)) -> Fact {
    let stored_ms = FIRST + day * DAY_MS + late_ms;
    Fact {
        coordinates: Coordinates { partition: 0, offset },
        stored_ms,
        kind,
        at_ms: stored_ms,
        application: Some(APPLICATION),
        event: Some(Uuid::from_u128(3)),
        event_type: None,
        accepted_ms: Some(FIRST),
        subscription: Some(SUBSCRIPTION),
        delivery: Some(of),
        generation: None,
        made_by: None,
        attempt: Some(attempt),
        due_ms: None,
        reason: None,
        detail: None,
        exchange: None,
        record: None,
    }
}

/// Facts as one chunk of each.
fn chunks(facts: &[Fact]) -> Vec<LogChunk> {
    let chunk = |fact: &Fact| {
        let (offset, stored_ms) = (fact.coordinates.offset, fact.stored_ms);
        let rows = vec![LogRow { offset, stored_ms, content: RowContent::Fact(Box::new(fact.clone())) }];
        LogChunk { partition: 0, offsets: offset..offset + 1, rows }
    };
    facts.iter().map(chunk).collect()
}

async fn open_letters(store: &impl DeliveryStore) -> u64 {
    store.open_letters(APPLICATION, SUBSCRIPTION, 0).await.unwrap()
}

pub(crate) async fn a_delivery_with_the_longest_schedule_has_its_whole_history<F: Fixture>() {
    let (mut fixture, of) = (F::empty(), delivery(1));
    let store = fixture.open().await;
    let tried = (0..101).map(|at| fact(FactKind::Attempted, of, u32::try_from(at).unwrap() + 1, (at, at / 60, at)));
    let ends = [FactKind::Failing, FactKind::EndpointGone, FactKind::DeadLettered, FactKind::Redriven];
    let ends = (101..).zip(ends).map(|(at, kind)| fact(kind, of, 101, (at, 2, at)));
    let all: Vec<Fact> = tried.chain(ends).collect();
    store.project(chunks(&all)).await.unwrap();
    assert_eq!(store.histories(APPLICATION, vec![(of, day(0))]).await.unwrap(), all);
    let (prefix, _) = delivery_prefix(attempt_id(of, 1)).unwrap();
    assert_eq!(store.history_of(APPLICATION, prefix).await.unwrap(), all);
}

pub(crate) async fn a_clock_that_was_ahead_for_a_moment_leaves_no_hole<F: Fixture>() {
    let mut fixture = F::empty();
    let store = fixture.open().await;
    let rows = chunks(&[
        fact(FactKind::Attempted, delivery(1), 1, (0, 0, 5)),
        fact(FactKind::DeadLettered, delivery(2), 1, (1, 0, 6)),
    ]);
    store.project(rows.clone()).await.unwrap();
    let mut given_up = store.given_up();
    given_up.mark_unchanged();
    assert_eq!(store.retain(day(40)).await.unwrap(), [day(0)]);
    assert!(!given_up.has_changed().unwrap(), "days that go are no damage");
    assert_eq!(store.project(rows.clone()).await.unwrap().too_old, 2);
    store.retain(day(-30)).await.unwrap();
    assert!(given_up.has_changed().unwrap(), "whoever fills the log looks again");
    assert_eq!(store.coverage().await.unwrap().ends(), BTreeMap::new());
    assert_eq!(store.project(rows).await.unwrap().new, 2);
    assert_eq!(store.open_deliveries(vec![delivery(1)]).await.unwrap().len(), 1, "what is open is asked of it again");
    assert_eq!(open_letters(store).await, 1);
}

pub(crate) async fn what_a_topic_lost_is_given_up_with_its_day_and_other_records_take_the_offsets<F: Fixture>() {
    let mut fixture = F::empty();
    let store = fixture.open().await;
    let old: Vec<Fact> =
        (0..10).map(|at| fact(FactKind::Attempted, delivery(at.try_into().unwrap()), 1, (at, at / 4, at))).collect();
    store.project(chunks(&old)).await.unwrap();
    let mut given_up = store.given_up();
    given_up.mark_unchanged();
    assert_eq!(store.cut(BTreeMap::from([(0, 10), (1, 0)])).await.unwrap(), [], "nothing is lost");
    assert_eq!(store.cut(BTreeMap::from([(0, 6)])).await.unwrap(), [day(1), day(2)]);
    assert!(!given_up.has_changed().unwrap(), "whoever cuts looks by itself");
    assert_eq!(store.coverage().await.unwrap().ends(), BTreeMap::from([(0, 4)]));
    let gone: Vec<_> = (4..10).map(delivery).collect();
    assert_eq!(store.open_deliveries(gone).await.unwrap(), []);
    assert_eq!(store.open_deliveries((0..4).map(delivery).collect()).await.unwrap().len(), 4, "the others are there");
    let new: Vec<Fact> =
        (6..12).map(|at| fact(FactKind::Attempted, delivery((at + 100).try_into().unwrap()), 1, (at, 2, at))).collect();
    let all: Vec<Fact> = old[..6].iter().chain(&new).cloned().collect();
    assert_eq!(store.project(chunks(&all[4..])).await.unwrap().new, 8);
    let mut found = all_facts(store, &FactQuery::of(APPLICATION, 250)).await;
    found.reverse();
    assert_eq!(found, all);
    let open: Vec<_> = (106..112).map(delivery).collect();
    assert_eq!(store.open_deliveries(open).await.unwrap().len(), 6);
}

pub(crate) async fn a_dead_letter_is_open_until_it_is_settled_or_its_day_is_gone<F: Fixture>() {
    let facts = [
        fact(FactKind::DeadLettered, delivery(1), 3, (0, 0, 1)),
        fact(FactKind::DeadLettered, delivery(2), 3, (1, 0, 2)),
        fact(FactKind::Redriven, delivery(1), 3, (2, 2, 1)),
        fact(FactKind::DeadLettered, delivery(3), 3, (3, 3, 1)),
        fact(FactKind::Discarded, delivery(2), 3, (4, 3, 2)),
        fact(FactKind::DeadLettered, delivery(4), 3, (5, 3, 3)),
    ];
    let stranger = ApplicationId(Uuid::from_u128(8 << 64));
    for is_newest_first in [false, true] {
        let mut fixture = F::empty();
        let store = fixture.open().await;
        let mut chunks = chunks(&facts);
        if is_newest_first {
            chunks.reverse();
        }
        for chunk in chunks {
            store.project(vec![chunk]).await.unwrap();
        }
        assert_eq!(open_letters(store).await, 2, "newest first: {is_newest_first}");
        assert_eq!(store.open_letters(stranger, SUBSCRIPTION, 0).await.unwrap(), 0);
        assert_eq!(store.undecided_letters().await.unwrap(), 2, "of all applications");
        store.retain(day(1)).await.unwrap();
        assert_eq!(open_letters(store).await, 2, "what was settled of a day that is gone hides no other");
        store.retain(day(4)).await.unwrap();
        assert_eq!((open_letters(store).await, store.undecided_letters().await.unwrap()), (0, 0));
    }
}
