//! A lane's order: everything that waits in it, whether its payload is in memory, is being read back, or is an offset only.
//!
//! ```text
//! rank = (set aside, retries, first tries), then offset
//!
//!   lines (offsets) --wanted--> asked (being read back) --read--> ready (in memory) --its turn--> sent
//!                                                                    ^ what came through the window waits here, too
//! ```
//!
//! Retries go before first tries, each by offset, wherever they are. Where the next one is not in memory the lane waits for it: what
//! is newer does not pass. Only what is set aside does not hold the others up: it is looked at beside them. What is put first (a ping)
//! goes before all of them while it is in memory.

use std::collections::{BTreeMap, BTreeSet};

use schemas::lanes::ListRole;

use super::line::OffsetLine;

/// Where a delivery stands in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank {
    /// What it is.
    pub(crate) role: ListRole,
    /// Offset of its record.
    pub(crate) offset: i64,
}

/// What a lane sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueHead<T> {
    /// This one.
    Ready(T),
    /// One that is not in memory.
    Absent,
    /// Nothing waits.
    Nothing,
}

/// Where one that is listed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts<T> {
    /// In memory.
    Ready(T),
    /// It is being read back.
    Asked,
    /// It is an offset only.
    Absent,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    ready: BTreeMap<Rank, (T, bool)>,
    /// Ready ones that go before all others.
    first: BTreeSet<Rank>,
    asked: BTreeSet<Rank>,
    lines: [OffsetLine; 3],
    /// Ready ones that are listed, by role.
    listed: [usize; 3],
}

const ROLES: [ListRole; 3] = [ListRole::SetAside, ListRole::Retries, ListRole::FirstTries];

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            ready: BTreeMap::new(),
            first: BTreeSet::new(),
            asked: BTreeSet::new(),
            lines: Default::default(),
            listed: [0; 3],
        }
    }
}

impl<T: Copy> Queue<T> {
    /// One that is in memory.
    pub(crate) fn push(&mut self, rank: Rank, item: T, is_listed: bool) {
        self.remove(rank);
        self.ready.insert(rank, (item, is_listed));
        self.listed[index(rank.role)] += usize::from(is_listed);
    }

    /// One that is in memory goes before all others.
    pub(crate) fn put_first(&mut self, rank: Rank) {
        self.first.insert(rank);
    }

    /// Takes one that is in memory out.
    pub(crate) fn remove(&mut self, rank: Rank) -> bool {
        let Some((_, is_listed)) = self.ready.remove(&rank) else { return false };
        self.first.remove(&rank);
        self.listed[index(rank.role)] -= usize::from(is_listed);
        true
    }

    /// Whether it is here and in memory.
    pub(crate) fn has(&self, rank: Rank) -> bool {
        self.ready.contains_key(&rank)
    }

    /// What is next.
    pub(crate) fn head(&self) -> QueueHead<T> {
        if let Some((item, _)) = self.first.first().and_then(|rank| self.ready.get(rank)) {
            return QueueHead::Ready(*item);
        }
        let absent = [self.first_asked(), self.first_in_lines()].into_iter().flatten().min();
        match (self.ready.first_key_value(), absent) {
            (Some((rank, (item, _))), absent) if absent.is_none_or(|absent| *rank < absent) => QueueHead::Ready(*item),
            (None, None) => QueueHead::Nothing,
            _ => QueueHead::Absent,
        }
    }

    /// The one that was put first, if it is in memory.
    pub(super) fn put_first_item(&self) -> Option<T> {
        self.first.first().and_then(|rank| self.ready.get(rank)).map(|(item, _)| *item)
    }

    /// The first of those in memory.
    pub(super) fn first_ready(&self) -> Option<(Rank, T)> {
        self.ready.first_key_value().map(|(rank, (item, _))| (*rank, *item))
    }

    /// The first of those that are not in memory, but for what was set aside.
    pub(super) fn first_absent(&self) -> Option<Rank> {
        [self.first_asked(), self.first_in_lines()].into_iter().flatten().min()
    }

    /// The first of what was set aside and is not in memory.
    pub(super) fn first_absent_aside(&self) -> Option<Rank> {
        let asked = self.asked.first().filter(|rank| rank.role == ListRole::SetAside).copied();
        [asked, self.in_line(ListRole::SetAside)].into_iter().flatten().min()
    }

    /// The first of those that nobody reads back yet, but for what was set aside.
    pub(super) fn first_in_line(&self) -> Option<Rank> {
        self.first_in_lines()
    }

    /// The same of all, also of what was set aside.
    pub(super) fn first_of_lines(&self) -> Option<Rank> {
        ROLES.into_iter().find_map(|role| self.in_line(role))
    }

    /// One that is in memory.
    pub(super) fn get(&self, rank: Rank) -> Option<T> {
        self.ready.get(&rank).map(|(item, _)| *item)
    }

    /// How many of those in memory stand in lists.
    pub(super) fn listed_ready(&self) -> usize {
        self.listed.iter().sum()
    }

    /// The first of those that nobody reads back yet, whatever it is: to be read back.
    pub(super) fn ask_first(&mut self) -> Option<Rank> {
        let role = ROLES.into_iter().find(|role| self.lines[index(*role)].len() > 0)?;
        let rank = Rank { role, offset: self.lines[index(role)].pop_front()? };
        self.asked.insert(rank);
        Some(rank)
    }

    /// Gives up the offsets that nobody reads back yet.
    pub(super) fn take_lines(&mut self) -> [OffsetLine; 3] {
        std::mem::take(&mut self.lines)
    }

    /// The first of its entries in lists, if any: what is newer belongs there, too.
    pub(crate) fn first_listed(&self) -> Option<Rank> {
        let ready = self.ready.iter().find(|(_, (_, is_listed))| *is_listed).map(|(rank, _)| *rank);
        let lines = ROLES.into_iter().find_map(|role| self.in_line(role));
        [ready, self.asked.first().copied(), lines].into_iter().flatten().min()
    }

    /// An offset without a payload.
    pub(crate) fn push_offset(&mut self, rank: Rank) {
        self.lines[index(rank.role)].insert(rank.offset);
    }

    /// A whole list that was restored, or set aside.
    pub(crate) fn push_line(&mut self, role: ListRole, line: OffsetLine) {
        self.lines[index(role)].append(line);
    }

    /// Everything without a payload is to be swept from now on. What is being read back is so, too.
    pub(crate) fn set_aside(&mut self) {
        for role in [ListRole::Retries, ListRole::FirstTries] {
            let line = std::mem::take(&mut self.lines[index(role)]);
            self.push_line(ListRole::SetAside, line);
        }
    }

    /// The next offset to read back, as long as fewer than `wanted` of its lists are near their turn.
    pub(crate) fn ask(&mut self, wanted: usize) -> Option<Rank> {
        self.ask_of(&[ListRole::Retries, ListRole::FirstTries], wanted)
    }

    /// As [`Queue::ask`], of what was set aside.
    pub(crate) fn ask_aside(&mut self, wanted: usize) -> Option<Rank> {
        self.ask_of(&[ListRole::SetAside], wanted)
    }

    fn ask_of(&mut self, roles: &[ListRole], wanted: usize) -> Option<Rank> {
        let mut near = 0;
        for role in roles {
            let line = &mut self.lines[index(*role)];
            // What is newer than the next offset is not near yet, though it may be in memory.
            let ahead =
                Rank { role: *role, offset: i64::MIN }..Rank { role: *role, offset: line.front().unwrap_or(i64::MAX) };
            // No further than is wanted: many thousands may be in memory, and this is asked with each outcome.
            let listed = self.ready.range(ahead.clone()).filter(|(_, (_, is_listed))| *is_listed);
            near += listed.take(wanted.saturating_sub(near)).count();
            near += self.asked.range(ahead).take(wanted.saturating_sub(near)).count();
            if near >= wanted {
                return None;
            }
            if let Some(offset) = line.pop_front() {
                let rank = Rank { role: *role, offset };
                self.asked.insert(rank);
                return Some(rank);
            }
        }
        None
    }

    /// One was read back, or cannot be. Returns its rank.
    pub(crate) fn answered(&mut self, offset: i64) -> Option<Rank> {
        let rank = ROLES.into_iter().map(|role| Rank { role, offset }).find(|rank| self.asked.contains(rank))?;
        self.asked.remove(&rank);
        Some(rank)
    }

    /// Where an offset waits; `None`: not here.
    pub(crate) fn whereabouts(&self, offset: i64) -> Option<Whereabouts<T>> {
        let mut ranks = ROLES.into_iter().map(|role| Rank { role, offset });
        ranks.find_map(|rank| match self.ready.get(&rank) {
            Some((item, _)) => Some(Whereabouts::Ready(*item)),
            None if self.asked.contains(&rank) => Some(Whereabouts::Asked),
            None => self.lines[index(rank.role)].holds(offset).then_some(Whereabouts::Absent),
        })
    }

    /// Takes out one that is an offset only. False: it is not here.
    pub(crate) fn forget(&mut self, offset: i64) -> bool {
        self.lines.iter_mut().any(|line| line.remove(offset))
    }

    /// Those in memory, in order.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (Rank, T, bool)> + '_ {
        self.ready.iter().map(|(rank, (item, is_listed))| (*rank, *item, *is_listed))
    }

    /// What goes with its lease: everything that is not in memory.
    pub(crate) fn drop_offsets(&mut self) {
        self.asked.clear();
        self.lines = Default::default();
    }

    /// How many wait as offsets, being read back included.
    pub(crate) fn absent(&self) -> usize {
        self.asked.len() + self.lines.iter().map(OffsetLine::len).sum::<usize>()
    }

    /// How many wait in lists.
    pub(crate) fn listed(&self) -> usize {
        self.listed.iter().sum::<usize>() + self.absent()
    }

    /// How many of those in memory stand in no list.
    pub(crate) fn unlisted(&self) -> usize {
        self.ready.len() - self.listed.iter().sum::<usize>()
    }

    /// Whether any of those in lists was not set aside.
    pub(crate) fn has_listed_in_order(&self) -> bool {
        self.asked.iter().any(|rank| rank.role != ListRole::SetAside)
            || [ListRole::Retries, ListRole::FirstTries]
                .into_iter()
                .any(|role| self.listed[index(role)] > 0 || self.lines[index(role)].len() > 0)
    }

    /// How many are being read back.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Those in memory that were written first, one of each role: the oldest of all in memory is one of them.
    pub(crate) fn oldest_ready(&self) -> impl Iterator<Item = T> + '_ {
        let first_of = |role| Rank { role, offset: i64::MIN }..=Rank { role, offset: i64::MAX };
        ROLES.into_iter().filter_map(move |role| self.ready.range(first_of(role)).next()).map(|(_, (item, _))| *item)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.absent()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.absent() == 0
    }

    fn first_asked(&self) -> Option<Rank> {
        self.asked.iter().find(|rank| rank.role != ListRole::SetAside).copied()
    }

    fn first_in_lines(&self) -> Option<Rank> {
        [ListRole::Retries, ListRole::FirstTries].into_iter().find_map(|role| self.in_line(role))
    }

    fn in_line(&self, role: ListRole) -> Option<Rank> {
        self.lines[index(role)].front().map(|offset| Rank { role, offset })
    }
}

fn index(role: ListRole) -> usize {
    match role {
        ListRole::SetAside => 0,
        ListRole::Retries => 1,
        ListRole::FirstTries => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(role: ListRole, offset: i64) -> Rank {
        Rank { role, offset }
    }

    #[test]
    fn retries_go_first_and_what_is_not_in_memory_is_not_passed() {
        let mut queue = Queue::default();
        queue.push(rank(ListRole::FirstTries, 5), 'a', false);
        assert_eq!(queue.head(), QueueHead::Ready('a'));
        queue.push_offset(rank(ListRole::Retries, 90));
        assert_eq!(queue.head(), QueueHead::Absent);
        assert_eq!((queue.ask(0), queue.ask(1)), (None, Some(rank(ListRole::Retries, 90))));
        assert_eq!((queue.head(), queue.ask(1)), (QueueHead::Absent, None));
        assert_eq!(queue.answered(90), Some(rank(ListRole::Retries, 90)));
        queue.push(rank(ListRole::Retries, 90), 'r', true);
        assert_eq!(queue.head(), QueueHead::Ready('r'));
        assert_eq!((queue.len(), queue.listed()), (2, 1));
        assert!(queue.remove(rank(ListRole::Retries, 90)));
        assert_eq!((queue.head(), queue.listed()), (QueueHead::Ready('a'), 0));
    }

    #[test]
    fn the_next_offset_is_asked_for_however_much_that_is_newer_is_in_memory() {
        let mut queue = Queue::default();
        (50..58).for_each(|offset| queue.push(rank(ListRole::FirstTries, offset), 'n', true));
        queue.push_offset(rank(ListRole::FirstTries, 30));
        assert_eq!((queue.head(), queue.ask(1)), (QueueHead::Absent, Some(rank(ListRole::FirstTries, 30))));
    }

    #[test]
    fn what_is_put_first_goes_before_retries_and_before_what_is_not_in_memory() {
        let mut queue = Queue::default();
        queue.push_offset(rank(ListRole::Retries, 1));
        queue.push(rank(ListRole::FirstTries, 9), 'p', false);
        assert_eq!(queue.head(), QueueHead::Absent);
        queue.put_first(rank(ListRole::FirstTries, 9));
        assert_eq!(queue.head(), QueueHead::Ready('p'));
        assert!(queue.remove(rank(ListRole::FirstTries, 9)));
        assert_eq!(queue.head(), QueueHead::Absent);
    }

    #[test]
    fn what_is_set_aside_holds_nobody_up_and_goes_first_once_it_is_read() {
        let mut queue = Queue::default();
        (0..300).for_each(|offset| queue.push_offset(rank(ListRole::FirstTries, offset)));
        queue.set_aside();
        queue.push(rank(ListRole::FirstTries, 400), 'f', false);
        assert_eq!((queue.head(), queue.ask(10)), (QueueHead::Ready('f'), None));
        assert_eq!(queue.ask_aside(10), Some(rank(ListRole::SetAside, 0)));
        queue.answered(0);
        queue.push(rank(ListRole::SetAside, 0), 'x', true);
        assert_eq!(queue.head(), QueueHead::Ready('x'));
    }
}
