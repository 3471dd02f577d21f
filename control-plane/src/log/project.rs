//! Filling the store: the newest day first, so that today is there within seconds, then the days before it, one by one.
//!
//! Where to read is asked of the store each time a reader begins: offsets that no day covers are read, whatever the reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::clock;
use chassis::follow::follow;
use chassis::limited::Limited;
use delivery_log::{Coverage, Day, DeliveryStore, RowContent, StoreError};
use kafka::{Connection, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use schemas::record::TopicPartition;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use super::DeliveryLog;
use super::gather::Gather;
use super::metrics::LogMetrics;
use super::progress::ReachedTo;
use super::upkeep::{self, Upkeep};

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
    pub(super) store: Arc<dyn DeliveryStore>,
    pub(super) keep: Duration,
    pub(super) metrics: LogMetrics,
    pub(super) log: DeliveryLog,
}

/// Why a reader ended.
#[derive(Debug, Error)]
enum ProjectError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    DeliveryStore(#[from] StoreError),
    #[error("a damaged day of the delivery log was given up: it is read again")]
    GivenUp,
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
    unreadable: &'p Limited<()>,
    upkeep: &'p Upkeep,
    /// Changes when what is covered was looked at too early.
    given_up: watch::Receiver<u64>,
    /// When the oldest row that waits has waited long enough.
    flush_at: Option<Instant>,
    ended: BTreeMap<i32, bool>,
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
            let ended = self.read(&upkeep, &unreadable).await;
            let now_ms = clock::now_ms();
            self.log.progress().failed(now_ms);
            if matches!(ended, Err(ProjectError::GivenUp)) {
                // Which of the days is not whole, the next reader finds out.
                self.log.progress().whole_from(Some(now_ms));
            }
            // Where no reader has begun yet, what was written since this one tried is missing, at the least.
            self.tell_age(self.log.progress().behind_ms(now_ms).unwrap_or(now_ms - began_ms));
            ended.map(|never| match never {})
        };
        follow(&self.topic, "what the delivery log is filled with", read).await;
    }

    async fn read(&self, upkeep: &Upkeep, unreadable: &Limited<()>) -> Result<std::convert::Infallible, ProjectError> {
        let offsets = Offsets::start(&self.connection)?;
        self.log.reads_with(offsets.clone());
        let missing = || KafkaError::NoTopic { topic: Arc::clone(&self.topic) };
        let id = offsets.topic_id(&self.topic).await?.ok_or_else(missing)?;
        if self.store.bind(format!("{} {id}", self.topic)).await? {
            warn!(topic = %self.topic, "the topic was created anew: the delivery log starts again");
        }
        let oldest = upkeep::give_up_old_days(self.store.as_ref(), self.keep).await?;
        let mut given_up = self.store.given_up();
        given_up.mark_unchanged();
        let coverage = self.store.coverage().await?;
        let count = offsets.partitions(&self.topic).await?.ok_or_else(missing)?;
        let today = Day::of(clock::now_ms());
        let (mut starts, mut live_from) = (BTreeMap::new(), BTreeMap::new());
        for partition in 0..count {
            let at = TopicPartition::new(Arc::clone(&self.topic), partition);
            let (first, end) = (offsets.start_of(&at).await?, offsets.end(&at).await?);
            self.count_lost(&coverage, partition, first);
            let start = offsets.at(&at, oldest.start_ms()).await?.max(first);
            let midnight = offsets.at(&at, today.start_ms()).await?.clamp(start, end.max(start));
            starts.insert(partition, start);
            live_from.insert(partition, live_start(&coverage, partition, midnight..end));
        }
        let days = days_between(oldest, today);
        self.log.progress().begin(0..count, today.start_ms());
        let live = Gather::starting(live_from.clone());
        let ended = (0..count).map(|partition| (partition, false)).collect();
        let reading = Reading {
            projection: self,
            offsets,
            starts,
            live_from,
            live,
            older: None,
            days,
            unreadable,
            upkeep,
            given_up,
            flush_at: None,
            ended,
        };
        Box::pin(reading.run()).await
    }

    /// Tells Prometheus how old the oldest record is that may be missing.
    fn tell_age(&self, ms: i64) {
        self.metrics.behind.set(ms / 1_000);
    }

    /// What lies between what was read and the log's start was deleted before it was read.
    fn count_lost(&self, coverage: &Coverage, partition: i32, first: i64) {
        let Some(end) = coverage.ends().get(&partition).copied() else { return };
        if end < first {
            let lost = u64::try_from(first - end).unwrap_or(0);
            self.metrics.lost.inc_by(lost);
            self.log.progress().lost(lost);
            warn!(topic = %self.topic, partition, lost, "records were deleted before the delivery log had read them");
        }
    }
}

/// Where the newest part of a partition is read from: behind what is covered of today, else where today begins.
fn live_start(coverage: &Coverage, partition: i32, today: std::ops::Range<i64>) -> i64 {
    let covered = coverage.of(partition).last().map_or(today.start, |last| last.end);
    // What is covered beyond the end was cut off the log: it is not there, and will be something else.
    covered.clamp(today.start, today.end.max(today.start))
}

/// The days of a log, the newest last, so that they are taken from the end.
fn days_between(oldest: Day, newest: Day) -> Vec<Day> {
    let mut days: Vec<Day> = (0..).map(|back| newest.minus(back)).take_while(|day| *day > oldest).collect();
    days.push(oldest);
    days.reverse();
    days
}

// === impl Reading ===

impl Reading<'_> {
    async fn run(mut self) -> Result<std::convert::Infallible, ProjectError> {
        let mut tail = self.tail(&self.live_from)?;
        let mut tick = clock::instant();
        loop {
            if clock::instant() >= tick {
                tick = clock::instant() + upkeep::EVERY;
                self.tick().await;
            }
            let until = self.flush_at.unwrap_or(tick).min(tick);
            let event = tokio::select! {
                biased;
                () = changed(&mut self.given_up) => return Err(ProjectError::GivenUp),
                event = tail.next() => Some((true, event?)),
                event = next_of(self.older.as_mut()) => Some((false, event?)),
                () = tokio::time::sleep_until(until.into()) => None,
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
            if self.older.is_none() && self.ended.values().all(|ended| *ended) {
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

    fn is_day_read(&self) -> bool {
        self.older.as_ref().is_some_and(|older| older.left.is_empty())
    }

    fn newest(&mut self, event: TailEvent) {
        match event {
            TailEvent::Record { partition, record } => {
                let row = self.decode(partition, &record);
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
            self.projection.store.project(chunks).await?;
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

    /// Begins with the newest day of which something is missing.
    async fn next_day(&mut self) -> Result<(), ProjectError> {
        while let Some(day) = self.days.pop() {
            let coverage = self.projection.store.coverage().await?;
            let (mut from, mut left) = (BTreeMap::new(), BTreeMap::new());
            for (partition, live_from) in &self.live_from {
                let at = TopicPartition::new(Arc::clone(&self.projection.topic), *partition);
                let first = self.offsets.start_of(&at).await?.max(self.starts[partition]);
                let begin = self.offsets.at(&at, day.start_ms()).await?.clamp(first, (*live_from).max(first));
                let end = self.offsets.at(&at, day.next().start_ms()).await?.min(*live_from);
                let missing = coverage.missing(*partition, begin..end.max(begin));
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
        self.projection.log.progress().whole_from(None);
        Ok(())
    }

    async fn tick(&self) {
        let projection = self.projection;
        self.upkeep.run(projection.store.as_ref(), projection.keep, &projection.metrics).await;
        if let Some(ms) = projection.log.progress().behind_ms(clock::now_ms()) {
            projection.tell_age(ms);
        }
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

/// Until it changes; for ever where nobody changes it any more.
async fn changed(count: &mut watch::Receiver<u64>) {
    if count.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn next_of(older: Option<&mut Older>) -> Result<TailEvent, KafkaError> {
    match older {
        Some(older) => older.tail.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_part_begins_behind_what_is_covered_of_today() {
        let mut coverage = Coverage::default();
        assert_eq!(live_start(&coverage, 0, 50..90), 50);
        coverage.add(0, 10..40);
        assert_eq!(live_start(&coverage, 0, 50..90), 50, "what is before it is an older day's");
        coverage.add(0, 60..80);
        assert_eq!(live_start(&coverage, 0, 50..90), 80);
        coverage.add(0, 80..200);
        assert_eq!(live_start(&coverage, 0, 50..90), 90, "the log was cut");
    }

    #[test]
    fn days_are_taken_from_the_newest_to_the_oldest() {
        let newest = Day::of(1_795_960_799_999);
        let mut days = days_between(newest.minus(2), newest);
        assert_eq!(std::iter::from_fn(|| days.pop()).collect::<Vec<_>>(), [newest, newest.minus(1), newest.minus(2)]);
        assert_eq!(days_between(newest, newest), [newest]);
    }
}
