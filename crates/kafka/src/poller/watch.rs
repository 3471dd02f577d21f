//! Looks for topics that were deleted and created again, and for positions that do not exist.
//!
//! librdkafka goes on reading a recreated topic at the old position, which is silently wrong when the new one is longer.
//! So the topics' ids are compared every few seconds, and at once when a position was refused. What is to be done about a
//! refused position is decided in [`verdict`], and done by the poll thread.

mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::TopicPartition;
use tracing::error;
use uuid::Uuid;

use super::repair::{CREATED_AGAIN, Repair};
use super::shared::Shared;
use super::state::Begun;
use crate::clock::instant;
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi;
use crate::log::{self, Named};
use crate::offsets::{self, LogRange};
pub(super) use verdict::Refused;
use verdict::{WatchdogAction, judge};

/// How often topic ids are compared.
const PERIOD: Duration = Duration::from_secs(5);
/// Pause between two looks however wrong things look; also how late a close is seen.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a question may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the poll thread has met since the last look.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// A topic looked as if it were gone.
    pub(super) topics: bool,
    /// Positions that a broker refused, the last one of each partition.
    pub(super) positions: HashMap<TopicPartition, Refused>,
}

/// The watch thread of one poller.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    client: BaseConsumer<Named>,
}

// === impl Suspicion ===

impl Suspicion {
    fn is_any(&self) -> bool {
        self.topics || !self.positions.is_empty()
    }

    /// Puts back what was not looked at; newer news stay.
    fn restore(&mut self, mut other: Self) {
        self.topics |= other.topics;
        other.positions.extend(self.positions.drain());
        self.positions = other.positions;
    }
}

// === impl Watcher ===

impl Watcher {
    pub(super) fn new(connection: &Connection, shared: Arc<Shared>) -> Result<Self, KafkaError> {
        let config = connection.plain(&format!("{}-watch", shared.options.client_id));
        let client = BaseConsumer::from_config_and_context(&config, Named::new("watch"))
            .map_err(|error| KafkaError::Client { purpose: "watching topics", reason: error.to_string() })?;
        Ok(Self { shared, client })
    }

    pub(super) fn run(self) {
        while let Some(suspicion) = self.wait() {
            self.client.poll(Duration::ZERO);
            if let Err((error, unseen)) = self.look(suspicion) {
                log::call_failed(&error);
                self.shared.suspicion.lock().restore(unseen);
            }
        }
    }

    /// Waits for the next look, and tells what looked wrong. `None`: the poller is closed.
    fn wait(&self) -> Option<Suspicion> {
        let deadline = instant() + PERIOD;
        let soonest = instant() + PAUSE;
        let mut suspicion = self.shared.suspicion.lock();
        loop {
            if self.shared.closing.load(Ordering::Acquire) {
                return None;
            }
            let now = instant();
            if now >= deadline || (suspicion.is_any() && now >= soonest) {
                return Some(std::mem::take(&mut *suspicion));
            }
            let until = if suspicion.is_any() { soonest } else { deadline };
            // A wake-up that comes just before the wait is made up for by the next one.
            self.shared.watch.wait_for(&mut suspicion, (until - now).min(PAUSE));
        }
    }

    /// One look. On failure the suspicion comes back.
    fn look(&self, mut suspicion: Suspicion) -> Result<(), (KafkaError, Suspicion)> {
        self.permit();
        let begun = self.shared.state.lock().begun();
        // What has not begun is read from nowhere yet.
        suspicion.positions.retain(|partition, _| begun.iter().any(|begun| begun.lease.partition == *partition));
        match self.look_at(begun, &suspicion) {
            Ok(()) => Ok(()),
            Err(error) => Err((error, suspicion)),
        }
    }

    /// What may be read again is denied no longer, also where others read it now or nothing of it is fetched.
    fn permit(&self) {
        let denied = self.shared.state.lock().denied();
        if denied.is_empty() {
            return;
        }
        let names: Vec<&str> = denied.iter().map(|topic| &**topic).collect();
        match ffi::topic_facts(self.client.client().native_client(), &names, ANSWER_TIMEOUT) {
            Ok(facts) => {
                let mut state = self.shared.state.lock();
                for topic in &denied {
                    if facts.get(&**topic).is_some_and(|told| told.as_ref().is_ok_and(|facts| facts.may.read)) {
                        state.permit(topic);
                    }
                }
            }
            Err(code) => log::call_failed(&KafkaError::call("describe topics", code)),
        }
    }

    fn look_at(&self, mut begun: Vec<Begun>, suspicion: &Suspicion) -> Result<(), KafkaError> {
        if begun.is_empty() {
            return Ok(());
        }
        let ids = self.topic_ids(&begun)?;
        let is_other = |begun: &Begun| ids.get(&*begun.lease.partition.topic).is_some_and(|id| begun.is_of_other(id));
        let changed: Vec<_> = begun.iter().filter(|begun| is_other(begun)).map(|begun| begun.lease.clone()).collect();
        if !changed.is_empty() {
            self.shared.ask(Repair::Restart { leases: changed, reason: CREATED_AGAIN });
        }
        begun.retain(|begun| {
            let exists = ids.contains_key(&*begun.lease.partition.topic);
            exists && !is_other(begun) && suspicion.positions.contains_key(&begun.lease.partition)
        });
        self.check_positions(&begun, suspicion)
    }

    /// The ids of the topics that exist and may be seen.
    fn topic_ids(&self, begun: &[Begun]) -> Result<HashMap<String, Uuid>, KafkaError> {
        let mut topics: Vec<&Arc<str>> = begun.iter().map(|begun| &begun.lease.partition.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let names: Vec<&str> = topics.iter().map(|topic| &***topic).collect();
        let described = ffi::describe_topics(self.client.client().native_client(), &names, ANSWER_TIMEOUT)
            .map_err(|code| KafkaError::call("describe topics", code))?;
        let mut ids = HashMap::with_capacity(described.len());
        for topic in topics {
            let failed = |code| KafkaError::call(format!("describe topic {topic}"), code);
            match described.get(&**topic) {
                Some(Ok(id)) => drop(ids.insert(topic.to_string(), *id)),
                Some(Err(code)) if ErrorCode(*code).is_denied() => {
                    self.shared.deny(Some(Arc::clone(topic)), &failed(*code));
                }
                Some(Err(code)) => log::call_failed(&failed(*code)),
                // The group takes its partitions away with the next metadata; a new one is noticed by its id.
                None => {
                    log::call_failed(&KafkaError::NoTopic { topic: Arc::clone(topic) });
                    if self.shared.options.fails_alone {
                        self.shared.restart_topic(topic);
                    }
                }
            }
        }
        Ok(ids)
    }

    /// Positions were refused: the log begins above them, was cut below them, or the fetcher is not where it should be.
    fn check_positions(&self, begun: &[Begun], suspicion: &Suspicion) -> Result<(), KafkaError> {
        if begun.is_empty() {
            return Ok(());
        }
        let partitions: Vec<_> = begun.iter().map(|begun| begun.lease.partition.clone()).collect();
        let ranges = offsets::ranges(&self.client, &partitions)?;
        let mut truncated = Vec::new();
        for begun in begun {
            let partition = &begun.lease.partition;
            let (Some(range), Some(refused)) = (ranges.get(partition), suspicion.positions.get(partition)) else {
                continue;
            };
            let range = match range {
                Ok(LogRange { start, end, .. }) => (*start, *end),
                Err(error) => {
                    // It is looked at again; what is told of the others is theirs.
                    log::call_failed(error);
                    self.shared.suspicion.lock().positions.entry(partition.clone()).or_insert(*refused);
                    continue;
                }
            };
            let lease = begun.lease.clone();
            match judge(begun, refused, range) {
                WatchdogAction::Skip { to, lost } => {
                    self.shared.ask(Repair::Skip { lease, from: begun.next, to, lost });
                }
                WatchdogAction::Reposition => self.shared.ask(Repair::Reposition(lease)),
                WatchdogAction::Truncated { log_end } => truncated.push((begun.clone(), *refused, log_end)),
            }
        }
        self.stop_at_truncation(truncated);
        Ok(())
    }

    /// A log that was cut ends the role: what stands there now is not what followed the last record. It must look so twice,
    /// because a new topic's id may be told a moment later than its log; the fetcher stands still meanwhile. Where topics fail
    /// alone the partition starts over: its takeover finds an offset that is not there, and holds it.
    fn stop_at_truncation(&self, truncated: Vec<(Begun, Refused, i64)>) {
        for (begun, refused, log_end) in truncated {
            let partition = begun.lease.partition.clone();
            if refused.is_confirmed {
                error!(%partition, offset = begun.next, log_end, "the log was cut below what was read");
                if self.shared.options.fails_alone {
                    let reason = "the log was cut below what was read";
                    self.shared.ask(Repair::Restart { leases: vec![begun.lease], reason });
                } else {
                    self.shared.fail(KafkaError::Truncated { partition, offset: begun.next, log_end });
                }
            } else {
                let again = Refused { is_confirmed: true, ..refused };
                self.shared.suspicion.lock().positions.entry(partition).or_insert(again);
            }
        }
    }
}

// === impl Begun ===

impl Begun {
    /// Whether both ids are known and differ.
    fn is_of_other(&self, now: &Uuid) -> bool {
        !self.topic_id.is_nil() && !now.is_nil() && self.topic_id != *now && !is_planted(PlantedBug::TopicIdIgnored)
    }
}
