//! `hookbus retries`: what waits in each delay topic, and when the next of it moves. Reads Kafka alone, so it tells the same
//! whether or not a scheduler runs.
//!
//! ```text
//! offsets of the scheduler's group, with what is done above them --> how many wait, and where the first of them stands
//! the record that stands there, one per partition ----------------> when it moves: at its tier's end, or when it is due
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result};
use chassis::clock;
use chassis::config::Config;
use kafka::group::{self, GroupState, PartitionState};
use kafka::{Connection, From, KafkaError, Tail, TailEvent, TailOptions};
use retry::Tier;
use schemas::header;
use schemas::record::Record;
use serde::Serialize;

use super::offsets::topics_of;
use crate::cli::manage::Output;
use crate::cli::offsets::GroupRole;
use crate::cli::operate::RetriesArgs;
use crate::screen;

/// Records that are read at most to find the first one that waits in each partition of a topic.
const MOST_READ: usize = 2_000;
/// How long that may take per topic.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// One delay topic, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TierRow {
    tier: String,
    topic: String,
    /// How long a record stays at most; none: the topic's name does not say.
    delay_ms: Option<i64>,
    /// Records that wait.
    waiting: i64,
    /// `waiting` may be too high, by markers of transactions: there are too many to count.
    is_at_most: bool,
    /// When the first of them moves on, Unix ms; in the past: it is overdue. None: nothing waits, or it could not be read.
    next_ms: Option<i64>,
    /// Partitions of which no offset is committed: the scheduler does not begin there.
    stopped: usize,
}

/// Prints them, the shortest wait first.
///
/// # Errors
/// Kafka cannot be reached or refuses.
pub(crate) async fn run(connection: &Connection, config: &Config, args: &RetriesArgs) -> Result<()> {
    let role = GroupRole::Retry;
    let (group, topics) = (role.group(config), topics_of(role, connection, config).await?);
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let GroupState { partitions: states, untold } = group::state(connection, &group, &names).await?;
    for untold in untold {
        tracing::warn!("not counted: {}", untold.error);
    }
    let mut by_topic: BTreeMap<&str, Vec<&PartitionState>> = BTreeMap::new();
    for state in &states {
        by_topic.entry(&state.lag.partition.topic).or_default().push(state);
    }
    let prefix = config.topics.topics().retry_prefix;
    let mut rows = Vec::new();
    for (topic, states) in by_topic {
        let row = TierRow::new(topic, &prefix, &states);
        let heads = heads(connection, topic, &states).await.with_context(|| format!("cannot read {topic}"))?;
        let next_ms = heads.iter().map(|record| leaves_ms(record, row.delay_ms)).min();
        rows.push(TierRow { next_ms, ..row });
    }
    rows.sort_by(|one, other| (one.delay_ms, &one.topic).cmp(&(other.delay_ms, &other.topic)));
    if args.output == Output::Json {
        return Ok(screen::line(&serde_json::to_string_pretty(&rows)?)?);
    }
    table(&rows)?;
    if group::members(connection, &group).await?.is_empty() {
        screen::line(&format!("! NO RETRY SCHEDULER RUNS (group {group} has no members): nothing moves"))?;
    }
    Ok(())
}

/// The first record that waits in each partition of a topic, as far as it can be read within the limits.
async fn heads(connection: &Connection, topic: &str, states: &[&PartitionState]) -> Result<Vec<Record>, KafkaError> {
    let mut wanted: HashMap<i32, &PartitionState> = states
        .iter()
        .filter(|state| waiting(state).0 > 0)
        .map(|state| (state.lag.partition.partition, *state))
        .collect();
    let mut heads = Vec::new();
    if wanted.is_empty() {
        return Ok(heads);
    }
    let starts = wanted.iter().map(|(partition, state)| (*partition, state.lag.begin()));
    let options = TailOptions {
        topic: topic.to_owned(),
        partitions: Some(wanted.keys().copied().collect()),
        from: From::Offsets(starts.collect()),
        committed: true,
        eof: true,
        fetch_wait_ms: 20,
    };
    let mut tail = Tail::start(connection, options)?;
    let read = async {
        for _ in 0..MOST_READ {
            match tail.next().await? {
                TailEvent::Record { partition, record } => {
                    let waits = |state: &&PartitionState| state.done_in(record.offset..record.offset + 1) == 0;
                    if wanted.get(&partition).is_some_and(waits) {
                        wanted.remove(&partition);
                        heads.push(record);
                    }
                }
                // What is behind the end is of an open transaction, or a marker.
                TailEvent::Eof { partition, .. } => drop(wanted.remove(&partition)),
            }
            if wanted.is_empty() {
                break;
            }
        }
        Ok(())
    };
    if let Ok(outcome) = tokio::time::timeout(READ_WITHIN, read).await {
        outcome?;
    } else {
        tracing::warn!(topic, "not all partitions were read in time: the next move may be an earlier one");
    }
    Ok(heads)
}

/// Records of a partition that wait, and whether they may be fewer.
fn waiting(state: &PartitionState) -> (i64, bool) {
    let PartitionState { lag, .. } = state;
    let open = (lag.offsets() - state.done_in(lag.begin()..lag.log_end)).max(0);
    match lag.records {
        Some(records) => (records.min(open), false),
        None => (open, open > 0),
    }
}

/// When a record leaves its tier: at its end, or when it is due if that is before. What is no delivery leaves at once.
fn leaves_ms(record: &Record, delay_ms: Option<i64>) -> i64 {
    let written_ms = record.timestamp_ms;
    let due_ms: Option<i64> = record.headers.text(header::DUE).and_then(|text| text.parse().ok());
    let end_ms = delay_ms.map_or(i64::MAX, |delay_ms| written_ms.saturating_add(delay_ms));
    due_ms.map_or(written_ms, |due_ms| due_ms.max(written_ms).min(end_ms))
}

fn table(rows: &[TierRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(screen::line("there is no delay topic; `hookbus topics ensure` creates them")?);
    }
    let (title, now_ms) = (["TIER", "WAITING", "NEXT MOVES", ""].map(str::to_owned), clock::now_ms());
    let rows: Vec<[String; 4]> = std::iter::once(title).chain(rows.iter().map(|row| row.cells(now_ms))).collect();
    screen::columns(&rows)
}

// === impl TierRow ===

impl TierRow {
    fn new(topic: &str, prefix: &str, states: &[&PartitionState]) -> Self {
        let tier = topic.strip_prefix(prefix).unwrap_or(topic);
        let delay = Tier::parse(tier).ok().map(|tier| tier.delay());
        let counts: Vec<(i64, bool)> = states.iter().map(|state| waiting(state)).collect();
        Self {
            tier: tier.to_owned(),
            topic: topic.to_owned(),
            delay_ms: delay.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)),
            waiting: counts.iter().map(|(count, _)| count).sum(),
            is_at_most: counts.iter().any(|(_, is_at_most)| *is_at_most),
            next_ms: None,
            stopped: states.iter().filter(|state| state.standing.stops()).count(),
        }
    }

    fn cells(&self, now_ms: i64) -> [String; 4] {
        let waiting = format!("{}{}", if self.is_at_most { "at most " } else { "" }, self.waiting);
        let next = match self.next_ms {
            Some(at_ms) if at_ms > now_ms => format!("{}, in {}", screen::time(at_ms), seconds(at_ms - now_ms)),
            Some(at_ms) => format!("{}, overdue by {}", screen::time(at_ms), seconds(now_ms - at_ms)),
            None if self.waiting > 0 => "unknown".to_owned(),
            None => "-".to_owned(),
        };
        let stopped = match self.stopped {
            0 => String::new(),
            count => format!("THE SCHEDULER STOPS at {count} of its partitions: hookbus offsets show retry"),
        };
        [self.tier.clone(), waiting, next, stopped]
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use kafka::group::Standing;
    use kafka::lag::PartitionLag;
    use schemas::record::{Headers, TopicPartition};

    use super::*;

    fn state(committed: Option<i64>, log_end: i64, records: Option<i64>) -> PartitionState {
        let partition = TopicPartition::new("h.retry.10m", 0);
        let lag = PartitionLag { partition, committed, metadata: String::new(), log_start: 0, log_end, records };
        let standing = if committed.is_none() { Standing::Missing } else { Standing::Committed };
        PartitionState { lag, standing }
    }

    fn record(timestamp_ms: i64, due: Option<&str>) -> Record {
        let headers: Headers = due.map(|due| (header::DUE, due)).into_iter().collect();
        Record { offset: 7, timestamp_ms, key: None, value: Some(bytes::Bytes::new()), headers }
    }

    #[test]
    fn what_is_counted_is_exact_and_what_is_not_says_so() {
        assert_eq!(waiting(&state(Some(3), 3, Some(0))), (0, false));
        assert_eq!(waiting(&state(Some(3), 9, Some(4))), (4, false), "two are markers");
        assert_eq!(waiting(&state(Some(3), 9_003, None)), (9_000, true));
        let states = [state(Some(3), 9, Some(4)), state(None, 9, Some(8))];
        let row = TierRow::new("h.retry.10m", "h.retry.", &[&states[0], &states[1]]);
        assert_eq!((row.tier.as_str(), row.delay_ms, row.waiting, row.stopped), ("10m", Some(600_000), 12, 1));
        assert!(
            row.cells(0)[2..]
                == [
                    "unknown".to_owned(),
                    "THE SCHEDULER STOPS at 1 of its partitions: hookbus offsets show retry".to_owned()
                ]
        );
    }

    #[test]
    fn a_record_leaves_at_its_tiers_end_or_when_it_is_due() {
        assert_eq!(leaves_ms(&record(1_000, Some("4000")), Some(5_000)), 4_000);
        assert_eq!(leaves_ms(&record(1_000, Some("90000")), Some(5_000)), 6_000, "another tier follows");
        assert_eq!(leaves_ms(&record(1_000, Some("500")), Some(5_000)), 1_000, "overdue when it was written");
        assert_eq!(leaves_ms(&record(1_000, None), Some(5_000)), 1_000);
        assert_eq!(leaves_ms(&record(1_000, Some("90000")), None), 90_000, "a tier without a delay");
    }

    #[test]
    fn a_row_says_when_and_since_when() {
        let row = TierRow::new("h.retry.10m", "h.retry.", &[&state(Some(3), 9, Some(4))]);
        let at = |next_ms, now_ms| TierRow { next_ms, ..row.clone() }.cells(now_ms)[2].clone();
        assert_eq!(at(Some(9_500), 1_000), "1970-01-01T00:00:09.500Z, in 8.5 s");
        assert_eq!(at(Some(9_500), 9_700), "1970-01-01T00:00:09.500Z, overdue by 0.2 s");
        let empty = TierRow::new("h.retry.10m", "h.retry.", &[&state(Some(3), 3, Some(0))]);
        assert_eq!(empty.cells(0)[1..], ["0".to_owned(), "-".to_owned(), String::new()]);
    }
}
