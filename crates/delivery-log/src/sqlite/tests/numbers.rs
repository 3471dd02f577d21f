//! What the store costs: `cargo test --release -p delivery-log numbers -- --ignored --nocapture`. Prints, asserts nothing of time.

use schemas::identity::{delivery_id, gateway_source};
use schemas::ids::Generation;

use super::*;
use crate::fact::{FactKind, LoggedExchange};
use crate::position::Coordinates;
use crate::query::{FactQuery, Subject};

const ATTEMPTS: u32 = 200_000;
const SUBSCRIPTIONS: u32 = 500;
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
pub(super) fn plain(kind: FactKind, coordinates: Coordinates, stored_ms: i64) -> Fact {
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
    let (stored_ms, id) = (MIDNIGHT + i64::from(number) * 100, format!("evt_{number}"));
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

#[tokio::test]
#[ignore = "prints what the store costs"]
async fn numbers_of_two_hundred_thousand_attempts() {
    let mut folder = Folder::empty();
    let store = folder.open();
    let began = chassis::clock::instant();
    for first in (0..ATTEMPTS).step_by(BATCH as usize) {
        let rows: Vec<LogRow> = (first..first + BATCH).map(|number| fact(number, i64::from(number))).collect();
        let offsets = i64::from(first)..i64::from(first + BATCH);
        store.project(vec![LogChunk { partition: 0, offsets, rows }]).await.unwrap();
    }
    let took = began.elapsed();
    println!("projected: {:.0} rows/s into an empty store", f64::from(ATTEMPTS) / took.as_secs_f64());
    let days = store.days().await.unwrap();
    let bytes: u64 = days.iter().map(|day| day.bytes).sum();
    println!("bytes per attempt: {}", bytes / u64::from(ATTEMPTS));
    let mut times = Vec::new();
    for number in 0..QUESTIONS {
        let query =
            FactQuery { subject: Subject::Subscription(subscription(number)), ..FactQuery::of(application(), 50) };
        let asked = chassis::clock::instant();
        let page = store.facts(query).await.unwrap();
        times.push(asked.elapsed());
        assert_eq!(page.rows.len(), 50);
    }
    times.sort_unstable();
    println!("newest 50 of a subscription: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
}
