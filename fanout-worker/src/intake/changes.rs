//! What newer routes ask of the partitions that are read: another mapping, another beginning, a pause, an end. Pure.
//!
//! ```text
//! newer routes --another mapping--> judged by it from the next record on
//!              --moved------------> taken over anew, and begins there
//!              --gone-------------> nothing more of it is planned
//!
//!              an event is written in part: it is done first, by the route that it was begun with, and no other one is begun before
//!                the route has followed; what of it cannot go on is judged by the new one, and rejected where its source was moved
//! ```

use std::sync::Arc;

use kafka::Epoch;
use stage::Turn;

use super::{OpenPartition, SourceRoute, SourceRoutes, SourcesIntake};
use crate::queue::Queue;

// === impl SourcesIntake ===

impl SourcesIntake {
    /// These leases have an event of which something is written, or on its way to be: before that is done they follow no route but into
    /// a pause, and out of it.
    pub(crate) fn note_slices(&mut self, leases: impl Iterator<Item = Epoch>) {
        self.sliced.clear();
        self.sliced.extend(leases);
    }

    /// Whether a lease begins no event, because it has one that was begun by a route that is not its source's any more.
    pub(crate) fn is_put_off(&self, epoch: Epoch) -> bool {
        self.open.get(&epoch).is_some_and(|open| open.is_put_off)
    }

    /// Does what newer routes ask for. The leases of which nothing counts any more that was found out by the former ones.
    pub(crate) fn follow<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) -> Vec<Epoch> {
        let is_changed = std::mem::take(&mut self.is_changed);
        let mut changed = Vec::new();
        if is_changed || self.open.values().any(|open| open.is_put_off) {
            changed = self.follow_routes(turn, queue);
        }
        self.follow_schemas(turn.now, queue);
        self.settle(turn, queue);
        changed
    }

    fn follow_routes<N>(&mut self, turn: &mut Turn<'_, N>, queue: &mut Queue) -> Vec<Epoch> {
        self.routes = Arc::clone(&self.newest.borrow_and_update());
        let topics = self.routes.names();
        if topics != self.subscribed {
            turn.subscribe(topics.clone());
            self.subscribed = topics;
        }
        let mut changed = Vec::new();
        for (epoch, open) in &mut self.open {
            if open.follow(&self.routes, self.sliced.contains(epoch), turn, queue) {
                changed.push(*epoch);
            }
        }
        // What is held for what its source was is tried at once with what it is.
        for held in self.held.values_mut() {
            let route = self.routes.of(&held.lease.partition.topic);
            let is_same = match (&held.route, route) {
                (Some(was), Some(is)) => Arc::ptr_eq(was, is),
                (was, is) => was.is_none() == is.is_none(),
            };
            if !is_same {
                held.route = route.cloned();
                turn.restart(held.lease.clone());
            }
        }
        self.counts.retain(|source, _| self.routes.has(*source));
        self.standing.retain(|partition, it| self.routes.of(&partition.topic).is_some_and(|is| it.is_of(is)));
        changed
    }
}

// === impl OpenPartition ===

impl OpenPartition {
    /// Whether it is to begin elsewhere.
    fn is_moved(&self, route: &SourceRoute) -> bool {
        route.begins(&self.lease.partition, self.topic_id).position_id.0 != self.position.id
    }

    /// Follows its route; where it `is_begun`, because an event of it is written in part, as far as that may go on. Whether nothing counts
    /// any more that was found out by the former route.
    fn follow<N>(&mut self, routes: &SourceRoutes, is_begun: bool, turn: &mut Turn<'_, N>, queue: &mut Queue) -> bool {
        if self.is_over {
            return false;
        }
        let Some(route) = routes.of(&self.lease.partition.topic) else {
            // Deleted: what was planned is committed, what was only read is not.
            self.is_gone = true;
            queue.forget(&self.lease);
            queue.hold(&self.lease);
            return true;
        };
        if self.is_paused != route.is_paused() {
            self.is_paused = route.is_paused();
            self.since_ms = turn.now.wall_ms;
        }
        let (is_moved, is_same) = (self.is_moved(route), Arc::ptr_eq(&self.route, route));
        let is_stuck = self.failing.is_some() || self.awaits.is_some_and(|awaited| awaited.is_for_long);
        // What is stuck by the former rules is looked at by the new ones.
        if is_begun && !self.is_gone && (is_moved || !(is_same || is_stuck)) {
            (self.is_put_off, self.is_leaving) = (true, is_moved);
            return is_stuck && !is_same && self.adopt(route, queue);
        }
        if self.is_gone || is_moved {
            self.is_over = true;
            turn.restart(self.lease.clone());
            return true;
        }
        let is_changed = !is_same && self.adopt(route, queue);
        self.is_leaving = false;
        // Its next records were held back meanwhile.
        if std::mem::take(&mut self.is_put_off) && !self.is_still {
            queue.release(&self.lease);
        }
        is_changed
    }

    /// Its records are judged by this route from now on: that is so.
    fn adopt(&mut self, route: &Arc<SourceRoute>, queue: &mut Queue) -> bool {
        self.route = Arc::clone(route);
        // What failed is tried at once with what the source is now, and that may need another schema, or none.
        self.failing = None;
        self.stop_waiting(queue);
        true
    }
}
