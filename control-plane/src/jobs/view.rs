//! All jobs in memory: read from the topic's beginning by every replica, and of one partition by whoever takes it over.
//!
//! A reader waits through any trouble and says nothing of it. So Kafka is asked beside it where each partition ends: of one that was
//! not read so far for a while, or of which Kafka says nothing, nobody is told what jobs there are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use futures_util::future::join_all;
use kafka::clock::boot_ms;
use kafka::{
    CatchUp, CatchUpOptions, CatchUpStep, Connection, From, KafkaError, Lease, Offsets, ReadingWatch, Tail, TailEvent,
    TailOptions,
};
use parking_lot::RwLock;
use schemas::ids::ApplicationId;
use schemas::jobs::jobs_partition;
use schemas::record::TopicPartition;
use tokio::sync::watch;
use tracing::warn;

use super::known::KnownJobs;

/// How long it does so for whoever looks at jobs: a request waits until its own is seen.
const FOLLOW_MS: u32 = 100;
/// Between two questions where the topic ends.
const LISTEN: Duration = Duration::from_secs(5);
/// How long one may take: else Kafka says nothing.
const WITHIN: Duration = Duration::from_secs(8);
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
    /// Where each partition ended when reading began, as far as Kafka has said so; `None`: it has not begun.
    ends: Option<BTreeMap<i32, Option<i64>>>,
    /// By partition: since when, Unix ms, it is not known that it was read up to where it ended then. It ended at this offset; none:
    /// Kafka did not say.
    owed: BTreeMap<i32, (i64, Option<i64>)>,
}

/// Everything below these offsets was read, by partition.
type Positions = BTreeMap<i32, i64>;

/// What is known of the jobs of a partition.
#[derive(Debug)]
pub(super) struct RestoredJobs {
    pub(super) known: KnownJobs,
    /// Everything below this offset is.
    pub(super) end: i64,
}

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
        self.taken.send_modify(|taken| taken.ends = Some(BTreeMap::new()));
    }

    /// As after a while in which Kafka said nothing of a topic of so many partitions, all of which were read.
    #[cfg(test)]
    pub(super) fn is_cut_off(&self, partitions: i32, since_ms: i64) {
        self.taken.send_modify(|taken| {
            taken.ends = Some((0..partitions).map(|partition| (partition, Some(0))).collect());
            taken.heard(&Positions::new(), since_ms);
        });
    }

    /// Waits until everything was read that was there when reading began: of an application's partition, or of all.
    pub(super) async fn caught_up(&self, of: Option<ApplicationId>) {
        self.until(|_, taken| taken.is_caught_up(of)).await;
    }

    /// Since when, Unix ms, it is not known whether an application's jobs, or anybody's, are as they stand here; `None`: they are.
    pub(super) fn behind_since(&self, of: Option<ApplicationId>) -> Option<i64> {
        self.taken.borrow().behind_since(of)
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
        let follow = chassis::follow::follow(&topic, "what jobs there are", read);
        tokio::join!(follow, self.listen(&connection, &topic));
    }

    /// Asks for ever where the topic ends.
    async fn listen(&self, connection: &Connection, topic: &Arc<str>) {
        let offsets = loop {
            match Offsets::start_committed(connection) {
                Ok(offsets) => break offsets,
                Err(error) => warn!(%topic, %error, "where jobs end cannot be asked, trying again"),
            }
            tokio::time::sleep(LISTEN).await;
        };
        for _look in 0_u64.. {
            self.look(&offsets, topic).await;
            tokio::time::sleep(LISTEN).await;
        }
    }

    /// Asks once.
    async fn look(&self, offsets: &Offsets, topic: &Arc<str>) {
        let asked_ms = clock::now_ms();
        let told = tokio::time::timeout(WITHIN, offsets.told_ends(topic)).await;
        let told = told.ok().and_then(Result::ok).unwrap_or_default();
        let told = told.into_iter().filter_map(|(partition, end)| Some((partition, end.ok()?))).collect();
        self.taken.send_modify(|taken| taken.heard(&told, asked_ms));
    }

    /// Reads it once, from its beginning. Until all is read that is there now, what was known before stays: what is read first is
    /// older than that. A partition without a leader holds up its own jobs alone.
    async fn read_all(&self, connection: &Connection, topic: &Arc<str>) -> Result<(), KafkaError> {
        let offsets = Offsets::start_committed(connection)?;
        let ends = offsets.told_ends(topic).await?.into_iter().map(|(partition, end)| (partition, end.ok())).collect();
        let taken = TakenJobs { ends: Some(ends), ..TakenJobs::default() };
        let mut reading = Some((KnownJobs::default(), taken));
        self.replace_once_read(&mut reading);
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
                    let took = match &mut reading {
                        Some((known, _)) => known.take(&record),
                        None => self.known.write().take(&record),
                    };
                    if let Err(error) = took {
                        warn!(topic = %topic, partition, offset = record.offset, %error, "a record is no job's");
                    }
                    (partition, record.offset + 1)
                }
                TailEvent::Eof { partition, position } => (partition, position),
            };
            // One that had no leader when reading began has one now.
            let is_untold = reading
                .as_ref()
                .map_or_else(|| self.taken.borrow().is_untold(partition), |(_, taken)| taken.is_untold(partition));
            let end = if is_untold {
                offsets.end(&TopicPartition::new(Arc::clone(topic), partition)).await.ok()
            } else {
                None
            };
            match &mut reading {
                Some((_, taken)) => taken.reached(partition, position, end),
                None => self.taken.send_modify(|taken| taken.reached(partition, position, end)),
            }
            self.replace_once_read(&mut reading);
        }
    }

    fn replace_once_read(&self, reading: &mut Option<(KnownJobs, TakenJobs)>) {
        if let Some((known, taken)) = reading.take_if(|(_, taken)| taken.has_all_told()) {
            *self.known.write() = known;
            self.taken.send_modify(|former| {
                let owed = std::mem::take(&mut former.owed);
                *former = TakenJobs { owed, ..taken };
            });
        }
    }
}

// === impl TakenJobs ===

impl TakenJobs {
    /// A partition was read so far; `end`: where it ends, if that was not told before.
    fn reached(&mut self, partition: i32, position: i64, end: Option<i64>) {
        let at = self.positions.entry(partition).or_default();
        *at = position.max(*at);
        if let (Some(end), Some(ends)) = (end, &mut self.ends) {
            ends.insert(partition, Some(end));
        }
    }

    fn is_untold(&self, partition: i32) -> bool {
        self.ends.as_ref().is_some_and(|ends| ends.get(&partition).is_none_or(Option::is_none))
    }

    /// Whether all was read that Kafka has told of.
    fn has_all_told(&self) -> bool {
        let is_read = |(partition, end): (&i32, &Option<i64>)| end.is_none() || self.has_read(*partition);
        self.ends.as_ref().is_some_and(|ends| ends.iter().all(is_read))
    }

    fn is_caught_up(&self, of: Option<ApplicationId>) -> bool {
        let Some(ends) = &self.ends else { return false };
        match of.and_then(|of| self.partition(of)) {
            Some(partition) => self.has_read(partition),
            None => ends.keys().all(|partition| self.has_read(*partition)),
        }
    }

    fn has_read(&self, partition: i32) -> bool {
        let end = self.ends.as_ref().and_then(|ends| *ends.get(&partition)?);
        end.is_some_and(|end| end == 0 || self.positions.get(&partition).is_some_and(|at| *at >= end))
    }

    /// The partition of an application's jobs; `None`: there is none.
    fn partition(&self, of: ApplicationId) -> Option<i32> {
        let count = i32::try_from(self.ends.as_ref()?.len()).ok().filter(|count| *count > 0)?;
        Some(jobs_partition(of, count))
    }

    /// Kafka was asked at this time where partitions end, and has told so much.
    fn heard(&mut self, told: &Positions, asked_ms: i64) {
        for partition in self.ends.iter().flat_map(BTreeMap::keys) {
            let position = self.positions.get(partition).copied().unwrap_or(0);
            let owed = self.owed.get(partition).copied();
            let is_paid = owed.is_none_or(|(_, end)| end.is_some_and(|end| position >= end));
            let owes = match (told.get(partition).copied(), owed) {
                (Some(end), _) if position >= end => None,
                (Some(end), Some((since_ms, before))) if !is_paid => Some((since_ms, Some(before.unwrap_or(end)))),
                (Some(end), _) => Some((asked_ms, Some(end))),
                (None, Some((since_ms, _))) if !is_paid => Some((since_ms, None)),
                (None, _) => Some((asked_ms, None)),
            };
            match owes {
                Some(owes) => self.owed.insert(*partition, owes),
                None => self.owed.remove(partition),
            };
        }
    }

    fn behind_since(&self, of: Option<ApplicationId>) -> Option<i64> {
        let of = of.and_then(|of| self.partition(of));
        let owed = self.owed.iter().filter(|(partition, _)| of.is_none_or(|of| **partition == of));
        let is_unpaid = |(partition, (_, end)): &(&i32, &(i64, Option<i64>))| {
            let position = self.positions.get(partition).copied().unwrap_or(0);
            end.is_none_or(|end| position < end)
        };
        owed.filter(is_unpaid).map(|(_, (since_ms, _))| *since_ms).min()
    }
}

// === impl JobsRestorer ===

impl JobsRestorer {
    /// What is known of the jobs of these partitions, which are ours: everything that was written before we took them over, so the
    /// end is that of everything that was written, whether or not its transaction is over (as of rule W6). A partition that cannot be
    /// read now is left out, so that the others begin.
    pub(super) async fn restore(self, leases: Vec<Lease>, watch: ReadingWatch) -> Vec<(Lease, RestoredJobs)> {
        loop {
            match self.read(&leases, &watch).await {
                Ok(restored) => return restored,
                Err(error) => {
                    // Kafka did not answer for them, whatever it answers for others: that is no stall.
                    let error = watch.read_again(error, boot_ms()).unwrap_or_else(|never_ends| never_ends);
                    warn!(%error, "jobs cannot be read by their new runner, trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn read(&self, leases: &[Lease], watch: &ReadingWatch) -> Result<Vec<(Lease, RestoredJobs)>, KafkaError> {
        let Some(topic) = leases.first().map(|lease| Arc::clone(&lease.partition.topic)) else { return Ok(Vec::new()) };
        let (mut ranges, mut unknown) = (BTreeMap::new(), None);
        for (lease, range) in leases.iter().zip(join_all(leases.iter().map(|lease| self.range(lease))).await) {
            match range {
                Ok(range) => {
                    ranges.insert(lease.partition.partition, range);
                }
                Err(error) => {
                    warn!(partition = %lease.partition, %error, "where its jobs end is not known: they begin later");
                    unknown = Some(error);
                }
            }
        }
        if let (true, Some(error)) = (ranges.is_empty(), unknown) {
            return Err(error);
        }
        let ends: BTreeMap<i32, i64> = ranges.iter().map(|(partition, (_, end))| (*partition, *end)).collect();
        let mut known: BTreeMap<i32, KnownJobs> = ranges.keys().map(|at| (*at, KnownJobs::default())).collect();
        let options = CatchUpOptions { topic, ranges, transaction_timeout: self.transaction_timeout };
        let mut reading = CatchUp::start(&self.connection, self.offsets.clone(), options, watch.clone())?;
        while let Some(step) = reading.next().await? {
            if let CatchUpStep::Record { partition, record } = step
                && let Some(known) = known.get_mut(&partition)
            {
                // The follower says what cannot be read.
                drop(known.take(&record));
            }
        }
        let mut restored = Vec::with_capacity(leases.len());
        for lease in leases {
            let at = lease.partition.partition;
            if reading.left_out().contains(&at) {
                warn!(partition = %lease.partition, "its jobs cannot be read now: they begin later");
            } else if let (Some(known), Some(end)) = (known.remove(&at), ends.get(&at).copied()) {
                restored.push((lease.clone(), RestoredJobs { known, end }));
            }
        }
        Ok(restored)
    }

    /// Where a partition begins, and where it ends now.
    async fn range(&self, lease: &Lease) -> Result<(i64, i64), KafkaError> {
        let end = self.offsets.end(&lease.partition).await?;
        Ok((self.offsets.start_of(&lease.partition).await?, end))
    }
}

#[cfg(test)]
mod tests;
