//! What a source that is moved back does again, and what it does not.

use kafka::Handled;
use schemas::control::{SourceFormat, TopicSource};
use schemas::ids::{PositionId, SourceId};

use super::*;
use crate::intake::SourceRoute;

const DAY_MS: i64 = 86_400_000;

/// A source that has handled the first 50 records of its partition.
struct Moved {
    world: World,
    seen: Seen,
    route: SourceRoute,
    handled: Handled,
}

impl Moved {
    fn new() -> Self {
        let (id, position) = (SourceId(Uuid::from_u128(1)), PositionId(Uuid::from_u128(2)));
        let owner = OrganizationId(Uuid::from_u128(9));
        let source = TopicSource::new(id, owner, "orders", SourceFormat::Cloudevents, position, 0);
        let (world, route) = (World::new(), SourceRoute::new(Arc::new(source), 1_000));
        Self { seen: world.identities.partition(), world, route, handled: Handled::nothing().with(0, 50) }
    }

    /// What becomes of an event that is so old.
    fn plan(&mut self, offset: i64, id: &str, age_ms: i64) -> EventVerdict {
        self.plan_record(Record { timestamp_ms: NOW_MS - age_ms, ..event(offset, id, &[]) })
    }

    fn plan_record(&mut self, record: Record) -> EventVerdict {
        let lease = Lease { partition: TopicPartition::new("orders", 0), epoch: Epoch(0) };
        let source = Some(SourceTurn::after(&self.route, &self.handled));
        let World { catalog, planner, now, .. } = &mut self.world;
        let mut turn = Turn {
            catalog,
            seen: &mut self.seen,
            source,
            retried: None,
            written: None,
            now_ms: NOW_MS,
            now: *now,
            is_over: &|| false,
        };
        let Planned::Done(note) = planner.plan(&mut turn, &lease, record) else { panic!("no filters") };
        note.verdict
    }
}

/// An event whose id is its position.
fn unnamed(offset: i64, age_ms: i64) -> Record {
    let own = [(header::CE_SOURCE, "/billing"), (header::APPLICATION, "shop"), (header::CE_TYPE, "invoice.paid")];
    let value = Some(bytes::Bytes::from_static(b"{}"));
    Record { offset, timestamp_ms: NOW_MS - age_ms, key: None, value, headers: own.into_iter().collect() }
}

#[test]
fn what_a_source_without_ids_has_rejected_is_planned_again_and_what_it_has_fanned_out_is_not() {
    let mut moved = Moved::new();
    moved.handled.judge(7, true);
    assert_eq!(moved.plan_record(unnamed(6, DAY_MS / 2)), EventVerdict::Repeat);
    assert_eq!(moved.plan_record(unnamed(7, DAY_MS / 2)), EventVerdict::Matched(1));
    // It was retried, or read again, since: its identity is known by then.
    assert_eq!(moved.plan_record(unnamed(7, DAY_MS / 2)), EventVerdict::Repeat);
    assert_eq!(moved.plan_record(unnamed(50, 0)), EventVerdict::Matched(1));
}

#[test]
fn back_beyond_the_window_is_for_what_was_missed_and_repeats_what_was_handled() {
    let mut moved = Moved::new();
    assert_eq!(moved.plan(100, "newest", 0), EventVerdict::Matched(1));
    // It was moved back: the window knows of what is a day old, and no more.
    assert_eq!(moved.plan(5, "handled", 2 * DAY_MS), EventVerdict::Repeat);
    assert_eq!(moved.plan(60, "missed", 2 * DAY_MS), EventVerdict::Matched(1));
    assert_eq!(moved.plan(6, "rejected", DAY_MS / 2), EventVerdict::Matched(1), "inside it an accepted one is known");
    assert_eq!(moved.plan(7, "rejected", DAY_MS / 2), EventVerdict::Repeat);
}
