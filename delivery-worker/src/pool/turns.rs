//! Whose turn it is to connect: origins that need connects stand in line, and each begins one at a time.
//!
//! There are two lines, and they take turns as well: thousands of origins that never answer delay those that do by one place.

use std::collections::VecDeque;

use super::rules::OriginStanding;

/// See the module. `K` names an origin.
#[derive(Debug)]
pub(super) struct ConnectTurns<K> {
    proven: VecDeque<K>,
    unproven: VecDeque<K>,
    next: OriginStanding,
}

impl<K> ConnectTurns<K> {
    /// To the end of the line of its standing.
    pub(super) fn push(&mut self, origin: K, standing: OriginStanding) {
        self.line(standing).push_back(origin);
    }

    /// The next origin of those that may connect.
    pub(super) fn pop(&mut self, may_connect: impl Fn(OriginStanding) -> bool) -> Option<(K, OriginStanding)> {
        for standing in [self.next, self.next.other()] {
            let popped = if may_connect(standing) { self.line(standing).pop_front() } else { None };
            if let Some(origin) = popped {
                self.next = standing.other();
                return Some((origin, standing));
            }
        }
        None
    }

    /// Out of the line of that standing.
    pub(super) fn remove(&mut self, origin: &K, standing: OriginStanding)
    where
        K: PartialEq,
    {
        self.line(standing).retain(|stands| stands != origin);
    }

    /// Whether nobody stands in line.
    pub(super) fn is_empty(&self) -> bool {
        self.proven.is_empty() && self.unproven.is_empty()
    }

    fn line(&mut self, standing: OriginStanding) -> &mut VecDeque<K> {
        match standing {
            OriginStanding::Proven => &mut self.proven,
            OriginStanding::Unproven => &mut self.unproven,
        }
    }
}

impl<K> Default for ConnectTurns<K> {
    fn default() -> Self {
        Self { proven: VecDeque::new(), unproven: VecDeque::new(), next: OriginStanding::Proven }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_take_turns_and_who_may_not_connect_keeps_its_place() {
        let mut turns = ConnectTurns::default();
        for (origin, standing) in [
            ("a", OriginStanding::Unproven),
            ("b", OriginStanding::Unproven),
            ("c", OriginStanding::Unproven),
            ("A", OriginStanding::Proven),
            ("B", OriginStanding::Proven),
        ] {
            turns.push(origin, standing);
        }
        let mut pop = |may: fn(OriginStanding) -> bool| turns.pop(may).map(|(origin, _)| origin);
        assert_eq!([pop(|_| true), pop(|_| true)], [Some("A"), Some("a")]);
        assert_eq!(pop(|_| false), None);
        assert_eq!(pop(|standing| standing == OriginStanding::Unproven), Some("b"));
        assert_eq!([pop(|_| true), pop(|_| true), pop(|_| true)], [Some("B"), Some("c"), None]);
        assert!(turns.is_empty());
    }
}
