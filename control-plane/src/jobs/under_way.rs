//! How much of what a job has written may be under way: written, and not ended as far as the delivery log says. Pure.
//!
//! What waits in a lane is no measure: a lane that is busy with other traffic would hold the job. Nor is a rate one: an endpoint that
//! hangs ends nothing.

use std::collections::BTreeMap;

use delivery_log::{Day, EndedOnDay};
use schemas::ids::SubscriptionId;
use schemas::jobs::JobWritten;

/// So much may be under way of any job.
const LEAST: u64 = 500;
/// Else what it writes in so many seconds.
const SECONDS: u64 = 4;
/// After the end of a day, until nothing more is said to have ended on it: clocks differ, and transactions take their time.
const OVER_MS: i64 = 3_600_000;

/// See the module.
#[derive(Debug)]
pub(super) struct JobBound {
    /// Of one subscription, or of all where they are not told apart.
    allowed: u64,
    /// What ended, as far as it was not taken off what was written.
    all: u64,
    of: BTreeMap<SubscriptionId, u64>,
}

// === impl JobBound ===

impl JobBound {
    /// Of a job that writes so many in a second. What ended up to the last day that is over is taken off what was written: that day may
    /// be given up before the job ends.
    pub(super) fn new(written: &mut JobWritten, ended: Vec<EndedOnDay>, rate: u32, now_ms: i64) -> Self {
        let over = Day::of(now_ms.saturating_sub(OVER_MS)).minus(1);
        let known = written.ended_to_day();
        let (mut settled, mut since) = (EndedSum::default(), EndedSum::default());
        for day in ended.into_iter().filter(|ended| known.is_none_or(|known| ended.day.number() > known)) {
            if day.day <= over { settled.add(day) } else { since.add(day) }
        }
        if written.total() > 0 && known.is_none_or(|known| known < over.number()) {
            written.settle(over.number(), settled.all, &settled.of);
        }
        let allowed = LEAST.max(SECONDS * u64::from(rate));
        Self { allowed, all: since.all, of: since.of }
    }

    /// Whether something may be written, after which so much is. `goals`: for whom it is. What one event makes is never divided: it goes
    /// where nothing else is under way.
    ///
    /// # Errors
    /// Too much is under way; what the job waits for.
    pub(super) fn admits(
        &self,
        before: &JobWritten,
        after: &JobWritten,
        goals: &[SubscriptionId],
    ) -> Result<(), String> {
        if let Some(together) = after.together() {
            let is_alone = before.total() <= self.all;
            let is_more = together.saturating_sub(self.all) > self.allowed;
            return if goals.is_empty() || is_alone || !is_more { Ok(()) } else { Err(self.full_of_all()) };
        }
        let is_full = |goal: &&SubscriptionId| after.to(**goal).saturating_sub(self.ended(**goal)) > self.allowed;
        goals.iter().find(is_full).map_or(Ok(()), |goal| Err(self.full_of(*goal)))
    }

    /// Whether anything more may be written for one that is known beforehand, or for anybody at all.
    ///
    /// # Errors
    /// Too much is under way; what the job waits for.
    pub(super) fn has_room(&self, written: &JobWritten, goal: Option<SubscriptionId>) -> Result<(), String> {
        match (written.together(), goal) {
            (Some(together), _) if together.saturating_sub(self.all) >= self.allowed => Err(self.full_of_all()),
            (None, Some(goal)) if written.to(goal).saturating_sub(self.ended(goal)) >= self.allowed => {
                Err(self.full_of(goal))
            }
            _ => Ok(()),
        }
    }

    fn ended(&self, goal: SubscriptionId) -> u64 {
        self.of.get(&goal).copied().unwrap_or(0)
    }

    fn full_of(&self, goal: SubscriptionId) -> String {
        format!("{} of its deliveries to subscription {goal} are under way: it goes on as they end", self.allowed)
    }

    fn full_of_all(&self) -> String {
        format!("{} of its deliveries are under way: it goes on as they end", self.allowed)
    }
}

/// What ended on some days.
#[derive(Default)]
struct EndedSum {
    all: u64,
    of: BTreeMap<SubscriptionId, u64>,
}

// === impl EndedSum ===

impl EndedSum {
    fn add(&mut self, day: EndedOnDay) {
        self.all += day.all;
        for (subscription, count) in day.of {
            *self.of.entry(subscription).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests;
