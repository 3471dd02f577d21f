//! Which processes say on `status` that they run, by role: also those that nobody scrapes.

use std::collections::BTreeMap;
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
pub(crate) struct Instances(Arc<Mutex<BTreeMap<String, (String, i64)>>>);

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
        for (role, at_ms) in self.0.lock().values() {
            let of = counts.entry(role.clone()).or_default();
            if now_ms - at_ms > SILENT_MS {
                of.silent += 1;
            } else {
                of.running += 1;
            }
        }
        counts
    }
}

impl HearsStatus for Instances {
    fn hears(&self, key: &str, status: Option<&Status>) {
        let mut instances = self.0.lock();
        let Some(status) = status else {
            instances.remove(key);
            return;
        };
        // Records about tokens and sources have longer keys, and whoever may write the topic can write anything.
        let is_own = Status::key(&status.role, &status.instance) == key;
        if is_own && (instances.len() < MAX_INSTANCES || instances.contains_key(key)) {
            instances.insert(key.to_owned(), (status.role.clone(), status.at_ms));
        }
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
}
