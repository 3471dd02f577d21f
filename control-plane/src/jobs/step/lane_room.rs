//! How much more a job writes for a subscription: none while much waits for it. Its endpoint takes less than is written then, or nothing
//! at all, and all of the job would come to stand in its lane. Decides; reads what is known of lanes.

use std::collections::BTreeMap;

use schemas::ids::SubscriptionId;

use super::{JobPart, NotNow, Steps};
use crate::jobs::known::KnownJob;

/// Deliveries that may wait for a subscription while more of a job is written for it. What was written is known to wait a second or two
/// later: with two seconds of the rate that most jobs have these are less than 500 in all.
const WAITING: u64 = 250;
/// Seconds of a job's rate that may wait where that is more.
const SECONDS: u64 = 2;

/// How many deliveries a part has for each subscription.
pub(super) type PartReceivers = BTreeMap<SubscriptionId, u64>;

impl Steps {
    /// Takes a place for a delivery to each of these, or for none.
    ///
    /// # Errors
    /// One of them has none now; which.
    pub(super) fn take_places(
        &self,
        part: &mut JobPart,
        job: &KnownJob,
        receivers: impl Iterator<Item = SubscriptionId> + Clone,
    ) -> Result<(), NotNow> {
        if !job.definition.is_bulk() {
            return Ok(());
        }
        let now_ms = chassis::clock::now_ms();
        for receiver in receivers.clone() {
            // Where nobody knows how it is, the rate is all that bounds it.
            let waiting = self.health.of(receiver, now_ms).record.map_or(0, |lane| lane.queued);
            let of_part = part.receivers.get(&receiver).copied().unwrap_or(0);
            if !has_room(waiting, of_part, job.definition.rate_per_second) {
                return Err(format!("what waits for subscription {receiver} to be sent first"));
            }
        }
        receivers.for_each(|receiver| *part.receivers.entry(receiver).or_default() += 1);
        Ok(())
    }
}

fn has_room(waiting: u64, of_part: u64, rate_per_second: u32) -> bool {
    waiting + of_part < WAITING.max(u64::from(rate_per_second) * SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most deliveries of a job that wait in a lane which sends nothing, where what was written is known there so many parts later.
    fn most_of_a_dead_goal(rate: u32, late: usize) -> u64 {
        let (mut written, mut told) = (0, vec![0; late]);
        for _second in 0..100 {
            let known = told.remove(0);
            let part = (0..u64::from(rate)).take_while(|of_part| has_room(known, *of_part, rate)).count() as u64;
            written += part;
            told.push(written);
        }
        written
    }

    #[test]
    fn of_a_goal_that_takes_nothing_less_than_five_hundred_wait_at_the_rate_that_jobs_have() {
        for late in 1..=2 {
            let most = most_of_a_dead_goal(100, late);
            assert!((250..500).contains(&most), "{late} s: {most}");
        }
        assert!(most_of_a_dead_goal(1, 2) <= 252);
        assert!(most_of_a_dead_goal(1_000, 2) <= 4_000, "a faster one is let have a little more");
    }

    #[test]
    fn a_lane_that_sends_has_room() {
        assert!(has_room(0, 99, 100) && has_room(249, 0, 100) && !has_room(250, 0, 100) && !has_room(150, 100, 100));
        assert!(has_room(1_000, 999, 1_000));
    }
}
