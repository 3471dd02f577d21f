//! Filling the store: the newest day first, so that today is there within seconds, then the days before it, one by one.
//!
//! Where to read is asked of the store each time a reader begins: offsets that no day covers are read, whatever the reason.

mod begin;
mod listen;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::clock;
use chassis::follow::follow;
use chassis::limited::Limited;
use delivery_log::{Day, DeliveryStore, RowContent, StoreError};
use kafka::{Connection, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use schemas::record::TopicPartition;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use self::wait::{answer_of, changed, next_of, sleep_until};
use super::gather::Gather;
use super::metrics::LogMetrics;
use super::progress::ReachedTo;
use super::upkeep::{self, Upkeep};
use super::{DeliveryLog, bounds};

/// Rows that are written at once, and about how many bytes of them: an event that matched 10,000 subscriptions names them all.
const ROWS: usize = 2_000;
const BYTES: usize = 4 * 1024 * 1024;
/// How long a row waits for others.
const WAIT: Duration = Duration::from_millis(100);
/// One line about the same trouble per that.
const LINE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Projection {
    pub(super) connection: Connection,
    pub(super) topic: Arc<str>,
    /// Where what is sent again is read from.
    pub(super) deliveries: Arc<str>,
    /// Where it is read from once it is gone there.
    pub(super) dead_letters: Arc<str>,
    pub(super) store: Arc<dyn DeliveryStore>,
    pub(super) keep: Duration,
    pub(super) metrics: LogMetrics,
    pub(super) log: DeliveryLog,
}

/// Why a reader ended.
#[derive(Debug, Error)]
pub(super) enum ProjectError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    DeliveryStore(#[from] StoreError),
    #[error("a day of the delivery log was given up: it is read again")]
    GivenUp,
    #[error("kafka answers for partition {partition} again: it is read from now on")]
    Back { partition: i32 },
    #[error("partition {partition} ends at offset {end}, and was read to {position}: the topic was cut back")]
    Cut { partition: i32, end: i64, position: i64 },
}

/// One reader, from its start to its failure.
struct Reading<'p> {
    projection: &'p Projection,
    offsets: Offsets,
    /// Where each partition began when the reader did, and where the newest part is read from.
    starts: BTreeMap<i32, i64>,
    live_from: BTreeMap<i32, i64>,
    live: Gather,
    older: Option<Older>,
    /// Days that are read when those after them are there, the newest first.
    days: Vec<Day>,
    /// The newest of them.
    today: Day,
    unreadable: &'p Limited<()>,
    dropped: Limited<()>,
    upkeep: &'p Upkeep,
    /// Changes when what is covered was looked at too early.
    given_up: watch::Receiver<u64>,
    /// When the oldest row that waits has waited long enough.
    flush_at: Option<Instant>,
    ended: BTreeMap<i32, bool>,
    /// Where partitions ended when the reader began, of those that were not read so far since. All of them at their ends at once may
    /// never be seen while records come.
    unreached: BTreeMap<i32, i64>,
    /// Partitions that are not read: Kafka did not say where they end when the reader began.
    silent: Vec<i32>,
    /// Kafka says nothing of some partition that is read.
    is_silent: bool,
}

/// The part of a day that was missing.
struct Older {
    tail: Tail,
    gather: Gather,
    /// Where each partition that is not read yet ends.
    left: BTreeMap<i32, i64>,
}

// === impl Projection ===

impl Projection {
    /// Reads for ever; a reader that fails begins anew.
    pub(super) async fn run(self) {
        let (unreadable, upkeep, began_ms) = (Limited::<()>::new(LINE), Upkeep::new(), clock::now_ms());
        let read = || async {
            let ended = match self.stand_by().await {
                Ok(()) => tokio::select! {
                    ended = self.read(&upkeep, &unreadable) => ended,
                    failed = self.tell_others() => Err(failed.into()),
                },
                Err(error) => Err(error),
            };
            let now_ms = clock::now_ms();
            self.log.progress().failed(now_ms);
            let is_given_up =
                matches!(ended, Err(ProjectError::GivenUp | ProjectError::DeliveryStore(StoreError::FilledByAnother)));
            if is_given_up {
                // Which of the days is not whole, the next reader finds out. Another process that has moved the store on may have given
                // up days of it.
                self.log.progress().whole_from(Some(now_ms));
            }
            // Where no reader has begun yet, what was written since this one tried is missing, at the least.
            self.tell_age(self.log.progress().behind_ms(now_ms).unwrap_or(now_ms - began_ms));
            ended.map(|never| match never {})
        };
        follow(&self.topic, "what the delivery log is filled with", read).await;
    }

    /// Does for ever what is done beside reading.
    async fn tend(&self, offsets: &Offsets, upkeep: &Upkeep) -> Infallible {
        for _turn in 0_u64.. {
            upkeep.run(self.store.as_ref(), self.keep, &self.metrics).await;
            self.look_what_is_held(offsets).await;
            tokio::time::sleep(upkeep::EVERY).await;
        }
        std::future::pending().await
    }

    /// Tells Prometheus how old the oldest record is that may be missing.
    pub(super) fn tell_age(&self, ms: i64) {
        self.metrics.behind.set(ms / 1_000);
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// Reads, and does beside it what reading does not wait for: Kafka may take its time to answer.
    async fn run(self) -> Result<Infallible, ProjectError> {
        let (projection, offsets, upkeep) = (self.projection, self.offsets.clone(), self.upkeep);
        tokio::select! {
            ended = self.read() => ended,
            never = projection.tend(&offsets, upkeep) => match never {},
        }
    }

    async fn read(mut self) -> Result<Infallible, ProjectError> {
        let mut tail = self.tail(&self.live_from)?;
        let (mut listen, mut asked) = (clock::instant() + listen::EVERY, None);
        loop {
            if asked.is_none() && clock::instant() >= listen {
                asked = Some(Box::pin(self.ask_ends()));
            }
            let until = if asked.is_none() { Some(listen) } else { None };
            let until = self.flush_at.into_iter().chain(until).min();
            let event = tokio::select! {
                biased;
                () = changed(&mut self.given_up) => return Err(ProjectError::GivenUp),
                told = answer_of(asked.as_mut()) => {
                    (asked, listen) = (None, clock::instant() + listen::EVERY);
                    self.heard(&told)?;
                    None
                }
                event = tail.next() => Some((true, event?)),
                event = next_of(self.older.as_mut()) => Some((false, event?)),
                () = sleep_until(until) => None,
            };
            match event {
                Some((true, event)) => self.newest(event),
                Some((false, event)) => self.older(event),
                None => {}
            }
            let is_due = self.flush_at.is_some_and(|at| clock::instant() >= at);
            if is_due || self.is_full() || self.is_day_read() {
                self.flush().await.map_err(|error| self.cause(error))?;
            }
            if self.is_day_read() {
                self.older = None;
            }
            if self.may_look_back() {
                self.next_day().await?;
            }
        }
    }

    /// What failed was given up with it, perhaps.
    fn cause(&self, error: ProjectError) -> ProjectError {
        if self.given_up.has_changed().unwrap_or(false) { ProjectError::GivenUp } else { error }
    }

    fn is_full(&self) -> bool {
        let waiting = [Some(&self.live), self.older.as_ref().map(|older| &older.gather)];
        let of_all = |of_one: fn(&Gather) -> usize| waiting.into_iter().flatten().map(of_one).sum::<usize>();
        of_all(Gather::rows) >= ROWS || of_all(Gather::bytes) >= BYTES
    }

    /// Whether the day before those that are there may be read.
    fn may_look_back(&self) -> bool {
        self.older.is_none() && self.unreached.is_empty()
    }

    fn is_day_read(&self) -> bool {
        self.older.as_ref().is_some_and(|older| older.left.is_empty())
    }

    fn newest(&mut self, event: TailEvent) {
        if self.is_silent {
            let (TailEvent::Record { partition, .. } | TailEvent::Eof { partition, .. }) = &event;
            self.projection.log.progress().came(*partition);
            self.is_silent = self.projection.log.progress().is_silent();
        }
        match event {
            TailEvent::Record { partition, record } => {
                let row = self.decode(partition, &record);
                if self.unreached.get(&partition).is_some_and(|end| row.offset + 1 >= *end) {
                    self.unreached.remove(&partition);
                }
                if self.ended.insert(partition, false) == Some(true) {
                    // Until it is written it is missing, however long that takes.
                    self.projection.log.progress().reached(partition, ReachedTo::Time(row.stored_ms));
                }
                self.live.row(partition, row);
                self.flush_at.get_or_insert_with(|| clock::instant() + WAIT);
            }
            TailEvent::Eof { partition, position } => {
                self.live.passed(partition, position);
                self.ended.insert(partition, true);
                self.unreached.remove(&partition);
                // Without rows there is nothing to write, and all of it is there.
                if self.live.rows() == 0 {
                    self.projection.log.progress().reached(partition, ReachedTo::End);
                    self.projection.log.progress().stored(partition, position);
                }
            }
        }
    }

    fn older(&mut self, event: TailEvent) {
        let (partition, position, row) = match event {
            TailEvent::Record { partition, record } => {
                let row = self.decode(partition, &record);
                (partition, row.offset + 1, Some(row))
            }
            TailEvent::Eof { partition, position } => (partition, position, None),
        };
        let Some(older) = &mut self.older else { return };
        let Some(stop) = older.left.get(&partition).copied() else { return };
        match row {
            Some(row) if row.offset < stop => older.gather.row(partition, row),
            // The row behind the part's end is another reader's.
            Some(_) => older.gather.passed(partition, stop),
            None => older.gather.passed(partition, position.min(stop)),
        }
        if position >= stop {
            older.left.remove(&partition);
        }
        self.flush_at.get_or_insert_with(|| clock::instant() + WAIT);
    }

    fn decode(&self, partition: i32, record: &schemas::record::Record) -> delivery_log::LogRow {
        let (row, problem) = delivery_log::decode(partition, record);
        let kind = match &row.content {
            RowContent::Fact(fact) => fact.kind.as_str(),
            RowContent::Event(_) => "matched",
            RowContent::Target(_) => "target",
            RowContent::Nothing => "unreadable",
        };
        self.projection.metrics.projected.with_label_values(&[kind]).inc();
        if let Some(problem) = problem
            && let Some(swallowed) = self.unreadable.permit(&())
        {
            let (topic, offset) = (&self.projection.topic, record.offset);
            warn!(%topic, partition, offset, %problem, swallowed, "a lifecycle record is not in the delivery log");
        }
        row
    }

    async fn flush(&mut self) -> Result<(), ProjectError> {
        self.flush_at = None;
        let times = self.live.times();
        let mut chunks = self.live.take();
        chunks.extend(self.older.iter_mut().flat_map(|older| older.gather.take()));
        if !chunks.is_empty() {
            let projected = self.projection.store.project(chunks).await?;
            self.tell_dropped(projected.too_old);
        }
        let progress = self.projection.log.progress();
        for (partition, position) in self.live.positions() {
            progress.stored(partition, position);
        }
        for (partition, stored_ms) in times {
            progress.reached(partition, ReachedTo::Time(stored_ms));
        }
        for (partition, _) in self.ended.iter().filter(|(_, ended)| **ended) {
            progress.reached(*partition, ReachedTo::End);
        }
        Ok(())
    }

    /// Rows of days that are given up: of the oldest day a few, of newer ones only where this machine's clock is ahead.
    fn tell_dropped(&self, rows: u64) {
        if rows > 0
            && let Some(swallowed) = self.dropped.permit(&())
        {
            let (topic, keep_s) = (&self.projection.topic, self.projection.keep.as_secs());
            warn!(
                %topic, rows, keep_s, swallowed,
                "records are older than what the delivery log keeps, and not in it; if they are new, the clock of this machine is ahead"
            );
        }
    }

    /// Begins with the newest day of which something is missing.
    async fn next_day(&mut self) -> Result<(), ProjectError> {
        while let Some(day) = self.days.pop() {
            self.projection.log.progress().leaves(self.days.len() + 1);
            let coverage = self.projection.store.coverage().await?;
            let (mut from, mut left) = (BTreeMap::new(), BTreeMap::new());
            for (partition, live_from) in &self.live_from {
                let at = TopicPartition::new(Arc::clone(&self.projection.topic), *partition);
                let first = self.offsets.start_of(&at).await?.max(self.starts[partition]);
                let found =
                    self.offsets.at(&at, day.start_ms()).await?..self.offsets.at(&at, day.next().start_ms()).await?;
                let range = bounds::day_range(found, day == self.today, (first, *live_from));
                let missing = coverage.missing(*partition, range);
                if let (Some(start), Some(stop)) = (missing.first(), missing.last()) {
                    from.insert(*partition, start.start);
                    left.insert(*partition, stop.end);
                }
            }
            if !left.is_empty() {
                info!(%day, "the delivery log reads this day");
                self.projection.log.progress().whole_from(Some(day.next().start_ms()));
                self.older = Some(Older { tail: self.tail(&from)?, gather: Gather::starting(from), left });
                return Ok(());
            }
        }
        // Of what is not read no day is whole.
        if self.silent.is_empty() {
            self.projection.log.progress().whole_from(None);
        }
        Ok(())
    }

    fn tail(&self, from: &BTreeMap<i32, i64>) -> Result<Tail, KafkaError> {
        let options = TailOptions {
            topic: self.projection.topic.to_string(),
            partitions: Some(from.keys().copied().collect()),
            from: kafka::From::Offsets(from.iter().map(|(partition, at)| (*partition, *at)).collect::<HashMap<_, _>>()),
            committed: true,
            eof: true,
            fetch_wait_ms: 500,
        };
        Tail::start(&self.projection.connection, options)
    }
}

#[cfg(test)]
mod tests;
