//! What a job finds in a log: each delivery or event once, however the parts are cut.

use std::collections::BTreeSet;

use delivery_log::{Coordinates, LogChunk, LogRow, RowContent, SqliteOptions, SqliteStore};
use schemas::ids::{ApplicationId, DeliveryId, JobId, SubscriptionId};
use schemas::jobs::{JobDefinition, JobKind, JobProgress, JobSubject, VERSION};

use super::*;
use crate::log::made;

/// When the first event was accepted, and how much later each of the next ones was.
const BEGAN: i64 = 1_000_000;
const STEP: i64 = 1_000;
/// After everything.
const ASKED: i64 = 90_000_000;

fn application() -> ApplicationId {
    ApplicationId(Uuid::from_u128(9))
}

/// A log with what is pushed into it.
struct Written {
    _folder: tempfile::TempDir,
    store: SqliteStore,
}

async fn written(rows: Vec<RowContent>) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 8 << 20 };
    let store = SqliteStore::open(&options).unwrap();
    let rows: Vec<LogRow> = (0..)
        .zip(rows)
        .map(|(offset, mut content)| {
            let coordinates = Coordinates { partition: 0, offset };
            let stored_ms = match &mut content {
                RowContent::Fact(fact) => {
                    fact.coordinates = coordinates;
                    fact.stored_ms
                }
                RowContent::Event(event) => {
                    event.coordinates = coordinates;
                    event.stored_ms
                }
                RowContent::Target(_) | RowContent::Nothing => 0,
            };
            LogRow { offset, stored_ms, content }
        })
        .collect();
    let offsets = 0..i64::try_from(rows.len()).unwrap();
    store.project(vec![LogChunk { partition: 0, offsets, rows }]).await.unwrap();
    Written { _folder: folder, store }
}

fn event(number: u128, matched: u32) -> RowContent {
    let ms = BEGAN + i64::try_from(number).unwrap() * STEP;
    RowContent::Event(Box::new(LoggedEvent {
        uuid: Uuid::from_u128(number),
        id: format!("evt_{number}"),
        labels: Some(if number.is_multiple_of(2) { r#"{"color":"red"}"# } else { "{}" }.to_owned()),
        matched,
        accepted_ms: ms,
        at_ms: ms,
        stored_ms: ms,
        ..made::event(application())
    }))
}

/// What happened to an event's delivery to a subscription.
fn fact(number: u128, subscription: u128, kind: FactKind, attempt: u32) -> Fact {
    let ms = BEGAN + i64::try_from(number).unwrap() * STEP;
    Fact {
        event: Some(Uuid::from_u128(number)),
        event_type: Some("invoice.paid".to_owned()),
        subscription: Some(SubscriptionId(Uuid::from_u128(subscription))),
        delivery: Some(DeliveryId(Uuid::from_u128(number * 100 + subscription))),
        accepted_ms: Some(ms),
        at_ms: ms + 10,
        stored_ms: ms + 10,
        attempt: Some(attempt),
        due_ms: (kind == FactKind::Attempted).then_some(ASKED),
        ..made::fact(application(), kind)
    }
}

fn said(fact: Fact) -> RowContent {
    RowContent::Fact(Box::new(fact))
}

/// All that a job finds, in parts of so many.
async fn found(written: &Written, of: JobReplays, limit: usize) -> Vec<String> {
    let definition = JobDefinition {
        v: VERSION,
        kind: JobKind::Replay,
        job_id: JobId(Uuid::from_u128(1)),
        application_id: application(),
        organization_id: None,
        created_ms: ASKED,
        created_by: "admin".to_owned(),
        rate_per_second: 1,
        subject: JobSubject::Events(of.clone()),
        cancelled_ms: None,
        paused_ms: None,
    };
    let mut job = KnownJob::asked(definition);
    let mut all = Vec::new();
    loop {
        let part = found_again(&written.store, &job, &of, limit).await.unwrap();
        let mut next = part.next;
        // A part may end before all of it was written.
        let cut = (part.all.len() > 1).then(|| part.all.len() - 1);
        for one in part.all.into_iter().take(cut.unwrap_or(usize::MAX)) {
            if cut.is_some() {
                next = Some(one.cursor);
            }
            all.push(match one.what {
                SentAgain::Delivery(fact) => format!("delivery {}", fact.delivery.unwrap().0.as_u128()),
                SentAgain::Event(event) => event.id,
                SentAgain::Gone => "gone".to_owned(),
            });
        }
        let Some(cursor) = next else { return all };
        let begun = JobProgress::begun(job.definition.job_id, 1);
        job.progress = Some(JobProgress { cursor: Some(cursor), ..begun });
    }
}

fn of(outcomes: &[ReplayOutcome], to: ReplayTo) -> JobReplays {
    JobReplays { outcomes: outcomes.to_vec(), to, ..JobReplays::default() }
}

/// 1 matched nothing; 2 was delivered to one and died for two; 3 waits, 4 was delivered at its second attempt.
async fn some() -> Written {
    let redriven = Fact {
        generation: Some(Uuid::from_u128(77)),
        delivery: Some(DeliveryId(Uuid::from_u128(777))),
        ..fact(2, 2, FactKind::DeadLettered, 1)
    };
    let mut rows = vec![event(1, 0), event(2, 3), event(3, 1), event(4, 1)];
    rows.extend(
        [
            fact(2, 1, FactKind::Delivered, 1),
            fact(2, 2, FactKind::DeadLettered, 3),
            fact(2, 3, FactKind::DeadLettered, 3),
            redriven,
            fact(3, 1, FactKind::Attempted, 1),
            fact(3, 1, FactKind::Attempted, 2),
            fact(4, 1, FactKind::Attempted, 1),
            fact(4, 1, FactKind::Delivered, 2),
        ]
        .map(said),
    );
    written(rows).await
}

#[tokio::test]
async fn what_came_out_so_is_found_once_however_the_parts_are_cut() {
    use ReplayOutcome::{Delivered, Failed, Unmatched, Waiting};
    let written = some().await;
    for limit in [1, 2, 3, 1_000] {
        let find = |outcomes: &[ReplayOutcome], to| found(&written, of(outcomes, to), limit);
        assert_eq!(find(&[Failed], ReplayTo::Same).await, ["delivery 202", "delivery 203"], "{limit}");
        assert_eq!(find(&[Failed], ReplayTo::Matching).await, ["evt_2"], "{limit}");
        assert_eq!(find(&[Delivered, Failed], ReplayTo::Matching).await, ["evt_2", "evt_4"], "{limit}");
        assert_eq!(find(&[Waiting], ReplayTo::Same).await, ["delivery 301"], "{limit}");
        assert_eq!(find(&[Unmatched], ReplayTo::Matching).await, ["evt_1"], "{limit}");
        assert_eq!(find(&[Delivered, Unmatched], ReplayTo::Matching).await, ["evt_2", "evt_4", "evt_1"], "{limit}");
        assert_eq!(find(&[], ReplayTo::Matching).await, ["evt_1", "evt_2", "evt_3", "evt_4"], "{limit}");
        let ids = Some(schemas::jobs::PackedIds([4, 8, 1].map(Uuid::from_u128).into()));
        let named = found(&written, JobReplays { ids, ..JobReplays::default() }, limit).await;
        assert_eq!(named, ["evt_4", "gone", "evt_1"], "{limit}");
    }
}

#[tokio::test]
async fn a_filter_holds_for_events_and_for_their_deliveries() {
    use ReplayOutcome::{Delivered, Failed};
    let written = some().await;
    let both = of(&[Delivered, Failed], ReplayTo::Same);
    let two = SubscriptionId(Uuid::from_u128(2));
    let red: schemas::event::StringMap = [("color".to_owned(), "red".to_owned())].into();
    let types = |name: &str| vec![name.to_owned()];
    for (filter, expected) in [
        (JobReplays { subscription_id: Some(two), ..both.clone() }, vec!["delivery 202"]),
        (JobReplays { subscription_id: Some(two), to: ReplayTo::Matching, ..both.clone() }, vec!["evt_2"]),
        (JobReplays { from_ms: Some(BEGAN + 3 * STEP), ..both.clone() }, vec!["delivery 401"]),
        (
            JobReplays { to_ms: Some(BEGAN + 3 * STEP), ..both.clone() },
            vec!["delivery 201", "delivery 202", "delivery 203"],
        ),
        (JobReplays { event_types: types("order.*"), ..both.clone() }, vec![]),
        (JobReplays { labels: red.clone(), ..JobReplays::default() }, vec!["evt_2", "evt_4"]),
        (JobReplays { from_ms: Some(BEGAN + 4 * STEP), ..JobReplays::default() }, vec!["evt_4"]),
    ] {
        assert_eq!(found(&written, filter.clone(), 2).await, expected, "{filter:?}");
    }
    let red = JobReplays { labels: red, ..both };
    let all: BTreeSet<String> = found(&written, red, 2).await.into_iter().collect();
    assert_eq!(all, ["delivery 201", "delivery 202", "delivery 203", "delivery 401"].map(str::to_owned).into());
}

#[tokio::test]
async fn an_event_is_sent_once_however_many_attempts_it_had_before_it_died() {
    let attempts = (0..20_001).map(|number| said(fact(1, 1_000 + number, FactKind::Attempted, 1)));
    let died = [1, 2].map(|subscription| said(fact(1, subscription, FactKind::DeadLettered, 9)));
    let written = written(std::iter::once(event(1, 20_003)).chain(attempts).chain(died).collect()).await;
    let again = |to| of(&[ReplayOutcome::Failed], to);
    assert_eq!(found(&written, again(ReplayTo::Matching), 100).await, ["evt_1"]);
    assert_eq!(
        found(&written, again(ReplayTo::Same), 100).await.len(),
        2,
        "each of its deliveries, where these are sent"
    );
}
