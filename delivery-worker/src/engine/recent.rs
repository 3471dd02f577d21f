//! The lanes with which something happens or lately did, and how their requests ended: what `status` tells of them one by one.
//!
//! A lane comes in with its first delivery and goes once nothing waits, nothing is in flight, and nothing happened for a while.
//! There is room for [`MAX_LANES`]; where there are more, those that came later are left out until there is, and that is said.

use hashbrown::HashMap;
use schemas::ids::SubscriptionId;
use schemas::status::{LaneHealth, LanesHealth, MAX_LANES};

use super::{Engine, Lookup};
use crate::lanes::Lane;

/// Ends are counted in periods; what is told are the present one and the one before.
const PERIOD_MS: i64 = 300_000;
/// A lane with which nothing happened for so long has nothing to tell.
const RECENT_MS: i64 = 2 * PERIOD_MS;
/// Lanes that found no room are looked for again this often: it takes a look at every lane.
const SEARCH_EVERY_MS: i64 = 60_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RecentLanes {
    of: HashMap<SubscriptionId, RecentEnds>,
    /// Some found no room; when they are looked for next, ms.
    search_ms: Option<i64>,
}

/// How requests of one lane ended. Times are the engine's.
#[derive(Clone, Copy, Debug)]
struct RecentEnds {
    used_ms: i64,
    /// Since when ends are counted.
    from_ms: i64,
    /// When the present period began.
    period_ms: i64,
    now: EndCounts,
    before: EndCounts,
}

#[derive(Clone, Copy, Debug, Default)]
struct EndCounts {
    all: u64,
    succeeded: u64,
    /// Those that were not the first of their delivery.
    repeated: u64,
}

impl RecentLanes {
    /// Something happens with a lane.
    pub(super) fn touch(&mut self, id: SubscriptionId, now_ms: i64) {
        match self.of.get_mut(&id) {
            Some(ends) => ends.used_ms = now_ms,
            None => self.enter(id, now_ms),
        }
    }

    /// A lane comes in, if it is not there yet and there is room.
    fn enter(&mut self, id: SubscriptionId, now_ms: i64) {
        if self.of.contains_key(&id) {
            return;
        }
        if self.of.len() < MAX_LANES {
            self.of.insert(id, RecentEnds::new(now_ms));
        } else {
            self.search_ms.get_or_insert(now_ms + SEARCH_EVERY_MS);
        }
    }

    /// A request of a lane ended.
    pub(super) fn on_end(&mut self, id: SubscriptionId, (has_succeeded, is_repeated): (bool, bool), now_ms: i64) {
        self.touch(id, now_ms);
        let Some(ends) = self.of.get_mut(&id) else { return };
        ends.pass(now_ms);
        ends.now.all += 1;
        ends.now.succeeded += u64::from(has_succeeded);
        ends.now.repeated += u64::from(is_repeated);
    }

    /// How much of what a lane was sent in the last ten minutes was sent again: from 0 to 1. `None`: it is not counted here.
    pub(super) fn repeated_share(&mut self, id: SubscriptionId, now_ms: i64) -> Option<f64> {
        let ends = self.of.get_mut(&id)?;
        ends.pass(now_ms);
        let (all, repeated) = (ends.now.all + ends.before.all, ends.now.repeated + ends.before.repeated);
        #[expect(clippy::cast_precision_loss, reason = "requests of ten minutes are far below 2^52")]
        (all > 0).then(|| repeated as f64 / all as f64)
    }

    /// Whether lanes that found no room are looked for now.
    fn searches(&self, now_ms: i64) -> bool {
        self.search_ms.is_some_and(|at_ms| at_ms <= now_ms) && self.of.len() < MAX_LANES
    }
}

impl RecentEnds {
    fn new(now_ms: i64) -> Self {
        Self {
            used_ms: now_ms,
            from_ms: now_ms,
            period_ms: now_ms,
            now: EndCounts::default(),
            before: EndCounts::default(),
        }
    }

    /// Lets time pass: what is older than two periods is forgotten.
    fn pass(&mut self, now_ms: i64) {
        let passed = (now_ms - self.period_ms) / PERIOD_MS;
        if passed <= 0 {
            return;
        }
        self.before = if passed == 1 { self.now } else { EndCounts::default() };
        self.now = EndCounts::default();
        self.period_ms += passed * PERIOD_MS;
        self.from_ms = self.from_ms.max(self.period_ms - PERIOD_MS);
    }
}

impl<L: Lookup> Engine<L> {
    /// What is told of these partitions' lanes. It costs as much as there are lanes to tell of, however much waits in them.
    pub(crate) fn lanes_health(&mut self, partitions: Vec<i32>, now_ms: i64) -> LanesHealth {
        let Self { recent, lanes, live, wall, .. } = self;
        let is_wanted = |lane: &Lane, used_ms: i64| !lane.is_idle() || now_ms - used_ms < RECENT_MS;
        recent.of.retain(|id, ends| lanes.get(id).is_some_and(|lane| is_wanted(lane, ends.used_ms)));
        if recent.searches(now_ms) {
            recent.search_ms = None;
            lanes
                .iter()
                .filter(|(_, lane)| is_wanted(lane, lane.used_ms))
                .for_each(|(id, lane)| recent.enter(*id, lane.used_ms));
        }
        let told = recent.of.iter_mut().filter_map(|(id, ends)| {
            ends.pass(now_ms);
            let lane = lanes.get(id)?;
            let oldest = lane.queue.oldest_ready().filter_map(|ticket| live.get(ticket));
            let health = LaneHealth {
                in_flight: u64::from(lane.cap.in_flight()),
                window: lane.cap.places(),
                waiting: lane.queue.len() as u64,
                oldest_ms: oldest.map(|live| live.arrival.timestamp_ms).min(),
                failing_since_ms: lane.streak.failing_since_ms(),
                success_ms: lane.streak.succeeded_ms(),
                from_ms: wall.ms(ends.from_ms),
                ended: ends.now.all + ends.before.all,
                succeeded: ends.now.succeeded + ends.before.succeeded,
            };
            Some((*id, health))
        });
        LanesHealth { partitions, of: told.collect(), is_cut: recent.search_ms.is_some() }
    }
}
