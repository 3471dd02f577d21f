//! A page of what was rejected, newest first over all partitions.
//!
//! Each partition is read from its end backwards, in pieces that grow while little is found; the newest of what was read is the next
//! row, once each partition that has more has said what its newest is. Whenever it has read for long enough the page ends, and
//! where each partition stands then is where the next one begins.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use kafka::{From, KafkaError, Tail, TailEvent, TailOptions};
use schemas::record::TopicPartition;
use tokio::time::{Instant, timeout_at};

use super::{FETCH_WAIT_MS, KafkaRejections, PATIENCE, RejectedFilter, RejectedId, RejectedRow, late};
use crate::problem::Problem;

/// Records of a partition that are looked at first: they may have a megabyte each.
const FIRST: i64 = 16;
/// The most at once.
const MOST: i64 = 1_024;
/// How much larger the next piece is.
const GROWTH: i64 = 4;
/// No other piece is begun after that.
const ENOUGH: Duration = Duration::from_secs(3);

/// Some rows.
#[derive(Debug)]
pub(crate) struct RejectedPage {
    /// Newest first.
    pub(crate) rows: Vec<RejectedRow>,
    /// Where the next page begins; none: there is nothing left.
    pub(crate) next: Option<PageEnd>,
}

/// Below which offset of each partition a page begins. What is not named is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageEnd(BTreeMap<i32, i64>);

/// A partition, as far as it was read.
#[derive(Debug)]
struct PageLine {
    partition: i32,
    start: i64,
    /// Everything from here on was read.
    below: i64,
    /// What was read and is no row yet, newest first.
    rows: VecDeque<RejectedRow>,
    /// How much is read next.
    piece: i64,
}

// === impl KafkaRejections ===

impl KafkaRejections {
    pub(super) async fn page(
        &self,
        filter: &RejectedFilter,
        (end, wanted): (Option<PageEnd>, usize),
        fits: impl Fn(&RejectedRow) -> bool + Send + Sync,
    ) -> Result<Result<RejectedPage, Problem>, KafkaError> {
        let (began, deadline) = (clock::instant(), Instant::now() + PATIENCE);
        let begun = async {
            let turn = self.readers.acquire().await.map_err(|_closed| KafkaError::Closed)?;
            Ok::<_, KafkaError>((turn, self.lines(filter, end.as_ref()).await?))
        };
        let Ok(begun) = timeout_at(deadline, begun).await else { return Ok(Err(late())) };
        let (_turn, mut lines) = begun?;
        let (mut rows, mut has_read) = (Vec::new(), false);
        while rows.len() < wanted {
            if lines.iter().any(PageLine::is_to_be_read) {
                if clock::instant().duration_since(began) > ENOUGH {
                    break;
                }
                match timeout_at(deadline, self.read_on(&mut lines, filter, &fits)).await {
                    Ok(read) => read?,
                    Err(_elapsed) if has_read => break,
                    Err(_elapsed) => return Ok(Err(late())),
                }
                has_read = true;
                continue;
            }
            let newest = lines.iter_mut().filter(|line| !line.rows.is_empty());
            let newest = newest.max_by_key(|line| (line.rows[0].at_ms, Reverse(line.partition)));
            let Some(row) = newest.and_then(|line| line.rows.pop_front()) else { break };
            rows.push(row);
        }
        let left: BTreeMap<i32, i64> = lines.iter().filter_map(|line| Some((line.partition, line.left()?))).collect();
        let next = (!left.is_empty()).then_some(PageEnd(left));
        Ok(Ok(RejectedPage { rows, next }))
    }

    /// What of each partition is looked at, as offsets.
    async fn lines(&self, filter: &RejectedFilter, end: Option<&PageEnd>) -> Result<Vec<PageLine>, KafkaError> {
        let all = (0..self.count().await?).filter(|partition| end.is_none_or(|end| end.0.contains_key(partition)));
        let all: Vec<TopicPartition> = all.map(|at| TopicPartition::new(Arc::clone(&self.topic), at)).collect();
        let starts = match filter.from_ms {
            Some(from_ms) => self.offsets.at_of(all.clone(), from_ms).await,
            None => self.offsets.starts_of(all.clone()).await,
        };
        let mut ends = match filter.to_ms {
            Some(to_ms) => self.offsets.at_of(all, to_ms.saturating_add(1)).await,
            None => self.offsets.ends_of(all).await,
        };
        let mut lines = Vec::with_capacity(starts.len());
        for (at, start) in starts {
            let below = ends.remove(&at).ok_or(KafkaError::Closed)??;
            let known = end.and_then(|end| end.0.get(&at.partition)).copied().unwrap_or(below);
            let (partition, start) = (at.partition, start?);
            lines.push(PageLine { partition, start, below: below.min(known), rows: VecDeque::new(), piece: FIRST });
        }
        Ok(lines)
    }

    /// Reads a piece more of each partition of which it is not known what comes next.
    async fn read_on(
        &self,
        lines: &mut [PageLine],
        filter: &RejectedFilter,
        fits: &(impl Fn(&RejectedRow) -> bool + Sync),
    ) -> Result<(), KafkaError> {
        let begin = |line: &PageLine| line.below.saturating_sub(line.piece).max(line.start);
        let pieces = lines.iter().filter(|line| line.is_to_be_read());
        let pieces: BTreeMap<i32, (i64, i64)> =
            pieces.map(|line| (line.partition, (begin(line), line.below))).collect();
        let options = TailOptions {
            topic: self.topic.to_string(),
            partitions: Some(pieces.keys().copied().collect()),
            from: From::Offsets(pieces.iter().map(|(partition, (from, _))| (*partition, *from)).collect()),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let mut tail = Tail::start(&self.connection, options)?;
        let mut found: BTreeMap<i32, VecDeque<RejectedRow>> = BTreeMap::new();
        let mut open: BTreeMap<i32, i64> = pieces.iter().map(|(partition, (_, below))| (*partition, *below)).collect();
        while !open.is_empty() {
            let (partition, position) = match tail.next().await? {
                TailEvent::Record { partition, record } => {
                    if open.get(&partition).is_some_and(|below| record.offset < *below)
                        && let Some(row) = RejectedRow::of(partition, &record)
                        && filter.fits(row.at_ms, &row.said)
                        && fits(&row)
                    {
                        found.entry(partition).or_default().push_front(row);
                    }
                    (partition, record.offset + 1)
                }
                TailEvent::Eof { partition, position } => (partition, position),
            };
            if open.get(&partition).is_some_and(|below| position >= *below) {
                open.remove(&partition);
            }
        }
        for line in lines {
            if let Some((from, _)) = pieces.get(&line.partition) {
                line.below = *from;
                line.piece = line.piece.saturating_mul(GROWTH).min(MOST);
                line.rows = found.remove(&line.partition).unwrap_or_default();
            }
        }
        Ok(())
    }
}

// === impl PageLine ===

impl PageLine {
    /// Whether it is not known what its newest is.
    fn is_to_be_read(&self) -> bool {
        self.rows.is_empty() && self.below > self.start
    }

    /// Below which offset it goes on, if there is anything.
    fn left(&self) -> Option<i64> {
        match self.rows.front() {
            Some(row) => Some(row.place.offset + 1),
            None => (self.below > self.start).then_some(self.below),
        }
    }
}

// === impl PageEnd ===

impl fmt::Display for PageEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, below)) in self.0.iter().enumerate() {
            write!(f, "{}{partition}-{below}", if index > 0 { "." } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for PageEnd {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let ends = text.split('.').map(|part| part.parse::<RejectedId>());
        let ends: Result<BTreeMap<i32, i64>, ()> = ends.map(|end| end.map(|end| (end.partition, end.offset))).collect();
        ends.map(Self)
    }
}

/// The same over records of one partition in memory.
#[cfg(test)]
pub(super) fn of_memory(
    all: &[schemas::record::Record],
    filter: &RejectedFilter,
    (end, wanted): (Option<PageEnd>, usize),
    fits: impl Fn(&RejectedRow) -> bool,
) -> RejectedPage {
    let below = end.map_or(i64::MAX, |end| end.0.get(&0).copied().unwrap_or(0));
    let rows = all.iter().rev().filter_map(|record| RejectedRow::of(0, record));
    let mut rows: Vec<RejectedRow> = rows
        .filter(|row| row.place.offset < below && filter.fits(row.at_ms, &row.said) && fits(row))
        .take(wanted + 1)
        .collect();
    let next = (rows.len() > wanted).then(|| PageEnd([(0, rows[wanted].place.offset + 1)].into()));
    rows.truncate(wanted);
    RejectedPage { rows, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_page_ends_is_read_as_it_is_shown() {
        let end = PageEnd([(0, 120), (7, 4)].into());
        assert_eq!((end.to_string().as_str(), "0-120.7-4".parse()), ("0-120.7-4", Ok(end)));
        for bad in ["", ".", "0-120.", "x", "0-1;2-3"] {
            assert_eq!(bad.parse::<PageEnd>(), Err(()), "{bad}");
        }
    }
}
