//! The delivery worker's part of the stage: what is read becomes requests, and what ends becomes records.
//!
//! ```text
//! records --> admit.rs --> engine (pure) --whose turn is it?--> outcomes.rs --> crate::attempts: one task per request
//!               |   ^          | leaves without an attempt          ^                 |
//!               v   |          v                                    +---- outcome ----+
//!           intake.rs      ends.rs: what is written <------------------+
//!         read_index.rs        |
//!                              v
//!                            outbox
//! ```
//!
//! Each turn handles what came in and then everything that became possible. Requests begin only while the stage allows it.

mod admit;
mod ends;
mod intake;
mod outcomes;
mod read_index;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Subscription};
use chassis::status::Facts;
use kafka::{Epoch, Lease, Ownership, Restored};
use schemas::ids::SubscriptionId;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::{OutRecord, Record};
use schemas::topics::Topics;
use stage::{Entry, Measured, NextTurn, Now, Refused, Restoring, Turn, Waiting, Work, WorkError};

use crate::attempts::Attempts;
use crate::client::{Client, Tls};
use crate::config::Settings;
use crate::engine::{Arrival, Engine, Lookup};
use crate::metrics::DeliveryMetrics;
use crate::report::Reporter;

use self::ends::Ends;
use self::intake::{Batch, Intake};
use self::read_index::ReadIndex;

/// A change of a subscription is acted on this soon, however many there are.
const REVIEW_EVERY: Duration = Duration::from_millis(200);

/// The delivery worker, with what it remembers between two turns.
pub(crate) struct DeliveryWork {
    catalog: Catalog,
    engine: Engine<FromCatalog>,
    attempts: Attempts,
    ends: Ends,
    intake: Intake,
    index: ReadIndex,
    metrics: DeliveryMetrics,
    /// Records that were resolved outside a turn, until the next one.
    resolved: Vec<Resolved>,
    /// Position of the snapshot at the last review, and when that was.
    reviewed: (i64, Instant),
}

/// The catalog, as the engine looks subscriptions up in it.
#[derive(Debug)]
struct FromCatalog(Catalog);

/// A record that is resolved, and what is written about it.
#[derive(Debug)]
struct Resolved {
    epoch: Epoch,
    /// Its offset and Kafka's time, Unix ms.
    at: (i64, i64),
    size: usize,
    outputs: Vec<OutRecord>,
}

// === impl FromCatalog ===

impl Lookup for FromCatalog {
    fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.0.read().subscription(id).cloned()
    }
}

// === impl Resolved ===

impl Resolved {
    fn new(arrival: &Arrival, outputs: Vec<OutRecord>) -> Self {
        let Arrival { lease: epoch, offset, timestamp_ms, size, .. } = *arrival;
        Self { epoch, at: (offset, timestamp_ms), size, outputs }
    }

    fn put(mut self, turn: &mut Turn<'_, ()>) {
        let entry = Entry::new(self.epoch, self.at, self.size, turn.now.boot_ms, ());
        turn.resolve(entry, &mut self.outputs);
    }
}

// === impl DeliveryWork ===

impl Work for DeliveryWork {
    const ROLE: &'static str = "delivery worker";
    type State = ();
    type Note = ();

    fn restore(&self, found: Vec<(Restored, i64)>, _ownership: Ownership) -> Restoring<()> {
        Box::pin(std::future::ready(Ok(found.into_iter().map(|(found, _)| (found.lease, ())).collect())))
    }

    fn opened(&mut self, _lease: &Lease, (): (), _now: Now) {}

    fn records(&mut self, lease: &Lease, records: Vec<Record>, now: Now) -> Result<(), WorkError> {
        let batch = Batch::decode(lease, records);
        if batch.position > self.catalog.position() || self.intake.has(lease.epoch) {
            self.intake.push(batch, now.boot_ms);
            return Ok(());
        }
        Ok(self.admit(batch, now.wall_ms)?)
    }

    fn turn(&mut self, turn: &mut Turn<'_, ()>) -> Result<NextTurn, WorkError> {
        let now_ms = turn.now.wall_ms;
        self.land(turn)?;
        self.admit_stalled(turn.now)?;
        self.review(turn.now);
        self.engine.tick(now_ms);
        while turn.may_send
            && let Some(dispatch) = self.engine.dispatch(now_ms)
        {
            self.send(dispatch, now_ms)?;
        }
        for left in self.engine.take_left() {
            Resolved::new(&left.arrival, self.ends.left(&left, now_ms)?).put(turn);
        }
        for resolved in self.resolved.drain(..) {
            resolved.put(turn);
        }
        Ok(self.next_turn(now_ms))
    }

    async fn input(&mut self) {
        let is_stalled = self.intake.is_stalled();
        tokio::select! {
            () = self.attempts.wait() => {}
            () = self.index.wait(is_stalled) => {}
        }
    }

    fn replace(&mut self, refused: Refused<'_, ()>, now: Now) -> Result<Vec<OutRecord>, WorkError> {
        Ok(self.ends.replaced(refused, now.wall_ms)?)
    }

    /// Does nothing: what is committed was counted when it was resolved.
    fn committed<'a>(&mut self, _entries: impl Iterator<Item = &'a Entry<()>>, _now: Now) {}

    fn revoking(&mut self, leases: &[Lease]) {
        let epochs: Vec<Epoch> = leases.iter().map(|lease| lease.epoch).collect();
        self.intake.close(&epochs);
        let can_commit = !is_planted(PlantedBug::DropOnRevoke);
        if !can_commit {
            // The planted bug: what is unresolved counts as done.
            let gone = self.engine.live().filter(|(_, arrival)| epochs.contains(&arrival.lease));
            self.resolved.extend(gone.map(|(_, arrival)| Resolved::new(arrival, Vec::new())));
        }
        self.engine.revoke(&epochs, can_commit);
    }

    fn closed(&mut self, lease: &Lease) {
        self.intake.close(&[lease.epoch]);
        self.engine.revoke(&[lease.epoch], false);
    }

    fn stood_still(&mut self, now: Now) {
        self.engine.forget_stalls(now.wall_ms);
    }

    fn in_flight(&self, leases: &[Epoch]) -> usize {
        self.engine.in_flight_of(leases)
    }

    fn in_flight_of_all(&self) -> usize {
        self.engine.in_flight()
    }

    /// What waits in a lane is no concern of the watchdog: its lane parks it.
    fn waiting(&self, _now: Now) -> Option<Waiting> {
        self.intake.waiting()
    }

    fn facts(&mut self, measured: &Measured, now: Now) -> Facts {
        self.measure(measured, now)
    }
}

impl DeliveryWork {
    /// A worker with nothing to do yet.
    pub(crate) fn new(
        settings: Settings,
        catalog: Catalog,
        topics: Topics,
        (client, tls): (Client, Tls),
        metrics: DeliveryMetrics,
        now: Instant,
    ) -> Self {
        let reporter = Reporter::new(topics.clone(), &settings.tier_names, client.headers_limit());
        Self {
            engine: Engine::new(settings.rules, FromCatalog(catalog.clone())),
            attempts: Attempts::new(client, tls, &settings),
            ends: Ends::new(settings.retry, reporter, topics, metrics.clone()),
            intake: Intake::default(),
            index: ReadIndex::new(&catalog),
            metrics,
            resolved: Vec::new(),
            reviewed: (catalog.position(), now),
            catalog,
        }
    }

    /// Looks at what waits here again when the snapshot has moved: its subscription may be disabled, deleted or paused now.
    fn review(&mut self, now: Now) {
        let (position, at) = self.reviewed;
        let current = self.catalog.position();
        if current == position || now.instant < at + REVIEW_EVERY {
            return;
        }
        self.reviewed = (current, now.instant);
        self.engine.review(now.wall_ms);
        self.attempts.review(&self.catalog);
    }

    fn next_turn(&self, now_ms: i64) -> NextTurn {
        let Some(wake_ms) = self.engine.next_wake_ms() else { return NextTurn::OnInput };
        // At least the clock's tick: what is due and cannot go yet must not spin.
        NextTurn::After(Duration::from_millis(u64::try_from(wake_ms - now_ms).unwrap_or(0).max(1)))
    }
}
