//! Equal lists of event types and equal label names of different subscriptions are one in memory.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use schemas::event_type::EventTypePattern;

/// Fewer entries are not worth looking through for those that nobody uses any more.
const FEW: usize = 1_024;

/// What is shared, by value.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    patterns: Pool<[EventTypePattern]>,
    names: Pool<str>,
}

#[derive(Debug)]
struct Pool<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// So many are looked through for unused ones.
    sweep_at: usize,
}

impl Shared {
    /// The one list that equals this one.
    pub(crate) fn patterns(&mut self, patterns: &Arc<[EventTypePattern]>) -> Arc<[EventTypePattern]> {
        self.patterns.one(patterns)
    }

    /// The one name that equals this one.
    pub(crate) fn name(&mut self, name: &Arc<str>) -> Arc<str> {
        self.names.one(name)
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    fn one(&mut self, value: &Arc<T>) -> Arc<T> {
        if let Some(known) = self.values.get(value) {
            return Arc::clone(known);
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = FEW.max(self.values.len() * 2);
        }
        self.values.insert(Arc::clone(value));
        Arc::clone(value)
    }
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), sweep_at: FEW }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_become_one_and_unused_ones_are_forgotten() {
        let mut shared = Shared::default();
        let (one, other): (Arc<str>, Arc<str>) = ("tenant".into(), "tenant".into());
        let kept = shared.name(&one);
        assert!(Arc::ptr_eq(&kept, &shared.name(&other)));
        for number in 0..10 * FEW {
            shared.name(&number.to_string().into());
        }
        assert!(shared.names.values.len() <= FEW + 1, "{}", shared.names.values.len());
        assert!(Arc::ptr_eq(&kept, &shared.name(&other)));
    }
}
