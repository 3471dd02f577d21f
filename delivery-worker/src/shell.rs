//! Acts on what the engine decides: one task that owns the engine and the book, between the poller, the request tasks and the
//! transactional writer.
//!
//! ```text
//! poller events --> intake.rs --> engine --> attempts.rs --> request tasks
//!                     |             |             | outcomes
//!                     |             v             v
//!                     +---------> book <-- report (retry, dead letter, lifecycle)
//!                                   | cut
//!                                   v
//!                                commits.rs --> writer --> credits back to the poller
//! ```
//!
//! Each turn takes one input and then does everything that became possible: timers, requests, settlements, the next transaction,
//! finished hand-overs. Requests begin only while the gate is open.

mod attempts;
mod commits;
mod inputs;
mod intake;
mod targets;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Subscription};
use chassis::clock;
use chassis::health::Latch;
use chassis::limited::Limited;
use chassis::shutdown::Shutdown;
use chassis::status::Teller;
use kafka::{Pace, Poller, PollerEvents, RevokeDone, Writer};
use schemas::ids::SubscriptionId;
use tokio::sync::mpsc;

use crate::book::{Book, LeaseKey};
use crate::client::{Client, Tls};
use crate::config::{Settings, ms};
use crate::engine::{Engine, Lookup};
use crate::error::Error;
use crate::gate::Gate;
use crate::metrics::DeliveryMetrics;
use crate::report::Reporter;

use self::attempts::{Attempts, Completed};
use self::commits::Committing;
use self::inputs::{Input, Inputs};
use self::intake::{Intake, Step};

/// Two turns are never further apart, so that the gate notices when this process stood still.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// While the gate is closed it is looked at this often.
const GATE_SLEEP: Duration = Duration::from_millis(50);
/// A worker that got no partition until then is a spare one, and ready to take over.
const SPARE_AFTER: Duration = Duration::from_secs(15);
/// Outcomes taken at once.
const OUTCOMES: usize = 256;

/// What the shell works with.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) catalog: Catalog,
    pub(crate) client: Client,
    pub(crate) tls: Tls,
    pub(crate) poller: Poller,
    pub(crate) events: PollerEvents,
    pub(crate) writer: Writer,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: DeliveryMetrics,
    pub(crate) teller: Teller,
    pub(crate) latch: Latch,
    pub(crate) grace: Duration,
}

/// The catalog as the engine's look-up.
#[derive(Debug)]
struct FromCatalog(Catalog);

/// Partitions that go, and what waits for them.
#[derive(Debug)]
struct Handover {
    keys: Vec<LeaseKey>,
    done: RevokeDone,
    until: Instant,
}

struct Shell {
    settings: Settings,
    catalog: Catalog,
    poller: Poller,
    writer: Writer,
    reporter: Reporter,
    metrics: DeliveryMetrics,
    teller: Teller,
    latch: Latch,
    grace: Duration,
    engine: Engine<FromCatalog>,
    book: Book,
    gate: Gate,
    pace: Pace,
    attempts: Attempts,
    intake: Intake,
    handovers: VecDeque<Handover>,
    /// Draining since a request to stop, at most until then.
    drain_until: Option<Instant>,
    is_closed: bool,
    is_gate_open: bool,
    watched: Instant,
    /// Ready then, with or without partitions.
    ready_at: Instant,
    limited: Limited<SubscriptionId>,
    /// Position of the snapshot, and when, that everything here was last compared with.
    reviewed: (i64, Instant),
}

impl Lookup for FromCatalog {
    fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.0.read().subscription(id).cloned()
    }
}

/// Runs until the shutdown has drained, or something fails that waiting does not heal.
///
/// # Errors
/// What failed.
pub(crate) async fn run(parts: Parts, shutdown: Shutdown) -> Result<(), Error> {
    let room = parts.settings.rules.concurrency.max(OUTCOMES);
    let (outcomes, completed) = mpsc::channel::<Completed>(room);
    // Few steps are under way at once: one take-over per assignment, one question about the end of `control`.
    let (steps, stepped) = mpsc::channel::<Step>(64);
    let mut inputs = Inputs {
        events: parts.events,
        completed,
        stepped,
        catalog: parts.catalog.changed(),
        committing: None,
        shutdown,
        is_draining: false,
        buffer: Vec::with_capacity(OUTCOMES),
    };
    let now = clock::instant();
    let mut shell = Shell {
        engine: Engine::new(parts.settings.rules, FromCatalog(parts.catalog.clone())),
        book: Book::new(parts.settings.batch),
        gate: Gate::new(parts.settings.contact_limit_ms, clock::boot_ms()),
        pace: Pace::new(4.0, Duration::from_millis(2), Duration::from_millis(200)),
        attempts: Attempts::new(parts.client, parts.tls, &parts.settings, outcomes),
        intake: Intake::new(steps),
        handovers: VecDeque::new(),
        drain_until: None,
        is_closed: false,
        is_gate_open: true,
        watched: now,
        ready_at: now + SPARE_AFTER,
        limited: Limited::new(Duration::from_secs(10)),
        reviewed: (parts.catalog.position(), now),
        settings: parts.settings,
        catalog: parts.catalog,
        poller: parts.poller,
        writer: parts.writer,
        reporter: parts.reporter,
        metrics: parts.metrics,
        teller: parts.teller,
        latch: parts.latch,
        grace: parts.grace,
    };
    loop {
        let sleep = shell.turn(&mut inputs.committing)?;
        let input = inputs.next(sleep, shell.intake.is_stalled()).await;
        if let Input::Event(None) = input {
            let ended = shell.end(&mut inputs.committing).await;
            shell.teller.end().await;
            return ended;
        }
        shell.take(input, &mut inputs)?;
    }
}

impl Shell {
    fn take(&mut self, input: Input, inputs: &mut Inputs) -> Result<(), Error> {
        match input {
            Input::Event(Some(event)) => self.on_event(event),
            Input::Event(None) | Input::Woken => Ok(()),
            Input::Completed => {
                let now_ms = clock::now_ms();
                for completed in inputs.buffer.drain(..) {
                    self.on_completed(completed, now_ms)?;
                }
                Ok(())
            }
            Input::Committed(result, meta) => {
                inputs.committing = self.on_committed(*result, meta)?;
                Ok(())
            }
            Input::Step(step) => self.on_step(step),
            Input::CatalogMoved => self.admit_stalled(None),
            Input::Stop => {
                inputs.is_draining = true;
                self.drain();
                Ok(())
            }
        }
    }

    /// Everything that is possible now. Returns how long nothing will be without another input.
    fn turn(&mut self, committing: &mut Option<Committing>) -> Result<Duration, Error> {
        let (now_ms, boot_ms, now) = (clock::now_ms(), clock::boot_ms(), clock::instant());
        self.check_gate(boot_ms, committing.as_ref());
        self.review(now, now_ms);
        self.engine.tick(now_ms);
        if self.is_gate_open && self.drain_until.is_none() {
            while let Some(dispatch) = self.engine.dispatch(now_ms) {
                self.on_dispatch(dispatch, now_ms)?;
            }
        }
        for left in self.engine.take_left() {
            self.settle(&left.arrival, &left.end, now_ms)?;
        }
        if committing.is_none() {
            *committing = self.begin_commit(now, boot_ms);
        }
        self.finish_handovers(now, committing.as_ref());
        self.finish_drain(now, committing.is_some());
        self.watch(now, now_ms);
        Ok(self.sleep(now, now_ms, committing.is_some()))
    }

    fn check_gate(&mut self, boot_ms: i64, committing: Option<&Committing>) {
        let pending = [self.book.oldest_boot_ms(), committing.map(Committing::oldest_boot_ms)];
        let oldest_ms = pending.into_iter().flatten().min();
        let was_suspect = self.gate.is_suspect();
        let is_open = self.gate.turn(boot_ms, self.poller.heartbeat().age_ms(), oldest_ms);
        if self.gate.is_suspect() && !was_suspect {
            self.engine.forget_stalls(clock::now_ms());
        }
        if self.gate.is_suspect() && committing.is_none() {
            self.book.touch_all();
            if self.book.is_clean() {
                // Nothing is owned, so there is nothing to prove.
                self.gate.prove();
            }
        }
        if is_open != self.is_gate_open {
            self.is_gate_open = is_open;
            if is_open {
                tracing::info!("contact to Kafka is back, sending again");
            } else {
                tracing::warn!("no contact to Kafka for half a session timeout, nothing is sent until it is back");
            }
        }
    }

    fn sleep(&self, now: Instant, now_ms: i64, is_committing: bool) -> Duration {
        let mut sleep = if self.is_gate_open { LONGEST_SLEEP } else { GATE_SLEEP };
        if let Some(wake_ms) = self.engine.next_wake_ms() {
            // At least the clock's tick: what is due and cannot go yet must not spin.
            sleep = sleep.min(Duration::from_millis(u64::try_from(wake_ms - now_ms).unwrap_or(0).max(1)));
        }
        if !is_committing && !self.book.is_clean() {
            sleep = sleep.min(self.pace.next_start(now).saturating_duration_since(now));
        }
        sleep
    }

    fn drain(&mut self) {
        tracing::info!(
            in_flight = self.engine.in_flight(),
            grace.ms = ms(self.grace),
            "draining: no more intake, waiting for what is in flight"
        );
        self.poller.stop_intake();
        self.drain_until = Some(clock::instant() + self.grace);
    }

    /// Once nothing is in flight and everything is committed, the partitions may go.
    fn finish_drain(&mut self, now: Instant, is_committing: bool) {
        let Some(until) = self.drain_until else { return };
        let is_drained = self.engine.in_flight() == 0 && self.book.is_clean() && !is_committing;
        if !self.is_closed && (is_drained || now >= until) {
            self.is_closed = true;
            if !is_drained {
                tracing::warn!(in_flight = self.engine.in_flight(), "the grace period is over before everything ended");
            }
            self.poller.close();
        }
    }

    /// The poller has left the group.
    async fn end(&mut self, committing: &mut Option<Committing>) -> Result<(), Error> {
        if let Some(committing) = committing.take() {
            let (result, meta) = committing.await;
            let _next = self.on_committed(result, meta)?;
        }
        self.writer.close().await;
        if self.drain_until.is_some() { Ok(()) } else { Err(Error::Task("poller")) }
    }
}
