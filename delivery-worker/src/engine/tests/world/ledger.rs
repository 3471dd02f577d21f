//! What must hold, whatever happens: looked at with everything that is committed, sent or taken over. Numbers are those of the lists'
//! invariants in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::kafka::Transaction;
use catalog::Subscription;
use schemas::attempt::Lifecycle;
use schemas::delivery::Delivery;
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::lanes::{LaneKey, LaneRecord, ListRole};
use schemas::ordering::OrderingKey;
use schemas::record::{OutRecord, Record};
use schemas::topics::Topics;
use stage::Batch;

use super::kafka::Kafka;
use super::{CAP, Endpoint, Flight, Subscriptions};
use crate::book::Book;
use crate::engine::listed::role;
use crate::engine::{Arrival, Engine, Lookup};
use crate::settle::End;
use crate::work::{LaneNote, SupersededPlace};

/// An open lane with something to send and nothing in flight stands still no longer than this, ms.
const IDLE: i64 = 3_000;

#[derive(Default)]
pub(in super::super) struct Ledger {
    seed: u64,
    /// Every record, when it was written, whose it is, and whether it goes first.
    log: BTreeMap<i64, (i64, SubscriptionId, ListRole)>,
    /// What has an ordering key, by lane and key in the order in which it was written first.
    keyed: BTreeMap<(SubscriptionId, OrderingKey), Vec<(DeliveryId, i64)>>,
    /// What has ended for good, as far as the present owner knows.
    ended: BTreeSet<DeliveryId>,
    /// What of `control` each was matched at.
    matched: BTreeMap<i64, i64>,
    /// Records that are neither resolved nor listed.
    window: BTreeSet<i64>,
    /// Records that are listed, whose, and in which kind of list.
    lists: BTreeMap<i64, (SubscriptionId, ListRole)>,
    /// Of those that are set aside, with which of their lane's changes.
    aside_with: BTreeMap<i64, usize>,
    /// Records that the present owner has listed, committed or not.
    entered: BTreeSet<i64>,
    /// What the present owner knows and has not sent, by lane in its order.
    own: BTreeMap<SubscriptionId, BTreeSet<(ListRole, i64)>>,
    /// Version of a subscription when what waited of it was set aside last.
    aside: BTreeMap<SubscriptionId, i64>,
    /// How often that was committed, over all.
    asides: usize,
    /// The same version, as far as it is committed: an owner knows what the one before has looked at.
    aside_of: BTreeMap<SubscriptionId, i64>,
    idle: BTreeMap<SubscriptionId, i64>,
    failed: BTreeMap<DeliveryId, u32>,
    hops: BTreeMap<DeliveryId, u32>,
    /// Retries that somebody wanted before they were due.
    pub(in super::super) hurried: BTreeSet<(DeliveryId, i64)>,
    /// Retries that were dropped because another one went in their place.
    pub(in super::super) dropped: u64,
    pub(in super::super) settled: BTreeMap<DeliveryId, u32>,
    pub(in super::super) listed: u64,
    /// Conditions of lanes that were written.
    pub(in super::super) told: u64,
    /// Records that could not be read back.
    pub(in super::super) lost: u64,
}

impl Ledger {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(super) fn written(&mut self, record: &Record) {
        let delivery = Delivery::decode(record).unwrap();
        self.log.insert(record.offset, (record.timestamp_ms, delivery.subscription, role(&delivery.hop)));
        if let Some(key) = delivery.ordering_key {
            let line = self.keyed.entry((delivery.subscription, key)).or_default();
            if !line.iter().any(|(id, _)| *id == delivery.id) {
                line.push((delivery.id, delivery.control_offset));
            }
        }
        self.matched.insert(record.offset, delivery.control_offset);
        self.window.insert(record.offset);
    }

    /// A delivery of this lane with an ordering key, of which there are some.
    pub(in super::super) fn any_keyed(&self, of: SubscriptionId, draw: usize) -> Option<DeliveryId> {
        let all: Vec<DeliveryId> = self
            .keyed
            .iter()
            .filter(|((lane, _), _)| *lane == of)
            .flat_map(|(_, line)| line.iter().map(|it| it.0))
            .collect();
        all.get(draw % all.len().max(1)).copied()
    }

    /// The one of an ordering key that was written first and has not ended.
    pub(in super::super) fn head_of(&self, of: SubscriptionId, key: OrderingKey) -> Option<DeliveryId> {
        self.keyed.get(&(of, key))?.iter().map(|(id, _)| *id).find(|id| !self.ended.contains(id))
    }

    pub(super) fn written_ms(&self, offset: i64) -> i64 {
        self.log[&offset].0
    }

    pub(super) fn admitted(&mut self, arrival: &Arrival) {
        let (_, id, role) = self.log[&arrival.offset];
        self.own.entry(id).or_default().insert((role, arrival.offset));
    }

    /// What belongs to an ordering key goes when everything before it with the same key has ended, whoever owned it, is cancelled or was
    /// given up.
    pub(super) fn check_order(
        &self,
        delivery: &Delivery,
        of: &Subscription,
        mut flying: impl Iterator<Item = DeliveryId>,
    ) {
        let Some(key) = delivery.ordering_key else { return };
        let (seed, line) = (self.seed, &self.keyed[&(delivery.subscription, key)]);
        let is_open =
            |id: &DeliveryId, matched: i64| !self.ended.contains(id) && !of.cancels(matched) && !of.skips(*id);
        let before = line.iter().take_while(|(id, _)| *id != delivery.id).find(|(id, matched)| is_open(id, *matched));
        assert_eq!(before, None, "seed {seed}: {} overtakes one with its key {key}", delivery.id);
        assert!(!flying.any(|id| line.iter().any(|it| it.0 == id)), "seed {seed}: two of {key} are in flight");
    }

    /// 6 and 7: it is its lane's, and the first of what its lane may send. What was set aside goes when it was read.
    pub(super) fn sent(&mut self, delivery: &Delivery, offset: i64) {
        let (_, id, role) = self.log[&offset];
        let seed = self.seed;
        assert_eq!(id, delivery.subscription, "seed {seed}: the record at {offset} is another lane's (6)");
        let own = self.own.entry(id).or_default();
        if delivery.ordering_key.is_some() {
            let is_own = own.remove(&(ListRole::SetAside, offset)) || own.remove(&(role, offset));
            assert!(is_own, "seed {seed}: {offset} was sent twice, or by nobody's order");
            return;
        }
        if own.remove(&(ListRole::SetAside, offset)) {
            return;
        }
        let first = own.iter().find(|(role, _)| *role != ListRole::SetAside).copied();
        assert!(own.remove(&(role, offset)), "seed {seed}: {offset} was sent twice, or by nobody's order");
        assert_eq!(first, Some((role, offset)), "seed {seed}: sent out of its order (7)");
    }

    pub(super) fn leaves(&mut self, arrival: &Arrival, end: &End) {
        assert!(!matches!(end, End::PassedOn), "seed {}: it came far too early", self.seed);
        let (_, id, role) = self.log[&arrival.offset];
        let own = self.own.entry(id).or_default();
        own.remove(&(role, arrival.offset));
        own.remove(&(ListRole::SetAside, arrival.offset));
        if end.superseded().is_some() {
            self.dropped += 1;
        } else {
            self.ended.insert(arrival.delivery.id);
        }
    }

    pub(super) fn attempted(&mut self, delivery: &Delivery, end: &End) {
        if matches!(end, End::Retry(_)) {
            *self.failed.entry(delivery.id).or_default() += 1;
        } else {
            self.ended.insert(delivery.id);
        }
    }

    pub(super) fn lists_it(&mut self, offset: i64) {
        self.listed += 1;
        self.entered.insert(offset);
    }

    /// What waits is set aside once for each time that something is cancelled.
    pub(super) fn set_aside(&mut self, id: SubscriptionId, subscriptions: &Subscriptions) {
        let subscription = subscriptions.subscription(id);
        let version = self.aside.entry(id).or_default();
        let is_new = subscription.as_ref().is_none_or(|it| it.cancels(*version));
        assert!(is_new, "seed {}: set aside though nothing more is cancelled", self.seed);
        *version = subscription.map_or(0, |it| it.offset());
        let entered = &self.entered;
        let aside =
            |(role, offset)| if entered.contains(&offset) { (ListRole::SetAside, offset) } else { (role, offset) };
        let own = self.own.entry(id).or_default();
        *own = std::mem::take(own).into_iter().map(aside).collect();
    }

    /// What an owner finds that was cancelled is set aside at once, but for what was in flight when the one before has looked.
    pub(super) fn check_set_aside(&self, subscriptions: &Subscriptions) {
        for (id, own) in &self.own {
            let Some(subscription) = subscriptions.subscription(*id) else { continue };
            let is_cancelled = |(role, offset): &&(ListRole, i64)| {
                let is_listed = *role != ListRole::SetAside && self.entered.contains(offset);
                is_listed && subscription.cancels(self.matched[offset])
            };
            let count = own.iter().filter(is_cancelled).count();
            assert!(count <= CAP as usize, "seed {}: {count} that were cancelled hold up what is fresh", self.seed);
        }
    }

    pub(super) fn lost(&mut self, offset: i64) {
        self.lost += 1;
        panic!("seed {}: {offset} is not there any more, or it is another lane's", self.seed);
    }

    /// Each entry of a batch that is committed moves its record.
    pub(super) fn committed(&mut self, batch: &Batch<LaneNote>) {
        for entry in batch.entries() {
            match entry.note {
                LaneNote::Done
                | LaneNote::Left
                | LaneNote::Held(_, false, _)
                | LaneNote::Superseded(_, SupersededPlace::Window, _) => {
                    self.window.remove(&entry.offset);
                }
                LaneNote::Listed(listing) => {
                    self.window.remove(&entry.offset);
                    self.lists.insert(entry.offset, (listing.subscription, listing.role));
                }
                LaneNote::Settled(_)
                | LaneNote::LeftList(_)
                | LaneNote::Held(_, true, _)
                | LaneNote::Superseded(_, SupersededPlace::List, _) => {
                    self.lists.remove(&entry.offset);
                    self.aside_with.remove(&entry.offset);
                }
                LaneNote::SetAside(id, version) => {
                    self.aside_of.extend(version.map(|version| (id, version)));
                    self.asides += 1;
                    let in_order = |(of, role): &(SubscriptionId, ListRole)| *of == id && *role != ListRole::SetAside;
                    for (offset, (_, role)) in self.lists.iter_mut().filter(|(_, listed)| in_order(listed)) {
                        *role = ListRole::SetAside;
                        self.aside_with.insert(*offset, self.asides);
                    }
                }
                LaneNote::Undone | LaneNote::Unheld(..) | LaneNote::Forgotten(_) => panic!("nothing is refused here"),
                LaneNote::Condition(..)
                | LaneNote::Freed(..)
                | LaneNote::Hurried(..)
                | LaneNote::Superseded(_, SupersededPlace::Nowhere, _)
                | LaneNote::Correct
                | LaneNote::Checkpoint => {}
            }
        }
    }

    pub(super) fn output(&mut self, record: &OutRecord, topics: &Topics) {
        let seed = self.seed;
        if record.topic == topics.attempts {
            let lifecycle = Lifecycle::decode(record.value.as_ref().unwrap()).unwrap();
            if lifecycle.kind.is_terminal() {
                let count = self.settled.entry(lifecycle.delivery_id.unwrap()).or_default();
                *count += 1;
                assert_eq!(*count, 1, "seed {seed}: settled twice");
            }
        } else if record.topic == topics.deliveries || topics.tier_of(&record.topic).is_some() {
            let (key, value, headers) = (record.key.clone(), record.value.clone(), record.headers.clone());
            let id = Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key, value, headers }).unwrap().id;
            let hops = self.hops.entry(id).or_default();
            *hops += 1;
            let failed = self.failed.get(&id).copied().unwrap_or(0);
            let hurried = self.hurried.iter().filter(|(of, _)| *of == id).count();
            let most = failed + u32::try_from(hurried).unwrap();
            assert!(*hops <= most, "seed {seed}: a payload was written for waiting, or for an old wish (8)");
        }
    }

    /// A lane's record stays small, however much waits in whichever of its lists, and each list has its reason: retries and first
    /// tries in order have one each, and so have those that were set aside together.
    pub(super) fn check_lanes(&self, transaction: &Transaction, topic: &Arc<str>) {
        let seed = self.seed;
        for output in transaction.outputs.iter().filter(|output| output.record.topic == *topic) {
            let key = LaneKey::decode(output.record.key.as_deref()).unwrap();
            let (LaneKey::Lane(id), Some(value)) = (key, output.record.value.as_deref()) else { continue };
            let record = LaneRecord::decode(key, value).unwrap();
            let own = self.lists.iter().filter(|(_, (of, _))| *of == id);
            let reasons: BTreeSet<(ListRole, Option<usize>)> =
                own.map(|(offset, _)| (self.log[offset].2, self.aside_with.get(offset).copied())).collect();
            let count = record.lists.len();
            assert_eq!(count, reasons.len(), "seed {seed}: lists of one lane, and the reasons for them: {reasons:?}");
            for list in &record.lists {
                let ends = (list.front.len(), list.back.len());
                assert!(ends.0 <= 384 && ends.1 < 128, "seed {seed}: {ends:?} offsets in a lane's record");
            }
        }
    }

    /// 1, 2: each record is in one place, and the claim is what is listed.
    pub(super) fn check_committed(&self, kafka: &Kafka) {
        let seed = self.seed;
        assert!(
            self.window.range(..kafka.read_up_to).eq(kafka.not_done.iter()),
            "seed {seed}: what is not done is {:?}, and has to be {:?} (1)",
            kafka.not_done,
            self.window.range(..kafka.read_up_to).collect::<Vec<_>>()
        );
        if let Some(claim) = kafka.claim {
            assert_eq!(claim.queued, u64::try_from(self.lists.len()).unwrap(), "seed {seed}: the count (2)");
        }
        let span = kafka.read_up_to - kafka.committed;
        assert!(span <= 16_000 + 1_000, "seed {seed}: a span of {span} (9)");
    }

    /// 1, 4, 5: what a successor finds is what was committed.
    pub(super) fn taken_over(&mut self, kafka: &Kafka, book: &Book) {
        let seed = self.seed;
        let mut found = BTreeMap::new();
        for (id, lists) in book.lists() {
            for list in lists {
                for offset in list.offsets() {
                    let is_twice = found.insert(offset, (id, list.role())).is_some();
                    assert!(!is_twice, "seed {seed}: {offset} is listed twice (1)");
                }
                let (first, last) = (list.first().unwrap(), list.last().unwrap());
                let own = self.window.range(first..last).find(|offset| {
                    let (_, of, role) = self.log[*offset];
                    **offset < kafka.read_up_to && of == id && role == list.role()
                });
                assert_eq!(own, None, "seed {seed}: the window holds one between two of a list (4)");
            }
        }
        assert_eq!(found, self.lists, "seed {seed}: what is listed (1)");
        self.own.clear();
        self.idle.clear();
        self.ended = self.settled.keys().copied().collect();
        self.entered = found.keys().copied().collect();
        // What the owner before set aside and did not commit, the next one sets aside.
        for (id, version) in &mut self.aside {
            *version = self.aside_of.get(id).copied().unwrap_or(0);
        }
        for (offset, (id, role)) in found {
            self.own.entry(id).or_default().insert((role, offset));
        }
        for offset in self.window.range(..kafka.read_up_to) {
            let (_, id, role) = self.log[offset];
            self.own.entry(id).or_default().insert((role, *offset));
        }
    }

    /// Whether everything of a lane may wait for what is on its way back: of each key something has begun and has not ended.
    fn waits_for_keys(&self, id: SubscriptionId) -> bool {
        let lines = self.keyed.range((id, OrderingKey(0))..=(id, OrderingKey(u64::MAX)));
        let left = lines.filter_map(|(_, line)| line.iter().map(|(id, _)| id).find(|id| !self.ended.contains(*id)));
        let mut left = left.peekable();
        left.peek().is_some() && left.all(|id| self.failed.contains_key(id))
    }

    /// What waits for a lane goes as soon as its lane has room.
    pub(super) fn check_idle<L: Lookup>(
        &mut self,
        now: i64,
        engine: &Engine<L>,
        subscriptions: &Subscriptions,
        endpoints: &BTreeMap<SubscriptionId, Endpoint>,
        flying: &BTreeMap<u64, Flight>,
    ) {
        for (id, own) in &self.own {
            let subscription = subscriptions.subscription(*id);
            let may_send =
                subscription.is_some_and(|it| it.is_enabled() && !it.is_paused() && it.rate_per_second().is_none());
            let is_open = !engine.is_closed(*id, now) && !engine.is_held() && endpoints[id] == Endpoint::Fast;
            let is_busy = flying.values().any(|flight| flight.subscription.id() == *id);
            if self.waits_for_keys(*id) || own.is_empty() || !may_send || !is_open || is_busy || engine.is_slowed(*id) {
                self.idle.remove(id);
                continue;
            }
            let since = *self.idle.entry(*id).or_insert(now);
            let first = own.first();
            assert!(
                now - since <= IDLE,
                "seed {}: {id} stands still with {} waiting, {first:?} first",
                self.seed,
                own.len()
            );
        }
    }
}
