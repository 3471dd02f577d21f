//! What is measured once a second rather than counted: lag, sizes, whether this worker is a spare one, and what it tells `status`.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::clock::{instant, now_ms};

use super::Worker;
use crate::config::SPARE_AFTER;
use crate::report::Measured;

impl Worker {
    pub(super) fn tick(&mut self) {
        if instant().duration_since(self.started) >= SPARE_AFTER {
            // More workers than partitions: a spare one is ready to take over.
            self.partitions.release();
        }
        let ids: usize = self.held.values().map(|held| held.seen.len()).sum();
        self.metrics.ids.set(gauge(ids));
        self.metrics.partitions.set(gauge(self.held.len()));
        self.metrics.writer(self.writer.stats());
        let measured = self.poller.lag();
        let waiting_ms = measured.iter().filter_map(|lag| lag.oldest_waiting_ms).min();
        let oldest = [self.queue.oldest_ms(), self.batch.oldest_ms(), self.committing_ms, waiting_ms];
        let oldest = oldest.into_iter().flatten().min();
        let age = Duration::from_millis(oldest.map_or(0, |oldest| u64::try_from(now_ms() - oldest).unwrap_or(0)));
        self.metrics.lag_seconds.set(age.as_secs_f64());
        // A topic that others read now has no lag here any more.
        let known = std::mem::take(&mut self.lags).into_keys();
        let mut lags: BTreeMap<String, i64> = known.map(|topic| (topic, 0)).collect();
        let live = self.queue.len() + self.batch.entries().len() + self.committing;
        for lag in &measured {
            if let Some(held) = self.held.get(&lag.partition) {
                // Behind the last record of an idle partition stand markers only.
                let idle = lag.at_end && live == 0;
                let behind = if idle { 0 } else { (lag.high_watermark - held.committed).max(0) };
                *lags.entry(lag.partition.topic.to_string()).or_default() += behind;
            }
        }
        for (topic, lag) in &lags {
            self.metrics.lag_records.with_label_values(&[topic.as_str()]).set(*lag);
        }
        self.report.tell(Measured {
            partitions: self.held.len(),
            live,
            lag_records: lags.values().sum(),
            lag_ms: i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
            matched: self.metrics.matched.get(),
            position: self.catalog.position(),
        });
        self.lags = lags;
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
