//! The endpoints that fail: how many there are, and the worst of them with how often in a row and how much was sent again.

use std::cmp::Reverse;

use schemas::ids::{ApplicationId, SubscriptionId};

use super::{Engine, Lookup};

/// What is told of endpoints that fail.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FailingEndpoints {
    /// How many there are in all.
    pub(crate) count: usize,
    /// Those that failed most often in a row, the worst first.
    pub(crate) worst: Vec<FailingEndpoint>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FailingEndpoint {
    /// Whose.
    pub(crate) application: ApplicationId,
    /// Which.
    pub(crate) subscription: SubscriptionId,
    /// Failures in a row, as seen here.
    pub(crate) in_a_row: u32,
    /// How much of what it was sent in the last ten minutes was sent again, from 0 to 1, where that is counted.
    pub(crate) repeated: Option<f64>,
}

impl<L: Lookup> Engine<L> {
    /// Endpoints whose last requests failed, at most so many by name. It costs as much as there are of them.
    pub(crate) fn failing(&mut self, most: usize, now_ms: i64) -> FailingEndpoints {
        let Self { failing, lanes, recent, lookup, .. } = self;
        let in_a_row = |id: &SubscriptionId| lanes.get(id).map_or(0, |lane| lane.streak.in_a_row());
        failing.retain(|id| in_a_row(id) > 0);
        let mut worst: Vec<(Reverse<u32>, SubscriptionId)> =
            failing.iter().map(|id| (Reverse(in_a_row(id)), *id)).collect();
        worst.sort_unstable();
        worst.truncate(most);
        let told = worst.into_iter().filter_map(|(Reverse(in_a_row), subscription)| {
            let application = lookup.subscription(subscription)?.application();
            let repeated = recent.repeated_share(subscription, now_ms);
            Some(FailingEndpoint { application, subscription, in_a_row, repeated })
        });
        FailingEndpoints { worst: told.collect(), count: failing.len() }
    }
}
