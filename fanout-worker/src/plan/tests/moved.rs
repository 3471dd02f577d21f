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
        let record = Record { timestamp_ms: NOW_MS - age_ms, ..event(offset, id, &[]) };
        let lease = Lease { partition: TopicPartition::new("orders", 0), epoch: Epoch(0) };
        let source = Some(SourceTurn::after(&self.route, &self.handled));
        let World { catalog, planner, now, .. } = &mut self.world;
        let mut turn = Turn { catalog, seen: &mut self.seen, source, now_ms: NOW_MS, now: *now, is_over: &|| false };
        let Planned::Done(note) = planner.plan(&mut turn, &lease, record) else { panic!("no filters") };
        note.verdict
    }
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
