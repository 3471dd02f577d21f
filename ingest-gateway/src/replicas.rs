//! How many gateways share the limits, where nobody has said it (`gateway.replicas = 0`): those that tell `status` that they run.
//!
//! Time is Kafka's alone. A report stands there when it was written, and the newest of all says how late it is now: so every gateway
//! counts the same, whatever its clock says, and while nobody hears anything nobody is forgotten. Until a report of its own is written,
//! one that crashed long ago may count: for seconds, and to the stricter side. Where the topic itself was silent, as while Kafka was away,
//! the first who speaks again makes nobody gone: all have as long as they have between two reports to speak as well.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chassis::config::Role;
use chassis::follow;
use kafka::{Connection, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use schemas::record::{Record, TopicPartition};
use schemas::status::Status;
use schemas::topics::Topics;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::limits::SendLimits;
use crate::metrics::GatewayMetrics;

/// A process tells at least once a minute; one that was silent for longer than twice that is not known to run.
const SILENT_MS: i64 = 120_000;
/// So often a process tells at least (`REFRESH` of [`chassis::status`]).
const REFRESH_MS: i64 = 60_000;
/// Gateways that are remembered, however many records somebody writes: as many as `gateway.replicas` could say.
const MAX_GATEWAYS: usize = 10_000;
/// How long a start waits for the first count. What `status` holds is read in far less.
const FIRST_COUNT: Duration = Duration::from_secs(10);

/// Who has said lately that it runs. Pure.
#[derive(Debug)]
pub(crate) struct LiveGateways {
    own_key: String,
    /// When each of the others said so last, by Kafka's clock, Unix ms; by `role/instance`.
    others: BTreeMap<String, i64>,
    /// When the newest record of the topic was written.
    newest_ms: i64,
    /// The topic was silent for too long: until its newest record is as late as this nobody is forgotten.
    heard_again_ms: i64,
}

/// Counts for as long as the gateway runs.
#[derive(Debug)]
pub(crate) struct ReplicaCounter {
    connection: Connection,
    topic: Arc<str>,
    own: String,
    counted: watch::Sender<bool>,
}

/// Whether the gateways were counted once: before that, each would let the whole limit pass.
#[derive(Debug)]
pub(crate) struct FirstCount(Option<watch::Receiver<bool>>);

// === impl LiveGateways ===

impl LiveGateways {
    pub(crate) fn new(own_instance: &str) -> Self {
        let own_key = Status::key(Role::Gateway.name(), own_instance);
        Self { own_key, others: BTreeMap::new(), newest_ms: i64::MIN, heard_again_ms: i64::MIN }
    }

    /// A record of the topic, of whatever role. `is_gone`: it takes a report back.
    pub(crate) fn hears(&mut self, key: &str, is_gone: bool, written_ms: i64) {
        if self.newest_ms != i64::MIN && written_ms.saturating_sub(self.newest_ms) > SILENT_MS {
            self.heard_again_ms = written_ms.saturating_add(REFRESH_MS);
        }
        self.newest_ms = self.newest_ms.max(written_ms);
        // Longer keys tell of something else.
        let mut parts = key.split('/');
        let is_report = parts.next() == Some(Role::Gateway.name()) && parts.next().is_some() && parts.next().is_none();
        if !is_report || key == self.own_key {
            return;
        }
        if is_gone {
            self.others.remove(key);
        } else if self.others.len() < MAX_GATEWAYS || self.others.contains_key(key) {
            self.others.insert(key.to_owned(), written_ms);
        }
    }

    /// How many run: itself, and who was not silent for too long.
    pub(crate) fn count(&mut self) -> u32 {
        let newest_ms = self.newest_ms;
        if newest_ms < self.heard_again_ms {
            return self.known();
        }
        self.others.retain(|_, said_ms| newest_ms.saturating_sub(*said_ms) <= SILENT_MS);
        self.known()
    }

    fn known(&self) -> u32 {
        u32::try_from(self.others.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

// === impl FirstCount ===

impl FirstCount {
    /// The number was given.
    pub(crate) const fn not_needed() -> Self {
        Self(None)
    }

    /// Waits for the first count, but not for ever: a `status` that cannot be read keeps nobody from taking events.
    pub(crate) async fn known(self) {
        let Some(mut counted) = self.0 else { return };
        if !matches!(tokio::time::timeout(FIRST_COUNT, counted.wait_for(|counted| *counted)).await, Ok(Ok(_))) {
            warn!(
                waited_s = FIRST_COUNT.as_secs(),
                "the gateways that share the limits could not be counted yet: until they are, this one lets the whole of each limit pass"
            );
        }
    }
}

// === impl ReplicaCounter ===

impl ReplicaCounter {
    pub(crate) fn new(connection: &Connection, topics: &Topics, own_instance: &str) -> (Self, FirstCount) {
        let (counted, first) = watch::channel(false);
        let topic = Arc::clone(&topics.status);
        let own = own_instance.to_owned();
        (Self { connection: connection.clone(), topic, own, counted }, FirstCount(Some(first)))
    }

    async fn read(&self, limits: &SendLimits, metrics: &GatewayMetrics) -> Result<(), KafkaError> {
        let partition = TopicPartition::new(Arc::clone(&self.topic), 0);
        let end = Offsets::start(&self.connection)?.end(&partition).await?;
        let options = TailOptions {
            topic: self.topic.to_string(),
            partitions: Some(vec![0]),
            from: kafka::From::Beginning,
            committed: true,
            eof: true,
            fetch_wait_ms: 500,
        };
        let mut tail = Tail::start(&self.connection, options)?;
        let mut live = LiveGateways::new(&self.own);
        let mut shared = 0;
        loop {
            match tail.next().await? {
                TailEvent::Record { record, .. } => hear(&mut live, &record),
                TailEvent::Eof { position, .. } if position >= end => {
                    let count = live.count();
                    if count != shared {
                        info!(gateways = count, "gateways share the limits");
                        shared = count;
                        limits.share(count);
                        metrics.replicas.set(count.into());
                    }
                    self.counted.send_replace(true);
                }
                TailEvent::Eof { .. } => {}
            }
        }
    }
}

fn hear(live: &mut LiveGateways, record: &Record) {
    if let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) {
        live.hears(key, record.value.is_none(), record.timestamp_ms);
    }
}

/// Counts for ever, if anything is to be counted.
pub(crate) async fn count(
    counter: Option<ReplicaCounter>,
    limits: &SendLimits,
    metrics: &GatewayMetrics,
) -> Infallible {
    if let Some(counter) = counter {
        follow::follow(&counter.topic, "how many gateways run", || counter.read(limits, metrics)).await;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tells_that_it_runs_counts_and_who_took_it_back_does_not() {
        let mut live = LiveGateways::new("a");
        assert_eq!(live.count(), 1, "itself");
        live.hears("gateway/a", false, 1_000);
        live.hears("gateway/b", false, 1_000);
        live.hears("gateway/b/tokens-3", false, 1_000);
        live.hears("delivery/c", false, 1_000);
        live.hears("gateway", false, 1_000);
        assert_eq!(live.count(), 2);
        live.hears("gateway/d", false, 2_000);
        assert_eq!(live.count(), 3);
        live.hears("gateway/b/tokens-3", true, 3_000);
        live.hears("gateway/b", true, 3_000);
        live.hears("gateway/a", true, 3_000);
        assert_eq!(live.count(), 2, "its own predecessor's end is not its own");
    }

    #[test]
    fn who_is_silent_counts_for_two_minutes_of_kafkas_time() {
        let mut live = LiveGateways::new("a");
        live.hears("gateway/b", false, 1_000);
        live.hears("fanout/x", false, 1_000 + SILENT_MS);
        assert_eq!(live.count(), 2);
        live.hears("gateway/a", false, 1_001 + SILENT_MS);
        assert_eq!(live.count(), 1);
        live.hears("gateway/b", false, 2_000 + SILENT_MS);
        assert_eq!(live.count(), 2, "it was only slow");
        // The clock of another broker is behind: nothing becomes younger by that.
        live.hears("gateway/c", false, 1_500 + SILENT_MS);
        assert_eq!(live.count(), 3);
    }

    #[test]
    fn the_first_who_speaks_after_a_silence_of_the_topic_makes_nobody_gone() {
        let mut live = LiveGateways::new("a");
        for other in ["gateway/b", "gateway/c", "gateway/crashed"] {
            live.hears(other, false, 1_000);
        }
        // Nobody could write for a while.
        let again = 1_001 + SILENT_MS;
        live.hears("gateway/b", false, again);
        assert_eq!(live.count(), 4, "each would let three times its part pass");
        live.hears("gateway/a", false, again + REFRESH_MS - 1);
        assert_eq!(live.count(), 4);
        live.hears("gateway/c", false, again + REFRESH_MS - 1);
        live.hears("gateway/b", false, again + REFRESH_MS);
        assert_eq!(live.count(), 3, "who has not spoken in the time that all speak in is gone");
        live.hears("gateway/b", false, again + REFRESH_MS + SILENT_MS);
        assert_eq!(live.count(), 2, "and so is who falls silent after it");
    }

    #[test]
    fn nobody_makes_it_remember_more_than_there_may_be() {
        let mut live = LiveGateways::new("a");
        for number in 0..=MAX_GATEWAYS {
            live.hears(&format!("gateway/{number}"), false, 1_000);
        }
        assert_eq!(live.count(), 10_001);
        live.hears("gateway/0", true, 1_000);
        assert_eq!(live.count(), 10_000, "who has a place can leave it");
    }
}
