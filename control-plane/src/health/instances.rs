//! Which processes say on `status` that they run, by role: also those that nobody scrapes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use catalog::usage::HearsStatus;
use parking_lot::Mutex;
use schemas::status::Status;

/// A process tells at least once a minute; one that was silent for longer than twice that is not known to run.
const SILENT_MS: i64 = 120_000;
/// Processes that are remembered, however many write records.
const MAX_INSTANCES: usize = 10_000;

/// See the module. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instances(Arc<Mutex<HeardInstances>>);

#[derive(Debug, Default)]
struct HeardInstances {
    by_key: BTreeMap<String, Arc<Status>>,
    /// What was told before this process started was read.
    is_all: bool,
}

/// Whether every process that runs reads a shape of objects.
#[derive(Clone, Debug)]
pub(crate) enum ShapeReaders {
    /// All of them do.
    All,
    /// The first that does not.
    NotThis(Arc<Status>),
    /// Not everybody was heard yet.
    Unknown,
}

/// Processes of a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InstanceCounts {
    /// That said something lately.
    pub(crate) running: u32,
    /// That have said nothing for two minutes and did not take their report back.
    pub(crate) silent: u32,
}

// === impl Instances ===

impl Instances {
    /// By role; only roles of which something is known.
    pub(crate) fn counts(&self, now_ms: i64) -> BTreeMap<String, InstanceCounts> {
        let mut counts: BTreeMap<String, InstanceCounts> = BTreeMap::new();
        for said in self.0.lock().by_key.values() {
            let of = counts.entry(said.role.clone()).or_default();
            if is_silent(said, now_ms) {
                of.silent += 1;
            } else {
                of.running += 1;
            }
        }
        counts
    }

    /// Whether all that run read objects of this shape whole. Control planes say nothing of themselves: one that does not read it
    /// leaves such objects alone.
    pub(crate) fn read(&self, shape: u8, now_ms: i64) -> ShapeReaders {
        let heard = self.0.lock();
        let older = heard.by_key.values().find(|said| said.reads() < shape && !is_silent(said, now_ms));
        match older {
            Some(said) => ShapeReaders::NotThis(Arc::clone(said)),
            None if heard.is_all => ShapeReaders::All,
            None => ShapeReaders::Unknown,
        }
    }

    /// One of a role that runs and is of an older release than this version, or does not say of which it is.
    pub(crate) fn older(&self, role: &str, than: &str, now_ms: i64) -> Option<String> {
        let is_older = |said: &Status| said.version.as_deref().and_then(numbers) < numbers(than);
        let heard = self.0.lock();
        let found = heard.by_key.values().find(|said| said.role == role && !is_silent(said, now_ms) && is_older(said));
        found.map(|said| said.instance.clone())
    }

    /// What each said last, by `role/instance`, of those behind this one.
    pub(crate) fn said(&self, after: Option<&str>) -> Vec<(String, Arc<Status>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let instances = &self.0.lock().by_key;
        instances.range::<str, _>((from, Bound::Unbounded)).map(|(key, said)| (key.clone(), Arc::clone(said))).collect()
    }
}

/// Whether an instance that said this last is not known to run.
pub(crate) fn is_silent(said: &Status, now_ms: i64) -> bool {
    now_ms.saturating_sub(said.at_ms) > SILENT_MS
}

/// What is compared of a version such as `1.2.3-rc.1`. `None`: it is no version.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let release = version.split(['-', '+']).next()?;
    let numbers: Vec<u64> = release.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

/// Without what others remember, and what may be large.
fn kept(status: &Status) -> Status {
    Status {
        v: status.v,
        role: status.role.clone(),
        instance: status.instance.clone(),
        at_ms: status.at_ms,
        partitions: status.partitions,
        live: status.live,
        in_flight: status.in_flight,
        delivery: status.delivery,
        lanes: None,
        fanout: status.fanout,
        sources: None,
        retry: status.retry.clone(),
        gateway: status.gateway.clone(),
        tokens: BTreeMap::new(),
        version: status.version.clone(),
        revision: status.revision.clone(),
        reads_shape: status.reads_shape,
    }
}

impl HearsStatus for Instances {
    fn hears(&self, key: &str, status: Option<&Status>) {
        let instances = &mut self.0.lock().by_key;
        let Some(status) = status else {
            instances.remove(key);
            return;
        };
        // Records about tokens and sources have longer keys, and whoever may write the topic can write anything.
        let is_own = Status::key(&status.role, &status.instance) == key;
        if is_own && (instances.len() < MAX_INSTANCES || instances.contains_key(key)) {
            instances.insert(key.to_owned(), Arc::new(kept(status)));
        }
    }

    fn heard_all(&self) {
        self.0.lock().is_all = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_runs_and_who_took_its_report_back_is_gone() {
        let instances = Instances::default();
        let status = |role: &str, instance: &str, at_ms| Status::new(role, instance, at_ms);
        instances.hears("delivery/1", Some(&status("delivery", "1", 1_000)));
        instances.hears("delivery/2", Some(&status("delivery", "2", 1_000 + SILENT_MS)));
        instances.hears("fanout/1", Some(&status("fanout", "1", 1_000)));
        instances.hears("fanout/1/sources-0", Some(&status("fanout", "1", 1_000)));
        instances.hears("retry/1", Some(&status("gateway", "1", 1_000)));
        let now_ms = 1_001 + SILENT_MS;
        let counts = instances.counts(now_ms);
        assert_eq!(counts["delivery"], InstanceCounts { running: 1, silent: 1 });
        assert_eq!(counts["fanout"], InstanceCounts { running: 0, silent: 1 });
        assert_eq!(counts.len(), 2, "what speaks for somebody else says nothing");
        instances.hears("fanout/1", None);
        assert!(!instances.counts(now_ms).contains_key("fanout"));
    }
    #[test]
    fn who_runs_of_an_older_release_is_known_and_who_does_not_say_counts_as_one() {
        let instances = Instances::default();
        let hears = |instance: &str, role: &str, version: Option<&str>, at_ms| {
            let said = Status { version: version.map(str::to_owned), ..Status::new(role, instance, at_ms) };
            instances.hears(&Status::key(role, instance), Some(&said));
        };
        let older = |than: &str| instances.older("delivery", than, 1_001 + SILENT_MS);
        hears("1", "delivery", Some("1.10.0"), 2_000);
        hears("2", "delivery", Some("1.9.0"), 1_000);
        hears("3", "retry", Some("1.0.0"), 2_000);
        assert_eq!(older("1.10.0"), None, "one of before is silent, one of another role is no matter");
        assert_eq!(older("1.10.1").as_deref(), Some("1"));
        assert_eq!(older("1.9.9"), None, "a newer one knows what this one asks for");
        hears("4", "delivery", None, 2_000);
        assert_eq!(older("1.10.0").as_deref(), Some("4"));
        hears("4", "delivery", Some("main"), 2_000);
        assert_eq!(older("1.10.0").as_deref(), Some("4"));
        hears("4", "delivery", Some("1.10.0-rc.1"), 2_000);
        assert_eq!(older("1.10.0"), None);
    }
}
