//! What is measured once a second rather than counted: what waits, whether this worker is a spare one, and what it tells `status`.

use std::collections::BTreeMap;

use chassis::clock::{instant, now_ms};
use chassis::status::Facts;
use schemas::status::RetryHealth;

use super::{Worker, seconds};
use crate::config::SPARE_AFTER;

impl Worker {
    pub(super) fn tick(&mut self) {
        if instant().duration_since(self.started) >= SPARE_AFTER {
            // More schedulers than partitions: a spare one is ready to take over.
            self.partitions.release();
        }
        self.metrics.writer(self.writer.stats());
        let (records, bytes) = self.lines.held();
        self.metrics.held_records.set(gauge(records));
        self.metrics.held_bytes.set(gauge(bytes));
        self.metrics.partitions.set(gauge(self.lines.len()));
        self.metrics.unbudgeted.set(i64::try_from(self.promoter.unbudgeted()).unwrap_or(i64::MAX));
        let overdue_ms = self.lines.next_ready_ms().map_or(0, |ready_ms| now_ms().saturating_sub(ready_ms)).max(0);
        self.metrics.overdue.set(seconds(overdue_ms));
        let waiting = self.waiting();
        for (topic, count) in &waiting {
            self.metrics.waiting.with_label_values(&[topic.as_str()]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.waiting.clone_from(&waiting);
        self.teller.tell(Facts {
            partitions: u32::try_from(self.lines.len()).unwrap_or(u32::MAX),
            live: records as u64,
            retry: Some(RetryHealth {
                waiting,
                overdue_ms,
                over_budget: self.metrics.over_budget(),
                unbudgeted: self.promoter.unbudgeted(),
                last_commit_ms: self.last_commit_ms,
            }),
            ..Facts::default()
        });
    }

    /// What waits, by delay topic. In one that others read now nothing waits here any more.
    fn waiting(&self) -> BTreeMap<String, u64> {
        let mut waiting: BTreeMap<String, u64> = self.waiting.keys().map(|topic| (topic.clone(), 0)).collect();
        for lag in self.poller.lag() {
            if let Some(committed) = self.lines.committed_of(&lag.partition) {
                // Behind the last record of a partition that was read to its end stand markers only.
                let idle = lag.at_end && !self.lines.waits_in(&lag.partition);
                let behind = if idle { 0 } else { u64::try_from(lag.high_watermark - committed).unwrap_or(0) };
                *waiting.entry(lag.partition.topic.to_string()).or_default() += behind;
            }
        }
        waiting
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
