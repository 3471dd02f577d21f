//! What the store costs: `cargo test --release -p delivery-log numbers -- --ignored --nocapture`. Prints, asserts nothing of time.

use schemas::identity::{delivery_id, gateway_source};
use schemas::ids::Generation;

use super::*;
use crate::fact::{FactKind, Kinds, LoggedExchange};
use crate::minute::BucketQuery;
use crate::position::Coordinates;
use crate::query::{FactQuery, Subject, Times};

const ATTEMPTS: u32 = 1_000_000;
/// Between two attempts, ms: they fill ten days.
const PACE_MS: i64 = 864;
const SUBSCRIPTIONS: u32 = 100;
const BATCH: u32 = 2_000;
const QUESTIONS: u32 = 1_000;
/// 2026-11-29, 00:00.
const MIDNIGHT: i64 = 1_795_910_400_000;

fn application() -> ApplicationId {
    ApplicationId(Uuid::from_u128(7 << 64))
}

fn subscription(number: u32) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128((9 << 64) + u128::from(number % SUBSCRIPTIONS)))
}

/// A fact that says nothing but its kind.
pub(crate) fn plain(kind: FactKind, coordinates: Coordinates, stored_ms: i64) -> Fact {
    Fact {
        coordinates,
        stored_ms,
        kind,
        at_ms: stored_ms,
        application: None,
        event: None,
        event_type: None,
        accepted_ms: None,
        subscription: None,
        delivery: None,
        generation: None,
        made_by: None,
        attempt: None,
        due_ms: None,
        reason: None,
        detail: None,
        exchange: None,
        record: None,
    }
}

/// What a worker writes of an ordinary delivery.
fn fact(number: u32, offset: i64) -> LogRow {
    let (stored_ms, id) = (MIDNIGHT + i64::from(number) * PACE_MS, format!("evt_{number}"));
    let source = gateway_source(application());
    let delivery = delivery_id(application(), &source, &id, subscription(number), Generation::default());
    let kind = if number.is_multiple_of(20) { FactKind::Attempted } else { FactKind::Delivered };
    let fact = Fact {
        at_ms: stored_ms - 3,
        application: Some(application()),
        event: Some(schemas::identity::event_uuid(application(), &source, &id)),
        event_type: Some("invoice.paid".to_owned()),
        accepted_ms: Some(stored_ms - 40),
        subscription: Some(subscription(number)),
        delivery: Some(delivery),
        attempt: Some(1),
        due_ms: number.is_multiple_of(20).then_some(stored_ms + 5_000),
        exchange: Some(LoggedExchange {
            started_ms: stored_ms - 30,
            elapsed_ms: i64::from(number % 300),
            first_byte_ms: Some(9),
            status: Some(if number.is_multiple_of(20) { 503 } else { 204 }),
            error: None,
            to: Some("192.0.2.1:443".to_owned()),
        }),
        record: Some(Coordinates { partition: 3, offset: i64::from(number) }),
        ..plain(kind, Coordinates { partition: 0, offset }, stored_ms)
    };
    LogRow { offset, stored_ms, content: RowContent::Fact(Box::new(fact)) }
}

/// Prints how long questions took, beside what they may take.
async fn ask<F: Future<Output = usize>>(what: &str, limit_ms: u64, rows: usize, question: impl Fn(u32) -> F) {
    let mut times = Vec::new();
    for number in 0..QUESTIONS {
        let asked = chassis::clock::instant();
        let found = question(number).await;
        times.push(asked.elapsed());
        assert!(found >= rows, "{what}: {found} rows");
    }
    times.sort_unstable();
    let (middle, high) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{what:40} p50 {middle:>10.1?}  p99 {high:>10.1?}  of at most {limit_ms} ms");
}

async fn fill(store: &impl DeliveryStore, most: u64) {
    let began = chassis::clock::instant();
    for first in (0..ATTEMPTS).step_by(BATCH as usize) {
        let rows: Vec<LogRow> = (first..first + BATCH).map(|number| fact(number, i64::from(number))).collect();
        let offsets = i64::from(first)..i64::from(first + BATCH);
        store.project(vec![LogChunk { partition: 0, offsets, rows }]).await.unwrap();
    }
    let took = began.elapsed();
    println!("projected: {:.0} rows/s into an empty store, at least 30000", f64::from(ATTEMPTS) / took.as_secs_f64());
    let days = store.days().await.unwrap();
    let bytes: u64 = days.iter().map(|day| day.bytes).sum();
    println!("bytes per attempt: {} of at most {most}, in {} days", bytes / u64::from(ATTEMPTS), days.len());
}

/// The hundredth page of a list: its cursor.
async fn far(store: &impl DeliveryStore, mut query: FactQuery) -> FactQuery {
    for _ in 0..99 {
        query.page.after = store.facts(query.clone()).await.unwrap().next;
    }
    query
}

#[tokio::test]
#[ignore = "prints what the store costs"]
async fn numbers_of_a_million_attempts() {
    let mut folder = Folder::empty();
    print(folder.opened(), 260, 20).await;
}

/// Prints what a store costs, beside the bytes of an attempt and the time of a list, ms, that it may.
pub(crate) async fn print(store: &impl DeliveryStore, bytes: u64, list_ms: u64) {
    fill(store, bytes).await;
    let all = || FactQuery::of(application(), 50);
    let of = |number| FactQuery { subject: Subject::Subscription(subscription(number)), ..all() };
    let facts = |query: FactQuery| async move { store.facts(query).await.unwrap().rows.len() };
    let name = |number: u32| (format!("evt_{}", number * 997 % ATTEMPTS), gateway_source(application()));
    ask("newest 50 of a subscription", list_ms, 50, |number| facts(of(number))).await;
    ask("newest 50 of the application", list_ms, 50, |_| facts(all())).await;
    ask("attempts of an event", list_ms, 1, |number| {
        let (id, source) = name(number);
        let event = schemas::identity::event_uuid(application(), &source, &id);
        facts(FactQuery { subject: Subject::Event(event), ..all() })
    })
    .await;
    ask("attempts of a delivery", list_ms, 1, |number| {
        let (id, source) = name(number);
        let to = subscription(number * 997 % ATTEMPTS);
        let delivery = delivery_id(application(), &source, &id, to, Generation::default());
        facts(FactQuery { subject: Subject::Delivery(delivery), ..all() })
    })
    .await;
    let end = MIDNIGHT + i64::from(ATTEMPTS) * PACE_MS;
    let times = Times { from_ms: Some(end - 3_600_000), to_ms: None };
    let failed = FactQuery { kinds: Kinds::FAILED, times, ..all() };
    ask("failed in the last hour", list_ms, 50, |_| facts(failed.clone())).await;
    let (of_one, of_all) = (far(store, of(7)).await, far(store, all()).await);
    ask("page 100 of a subscription", list_ms, 1, |_| facts(of_one.clone())).await;
    ask("page 100 of the application", list_ms, 50, |_| facts(of_all.clone())).await;
    let day = Times { from_ms: Some(MIDNIGHT + 86_400_000), to_ms: Some(MIDNIGHT + 2 * 86_400_000 - 1) };
    for (what, one) in [("of a subscription", true), ("of the application", false)] {
        let query = |number| BucketQuery {
            application: application(),
            subscription: one.then(|| subscription(number)),
            times: day,
            step_ms: 60_000,
        };
        ask(&format!("a day in minutes, {what}"), 50, 1, |number| {
            let asked = query(number);
            async move { store.buckets(asked).await.unwrap().len() }
        })
        .await;
    }
}
