//! What a poller knows about one lease. Pure.

use std::collections::VecDeque;

use schemas::record::Record;
use uuid::Uuid;

use super::limits::Allowance;
use crate::lease::{Epoch, Lease};

/// Under which ownership, and after how many repositionings of it, something was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::poller) struct Stamp {
    epoch: Epoch,
    positioned: u64,
}

/// A begun lease as the watch sees it.
#[derive(Clone, Debug)]
pub(in crate::poller) struct Begun {
    pub(in crate::poller) lease: Lease,
    pub(in crate::poller) topic_id: Uuid,
    /// Offset of the next record that is accepted.
    pub(in crate::poller) next: i64,
}

/// One lease.
#[derive(Debug)]
pub(super) struct LeaseState {
    pub(super) epoch: Epoch,
    /// Offset of the next record that is accepted; `None` before the lease has begun.
    pub(super) next: Option<i64>,
    /// The end of the partition, as of the last fetch that found nothing more.
    pub(super) end: Option<i64>,
    /// The log's own end when it was last looked at, see [`LeaseState::is_quiet`].
    log_end: Option<i64>,
    /// The end it has stood at while the log went on behind it, and since when, ms.
    before_open: Option<(i64, i64)>,
    /// How often `next` was set to something else than what follows the last record.
    pub(super) positioned: u64,
    /// In which round of the poll thread that was last.
    pub(super) positioned_in: u64,
    pub(super) topic_id: Uuid,
    /// Handed out as far as credit is concerned, and not read by the role yet.
    pub(super) ready: Vec<Record>,
    /// Read beyond the credit.
    pub(super) buffered: VecDeque<Record>,
    pub(super) buffered_bytes: usize,
    pub(super) out_records: usize,
    pub(super) out_bytes: usize,
    /// The role paused it.
    pub(super) paused: bool,
    /// So much is buffered that librdkafka should not fetch it.
    pub(super) throttled: bool,
    /// It is being revoked: nothing more is handed out.
    pub(super) revoking: bool,
    /// librdkafka fetches it.
    pub(super) flowing: bool,
}

// === impl LeaseState ===

impl LeaseState {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            next: None,
            end: None,
            log_end: None,
            before_open: None,
            positioned: 0,
            positioned_in: 0,
            topic_id: Uuid::nil(),
            ready: Vec::new(),
            buffered: VecDeque::new(),
            buffered_bytes: 0,
            out_records: 0,
            out_bytes: 0,
            paused: false,
            throttled: false,
            revoking: false,
            flowing: false,
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { epoch: self.epoch, positioned: self.positioned }
    }

    /// Bytes it has in memory: handed out and buffered.
    pub(super) fn used(&self) -> usize {
        self.out_bytes.saturating_add(self.buffered_bytes)
    }

    /// Whether it takes part in the budget.
    pub(super) fn is_working(&self) -> bool {
        self.out_records > 0 || !self.buffered.is_empty()
    }

    /// Reading goes on at this offset, by a seek in this round of the poll thread.
    pub(super) fn position_at(&mut self, offset: i64, round: u64) {
        self.next = Some(offset);
        self.end = None;
        self.positioned_in = round;
        self.positioned += 1;
    }

    /// Buffers what was read. What lies below `next` was read before a seek; what lies above is what the broker has next.
    pub(super) fn buffer(&mut self, records: Vec<Record>) {
        let Some(mut next) = self.next else { return };
        for record in records {
            if record.offset >= next {
                next = record.offset + 1;
                self.buffered_bytes += record.size();
                self.buffered.push_back(record);
            }
        }
        self.next = Some(next);
    }

    /// The end was reached at this offset; one that lies below `next` was queued before a seek. False: it was told in the
    /// round in which reading was positioned, so it may be the end of something older and skip what was not read.
    pub(super) fn reach_end(&mut self, offset: i64, round: u64) -> bool {
        let Some(next) = self.next.filter(|next| *next <= offset && !self.revoking) else { return true };
        if self.positioned_in == round && next < offset {
            return false;
        }
        self.next = Some(offset);
        self.end = Some(offset);
        true
    }

    /// Offset of the first record that the role has not read, transaction markers at the end passed.
    pub(super) fn position(&self) -> Option<i64> {
        let waits = self.ready.first().or_else(|| self.buffered.front());
        waits.map(|record| record.offset).or(self.next)
    }

    /// When it was last looked, the partition ended where reading goes on.
    pub(super) fn end_is_next(&self) -> bool {
        self.end.is_some() && self.end == self.next
    }

    /// Everything up to the position was read by the role, the partition ended there, and it is watched for more.
    pub(super) fn is_at_end(&self) -> bool {
        self.end_is_next() && self.flowing && self.ready.is_empty() && self.buffered.is_empty()
    }

    /// The log's own end, records of open transactions included, as the last fetch told.
    pub(super) fn look_at_end(&mut self, log_end: i64) {
        self.log_end = Some(log_end);
    }

    /// Nothing of it stands in librdkafka's queue, and nothing will before more is written.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_at_end() && self.log_end.is_some_and(|log_end| Some(log_end) <= self.end)
    }

    /// It has more than it may hand out, and more of it may stand in librdkafka's queue.
    pub(super) fn is_full(&self) -> bool {
        self.flowing && !self.paused && !self.buffered.is_empty()
    }

    /// Since when it has stood at an end that is not the log's: there a transaction is open. A reader of what is committed has passed
    /// the markers of those that are over, so it stands behind them where there is none.
    pub(super) fn stands_before_open(&mut self, high_watermark: i64, now_ms: i64) -> Option<i64> {
        let stands_at = self.end.filter(|end| self.is_at_end() && high_watermark > *end);
        self.before_open = stands_at.map(|end| match self.before_open {
            Some((known, since_ms)) if known == end => (known, since_ms),
            Some(_) | None => (end, now_ms),
        });
        self.before_open.map(|(_, since_ms)| since_ms)
    }

    /// Timestamp of the oldest record that waits here.
    pub(super) fn oldest_waiting_ms(&self) -> Option<i64> {
        self.ready.first().or_else(|| self.buffered.front()).map(|record| record.timestamp_ms)
    }

    pub(super) fn is_hungry(&self, allowance: &Allowance, stopped: bool) -> bool {
        let is_open = self.next.is_some() && !stopped && !self.paused && !self.revoking;
        is_open && self.buffered.is_empty() && allowance.has_credit(self.out_records, self.out_bytes)
    }

    pub(super) fn should_flow(&self, stopped: bool) -> bool {
        self.next.is_some() && !self.paused && !self.throttled && !self.revoking && !stopped
    }

    /// Moves what credit allows from buffered to ready: whether there was something, and whether nothing was ready before.
    pub(super) fn hand_out(&mut self, allowance: &Allowance, stopped: bool) -> (bool, bool) {
        let before = self.ready.len();
        if stopped || self.paused || self.revoking {
            return (false, before == 0);
        }
        while allowance.has_credit(self.out_records, self.out_bytes) {
            let Some(record) = self.buffered.pop_front() else { break };
            let size = record.size();
            self.buffered_bytes -= size;
            self.out_records += 1;
            self.out_bytes = self.out_bytes.saturating_add(size);
            self.ready.push(record);
        }
        (self.ready.len() > before, before == 0)
    }

    /// Decides anew whether it should be fetched. True: the spent budget alone is against it, in
    /// which only leases without anything are fetched, one record each.
    pub(super) fn throttle(&mut self, allowance: &Allowance) -> bool {
        self.throttled = allowance.throttles(self.buffered.len(), self.buffered_bytes, self.throttled);
        let is_spent = !self.throttled && allowance.is_spent && self.is_working();
        self.throttled |= is_spent;
        is_spent
    }

    /// It goes: what was read and not taken by the role is dropped.
    pub(super) fn start_revoke(&mut self) {
        self.revoking = true;
        self.ready = Vec::new();
        self.buffered = VecDeque::new();
        self.buffered_bytes = 0;
    }
}
