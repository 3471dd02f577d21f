//! Decides what is sent next and what leaves without being sent. Pure: virtual time, no I/O; `work` acts.
//!
//! ```text
//! admit, read back --> screen: deleted, disabled, too old? --> leaves
//!                        | due later: waits for its time
//!                        v
//!                      lane queue --dispatch (round robin)--> in flight --outcome--> `work` writes its end
//!                        | the look-ahead is full: useful.rs
//!                        v
//!                      listed: its offset waits on `lanes`, and is read back when its turn comes
//! ```
//!
//! **Waiting for a lane is not waiting for a time.** A delivery waits in its lane's one order until its turn comes, through the
//! window or listed; the durable place decides nothing about when it is sent, and nothing is given a time to come back.
//!
//! **Fairness.** Lanes with work and room stand in one ready queue and are served in turn; none is ever scanned for. A request
//! that hangs costs a place and its bytes, never another lane's share: while the worker is nearly full (of requests or of bytes),
//! its last quarter is for lanes whose requests come back, and for the first request of each other.
//!
//! **Time** is the worker's own, which never jumps ([`Wall`]); due times, deadlines and failing times are the wall's, and so is
//! Kafka's time of a record.

mod aged;
mod awaited;
mod endpoint;
mod failing;
mod flight;
mod forget;
mod hurried;
mod keys;
mod listed;
mod live;
mod measure;
mod origins;
mod place;
mod read_backs;
mod recent;
mod reserve;
mod revoke;
mod takeover;
#[cfg(test)]
mod tests;
mod timers;
mod unsettled;
mod useful;
mod windows;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use catalog::Subscription;
use hashbrown::{HashMap, HashSet};
use schemas::delivery::Delivery;
use schemas::ids::{ApplicationId, JobId, SubscriptionId};

use crate::classify::AttemptVerdict;
use crate::flaws::{self, Flaw};
use crate::lanes::Lane;
use crate::lanes::egress::Egress;
use crate::lanes::queue::QueueHead;
use crate::lanes::streak::Failed;
use crate::settle::End;
use crate::slots::{Slots, Ticket};
use crate::steady::Wall;
use kafka::Epoch;

pub(crate) use self::aged::AgeTold;
use self::awaited::Awaited;
#[cfg(test)]
pub(crate) use self::failing::FailingEndpoint;
pub(crate) use self::failing::FailingEndpoints;
pub(crate) use self::hurried::HurriedCopy;
use self::hurried::Hurries;
pub(crate) use self::keys::KeyEnd;
pub(crate) use self::listed::{LaneChange, ListedRecord};
use self::live::{Live, State, Timer};
use self::origins::Origins;
pub(crate) use self::read_backs::ReadBackDemand;
use self::read_backs::{ReadBacks, Reserve};
use self::recent::RecentLanes;
pub(crate) use self::unsettled::Settled;
use self::unsettled::Unsettled;
pub(crate) use self::windows::LookAhead;
use self::windows::Windows;

/// The catalog, as the engine sees it.
pub(crate) trait Lookup {
    /// A subscription, if it exists.
    fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>>;

    /// Whether a job of an application was cancelled: nothing that it has written is sent any more.
    fn is_cancelled(&self, application: ApplicationId, job: JobId) -> bool;

    /// How often a job was cancelled: another number than before says that what waits is to be looked at again.
    fn cancelled_came(&self) -> u64;
}

/// What the engine decides by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Requests in flight over all lanes.
    pub(crate) concurrency: usize,
    /// Bytes of their records, but for one.
    pub(crate) in_flight_bytes: usize,
    /// Requests in flight of a lane whose subscription does not say.
    pub(crate) lane_concurrency: u32,
    /// What a lane does within this time is not listed, ms.
    pub(crate) lane_wait_ms: i64,
    /// What a partition may hold in its window.
    pub(crate) look_ahead: LookAhead,
    /// Nothing waits for longer than `deliveries` surely keeps it, ms; `None`: it keeps everything.
    pub(crate) keep_ms: Option<i64>,
    /// Payloads of listed deliveries in memory, bytes.
    pub(crate) queue_bytes: usize,
    /// Listed deliveries of this worker; beyond them nothing more is listed, and intake holds.
    pub(crate) queue_entries: usize,
    /// Failures in a row that open a circuit.
    pub(crate) breaker_failures: u32,
    /// Longest that an endpoint may ask its lane to wait.
    pub(crate) longest_hold_ms: i64,
    /// An endpoint that fails for longer is reported, if its subscription does not say; `None`: never.
    pub(crate) disable_after_ms: Option<i64>,
}

/// A delivery that came.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Epoch of its record's lease.
    pub(crate) lease: Epoch,
    /// Its offset.
    pub(crate) offset: i64,
    /// Its size.
    pub(crate) size: usize,
    /// Its Kafka timestamp.
    pub(crate) timestamp_ms: i64,
    /// What it holds.
    pub(crate) delivery: Arc<Delivery>,
}

/// A request to make.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    /// To be given back with the outcome.
    pub(crate) ticket: Ticket,
    /// What.
    pub(crate) delivery: Arc<Delivery>,
    /// For whom.
    pub(crate) subscription: Arc<Subscription>,
}

/// A request that ended, of a lease that is still ours.
#[derive(Clone, Debug)]
pub(crate) struct Landed {
    /// What it was made for.
    pub(crate) arrival: Arrival,
    /// It left the window before: it is an entry of its lane's list.
    pub(crate) is_listed: bool,
    /// It could not leave this host, as nothing could: that was no attempt of it.
    pub(crate) is_cut_off: bool,
    /// How long its endpoint has been failing, if it does.
    pub(crate) failed: Option<Failed>,
    /// Since when every attempt had failed, if this one ends that, Unix ms.
    pub(crate) recovered_ms: Option<i64>,
}

/// A delivery that leaves without an attempt.
#[derive(Debug)]
pub(crate) struct Left {
    /// The delivery that leaves.
    pub(crate) arrival: Arrival,
    /// It left the window before: it is an entry of its lane's list.
    pub(crate) is_listed: bool,
    /// Why it leaves: cancelled, passed on or dead.
    pub(crate) end: End,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine<L> {
    rules: Rules,
    lookup: L,
    live: Slots<Live>,
    /// Boxed: growing and shrinking the table holds everything up, and takes a tenth of the time where it moves only pointers.
    lanes: HashMap<SubscriptionId, Box<Lane>>,
    origins: Origins,
    /// Lanes whose circuit is not closed.
    open_circuits: usize,
    /// Lanes whose subscription is paused, as far as they were looked at.
    paused: HashSet<SubscriptionId>,
    /// Lanes whose last requests failed, and perhaps some that have worked since.
    failing: HashSet<SubscriptionId>,
    /// Lanes with something in their lists, and perhaps some that had.
    queues: HashSet<SubscriptionId>,
    /// Lanes of which a key is held, and perhaps some of which one was.
    holding: HashSet<SubscriptionId>,
    /// Retries that are wanted now, and those in whose place they went.
    hurries: Hurries,
    /// When each lane is looked at next, whether it can be forgotten; the next one first.
    looks: VecDeque<(i64, SubscriptionId)>,
    /// Newest success of lanes that were forgotten, Unix ms, and when those were last swept.
    successes: HashMap<SubscriptionId, i64>,
    swept_ms: i64,
    ready: VecDeque<SubscriptionId>,
    /// Ready lanes that wait for the worker to be less full.
    held: Vec<SubscriptionId>,
    timers: BinaryHeap<Reverse<(i64, u64, Timer)>>,
    timer_count: u64,
    egress: Egress,
    wall: Wall,
    /// What it was when the timers of what is due were set.
    timers_wall: Wall,
    in_flight: usize,
    in_flight_bytes: usize,
    left: Vec<Left>,
    /// What the windows hold, by lease.
    windows: Windows,
    /// Outcomes that wait for their transaction.
    unsettled: Unsettled,
    /// What is listed and in memory, or on its way.
    reserve: Reserve,
    read_backs: ReadBacks,
    /// Leases whose window was not read again yet.
    awaited: HashMap<Epoch, Awaited>,
    /// Changes of lists, in order.
    changes: Vec<LaneChange>,
    /// How often a job was cancelled when what waits was last looked at for that.
    cancelled_seen: u64,
    /// What `status` is told of lanes one by one.
    recent: RecentLanes,
}

impl<L: Lookup> Engine<L> {
    /// An engine with nothing in it.
    pub(crate) fn new(rules: Rules, lookup: L) -> Self {
        Self {
            rules,
            lookup,
            live: Slots::default(),
            lanes: HashMap::new(),
            origins: Origins::default(),
            open_circuits: 0,
            paused: HashSet::new(),
            failing: HashSet::new(),
            queues: HashSet::new(),
            holding: HashSet::new(),
            hurries: Hurries::default(),
            looks: VecDeque::new(),
            successes: HashMap::new(),
            swept_ms: 0,
            ready: VecDeque::new(),
            held: Vec::new(),
            timers: BinaryHeap::new(),
            timer_count: 0,
            egress: Egress::default(),
            wall: Wall::default(),
            timers_wall: Wall::default(),
            in_flight: 0,
            in_flight_bytes: 0,
            left: Vec::new(),
            windows: Windows::default(),
            unsettled: Unsettled::default(),
            reserve: Reserve::default(),
            read_backs: ReadBacks::default(),
            awaited: HashMap::new(),
            changes: Vec::new(),
            cancelled_seen: 0,
            recent: RecentLanes::default(),
        }
    }

    /// Takes a delivery in.
    pub(crate) fn admit(&mut self, arrival: Arrival, now_ms: i64) {
        let (lease, offset) = (arrival.lease, arrival.offset);
        self.windows.admit(&arrival);
        let role = listed::role(&arrival.delivery.hop);
        let ticket = self.live.insert(Live::new(arrival, role, false));
        self.place(ticket, now_ms);
        self.seen(lease, offset, now_ms);
    }

    /// The next request to make now, if any. Its lane and the worker have room for it.
    pub(crate) fn dispatch(&mut self, now_ms: i64) -> Option<Dispatch> {
        while self.has_places() && self.egress.may_send(now_ms) {
            let id = self.ready.pop_front()?;
            if let Some(dispatch) = self.dispatch_lane(id, now_ms) {
                return Some(dispatch);
            }
        }
        None
    }

    /// A request ended after this long. `None`: its lease is over.
    pub(crate) fn outcome(
        &mut self,
        ticket: Ticket,
        verdict: &AttemptVerdict,
        elapsed_ms: i64,
        now_ms: i64,
    ) -> Option<Landed> {
        let live = self.take(ticket)?;
        if live.state == State::Abandoned && flaws::has(Flaw::LeakedPlace) {
            return None;
        }
        self.in_flight -= 1;
        self.in_flight_bytes -= live.arrival.size;
        if !self.is_nearly_full() {
            self.release_held();
        }
        let is_cut_off = self.is_cut_off(verdict);
        let failed = self.streak(&live.arrival.delivery, verdict, self.wall.ms(now_ms));
        let recovered_ms = self.note(&live, verdict, elapsed_ms, now_ms);
        self.feed(live.arrival.delivery.subscription, now_ms);
        let Live { arrival, state, is_listed, .. } = live;
        (state != State::Abandoned).then_some(Landed { arrival, is_listed, is_cut_off, failed, recovered_ms })
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        self.forget(now_ms);
        self.read_backs.ask_again(now_ms);
        while self.timers.peek().is_some_and(|Reverse((at_ms, ..))| *at_ms <= now_ms) {
            let Some(Reverse((_, _, timer))) = self.timers.pop() else { return };
            match timer {
                Timer::Due(ticket) => self.place(ticket, now_ms),
                Timer::Lane(id) => {
                    if let Some(lane) = self.lanes.get_mut(&id) {
                        lane.timer_ms = None;
                    }
                    self.feed(id, now_ms);
                    self.wake(id);
                }
                Timer::Awaited(lease) => self.end_awaiting(lease, now_ms),
                Timer::Origin(key) => {
                    if let Some(origin) = self.origins.get_mut(&key) {
                        origin.timer_ms = None;
                    }
                    self.unblock(&key, now_ms);
                }
            }
        }
        self.make_room(now_ms);
    }

    /// How long `deliveries` surely keeps a record, ms.
    pub(crate) fn keep_ms(&self) -> Option<i64> {
        self.rules.keep_ms
    }

    /// What left without an attempt since the last call.
    pub(crate) fn take_left(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.left)
    }

    /// Takes a delivery out of what is live.
    fn take(&mut self, ticket: Ticket) -> Option<Live> {
        let live = self.live.remove(ticket)?;
        if live.is_listed {
            self.reserve.give(live.arrival.size);
        } else {
            self.windows.take(&live.arrival);
        }
        Some(live)
    }

    /// Puts a lane with work and room into the ready queue.
    fn wake(&mut self, id: SubscriptionId) {
        let is_held = self.lanes.get(&id).is_some_and(|lane| lane.is_paused && !self.is_once_first(lane));
        if let Some(lane) = self.lanes.get_mut(&id)
            && !lane.is_ready
            && !is_held
            && !self.awaited.contains_key(&lane.lease)
            && matches!(lane.queue.head(), QueueHead::Ready(_))
            && lane.cap.has_room()
        {
            lane.is_ready = true;
            self.ready.push_back(id);
        }
    }
}
