//! What is measured once a second rather than counted: how far each partition is, and which idle ones may pass markers.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use kafka::{Epoch, Lease, LeaseLag};

use crate::outbox::{Outbox, Reached};
use crate::waits::HeldBy;
use crate::work::Waiting;

/// A partition whose records are all done is committed at its end after this long, so that its committed offset does not
/// stay below markers of transactions for ever: nobody could tell them from records.
pub(crate) const PASS_MARKERS_AFTER: Duration = Duration::from_secs(5);

/// How far a stage is.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Partitions that are open.
    pub partitions: usize,
    /// Records read and not committed.
    pub live: usize,
    /// Records that were not committed yet, by topic; markers of transactions count only until the end of a log was reached, or
    /// behind a transaction that never ends. A topic that was read once stays, with 0.
    pub behind: BTreeMap<String, i64>,
    /// Kafka's time of the oldest record that waits in the poller or for its transaction, Unix ms.
    pub oldest_timestamp_ms: Option<i64>,
    /// When a transaction was committed last, Unix ms.
    pub last_commit_ms: Option<i64>,
    /// The same lease by lease, of roles that tell of each.
    pub leases: Vec<MeasuredLease>,
}

/// How far one open lease is.
#[derive(Clone, Debug)]
pub struct MeasuredLease {
    /// The lease.
    pub lease: Lease,
    /// The committed offset.
    pub committed: i64,
    /// The end of the log as it was seen last, records of open transactions included.
    pub end: Option<i64>,
    /// Kafka's time of the oldest record that waits in the poller, Unix ms.
    pub oldest_waiting_ms: Option<i64>,
}

/// What has to be remembered between two measurements.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    behind: BTreeMap<String, i64>,
    /// Idle leases that stand below the end of their log: its position, and since when.
    below_end: HashMap<Epoch, (i64, Instant)>,
}

// === impl Progress ===

impl Progress {
    /// Measures what the poller and the outbox say. `committing`: records of the batch under way.
    pub(crate) fn measure<N>(&mut self, lags: &[LeaseLag], outbox: &Outbox<N>, committing: usize) -> Measured {
        for behind in self.behind.values_mut() {
            *behind = 0;
        }
        let lag_of: HashMap<Epoch, &LeaseLag> = lags.iter().map(|lag| (lag.lease.epoch, lag)).collect();
        for reached in outbox.reached() {
            let unread = lag_of.get(&reached.lease.epoch).map_or(0, |lag| lag.records_behind());
            let live = i64::try_from(reached.live).unwrap_or(i64::MAX);
            let topic = reached.lease.partition.topic.to_string();
            let behind = self.behind.entry(topic).or_default();
            *behind = behind.saturating_add(unread).saturating_add(live);
        }
        let live = outbox.live() + committing;
        let waiting_ms = lags.iter().filter_map(|lag| lag.oldest_waiting_ms).min();
        Measured {
            partitions: outbox.leases(),
            live,
            behind: self.behind.clone(),
            oldest_timestamp_ms: [waiting_ms, outbox.oldest_timestamp_ms()].into_iter().flatten().min(),
            last_commit_ms: None,
            leases: Vec::new(),
        }
    }

    /// How far each open lease is.
    pub(crate) fn leases<N>(lags: &[LeaseLag], outbox: &Outbox<N>) -> Vec<MeasuredLease> {
        let lag_of: HashMap<Epoch, &LeaseLag> = lags.iter().map(|lag| (lag.lease.epoch, lag)).collect();
        let measured = |reached: Reached<'_>| {
            let lag = lag_of.get(&reached.lease.epoch);
            MeasuredLease {
                lease: reached.lease.clone(),
                committed: reached.committed,
                end: lag.map(|lag| lag.high_watermark).filter(|end| *end >= 0),
                oldest_waiting_ms: lag.and_then(|lag| lag.oldest_waiting_ms),
            }
        };
        outbox.reached().map(measured).collect()
    }

    /// Lets leases that have been idle below the end of their log for `at_least` pass it.
    pub(crate) fn pass_markers<N>(
        &mut self,
        lags: &[LeaseLag],
        outbox: &mut Outbox<N>,
        now: Instant,
        at_least: Duration,
    ) {
        let ends: HashMap<Epoch, i64> =
            lags.iter().filter(|lag| lag.at_end).map(|lag| (lag.lease.epoch, lag.position)).collect();
        let mut below_end = HashMap::new();
        let mut passing = Vec::new();
        for reached in outbox.reached().filter(|reached| reached.is_idle) {
            let epoch = reached.lease.epoch;
            let Some(&end) = ends.get(&epoch).filter(|end| **end > reached.committed) else { continue };
            let known = self.below_end.get(&epoch).filter(|(position, _)| *position == end);
            let since = known.map_or(now, |(_, since)| *since);
            if now.saturating_duration_since(since) >= at_least {
                passing.push((epoch, end));
            } else {
                below_end.insert(epoch, (end, since));
            }
        }
        self.below_end = below_end;
        for (epoch, end) in passing {
            outbox.pass_markers(epoch, end);
        }
    }
}

/// What a transaction that never ends has kept from being read for the longest time.
pub(crate) fn held(lags: &[LeaseLag]) -> Option<Waiting> {
    let held = lags.iter().filter_map(|lag| {
        let (partition, offset, since_boot_ms) = (lag.partition.clone(), lag.position, lag.held_since_ms?);
        Some(Waiting { reason: HeldBy::OpenTransaction.reason(), partition, offset, since_boot_ms })
    });
    held.min_by_key(|held| held.since_boot_ms)
}
