//! Waits for the next thing that happens.

use std::time::Duration;

use chassis::clock;
use chassis::shutdown::Shutdown;
use kafka::{Committed, KafkaError, PollerEvent, PollerEvents};
use tokio::sync::{mpsc, watch};

use super::attempts::Completed;
use super::commits::{Committing, Meta};
use super::intake::Step;

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// From the poller; `None`: it has left the group.
    Event(Option<PollerEvent>),
    /// Outcomes lie in the buffer.
    Completed,
    /// The transaction under way has a known outcome.
    Committed(Box<Result<Committed, KafkaError>>, Meta),
    /// A take-over or a look at the end of `control` has ended.
    Step(Step),
    /// The snapshot is newer.
    CatalogMoved,
    /// The process is asked to stop.
    Stop,
    /// Time has passed.
    Woken,
}

/// Where inputs come from.
pub(super) struct Inputs {
    pub(super) events: PollerEvents,
    pub(super) completed: mpsc::Receiver<Completed>,
    pub(super) stepped: mpsc::Receiver<Step>,
    pub(super) catalog: watch::Receiver<i64>,
    pub(super) committing: Option<Committing>,
    pub(super) shutdown: Shutdown,
    pub(super) is_draining: bool,
    pub(super) buffer: Vec<Completed>,
}

impl Inputs {
    /// The next input, at the latest after `sleep`.
    pub(super) async fn next(&mut self, sleep: Duration, is_stalled: bool) -> Input {
        if sleep.is_zero() {
            // Work is due: take what is there without waiting, but let the other tasks run.
            tokio::task::yield_now().await;
        }
        let until = tokio::time::Instant::from_std(clock::instant() + sleep);
        tokio::select! {
            event = self.events.next() => Input::Event(event),
            _count = self.completed.recv_many(&mut self.buffer, super::OUTCOMES) => Input::Completed,
            (result, meta) = committed(&mut self.committing) => {
                self.committing = None;
                Input::Committed(Box::new(result), meta)
            }
            Some(step) = self.stepped.recv() => Input::Step(step),
            Ok(()) = self.catalog.changed(), if is_stalled => Input::CatalogMoved,
            () = self.shutdown.requested(), if !self.is_draining => Input::Stop,
            () = tokio::time::sleep_until(until) => Input::Woken,
        }
    }
}

async fn committed(committing: &mut Option<Committing>) -> (Result<Committed, KafkaError>, Meta) {
    match committing {
        Some(committing) => committing.await,
        None => std::future::pending().await,
    }
}
