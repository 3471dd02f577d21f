//! One owner of the partition after the other: a process that dies, a lease that goes and comes back.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use ::kafka::Window;
use rand::Rng;

use super::kafka::Kafka;
use super::{World, lease, outbox};
use crate::engine::Engine;
use crate::flaws::{self, Flaw};

impl World {
    /// The process dies: what is in flight is forgotten, the next one starts from what was committed.
    pub(in super::super) fn restart(&mut self) {
        let before = self.kafka.clone();
        self.abandon_commit();
        self.flying.clear();
        self.flights.clear();
        self.engine = Engine::new(self.engine_rules, self.subscriptions.clone());
        self.outbox = outbox();
        if flaws::has(Flaw::EndAskedTooEarly) {
            // The lists as they were before the predecessor's last transaction, the offsets as they are behind it.
            (self.kafka.values, self.kafka.lanes) = (before.values, before.lanes);
        }
        self.reopen();
    }

    /// The partition goes and comes back; what is in flight may end in between.
    pub(in super::super) fn revoke(&mut self, lost: bool) {
        self.shell.books.end(self.epoch);
        self.engine.revoke(&[self.epoch], !lost);
        if lost {
            self.abandon_commit();
        } else {
            self.put_changes();
            while self.engine.in_flight_of(&[self.epoch]) > 0 {
                self.now = self.flights.peek().map_or(self.now, |Reverse((at, _))| *at).max(self.now);
                self.land();
            }
            self.refused_percent = 0;
            while self.committing.is_some() || !self.outbox.is_empty() {
                self.now += 50;
                self.end_commit();
                self.begin_commit();
            }
        }
        self.outbox.close(self.epoch);
        self.reopen();
    }

    pub(super) fn reopen(&mut self) {
        self.shell.books.close(self.epoch);
        self.epoch.0 += 1;
        let Kafka { committed, read_up_to, not_done, .. } = self.kafka.clone();
        let awaited: BTreeSet<i64> = not_done.iter().copied().collect();
        let book = self.kafka.take_over(&self.topics.lanes);
        let mut book = book.unwrap_or_else(|error| panic!("seed {}: takeover: {error}", self.seed));
        if let Some(bounds) = self.bounds {
            book.set_bounds(bounds);
        }
        self.shell.open(&lease(self.epoch), book, awaited);
        self.outbox.open(&lease(self.epoch), Window::restore(committed, read_up_to, not_done), committed);
        self.read = self.log.partition_point(|record| record.offset < committed);
        self.fetches_at = self.now + if self.rng.random_bool(0.3) { self.rng.random_range(0..500) } else { 0 };
        self.ledger.taken_over(&self.kafka, self.shell.books.of(self.epoch).unwrap());
        self.begin_corrected();
    }
}
