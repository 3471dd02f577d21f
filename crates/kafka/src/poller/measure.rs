//! What a poller tells about itself without a request to the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rdkafka::consumer::Consumer;
use schemas::record::TopicPartition;

use super::Poller;
use crate::clock::boot_ms;
use crate::ffi;
use crate::lease::Lease;
use crate::takeover::longest_open_ms;

/// How far one lease is behind.
#[derive(Clone, Debug)]
pub struct LeaseLag {
    /// The lease.
    pub lease: Lease,
    /// Its partition.
    pub partition: TopicPartition,
    /// Offset of the first record that the role has not read. Transaction markers, aborted records and holes at the end of
    /// the log are passed once the end is known.
    pub position: i64,
    /// End of the log as of the last fetch, records of open transactions included; negative if not known yet.
    pub high_watermark: i64,
    /// Since when `position` has stood before a transaction that is open for longer than any lives, on the clock that counts
    /// suspension, ms: what follows cannot be read. As long as it may still end, none.
    pub held_since_ms: Option<i64>,
    /// The role has read everything below `position`, the partition ended there, and it is watched for more. So an idle
    /// role may commit `position`.
    pub at_end: bool,
    /// Timestamp of the oldest record that waits in the poller, Unix ms.
    pub oldest_waiting_ms: Option<i64>,
}

/// Where the poller stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group has told what is ours, even if that is nothing. False before the first assignment, and after the
    /// membership was lost.
    pub joined: bool,
    /// How many partitions are ours.
    pub partitions: usize,
}

/// When the poll thread was last seen. Lock free.
#[derive(Clone, Debug)]
pub struct Heartbeat(pub(super) Arc<AtomicI64>);

// === impl LeaseLag ===

impl LeaseLag {
    /// Records that the role has not read: 0 at the end, otherwise at most so many, because markers count. What an open transaction
    /// holds counts from when it is held for longer than any lives.
    #[must_use]
    pub fn records_behind(&self) -> i64 {
        if self.at_end && self.held_since_ms.is_none() { 0 } else { (self.high_watermark - self.position).max(0) }
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    /// Milliseconds since the poll thread was last seen, on the clock that counts suspension.
    #[must_use]
    pub fn age_ms(&self) -> i64 {
        boot_ms() - self.0.load(Ordering::Relaxed)
    }
}

// === impl Poller ===

impl Poller {
    /// How far every begun lease is behind; no request is made. How long a lease has been held is known from call to call.
    #[must_use]
    pub fn lag(&self) -> Vec<LeaseLag> {
        let Ok(consumer) = self.consumer() else { return Vec::new() };
        let client = consumer.client().native_client();
        let (now_ms, longest_ms) = (boot_ms(), longest_open_ms(self.0.options.transaction_timeout));
        let positions = self.0.state.lock().positions();
        let lags = positions.into_iter().map(|found| {
            let partition = found.lease.partition.clone();
            let marks = ffi::cached_watermarks(client, &partition.topic, partition.partition);
            let high_watermark = marks.map_or(-1, |(_, high)| high);
            let since_ms = self.0.state.lock().stands_before_open(&found.lease, high_watermark, now_ms);
            LeaseLag {
                lease: found.lease,
                partition,
                position: found.position,
                high_watermark,
                held_since_ms: since_ms.filter(|since_ms| now_ms - since_ms >= longest_ms),
                at_end: found.at_end,
                oldest_waiting_ms: found.oldest_waiting_ms,
            }
        });
        lags.collect()
    }

    /// Where the poller stands in its group. A role that was given nothing is ready as soon as it has joined.
    #[must_use]
    pub fn membership(&self) -> Membership {
        let (joined, partitions) = self.0.state.lock().membership();
        Membership { joined, partitions }
    }

    /// Topics that the cluster does not let the role read at the moment, sorted. They are tried again by themselves.
    #[must_use]
    pub fn denied_topics(&self) -> Vec<Arc<str>> {
        self.0.state.lock().denied()
    }

    /// When the poll thread was last seen.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat(Arc::clone(&self.0.beat))
    }
}
