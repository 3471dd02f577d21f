//! All jobs in memory: read from the topic's beginning by every replica, and of one partition by whoever takes it over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka::clock::boot_ms;
use kafka::{
    CatchUp, CatchUpOptions, CatchUpStep, Connection, From, KafkaError, Lease, Offsets, ReadingWatch, Tail, TailEvent,
    TailOptions,
};
use parking_lot::RwLock;
use schemas::record::TopicPartition;
use tokio::sync::watch;
use tracing::warn;

use super::known::KnownJobs;

/// How long it does so for whoever looks at jobs: a request waits until its own is seen.
const FOLLOW_MS: u32 = 100;
/// Between two tries of a take-over that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// See the module. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct JobsView {
    known: Arc<RwLock<KnownJobs>>,
    taken: Arc<watch::Sender<TakenJobs>>,
}

/// How far jobs were read.
#[derive(Debug, Default)]
pub(super) struct TakenJobs {
    /// Everything below these offsets was taken.
    pub(super) positions: Positions,
    /// Where the topic ended when reading began; `None`: it has not begun.
    ends: Option<Positions>,
}

/// Everything below these offsets was read, by partition.
type Positions = BTreeMap<i32, i64>;

/// Reads partitions for their new owner.
#[derive(Clone, Debug)]
pub(super) struct JobsRestorer {
    pub(super) connection: Connection,
    pub(super) offsets: Offsets,
    /// Of those who write the topic.
    pub(super) transaction_timeout: Duration,
}

// === impl JobsView ===

impl Default for JobsView {
    fn default() -> Self {
        Self { known: Arc::default(), taken: Arc::new(watch::Sender::new(TakenJobs::default())) }
    }
}

impl JobsView {
    /// Looks at what is known.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&KnownJobs) -> T) -> T {
        look(&self.known.read())
    }

    /// Takes what no record says: there is no topic.
    #[cfg(test)]
    pub(super) fn change(&self, change: impl FnOnce(&mut KnownJobs)) {
        change(&mut self.known.write());
        self.taken.send_modify(|taken| taken.ends = Some(Positions::new()));
    }

    /// Waits until everything was read that was there when reading began.
    pub(super) async fn caught_up(&self) {
        self.until(|_, taken| taken.is_caught_up()).await;
    }

    /// Waits until it is so.
    pub(super) async fn until(&self, is_so: impl Fn(&KnownJobs, &TakenJobs) -> bool) {
        let mut taken = self.taken.subscribe();
        loop {
            // No lock is held while it waits.
            let is_there = is_so(&self.known.read(), &taken.borrow_and_update());
            if is_there || taken.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads the topic for ever.
    pub(super) async fn follow(self, connection: Connection, topic: Arc<str>) {
        let read = || self.read_all(&connection, &topic);
        chassis::follow::follow(&topic, "what jobs there are", read).await;
    }

    async fn read_all(&self, connection: &Connection, topic: &Arc<str>) -> Result<(), KafkaError> {
        let ends = Offsets::start_committed(connection)?.ends(topic).await?;
        self.taken.send_modify(|taken| *taken = TakenJobs { positions: Positions::new(), ends: Some(ends) });
        let options = TailOptions {
            topic: topic.to_string(),
            partitions: None,
            from: From::Beginning,
            committed: true,
            eof: true,
            fetch_wait_ms: FOLLOW_MS,
        };
        let mut tail = Tail::start(connection, options)?;
        loop {
            let (partition, position) = match tail.next().await? {
                TailEvent::Record { partition, record } => {
                    if let Err(error) = self.known.write().take(&record) {
                        warn!(topic = %topic, partition, offset = record.offset, %error, "a record is no job's");
                    }
                    (partition, record.offset + 1)
                }
                TailEvent::Eof { partition, position } => (partition, position),
            };
            self.taken.send_modify(|taken| {
                let at = taken.positions.entry(partition).or_default();
                *at = position.max(*at);
            });
        }
    }
}

// === impl TakenJobs ===

impl TakenJobs {
    fn is_caught_up(&self) -> bool {
        let is_read =
            |(partition, end): (&i32, &i64)| *end == 0 || self.positions.get(partition).is_some_and(|at| at >= end);
        self.ends.as_ref().is_some_and(|ends| ends.iter().all(is_read))
    }
}

// === impl JobsRestorer ===

impl JobsRestorer {
    /// What is known of the jobs of these partitions, which are ours: everything that was written before we took them over, so the
    /// end is that of everything that was written, whether or not its transaction is over (as of rule W6).
    pub(super) async fn restore(self, leases: Vec<Lease>, watch: ReadingWatch) -> Vec<(Lease, KnownJobs)> {
        let mut restored = Vec::with_capacity(leases.len());
        for lease in leases {
            loop {
                match self.read(&lease.partition, &watch).await {
                    Ok(known) => {
                        restored.push((lease, known));
                        break;
                    }
                    Err(error) => {
                        // Kafka did not answer for it, whatever it answers for others: that is no stall.
                        let error = watch.read_again(error, boot_ms()).unwrap_or_else(|never_ends| never_ends);
                        warn!(partition = %lease.partition, %error, "jobs cannot be read by their new runner, trying again");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        }
        restored
    }

    async fn read(&self, of: &TopicPartition, watch: &ReadingWatch) -> Result<KnownJobs, KafkaError> {
        let (mut known, end) = (KnownJobs::default(), self.offsets.end(of).await?);
        let start = self.offsets.start_of(of).await?;
        let ranges = BTreeMap::from([(of.partition, (start, end))]);
        let (topic, transaction_timeout) = (Arc::clone(&of.topic), self.transaction_timeout);
        let options = CatchUpOptions { topic, ranges, transaction_timeout };
        let mut reading = CatchUp::start(&self.connection, self.offsets.clone(), options, watch.clone())?;
        while let Some(step) = reading.next().await? {
            if let CatchUpStep::Record { record, .. } = step {
                // The follower says what cannot be read.
                drop(known.take(&record));
            }
        }
        // One that lost its leader is not read to its end.
        let is_whole = reading.left_out().is_empty();
        is_whole.then_some(known).ok_or_else(|| KafkaError::without_leader(&format!("reading {of}")))
    }
}
