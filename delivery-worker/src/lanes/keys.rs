//! A lane's order where some of what waits belongs to ordering keys: of each key one at a time, and a key whose delivery has failed
//! stands until that one has ended.
//!
//! ```text
//!   without a key, or not in memory: main ---------------------------+--> the first of all that may go
//!   in memory: a line for each key  --nothing of it is in flight-----+
//!                 ^   | one is in flight, or on its way back (held): the others wait here, listed ones as offsets
//!                 +---+
//! ```
//!
//! Which key an offset belongs to is known once it was read. So what is not in memory lets nothing newer pass but what is known to
//! wait for its key. A lane without keys has one line, [`Queue`], and pays nothing for the others.
//!
//! What is held has to outlive its owner: it stands in the lane's record (`schemas::lanes::HeldKey`).

mod line;
mod lines;
#[cfg(test)]
mod tests;

use schemas::ids::DeliveryId;
use schemas::lanes::{HeldKey, ListRole, PendingRetry};
use schemas::ordering::OrderingKey;

use self::line::{KeyLine, LineSizes};
use self::lines::KeyLines;
use super::line::OffsetLine;
use super::queue::{Queue, QueueHead, Rank, Whereabouts};

/// So many keys of a lane may be held; then only what they wait for is sent, until one of them is free. Their names stand in the
/// lane's record, which is written with each outcome.
pub(crate) const HELD_AT_MOST: usize = 256;

/// What a delivery is sent in order with, and which one it is: its key may wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keyed {
    /// Its key.
    pub(crate) key: OrderingKey,
    /// Its id.
    pub(crate) delivery: DeliveryId,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LaneQueue<T> {
    main: Queue<T>,
    /// Boxed: most lanes have none.
    keys: Option<Box<KeyLines<T>>>,
}

impl<T> Default for LaneQueue<T> {
    fn default() -> Self {
        Self { main: Queue::default(), keys: None }
    }
}

// === impl LaneQueue: the order ===

impl<T: Copy> LaneQueue<T> {
    /// One that is in memory.
    pub(crate) fn push(&mut self, rank: Rank, item: T, is_listed: bool, keyed: Option<Keyed>) {
        let Some(Keyed { key, delivery }) = keyed else { return self.main.push(rank, item, is_listed) };
        let keys = self.keys.get_or_insert_default();
        keys.of.insert(rank, key);
        keys.change(key, |line| line.push(rank, item, is_listed, delivery));
    }

    /// One without a key that is in memory goes before all others.
    pub(crate) fn put_first(&mut self, rank: Rank) {
        self.main.put_first(rank);
    }

    /// Takes one that is in memory out.
    pub(crate) fn remove(&mut self, rank: Rank) -> bool {
        self.main.remove(rank) || self.keys.as_mut().is_some_and(|keys| keys.remove(rank))
    }

    /// One that is in memory is sent: the others of its key wait for [`LaneQueue::ended`].
    pub(crate) fn send(&mut self, rank: Rank) {
        let key = self.keys.as_ref().and_then(|keys| keys.of.get(&rank).copied());
        if let Some((keys, key)) = self.keys.as_mut().zip(key) {
            keys.of.remove(&rank);
            keys.change(key, |line| line.send(rank));
        } else {
            self.main.remove(rank);
        }
    }

    /// What was sent of a key has ended, or is on its way back: then the others wait for it.
    pub(crate) fn ended(&mut self, key: OrderingKey, held: Option<HeldKey>) {
        if held.is_some() || self.keys.is_some() {
            self.keys.get_or_insert_default().change(key, |line| line.ended(held));
        }
    }

    /// One ends without being sent. Whether its key had waited for it.
    pub(crate) fn release(&mut self, Keyed { key, delivery }: Keyed) -> bool {
        let Some(keys) = &mut self.keys else { return false };
        let held = keys.lines.get(&key).and_then(|line| line.held.as_ref());
        let waits = held.is_some_and(|held| held.delivery == delivery);
        if waits {
            keys.change(key, KeyLine::free);
        }
        waits
    }

    /// Frees the held keys of which this is true, and says which.
    pub(crate) fn release_where(&mut self, is_over: impl Fn(&HeldKey) -> bool) -> Vec<OrderingKey> {
        let Some(keys) = &mut self.keys else { return Vec::new() };
        let held = keys.lines.iter().filter(|(_, line)| line.held.as_ref().is_some_and(&is_over));
        let over: Vec<OrderingKey> = held.map(|(key, _)| *key).collect();
        for key in &over {
            keys.change(*key, KeyLine::free);
        }
        over
    }

    /// A key waits for this: the owner before held it, or another retry went in the place of the one that it waited for.
    pub(crate) fn hold(&mut self, held: HeldKey) {
        let key = held.key;
        self.keys.get_or_insert_default().change(key, |line| line.held = Some(held));
    }

    /// One comes to stand in a list. Whether its key waits for exactly this attempt of it: then it is known where that stands.
    pub(crate) fn lists(&mut self, Keyed { key, delivery }: Keyed, (attempt, due_ms): (u32, i64), offset: i64) -> bool {
        let line = self.keys.as_mut().and_then(|keys| keys.lines.get_mut(&key));
        let Some(held) = line.and_then(|line| line.held.as_mut()) else { return false };
        let is_it = |retry: &PendingRetry| (retry.attempt, retry.due_ms) == (attempt, due_ms);
        let waits = held.delivery == delivery && held.retry.as_ref().is_none_or(is_it);
        if waits {
            held.listed_at = Some(offset);
        }
        waits
    }

    /// What keys wait for and is neither here nor in flight.
    pub(crate) fn away(&self) -> impl Iterator<Item = HeldKey> + '_ {
        self.lines().filter_map(KeyLine::away)
    }

    /// Whether a key waits for exactly this, and it is neither here nor in flight.
    pub(crate) fn waits_for(&self, held: &HeldKey) -> bool {
        let line = self.keys.as_ref().and_then(|keys| keys.lines.get(&held.key));
        line.and_then(KeyLine::away).is_some_and(|away| away == *held)
    }

    /// Whether any key is held.
    pub(crate) fn has_held(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.sizes.held > 0)
    }

    /// Whether anything of it belongs to a key.
    pub(crate) fn is_keyed(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.lines.is_empty())
    }

    /// Whether it is here and in memory.
    pub(crate) fn has(&self, rank: Rank) -> bool {
        self.main.has(rank) || self.keys.as_ref().is_some_and(|keys| keys.of.contains_key(&rank))
    }

    /// Whether all of it is in memory, but for what waits for its key.
    pub(crate) fn is_loaded(&self) -> bool {
        self.main.absent() == 0
    }

    /// What is next.
    pub(crate) fn head(&self) -> QueueHead<T> {
        let Some(keys) = &self.keys else { return self.main.head() };
        if let Some(item) = self.main.put_first_item() {
            return QueueHead::Ready(item);
        }
        let ready = [self.main.first_ready(), keys.next(self.main.first_absent_aside())].into_iter().flatten();
        match (ready.min_by_key(|(rank, _)| *rank), self.main.first_absent()) {
            (Some((rank, item)), absent) if absent.is_none_or(|absent| rank < absent) => QueueHead::Ready(item),
            (None, None) => QueueHead::Nothing,
            _ => QueueHead::Absent,
        }
    }

    // === what is listed ===

    /// One that is in memory stands in a list from now on.
    pub(crate) fn mark_listed(&mut self, rank: Rank) {
        if let Some(item) = self.main.get(rank) {
            return self.main.push(rank, item, true);
        }
        let Some(keys) = &mut self.keys else { return };
        if let Some(key) = keys.of.get(&rank).copied() {
            keys.change(key, |line| line.mark_listed(rank));
        }
    }

    /// Whether one that is listed need not be in memory: its key has others that go before it.
    pub(crate) fn is_behind(&self, rank: Rank) -> bool {
        let Some(keys) = &self.keys else { return false };
        keys.of.get(&rank).and_then(|key| keys.lines.get(key)).is_some_and(|line| line.is_behind(rank))
    }

    /// Whether one in memory waits for one of its key that is on its way back.
    pub(crate) fn is_held_back(&self, rank: Rank) -> bool {
        let Some(keys) = &self.keys else { return false };
        keys.of.get(&rank).and_then(|key| keys.lines.get(key)).is_some_and(|line| line.is_held_back(rank))
    }

    /// One that is listed and in memory is an offset only from now on.
    pub(crate) fn drop_payload(&mut self, rank: Rank) {
        let is_in_line = self.keys.as_mut().is_some_and(|keys| keys.drop_payload(rank));
        if !is_in_line {
            self.main.remove(rank);
            self.main.push_offset(rank);
        }
    }

    /// The first of its entries in lists, if any: what is newer belongs there, too.
    pub(crate) fn first_listed(&self) -> Option<Rank> {
        let lines = self.lines().filter_map(|line| line.queue.first_listed());
        self.main.first_listed().into_iter().chain(lines).min()
    }

    /// An offset without a payload.
    #[cfg(test)]
    pub(crate) fn push_offset(&mut self, rank: Rank) {
        self.main.push_offset(rank);
    }

    /// A whole list that was restored.
    pub(crate) fn push_line(&mut self, role: ListRole, line: OffsetLine) {
        self.main.push_line(role, line);
    }

    /// Everything without a payload is to be swept from now on, also what waits for its key.
    pub(crate) fn set_aside(&mut self) {
        self.main.set_aside();
        let Some(keys) = &mut self.keys else { return };
        for key in keys.lines.keys().copied().collect::<Vec<_>>() {
            for line in keys.change(key, |line| line.queue.take_lines()) {
                self.main.push_line(ListRole::SetAside, line);
            }
        }
    }

    /// The next offset to read back, as long as fewer than `wanted` of its lists are near their turn.
    pub(crate) fn ask(&mut self, wanted: usize) -> Option<Rank> {
        let Some(keys) = &mut self.keys else { return self.main.ask(wanted) };
        let own = if keys.open.len() + keys.asked.len() < wanted { keys.ask() } else { None };
        own.or_else(|| {
            let next = self.main.first_in_line()?;
            let near = keys.open.range(..next).take(wanted).count();
            self.main.ask(wanted - near)
        })
    }

    /// As [`LaneQueue::ask`], of what was set aside.
    pub(crate) fn ask_aside(&mut self, wanted: usize) -> Option<Rank> {
        self.main.ask_aside(wanted)
    }

    /// One was read back, or cannot be. Returns its rank.
    pub(crate) fn answered(&mut self, offset: i64) -> Option<Rank> {
        let main = self.main.answered(offset);
        main.or_else(|| {
            let keys = self.keys.as_mut()?;
            let key = keys.asked.remove(&offset)?;
            keys.change(key, |line| line.queue.answered(offset))
        })
    }

    /// Where an offset waits; `None`: not here.
    pub(crate) fn whereabouts(&self, offset: i64) -> Option<Whereabouts<T>> {
        let main = self.main.whereabouts(offset);
        main.or_else(|| self.lines().find_map(|line| line.queue.whereabouts(offset)))
    }

    /// Takes out one that is an offset only. False: it is not here.
    pub(crate) fn forget(&mut self, offset: i64) -> bool {
        if self.main.forget(offset) {
            return true;
        }
        let Some(keys) = &mut self.keys else { return false };
        let all: Vec<OrderingKey> = keys.lines.keys().copied().collect();
        all.into_iter().any(|key| keys.change(key, |line| line.queue.forget(offset)))
    }

    // === all of it ===

    /// Those in memory: those without a key in order, then those of each key.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (Rank, T, bool)> + '_ {
        self.main.ready().chain(self.lines().flat_map(|line| line.queue.ready()))
    }

    /// What goes with its lease: everything that is not in memory, and what keys wait for.
    pub(crate) fn drop_offsets(&mut self) {
        self.main.drop_offsets();
        self.keys = None;
    }

    /// Keeps of those in memory what `keep` says.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let gone = self.ready().filter(|(_, item, _)| !keep(item)).map(|(rank, ..)| rank).collect::<Vec<_>>();
        for rank in gone {
            self.remove(rank);
        }
    }

    /// How many wait as offsets, being read back included.
    pub(crate) fn absent(&self) -> usize {
        self.main.absent() + self.sizes().absent
    }

    /// How many wait in lists.
    pub(crate) fn listed(&self) -> usize {
        self.main.listed() + self.sizes().absent + self.sizes().listed
    }

    /// How many of those in memory stand in no list.
    pub(crate) fn unlisted(&self) -> usize {
        self.main.unlisted() + self.sizes().ready - self.sizes().listed
    }

    /// Whether any of those in lists was not set aside.
    pub(crate) fn has_listed_in_order(&self) -> bool {
        self.main.has_listed_in_order() || self.lines().any(|line| line.queue.has_listed_in_order())
    }

    /// How many are being read back.
    pub(crate) fn asked(&self) -> usize {
        self.main.asked() + self.keys.as_ref().map_or(0, |keys| keys.asked.len())
    }

    /// Some of those in memory, the oldest of them included.
    pub(crate) fn oldest_ready(&self) -> impl Iterator<Item = T> + '_ {
        self.main.oldest_ready().chain(self.lines().flat_map(|line| line.queue.oldest_ready()))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.main.len() + self.sizes().ready + self.sizes().absent
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lines(&self) -> impl Iterator<Item = &KeyLine<T>> {
        self.keys.iter().flat_map(|keys| keys.lines.values())
    }

    fn sizes(&self) -> LineSizes {
        self.keys.as_ref().map_or_else(LineSizes::default, |keys| keys.sizes)
    }
}
