//! What a job has written, by whom it is for, as far as it is not known to have ended: with what the delivery log counts since, that is
//! what the job has under way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::SubscriptionId;

/// Subscriptions that are told apart; beyond it all are counted together.
pub const MAX_GOALS: usize = 32;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWritten {
    /// By subscription.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    to: BTreeMap<SubscriptionId, u64>,
    /// Of all together, where there are too many to be told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<u64>,
    /// What ended up to this day, counted from 1970-01-01, is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_to_day: Option<i32>,
}

// === impl JobWritten ===

impl JobWritten {
    /// Of a job that has written so many for nobody knows whom: its runner did not say.
    #[must_use]
    pub fn untold(count: u64) -> Self {
        Self { all: (count > 0).then_some(count), ..Self::default() }
    }

    /// One more is written.
    pub fn add(&mut self, to: SubscriptionId) {
        if let Some(all) = &mut self.all {
            *all += 1;
            return;
        }
        *self.to.entry(to).or_default() += 1;
        if self.to.len() > MAX_GOALS {
            self.all = Some(std::mem::take(&mut self.to).into_values().sum());
        }
    }

    /// One that was to be written was not.
    pub fn take_back(&mut self, to: SubscriptionId) {
        self.take_off(1, &BTreeMap::from([(to, 1)]));
    }

    /// What ended up to a day is taken off: of all, and of each that is told apart.
    pub fn settle(&mut self, day: i32, all: u64, of: &BTreeMap<SubscriptionId, u64>) {
        self.take_off(all, of);
        self.ended_to_day = Some(day);
    }

    /// Those that are told apart.
    pub fn goals(&self) -> impl Iterator<Item = SubscriptionId> {
        self.to.keys().copied()
    }

    /// What was written for one that is told apart.
    #[must_use]
    pub fn to(&self, goal: SubscriptionId) -> u64 {
        self.to.get(&goal).copied().unwrap_or(0)
    }

    /// What was written for all together, where they are not told apart.
    #[must_use]
    pub fn together(&self) -> Option<u64> {
        self.all
    }

    /// What was written for all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.all.unwrap_or_else(|| self.to.values().sum())
    }

    /// Up to which day what has ended is taken off.
    #[must_use]
    pub fn ended_to_day(&self) -> Option<i32> {
        self.ended_to_day
    }

    fn take_off(&mut self, all: u64, of: &BTreeMap<SubscriptionId, u64>) {
        if let Some(left) = self.all {
            // Nobody is left to be told apart from.
            self.all = Some(left.saturating_sub(all)).filter(|left| *left > 0);
            return;
        }
        for (goal, ended) in of {
            if let Some(left) = self.to.get_mut(goal) {
                *left = left.saturating_sub(*ended);
            }
        }
        self.to.retain(|_, left| *left > 0);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn goal(number: u128) -> SubscriptionId {
        SubscriptionId(Uuid::from_u128(number))
    }

    #[test]
    fn what_is_written_is_told_apart_by_goal_until_there_are_too_many() {
        let mut written = JobWritten::default();
        for number in (0..32).chain([3, 3]) {
            written.add(goal(number));
        }
        assert_eq!((written.to(goal(3)), written.to(goal(4)), written.together(), written.total()), (3, 1, None, 34));
        written.take_back(goal(4));
        assert_eq!((written.goals().count(), written.total()), (31, 33), "who has nothing is not named");
        written.add(goal(4));
        written.add(goal(300));
        assert_eq!((written.goals().count(), written.together()), (0, Some(35)));
        written.add(goal(300));
        written.take_back(goal(3));
        assert_eq!((written.together(), written.total()), (Some(35), 35));
        written.settle(20_000, 35, &BTreeMap::new());
        assert_eq!((written.together(), written.ended_to_day()), (None, Some(20_000)), "they are told apart again");
        written.add(goal(1));
        assert_eq!(written.to(goal(1)), 1);
    }

    #[test]
    fn what_ended_up_to_a_day_is_taken_off_and_it_stands_in_a_record() {
        let mut written = JobWritten::default();
        for number in [1, 1, 1, 2] {
            written.add(goal(number));
        }
        written.settle(7, 3, &BTreeMap::from([(goal(1), 2), (goal(2), 1), (goal(9), 5)]));
        assert_eq!((written.to(goal(1)), written.goals().count(), written.total()), (1, 1, 1));
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(text, format!(r#"{{"to":{{"{}":1}},"ended_to_day":7}}"#, goal(1)));
        assert_eq!(serde_json::from_str::<JobWritten>(&text).unwrap(), written);
        assert_eq!(JobWritten::untold(0), JobWritten::default());
        assert_eq!(JobWritten::untold(9).together(), Some(9));
    }
}
