//! What leaves the window and waits as an offset, and how it comes back when its turn is near.
//!
//! ```text
//! waiting or in flight --list--> an entry of its lane's list; its payload stays in memory where that is allowed
//! entry --feed: its turn is near--> ReadBackDemand --> read back --> screened and placed like a delivery that came
//!                                     ^           | not there, or another's: lost, counted, its entry leaves
//!                                     +-- a while --+ Kafka cannot be asked
//! ```
//!
//! Payloads of listed deliveries have a room of their own ([`super::Rules::queue_bytes`]), a quarter of it for one lane at most. A
//! lane that is closed keeps none: it may stand for days.

use hashbrown::HashSet;
use kafka::Epoch;
use schemas::delivery::{Hop, Wait};
use schemas::ids::SubscriptionId;
use schemas::lanes::{ListRole, SupersededRetry};
use schemas::ordering::OrderingKey;

use super::aged::age_of;
use super::read_backs::{NearTurn, ReadBackDemand};
use super::{Arrival, Engine, Live, Lookup, State};
use crate::flaws::{self, Flaw};
use crate::lanes::condition::LaneCondition;
use crate::lanes::queue::Rank;
use crate::lanes::{Lane, OffsetLine};
use crate::lists::List;
use crate::slots::Ticket;

/// What one lane may have near its turn at most.
const NEAR: usize = 512;
/// What is set aside is read so many at a time, beside everything else.
const ASIDE: usize = 128;
/// Read back at once, over all lanes.
const ASKED: usize = 8_192;

/// A change of the lists, to be committed with the progress of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneChange {
    /// A record of the window is an entry of a list from now on.
    Listed(ListedRecord),
    /// What waits in a lane's lists is to be swept.
    SetAside {
        /// The lease.
        lease: Epoch,
        /// Whose.
        subscription: SubscriptionId,
        /// The version that it was looked at by; `None`: it is gone.
        reviewed_of: Option<i64>,
    },
    /// This is to be known of a lane beside its lists.
    Condition {
        /// The lease.
        lease: Epoch,
        /// Whose.
        subscription: SubscriptionId,
        /// Where it differs from a new lane's.
        condition: LaneCondition,
    },
    /// Nothing of this ordering key is on its way back any more that the others would have to wait for.
    Freed {
        /// The lease.
        lease: Epoch,
        /// Whose.
        subscription: SubscriptionId,
        /// Which key.
        key: OrderingKey,
    },
    /// A retry in whose place another one went has not come in all the time that it may take.
    Overdue {
        /// The lease.
        lease: Epoch,
        /// Whose.
        subscription: SubscriptionId,
        /// Which.
        retry: SupersededRetry,
    },
    /// An entry that cannot be read back.
    Lost {
        /// The lease.
        lease: Epoch,
        /// Whose.
        subscription: SubscriptionId,
        /// Where its record was.
        offset: i64,
    },
}

/// A record that leaves the window for a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedRecord {
    /// Its lease.
    pub(crate) lease: Epoch,
    /// Whose.
    pub(crate) subscription: SubscriptionId,
    /// Retry or first try.
    pub(crate) role: ListRole,
    /// Its offset.
    pub(crate) offset: i64,
    /// Its Kafka timestamp.
    pub(crate) timestamp_ms: i64,
    /// When it dies of age.
    pub(crate) deadline_ms: i64,
    /// Its size.
    pub(crate) size: usize,
    /// Version of its subscription when what waits in its lane was last looked at, if that is known.
    pub(crate) reviewed_of: Option<i64>,
    /// The ordering key that waits for it, if one does.
    pub(crate) awaited_by: Option<OrderingKey>,
}

/// Which list a delivery belongs to. What an older version parked is older than what comes, as retries are.
pub(super) fn role(hop: &Hop) -> ListRole {
    let is_first = hop.attempt <= 1 && matches!(hop.wait, Wait::None);
    if is_first { ListRole::FirstTries } else { ListRole::Retries }
}

impl<L: Lookup> Engine<L> {
    /// A lane's lists, as its partition's new owner found them, and the version of its subscription by which they were last looked at:
    /// what was cancelled since is set aside.
    pub(crate) fn restore(
        &mut self,
        lease: Epoch,
        id: SubscriptionId,
        (lists, reviewed_of): (&[List], Option<i64>),
        now_ms: i64,
    ) {
        let lane = self.lane(id, lease, now_ms);
        lane.lease = lease;
        lane.is_orphan = false;
        lane.reviewed_of = reviewed_of;
        for list in lists {
            lane.queue.push_line(list.role(), OffsetLine::of(list));
        }
        self.queues.insert(id);
        self.review_lane(id, now_ms);
    }

    /// What has to be read back, since the last call.
    pub(crate) fn take_demands(&mut self) -> Vec<ReadBackDemand> {
        std::mem::take(&mut self.read_backs.demands)
    }

    /// Changes of lists, since the last call, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<LaneChange> {
        std::mem::take(&mut self.changes)
    }

    /// Whether this record was asked for.
    pub(crate) fn asked(&self, lease: Epoch, offset: i64) -> Option<SubscriptionId> {
        let near = self.read_backs.asked.get(&(lease, offset)).map(|asked| asked.subscription);
        let aged = near.or_else(|| self.read_backs.ages.get(&(lease, offset)).copied());
        aged.or_else(|| self.hurries.asked(lease, offset))
    }

    /// A record that was asked for. It is its lane's, or it is lost.
    pub(crate) fn read_back(&mut self, arrival: Arrival, now_ms: i64) {
        let (lease, offset) = (arrival.lease, arrival.offset);
        self.hurries.read(&arrival);
        let aged = self.read_backs.ages.remove(&(lease, offset));
        let Some((id, rank)) = self.answered(lease, offset) else {
            aged.into_iter().for_each(|id| self.read_age(id, arrival.clone(), now_ms));
            return;
        };
        let is_its_own = arrival.delivery.subscription == id || flaws::has(Flaw::OthersRecord);
        if aged.is_some() {
            self.tell_age(lease, offset, is_its_own.then(|| age_of(&arrival)));
        }
        if !is_its_own {
            self.lose(lease, id, offset);
            return self.go_on(id, now_ms);
        }
        self.reserve.read(arrival.size);
        let live = Live::new(arrival, rank.role, true);
        let ticket = self.live.insert(live);
        self.place(ticket, now_ms);
    }

    /// A record that was asked for is not there any more.
    pub(crate) fn not_there(&mut self, lease: Epoch, offset: i64, now_ms: i64) {
        self.hurries.gone(lease, offset);
        let aged = self.read_backs.ages.remove(&(lease, offset));
        let Some((id, _)) = self.answered(lease, offset) else {
            return aged.into_iter().for_each(|id| self.lose_aged(id, (lease, offset), now_ms));
        };
        if aged.is_some() {
            self.tell_age(lease, offset, None);
        }
        self.lose(lease, id, offset);
        self.go_on(id, now_ms);
    }

    /// A record that was asked for is no delivery: whoever asked ends it. False: it was ended before.
    pub(crate) fn withdraw(&mut self, lease: Epoch, offset: i64, now_ms: i64) -> bool {
        self.hurries.gone(lease, offset);
        let aged = self.read_backs.ages.remove(&(lease, offset));
        if aged.is_some() {
            self.tell_age(lease, offset, None);
        }
        let near = self.answered(lease, offset).map(|(id, _)| id);
        let forgotten = || aged.filter(|id| self.lanes.get_mut(id).is_some_and(|lane| lane.queue.forget(offset)));
        let Some(id) = near.or_else(forgotten) else { return false };
        self.free_lost(id, offset);
        self.go_on(id, now_ms);
        true
    }

    /// So many deliveries are listed, over all partitions.
    pub(crate) fn set_queued(&mut self, entries: usize) {
        self.read_backs.queued = entries;
    }

    /// Whether nothing more may be listed: intake holds until some of it has left.
    pub(crate) fn is_full_of_lists(&self) -> bool {
        self.read_backs.queued >= self.rules.queue_entries
    }

    /// These leases go. What was listed is still told where it can be committed: outcomes of it may follow.
    pub(super) fn close(&mut self, leases: &[Epoch], can_commit: bool) {
        self.windows.close(leases);
        self.awaited.retain(|epoch, _| !leases.contains(epoch));
        self.read_backs.close(leases);
        self.hurries.close(leases);
        if can_commit {
            return self.leave_sweeps(leases);
        }
        self.forget_unsettled(leases);
        let lease_of = |change: &LaneChange| match change {
            LaneChange::Listed(ListedRecord { lease, .. })
            | LaneChange::SetAside { lease, .. }
            | LaneChange::Condition { lease, .. }
            | LaneChange::Freed { lease, .. }
            | LaneChange::Overdue { lease, .. }
            | LaneChange::Lost { lease, .. } => *lease,
        };
        self.changes.retain(|change| !leases.contains(&lease_of(change)));
    }

    /// What is to be swept of these leases is their next owner's to set aside, who must not be told that it was looked at.
    fn leave_sweeps(&mut self, leases: &[Epoch]) {
        let mut left: HashSet<SubscriptionId> = HashSet::new();
        self.changes.retain_mut(|change| match change {
            LaneChange::SetAside { lease, subscription, .. } if leases.contains(lease) => {
                left.insert(*subscription);
                false
            }
            LaneChange::Listed(listing) if left.contains(&listing.subscription) => {
                listing.reviewed_of = None;
                true
            }
            LaneChange::Listed(_)
            | LaneChange::SetAside { .. }
            | LaneChange::Condition { .. }
            | LaneChange::Freed { .. }
            | LaneChange::Overdue { .. }
            | LaneChange::Lost { .. } => true,
        });
    }

    /// Asks for what is near its turn.
    pub(super) fn feed(&mut self, id: SubscriptionId, now_ms: i64) {
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.queue.absent() > lane.queue.asked()) else { return };
        if self.awaited.contains_key(&lane.lease) || (flaws::has(Flaw::GuessedReturn) && now_ms % 600_000 > 1_000) {
            return;
        }
        let is_shut = self.is_shut(lane, now_ms);
        // How many of its order and of what was set aside are wanted near their turn. What was set aside and is not cancelled goes
        // back in a lane that is paused: it is swept after the resume.
        let (wanted, aside) = match self.lookup.subscription(id) {
            None => (ASIDE, ASIDE),
            Some(subscription) if !subscription.is_enabled() => (ASIDE, ASIDE),
            Some(_) if lane.is_paused => (0, 0),
            Some(_) if is_shut => (1, ASIDE),
            Some(_) => (self.useful(lane, now_ms).clamp(1, NEAR), ASIDE),
        };
        let (lease, is_urgent) = (lane.lease, !lane.is_paused && is_shut);
        loop {
            let is_idle = self.lanes.get(&id).is_some_and(|lane| lane.queue.asked() == 0 && lane.cap.in_flight() == 0);
            let asked = self.read_backs.asked.len();
            let expected = self.reserve.bytes + asked * self.reserve.guess;
            // One always may: else a lane whose neighbours have taken all memory would stand still.
            if (expected >= self.rules.queue_bytes || asked >= ASKED) && !is_idle {
                return;
            }
            let Some(lane) = self.lanes.get_mut(&id) else { return };
            let swept = lane.queue.ask_aside(aside);
            let Some(rank) = swept.or_else(|| lane.queue.ask(wanted)) else { return };
            let is_urgent = is_urgent && swept.is_none();
            self.read_backs.asked.insert((lease, rank.offset), NearTurn { subscription: id, is_urgent });
            self.read_backs.demands.push(ReadBackDemand { lease, offset: rank.offset, is_urgent });
        }
    }

    /// Lists records of one lane: those older than what is listed from the newest to the oldest, the others as they came, so that
    /// no batch that is cut in between leaves one of the window between two of a list.
    pub(super) fn list_of(&mut self, id: SubscriptionId, mut all: Vec<(Rank, Ticket)>, now_ms: i64) {
        all.sort_unstable();
        let first = self.lanes.get(&id).and_then(|lane| lane.queue.first_listed());
        self.add_flying(id, first, &mut all);
        let older = all.partition_point(|(rank, _)| first.is_some_and(|first| *rank < first));
        let newer = all.split_off(older);
        for (_, ticket) in all.into_iter().rev().chain(newer) {
            self.list(ticket, id, now_ms);
        }
        self.go_on(id, now_ms);
    }

    /// In a lane with ordering keys something newer may be in flight: it is listed, too, so that the window holds none between two
    /// that are.
    fn add_flying(&self, id: SubscriptionId, first: Option<Rank>, all: &mut Vec<(Rank, Ticket)>) {
        let oldest = all.first().map(|(rank, _)| *rank).into_iter().chain(first).min();
        let Some(oldest) = oldest.filter(|_| self.lanes.get(&id).is_some_and(|lane| lane.queue.is_keyed())) else {
            return;
        };
        let is_newer = |live: &Live| {
            let is_flying = matches!(live.state, State::InFlight { .. }) && !live.is_listed;
            is_flying && live.arrival.delivery.subscription == id && live.rank() > oldest
        };
        all.extend(self.live.iter().filter(|(_, live)| is_newer(live)).map(|(ticket, live)| (live.rank(), ticket)));
        all.sort_unstable();
        all.dedup();
    }

    /// Drops the payloads of what is listed and waits: its lane is closed for who knows how long.
    pub(super) fn unload(&mut self, id: SubscriptionId, now_ms: i64) {
        let Some(lane) = self.lanes.get(&id).filter(|lane| self.is_shut(lane, now_ms)) else { return };
        let listed: Vec<(Rank, Ticket)> =
            lane.queue.ready().filter(|(_, _, is_listed)| *is_listed).map(|(rank, ticket, _)| (rank, ticket)).collect();
        for (rank, ticket) in listed.into_iter().rev() {
            self.drop_payload(id, rank, ticket);
        }
    }

    fn list(&mut self, ticket: Ticket, id: SubscriptionId, now_ms: i64) {
        self.queues.insert(id);
        let is_shut = self.lanes.get(&id).is_some_and(|lane| self.is_shut(lane, now_ms));
        let quarter = self.rules.queue_bytes / 4;
        let Some(live) = self.live.get_mut(ticket).filter(|live| !live.is_listed) else { return };
        let (rank, size, state) = (live.rank(), live.arrival.size, live.state);
        let Arrival { lease, offset, timestamp_ms, .. } = live.arrival;
        let deadline_ms = live.arrival.delivery.deadline_ms;
        let (keyed, hop) = (live.keyed(), live.arrival.delivery.hop);
        let lane = self.lanes.get_mut(&id);
        let reviewed_of = lane.as_ref().and_then(|lane| lane.reviewed_of);
        let is_awaited = |lane: &mut Box<Lane>, keyed| lane.queue.lists(keyed, (hop.attempt, hop.due_ms), offset);
        let awaited_by = lane.zip(keyed).and_then(|(lane, keyed)| is_awaited(lane, keyed).then_some(keyed.key));
        live.is_listed = true;
        self.windows.take(&live.arrival);
        self.reserve.keep(size);
        let listing = ListedRecord {
            lease,
            subscription: id,
            role: rank.role,
            offset,
            timestamp_ms,
            deadline_ms,
            size,
            reviewed_of,
            awaited_by,
        };
        self.changes.push(LaneChange::Listed(listing));
        let Some(lane) = self.lanes.get_mut(&id).filter(|_| state == State::Waiting) else { return };
        if !lane.queue.has(rank) {
            // It waits for its time, which is near.
            return;
        }
        let near = lane.queue.listed();
        let is_kept = !is_shut
            && lane.queue.is_loaded()
            && self.reserve.bytes <= self.rules.queue_bytes
            && near.saturating_mul(size.max(1)) <= quarter;
        lane.queue.mark_listed(rank);
        if is_kept {
            self.drop_behind(id, rank, ticket);
        } else {
            self.drop_payload(id, rank, ticket);
        }
    }

    fn answered(&mut self, lease: Epoch, offset: i64) -> Option<(SubscriptionId, Rank)> {
        let id = self.read_backs.asked.remove(&(lease, offset))?.subscription;
        let rank = self.lanes.get_mut(&id)?.queue.answered(offset)?;
        Some((id, rank))
    }

    pub(super) fn lose(&mut self, lease: Epoch, subscription: SubscriptionId, offset: i64) {
        self.free_lost(subscription, offset);
        self.changes.push(LaneChange::Lost { lease, subscription, offset });
    }
}
