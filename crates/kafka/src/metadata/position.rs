//! The members `p` and `x` of the commit metadata: which positions of a source the offset belongs to and what was handled before, and
//! what of that was rejected, so that a move back plans it again. A release that does not know `x` takes it for fanned out.

use std::fmt;

use schemas::varint;
use uuid::Uuid;

/// What names the member of positions.
pub(super) const LETTER: char = 'p';
/// What names the member of what was rejected.
pub(super) const REJECTED_LETTER: char = 'x';
/// Stretches that are remembered of a partition. A move leaves one behind, reading on joins them again.
const MAX_STRETCHES: usize = 8;
/// Runs of rejected offsets that are remembered of a partition: every commit carries them.
const MAX_REJECTED: usize = 512;
/// Bytes of them in the metadata: half of what the broker takes.
const MAX_REJECTED_BYTES: usize = 1_536;

/// Where the reading of a partition came from.
///
/// An offset that was committed under one position means nothing once its source has another: whoever takes the partition over begins
/// where the source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionClaim {
    /// Names the positions that reading began at.
    pub id: Uuid,
    /// The source whose records these are: what another one has made of them is of no account.
    pub source: Uuid,
    /// What it has made of the partition so far, under this position and those before.
    pub handled: Handled,
}

/// Offsets that were handled: stretches `[from, to)`, ascending, with a gap between any two, but for what was rejected in them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Handled {
    stretches: [(i64, i64); MAX_STRETCHES],
    count: usize,
    /// Runs `[from, to)`, ascending, with a gap between any two.
    rejected: Vec<(i64, i64)>,
}

// === impl Handled ===

impl Handled {
    /// No offset yet.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { stretches: [(0, 0); MAX_STRETCHES], count: 0, rejected: Vec::new() }
    }

    /// Whether this offset was handled, and not rejected.
    #[must_use]
    pub fn contains(&self, offset: i64) -> bool {
        self.stretches().any(|(from, to)| (from..to).contains(&offset)) && !self.was_rejected(offset)
    }

    /// Whether this offset was rejected when it was handled last, as far as is known.
    #[must_use]
    pub fn was_rejected(&self, offset: i64) -> bool {
        let after = self.rejected.partition_point(|(from, _)| *from <= offset);
        after.checked_sub(1).is_some_and(|at| offset < self.rejected[at].1)
    }

    /// Takes note of what became of an offset: whether it was rejected.
    ///
    /// Where there are more runs than are remembered, the lowest is forgotten: what was rejected there counts as fanned out, and is
    /// had again by the record on `rejected`.
    pub fn judge(&mut self, offset: i64, is_rejected: bool) {
        if self.was_rejected(offset) == is_rejected {
            return;
        }
        let next = offset + 1;
        let at = self.rejected.partition_point(|(_, to)| *to < offset);
        if is_rejected {
            // Runs that end or begin beside it become one with it.
            let joined = self.rejected[at..].iter().take_while(|(from, _)| *from <= next).count();
            let (first, last) = (self.rejected.get(at), self.rejected.get((at + joined).saturating_sub(1)));
            let run = match (joined, first, last) {
                (1.., Some((from, _)), Some((_, to))) => (offset.min(*from), next.max(*to)),
                _ => (offset, next),
            };
            self.rejected.splice(at..at + joined, [run]);
            if self.rejected.len() > MAX_REJECTED {
                self.rejected.remove(0);
            }
        } else {
            let at = self.rejected.partition_point(|(_, to)| *to <= offset);
            let (from, to) = self.rejected[at];
            let rest = [(from, offset), (next, to)].into_iter().filter(|(from, to)| from < to);
            self.rejected.splice(at..=at, rest.collect::<Vec<_>>());
        }
    }

    /// With these offsets as well. Where that makes too many stretches the lowest other one is forgotten: what was handled there may
    /// be handled again, and nothing is taken for handled that was not.
    #[must_use]
    pub fn with(&self, from: i64, to: i64) -> Self {
        if from >= to {
            return self.clone();
        }
        let touches = |(other_from, other_to): (i64, i64)| other_from <= to && from <= other_to;
        let touching = self.stretches().filter(|other| touches(*other));
        let joined = touching.fold((from, to), |(from, to), other| (from.min(other.0), to.max(other.1)));
        let apart = self.stretches().filter(|other| !touches(*other));
        let mut all: Vec<(i64, i64)> = apart.chain([joined]).collect();
        all.sort_unstable();
        if all.len() > MAX_STRETCHES {
            let lowest = all.iter().position(|other| *other != joined).unwrap_or_default();
            all.remove(lowest);
        }
        Self { rejected: self.rejected.clone(), ..Self::of(all.into_iter()) }
    }

    fn stretches(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.stretches.iter().copied().take(self.count)
    }

    fn of(all: impl Iterator<Item = (i64, i64)>) -> Self {
        let mut handled = Self::default();
        for (place, stretch) in handled.stretches.iter_mut().zip(all) {
            *place = stretch;
            handled.count += 1;
        }
        handled
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = |of: &mut dyn Iterator<Item = (i64, i64)>| of.map(|(from, to)| from..to).collect::<Vec<_>>();
        write!(f, "{:?}", runs(&mut self.stretches()))?;
        if self.rejected.is_empty() {
            return Ok(());
        }
        write!(f, " but {:?}", runs(&mut self.rejected.iter().copied()))
    }
}

// === impl PositionClaim ===

impl PositionClaim {
    /// Two ids, then each stretch as its distance from the one before and its length: 176 bytes at most.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(self.source.as_bytes());
        let mut at = 0;
        for (from, to) in self.handled.stretches() {
            varint::push(&mut bytes, from.abs_diff(at));
            varint::push(&mut bytes, to.abs_diff(from));
            at = to;
        }
        bytes
    }

    /// The runs of what was rejected as the stretches, the newest ones if not all have room. None where there are none.
    pub(super) fn rejected_bytes(&self) -> Option<Vec<u8>> {
        let runs = &self.handled.rejected;
        // A run costs no more as the first one than its distance from 0.
        let cost = |(from, to): (i64, i64), before: i64| {
            varint::length(from.abs_diff(before)) + varint::length(to.abs_diff(from))
        };
        let (mut first, mut behind) = (runs.len(), 0);
        while let Some(next) = first.checked_sub(1) {
            let own = cost(runs[next], 0);
            if behind + own > MAX_REJECTED_BYTES {
                break;
            }
            let before = next.checked_sub(1).map_or(0, |before| runs[before].1);
            behind += cost(runs[next], before);
            first = next;
        }
        let mut bytes = Vec::with_capacity(behind + 8);
        let mut at = 0;
        for (from, to) in &runs[first..] {
            varint::push(&mut bytes, from.abs_diff(at));
            varint::push(&mut bytes, to.abs_diff(*from));
            at = *to;
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Adds what [`Self::rejected_bytes`] wrote.
    pub(super) fn with_rejected(mut self, bytes: &[u8]) -> Option<Self> {
        let mut runs = runs(bytes)?;
        // A newer release may remember more of them.
        let surplus = runs.len().saturating_sub(MAX_REJECTED);
        runs.drain(..surplus);
        self.handled.rejected = runs;
        Some(self)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, bytes) = bytes.split_first_chunk::<16>()?;
        let (source, rest) = bytes.split_first_chunk::<16>()?;
        let stretches = runs(rest)?;
        // A newer release may remember more of them.
        let surplus = stretches.len().saturating_sub(MAX_STRETCHES);
        let handled = Handled::of(stretches.into_iter().skip(surplus));
        Some(Self { id: Uuid::from_bytes(*id), source: Uuid::from_bytes(*source), handled })
    }
}

/// Runs of offsets: each as its distance from the one before and its length.
fn runs(mut bytes: &[u8]) -> Option<Vec<(i64, i64)>> {
    let (mut at, mut runs) = (0_i64, Vec::with_capacity(MAX_STRETCHES));
    while !bytes.is_empty() {
        let mut step = || i64::try_from(varint::pull(&mut bytes)?).ok();
        let from = at.checked_add(step()?)?;
        at = from.checked_add(step()?)?;
        runs.push((from, at));
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_counts_as_handled_that_was_not_and_all_is_remembered_while_there_is_room(
            moves in prop::collection::vec((0_i64..200, 0_i64..30), 0..20),
        ) {
            let (mut handled, mut truth, mut is_cut) = (Handled::default(), BTreeSet::new(), false);
            for (from, length) in moves {
                let before = handled.clone();
                handled = handled.with(from, from + length);
                truth.extend(from..from + length);
                is_cut |= (0..300).any(|at| before.contains(at) && !handled.contains(at));
                prop_assert!((0..300).all(|at| !handled.contains(at) || truth.contains(&at)));
                prop_assert!(is_cut || (0..300).all(|at| handled.contains(at) == truth.contains(&at)), "{:?}", handled);
                let handled = handled.clone();
                let claim = PositionClaim { id: Uuid::from_u128(1), source: Uuid::from_u128(2), handled };
                prop_assert_eq!(PositionClaim::from_bytes(&claim.to_bytes()), Some(claim));
            }
        }

        #[test]
        fn what_was_rejected_is_not_handled_until_it_is_accepted(
            judged in prop::collection::vec((0_i64..60, any::<bool>()), 0..80),
        ) {
            let (mut handled, mut truth) = (Handled::default().with(0, 50), BTreeSet::new());
            for (offset, is_rejected) in judged {
                handled.judge(offset, is_rejected);
                if is_rejected { truth.insert(offset); } else { truth.remove(&offset); }
                for at in 0..70 {
                    prop_assert_eq!(handled.was_rejected(at), truth.contains(&at), "{} in {:?}", at, handled);
                    prop_assert_eq!(handled.contains(at), at < 50 && !truth.contains(&at));
                }
                let runs = &handled.rejected;
                prop_assert!(runs.windows(2).all(|two| two[0].1 < two[1].0) && runs.iter().all(|run| run.0 < run.1));
                prop_assert_eq!(&handled.with(50, 60).rejected, runs, "reading on forgets none of them");
                let claim = PositionClaim { handled: handled.clone(), ..PositionClaim::default() };
                let bare = PositionClaim::from_bytes(&claim.to_bytes()).unwrap();
                let read = match claim.rejected_bytes() {
                    Some(bytes) => bare.with_rejected(&bytes),
                    None => Some(bare),
                };
                prop_assert_eq!(read, Some(claim));
            }
        }
    }

    #[test]
    fn of_too_many_rejected_offsets_the_lowest_count_as_handled() {
        let far = 1_i64 << 40;
        let mut handled = Handled::default().with(0, far * 4_000);
        for number in 0..600 {
            handled.judge(number * far, true);
        }
        assert_eq!(handled.rejected.len(), MAX_REJECTED);
        assert!(handled.contains(0) && !handled.contains(599 * far));
        let claim = PositionClaim { handled, ..PositionClaim::default() };
        let bytes = claim.rejected_bytes().unwrap();
        assert!((MAX_REJECTED_BYTES - 20..=MAX_REJECTED_BYTES).contains(&bytes.len()), "{} bytes", bytes.len());
        let read = PositionClaim::from_bytes(&claim.to_bytes()).unwrap().with_rejected(&bytes).unwrap();
        assert!(read.handled.was_rejected(599 * far) && !read.handled.was_rejected(90 * far));
        assert!(PositionClaim::default().with_rejected(&[255]).is_none());
    }

    #[test]
    fn reading_on_joins_what_a_move_has_left_behind() {
        let moved = Handled::default().with(100, 140).with(0, 20).with(20, 60);
        assert_eq!(format!("{moved:?}"), "[0..60, 100..140]");
        assert_eq!(format!("{:?}", moved.with(60, 100)), "[0..140]");
        let gaps = (0..9).fold(Handled::default(), |handled, at| handled.with(at * 10, at * 10 + 1));
        assert!(!gaps.contains(0) && gaps.contains(10) && gaps.contains(80), "the lowest is forgotten: {gaps:?}");
        let back = gaps.with(0, 1);
        assert!(back.contains(0) && !back.contains(10) && back.contains(20), "not what was just handled: {back:?}");
    }

    #[test]
    fn anything_else_is_no_position() {
        for bad in [&[0_u8; 31][..], &[0; 33], &[[255; 16], [255; 16], [255; 16]].concat()] {
            assert_eq!(PositionClaim::from_bytes(bad), None);
        }
    }
}
