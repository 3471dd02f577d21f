//! A producer that outlives its client: one that failed for good is replaced by a new one.
//!
//! librdkafka's idempotent client has failures that no retry mends: a refused `InitProducerId`, a sequence that does not fit, an
//! unknown producer id. From then on it refuses every record, for ever, also when the reason is gone a second later. So a keeper
//! looks at the client, and replaces it at a bounded pace:
//!
//! ```text
//! well --failed--> failed --after a pause--> on trial --nothing for 3 s--> well
//!                     ^                         |
//!                     +--------failed-----------+   each time the pause doubles, 1 s to 30 s
//! ```
//!
//! What the former client had taken is answered by it: as not acknowledged, which a sender repeats.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use schemas::record::OutRecord;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::clock;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::producer::{Acknowledgement, Producer, ProducerOptions};

/// How often the keeper looks at the client.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From a failure to the first new client.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause before another one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A new client that has not failed after this long counts as well.
const TRIAL: Duration = Duration::from_secs(3);

/// An idempotent producer that replaces its client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LastingProducer(Arc<KeptProducer>);

/// How the producer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    /// Why the client failed for good, until another one has proved itself.
    pub failure: Option<String>,
    /// Clients that were replaced.
    pub replaced: u64,
}

/// Ends the keeper with the last clone.
#[derive(Debug)]
struct KeptProducer {
    shared: Arc<RenewableClient>,
    keeper: AbortHandle,
}

#[derive(Debug)]
struct RenewableClient {
    connection: Connection,
    options: ProducerOptions,
    current: RwLock<Producer>,
    state: watch::Sender<ProducerState>,
}

/// Decides when a client is replaced. Pure.
#[derive(Debug)]
struct Renewal {
    phase: RenewalPhase,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RenewalPhase {
    Well,
    Failed { replace_at: Instant },
    OnTrial { until: Instant },
}

/// What the keeper does after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RenewalStep {
    Nothing,
    TellFailure,
    Replace,
    TellWell,
}

// === impl LastingProducer ===

impl LastingProducer {
    /// Makes the first client, as [`Producer::start`] does.
    ///
    /// # Errors
    /// Properties librdkafka refuses.
    #[expect(clippy::disallowed_methods, reason = "the keeper ends with the producer; chassis is above this crate")]
    pub fn start(connection: &Connection, options: ProducerOptions) -> Result<Self, KafkaError> {
        let current = RwLock::new(Producer::start(connection, options.clone())?);
        let state = watch::Sender::default();
        let shared = Arc::new(RenewableClient { connection: connection.clone(), options, current, state });
        let keeper = tokio::spawn(keep(Arc::downgrade(&shared))).abort_handle();
        Ok(Self(Arc::new(KeptProducer { shared, keeper })))
    }

    /// Enqueues a record, never blocks.
    ///
    /// # Errors
    /// As [`Producer::send`]; while the client has failed and is not replaced yet, every record is refused.
    pub fn send(&self, record: &OutRecord) -> Result<Acknowledgement, KafkaError> {
        self.0.shared.current.read().send(record)
    }

    /// How it is doing, and every change of that.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ProducerState> {
        self.0.shared.state.subscribe()
    }

    /// Waits until every record sent so far is acknowledged or given up.
    ///
    /// # Errors
    /// A timeout.
    pub async fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        let current = self.0.shared.current.read().clone();
        current.flush(timeout).await
    }
}

impl Drop for KeptProducer {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(shared: Weak<RenewableClient>) {
    let mut renewal = Renewal::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let failure = shared.current.read().fatal_error();
        match renewal.next(failure.is_some(), clock::instant()) {
            RenewalStep::Nothing => {}
            RenewalStep::TellFailure => {
                let reason = failure.unwrap_or_default();
                tracing::error!(reason, "the producer failed for good; it is replaced by a new one");
                shared.state.send_modify(|state| state.failure = Some(reason));
            }
            RenewalStep::Replace => shared.replace(),
            RenewalStep::TellWell => {
                tracing::info!("the new producer works");
                shared.state.send_modify(|state| state.failure = None);
            }
        }
    }
}

// === impl RenewableClient ===

impl RenewableClient {
    #[expect(clippy::disallowed_methods, reason = "bounded by the message timeout; chassis is above this crate")]
    fn replace(&self) {
        let new = match Producer::start(&self.connection, self.options.clone()) {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "a new producer could not be made; another one is tried later");
                return;
            }
        };
        let former = std::mem::replace(&mut *self.current.write(), new);
        self.state.send_modify(|state| state.replaced += 1);
        let timeout = self.options.message_timeout;
        tokio::spawn(async move {
            if let Err(error) = former.flush(timeout).await {
                tracing::warn!(%error, "the former producer still had records; their senders were told");
            }
            // The end of a client blocks.
            let _ended = tokio::task::spawn_blocking(move || drop(former)).await;
        });
    }
}

// === impl Renewal ===

impl Renewal {
    const fn new() -> Self {
        Self { phase: RenewalPhase::Well, pause: FIRST_PAUSE }
    }

    fn next(&mut self, has_failed: bool, now: Instant) -> RenewalStep {
        match self.phase {
            RenewalPhase::Well | RenewalPhase::OnTrial { .. } if has_failed => {
                self.phase = RenewalPhase::Failed { replace_at: now + self.pause };
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                RenewalStep::TellFailure
            }
            RenewalPhase::Failed { replace_at } if now >= replace_at => {
                self.phase = RenewalPhase::OnTrial { until: now + TRIAL };
                RenewalStep::Replace
            }
            RenewalPhase::OnTrial { until } if now >= until => {
                *self = Self::new();
                RenewalStep::TellWell
            }
            RenewalPhase::Well | RenewalPhase::Failed { .. } | RenewalPhase::OnTrial { .. } => RenewalStep::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_client_is_replaced_at_a_bounded_pace_and_has_to_prove_itself() {
        let start = clock::instant();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut renewal = Renewal::new();
        assert_eq!(renewal.next(false, at(0)), RenewalStep::Nothing);
        assert_eq!(renewal.next(true, at(0)), RenewalStep::TellFailure);
        assert_eq!(renewal.next(true, at(999)), RenewalStep::Nothing);
        assert_eq!(renewal.next(true, at(1_000)), RenewalStep::Replace);
        assert_eq!(renewal.next(false, at(1_250)), RenewalStep::Nothing);
        assert_eq!(renewal.next(true, at(1_500)), RenewalStep::TellFailure, "refused again");
        assert_eq!(renewal.next(true, at(3_499)), RenewalStep::Nothing, "the pause has doubled");
        assert_eq!(renewal.next(true, at(3_500)), RenewalStep::Replace);
        assert_eq!(renewal.next(false, at(6_499)), RenewalStep::Nothing);
        assert_eq!(renewal.next(false, at(6_500)), RenewalStep::TellWell);
        assert_eq!(renewal.pause, FIRST_PAUSE);
    }

    #[test]
    fn the_pause_has_an_end() {
        let mut renewal = Renewal::new();
        let mut now = clock::instant();
        let mut replaced = 0;
        let hour = now + Duration::from_secs(3_600);
        while now < hour {
            // It never works.
            replaced += u32::from(renewal.next(true, now) == RenewalStep::Replace);
            now += LOOK_EVERY;
        }
        assert!((110..=130).contains(&replaced), "{replaced} in an hour");
    }
}
