//! The member `p` of the commit metadata: which positions of a source the offset belongs to, and what was fanned out before.

use std::fmt;

use schemas::varint;
use uuid::Uuid;

/// What names this member.
pub(super) const LETTER: char = 'p';
/// Stretches that are remembered of a partition. A move leaves one behind, reading on joins them again.
const MAX_STRETCHES: usize = 8;

/// Where the reading of a partition came from.
///
/// An offset that was committed under one position means nothing once its source has another: whoever takes the partition over begins
/// where the source says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PositionClaim {
    /// Names the positions that reading began at.
    pub id: Uuid,
    /// The source whose records these are: what another one has made of them is of no account.
    pub source: Uuid,
    /// What it has made of the partition so far, under this position and those before.
    pub handled: Handled,
}

/// Offsets that were handled: stretches `[from, to)`, ascending, with a gap between any two.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Handled {
    stretches: [(i64, i64); MAX_STRETCHES],
    count: usize,
}

// === impl Handled ===

impl Handled {
    /// No offset yet.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { stretches: [(0, 0); MAX_STRETCHES], count: 0 }
    }

    /// Whether this offset was handled.
    #[must_use]
    pub fn contains(&self, offset: i64) -> bool {
        self.stretches().any(|(from, to)| (from..to).contains(&offset))
    }

    /// With these offsets as well. Where that makes too many stretches the lowest other one is forgotten: what was handled there may
    /// be handled again, and nothing is taken for handled that was not.
    #[must_use]
    pub fn with(self, from: i64, to: i64) -> Self {
        if from >= to {
            return self;
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
        Self::of(all.into_iter())
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
        f.debug_list().entries(self.stretches().map(|(from, to)| from..to)).finish()
    }
}

// === impl PositionClaim ===

impl PositionClaim {
    /// Two ids, then each stretch as its distance from the one before and its length: 176 bytes at most.
    pub(super) fn to_bytes(self) -> Vec<u8> {
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

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, bytes) = bytes.split_first_chunk::<16>()?;
        let (source, mut rest) = bytes.split_first_chunk::<16>()?;
        let mut at = 0_i64;
        let mut stretches = Vec::with_capacity(MAX_STRETCHES);
        while !rest.is_empty() {
            let mut step = || i64::try_from(varint::pull(&mut rest)?).ok();
            let from = at.checked_add(step()?)?;
            at = from.checked_add(step()?)?;
            stretches.push((from, at));
        }
        // A newer release may remember more of them.
        let surplus = stretches.len().saturating_sub(MAX_STRETCHES);
        let handled = Handled::of(stretches.into_iter().skip(surplus));
        Some(Self { id: Uuid::from_bytes(*id), source: Uuid::from_bytes(*source), handled })
    }
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
                let before = handled;
                handled = handled.with(from, from + length);
                truth.extend(from..from + length);
                is_cut |= (0..300).any(|at| before.contains(at) && !handled.contains(at));
                prop_assert!((0..300).all(|at| !handled.contains(at) || truth.contains(&at)));
                prop_assert!(is_cut || (0..300).all(|at| handled.contains(at) == truth.contains(&at)), "{:?}", handled);
                let claim = PositionClaim { id: Uuid::from_u128(1), source: Uuid::from_u128(2), handled };
                prop_assert_eq!(PositionClaim::from_bytes(&claim.to_bytes()), Some(claim));
            }
        }
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
