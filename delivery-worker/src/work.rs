//! The delivery worker's part of the stage: what is read becomes requests, and what ends becomes records.
//!
//! ```text
//! records --> admit.rs --> engine (pure) --whose turn is it?--> outcomes.rs --> crate::attempts: one task per request
//!               |   ^          | leaves without an attempt          ^                 |
//!               v   |          v                                    +---- outcome ----+
//!           intake.rs      ends.rs: what is written <------------------+
//!         read_index.rs        |          listed.rs: what the engine lists
//!                              v            |
//!                            outbox <-------+   --seal--> books.rs: lists of each partition, written with its progress
//! ```
//!
//! Each turn handles what came in and then everything that became possible. Requests begin only while the stage allows it.

mod admit;
mod books;
mod ends;
mod hurried;
mod intake;
mod lane_ends;
mod listed;
mod outcomes;
mod read_index;
mod readback;
mod refused;
mod resolved;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Subscription};
use chassis::limited::Limited;
use chassis::status::Facts;
use kafka::{Claimed, Epoch, Lease, Output, Ownership, ReadingWatch, Restored};
use schemas::ids::{ApplicationId, JobId, SubscriptionId};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::{OutRecord, Record};
use stage::{Batch as Sealed, Entry, Measured, NextTurn, Now, Refused, Restoring, Turn, Waiting, Work, WorkError};

use crate::attempts::Attempts;
use crate::client::{Client, Tls};
use crate::config::Settings;
use crate::engine::{Engine, Lookup, Settled};
use crate::metrics::{DeliveryMetrics, EndpointMetrics};
use crate::report::Reporter;
use crate::steady::SteadyClock;

#[cfg(test)]
pub(crate) use self::books::SupersededPlace;
pub(crate) use self::books::{AcceptedLists, Books, FoundBook, LaneNote};
use self::ends::Ends;
use self::intake::Intake;
pub(crate) use self::lane_ends::LaneEnds;
use self::read_index::ReadIndex;
pub(crate) use self::readback::ReadBack;
use self::resolved::Resolved;

/// A change of a subscription is acted on this soon, however many there are.
const REVIEW_EVERY: Duration = Duration::from_millis(200);
/// One line in this time says that nothing more can be listed.
const FULL_EVERY: Duration = Duration::from_secs(60);
/// One line per partition in this time says that something cannot be read back.
const UNREAD_EVERY: Duration = Duration::from_secs(10);

/// The delivery worker, with what it remembers between two turns.
pub(crate) struct DeliveryWork {
    catalog: Catalog,
    engine: Engine<FromCatalog>,
    attempts: Attempts,
    ends: Ends,
    intake: Intake,
    index: ReadIndex,
    books: Books,
    read_back: ReadBack,
    lane_ends: LaneEnds,
    metrics: DeliveryMetrics,
    endpoints: EndpointMetrics,
    clock: SteadyClock,
    /// Records that were resolved outside a turn, until the next one.
    resolved: Vec<Resolved>,
    /// The line that says that nothing more can be listed.
    full: Limited<()>,
    /// The lines that say that something cannot be read back.
    unread: Limited<Epoch>,
    /// Records of partitions that have just begun, until the next turn.
    held: Vec<(Lease, Vec<Record>)>,
    /// Position of the snapshot at the last review, and when that was.
    reviewed: (i64, Instant),
}

/// The catalog, as the engine looks subscriptions up in it.
#[derive(Debug)]
struct FromCatalog(Catalog);

// === impl FromCatalog ===

impl Lookup for FromCatalog {
    fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.0.read().subscription(id).cloned()
    }

    fn is_cancelled(&self, application: ApplicationId, job: JobId) -> bool {
        self.0.read().cancelled_job(application, job).is_some()
    }

    fn cancelled_came(&self) -> u64 {
        self.0.read().cancelled_came()
    }
}

// === impl DeliveryWork ===

impl Work for DeliveryWork {
    const ROLE: &'static str = "delivery worker";
    type State = FoundBook;
    type Note = LaneNote;

    fn restore(&self, found: Vec<(Restored, i64)>, ownership: Ownership, watch: ReadingWatch) -> Restoring<FoundBook> {
        self.books.restore(found, ownership, watch)
    }

    fn opened(&mut self, lease: &Lease, found: FoundBook, now: Now) {
        self.books.open(lease, found);
        self.begin_corrected(now);
    }

    fn records(&mut self, lease: &Lease, records: Vec<Record>, now: Now) -> Result<(), WorkError> {
        let Some(records) = self.books.hold(lease, records) else { return Ok(()) };
        Ok(self.take_in(lease, records, now)?)
    }

    fn turn(&mut self, turn: &mut Turn<'_, LaneNote>) -> Result<NextTurn, WorkError> {
        let (now_ms, wall_ms) = (self.engine_ms(turn.now), turn.now.wall_ms);
        self.land(turn)?;
        self.correct(turn)?;
        self.checkpoint(turn);
        if !self.engine.is_full_of_left() {
            // Else it waits where it came in, until some of it is committed.
            self.take_read_back(turn.now)?;
        }
        self.admit_stalled(turn.now)?;
        self.hurry(turn);
        self.review(turn.now);
        self.check_ages(turn);
        self.engine.tick(now_ms);
        while turn.may_send
            && let Some(dispatch) = self.engine.dispatch(now_ms)
        {
            self.send(dispatch, wall_ms)?;
        }
        self.put_left(turn)?;
        for resolved in std::mem::take(&mut self.resolved) {
            self.put(resolved, turn);
        }
        self.demand();
        Ok(self.next_turn(turn, now_ms))
    }

    async fn input(&mut self) {
        let is_stalled = self.intake.is_stalled();
        tokio::select! {
            () = self.attempts.wait() => {}
            () = self.index.wait(is_stalled) => {}
            () = self.read_back.wait() => {}
            () = self.lane_ends.wait() => {}
        }
    }

    fn replace(&mut self, refused: Refused<'_, LaneNote>, now: Now) -> Result<Vec<OutRecord>, WorkError> {
        Ok(self.replace_refused(refused, now)?)
    }

    fn seal(&mut self, batch: &Sealed<LaneNote>, outputs: &mut Vec<Output>) -> Vec<Claimed> {
        self.books.seal(batch, outputs)
    }

    fn unsealed(&mut self, batch: &Sealed<LaneNote>) {
        self.books.unsealed(batch);
    }

    /// The lists stand as the books say. The entries were counted when they were resolved.
    fn committed<'a>(&mut self, entries: impl Iterator<Item = &'a Entry<LaneNote>>, now: Now) {
        let mut settled: BTreeMap<Epoch, Settled> = BTreeMap::new();
        for entry in entries.filter(|entry| entry.note.was_sent() || entry.note.left_list()) {
            let settled = settled.entry(entry.epoch).or_default();
            if entry.note.was_sent() {
                settled.sent += 1;
            } else {
                settled.left += 1;
                settled.left_bytes += entry.output_bytes();
            }
        }
        settled.into_iter().for_each(|(epoch, settled)| self.engine.settled(epoch, settled));
        self.books.committed();
        self.begin_corrected(now);
    }

    fn revoking(&mut self, leases: &[Lease]) {
        let epochs: Vec<Epoch> = leases.iter().map(|lease| lease.epoch).collect();
        self.leave_to_others(leases, &epochs);
        let can_commit = !is_planted(PlantedBug::DropOnRevoke);
        if !can_commit {
            // The planted bug: what is unresolved counts as done.
            let gone = self.engine.live().filter(|(_, arrival)| epochs.contains(&arrival.lease));
            self.resolved.extend(gone.map(|(_, arrival)| Resolved::new(arrival, LaneNote::Done, Vec::new())));
        }
        self.engine.revoke(&epochs, can_commit);
    }

    /// What is in flight may end; whatever else there is would keep the process for all of its grace.
    fn stopping(&mut self, _now: Now) {
        let leases = self.books.leases();
        let epochs: Vec<Epoch> = leases.iter().map(|lease| lease.epoch).collect();
        self.leave_to_others(&leases, &epochs);
        self.engine.revoke(&epochs, true);
    }

    fn closed(&mut self, lease: &Lease) {
        self.intake.close(&[lease.epoch]);
        self.engine.revoke(&[lease.epoch], false);
        self.books.close(lease.epoch);
        self.lane_ends.forget(lease.epoch);
        // What its correction had held back is its next owner's to send.
        self.held.retain(|(of, _)| of.epoch != lease.epoch);
        self.read_back.cancel(std::slice::from_ref(lease));
    }

    fn stood_still(&mut self, now: Now) {
        let now_ms = self.engine_ms(now);
        self.engine.forget_stalls(now_ms);
    }

    fn in_flight(&self, leases: &[Epoch]) -> usize {
        self.engine.in_flight_of(leases)
    }

    fn in_flight_of_all(&self) -> usize {
        self.engine.in_flight()
    }

    /// What waits in a lane is no concern of the watchdog: its reason ends when it ends.
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
        (books, lane_ends, read_back): (Books, LaneEnds, ReadBack),
        (client, tls): (Client, Tls),
        (metrics, endpoints): (DeliveryMetrics, EndpointMetrics),
        now: Instant,
    ) -> Self {
        let topics = books.topics().clone();
        let reporter =
            Reporter::new(topics.clone(), &settings.tier_names, client.headers_limit(), settings.attempt_timeout);
        Self {
            engine: Engine::new(settings.rules, FromCatalog(catalog.clone())),
            attempts: Attempts::new(client, tls, &settings, (catalog.position(), now)),
            ends: Ends::new(settings.retry, reporter, topics, metrics.clone()),
            books,
            read_back,
            lane_ends,
            intake: Intake::default(),
            index: ReadIndex::new(&catalog),
            metrics,
            endpoints,
            clock: SteadyClock::default(),
            resolved: Vec::new(),
            full: Limited::new(FULL_EVERY),
            unread: Limited::new(UNREAD_EVERY),
            held: Vec::new(),
            reviewed: (catalog.position(), now),
            catalog,
        }
    }

    /// Nothing more begins of these leases: no sweep, no correction, no checkpoint.
    fn leave_to_others(&mut self, leases: &[Lease], epochs: &[Epoch]) {
        self.intake.close(epochs);
        self.read_back.cancel(leases);
        for epoch in epochs {
            self.books.end(*epoch);
            self.lane_ends.forget(*epoch);
        }
    }

    /// Puts what is resolved into the outbox. Of a lease that is over nothing comes back.
    fn put(&mut self, mut resolved: Resolved, turn: &mut Turn<'_, LaneNote>) {
        let (epoch, note) = (resolved.epoch, &resolved.note);
        if self.books.lease(epoch).is_some() {
            if note.was_sent() {
                self.engine.resolved(epoch);
            } else if note.left_list() {
                self.engine.left_list(epoch, resolved.outputs.iter().map(OutRecord::size).sum());
            }
        }
        turn.resolve(resolved.entry(turn.now.boot_ms), &mut resolved.outputs);
    }

    /// The engine's time; what the wall shows is told to it.
    fn engine_ms(&mut self, now: Now) -> i64 {
        let (now_ms, wall) = self.clock.read(now);
        self.engine.set_wall(wall);
        now_ms
    }

    /// Looks at what waits here again when the snapshot has moved: its subscription may be disabled, deleted or paused now.
    fn review(&mut self, now: Now) {
        self.attempts.review(&self.catalog, now.instant);
        let (position, at) = self.reviewed;
        let current = self.catalog.position();
        if current == position || now.instant < at + REVIEW_EVERY {
            return;
        }
        self.reviewed = (current, now.instant);
        let now_ms = self.engine_ms(now);
        self.engine.review(now_ms);
    }

    fn next_turn(&self, turn: &Turn<'_, LaneNote>, now_ms: i64) -> NextTurn {
        // While nothing may be sent there is no probe to wake for: the stage looks when that is over.
        let wake_ms = if turn.may_send { self.engine.next_wake_ms() } else { self.engine.next_tick_ms() };
        let wake_ms = wake_ms.map(|wake_ms| wake_ms - now_ms);
        // While a batch is full its outcome wakes the loop.
        let look_ms = self.books.next_age_look_ms().filter(|_| !turn.is_full());
        let look_ms = look_ms.map(|look_ms| look_ms - turn.now.wall_ms);
        let Some(after_ms) = wake_ms.into_iter().chain(look_ms).min() else { return NextTurn::OnInput };
        // At least the clock's tick: what is due and cannot go yet must not spin.
        NextTurn::After(Duration::from_millis(u64::try_from(after_ms).unwrap_or(0).max(1)))
    }
}
