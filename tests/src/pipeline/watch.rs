//! Watches what the processes of a pipeline hold while it runs: their gauges once a second, as often as they change, and the
//! highest resident memory when it is asked for. Nothing waits for it, and only what is above a limit is ever judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::config::Config;
use chassis::tasks;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::roles::Role;
use crate::http::Http;
use crate::ledger::memory::{self, Gauges};
use crate::supervisor::sum_of;

/// Roles set their gauges once a second.
const EVERY: Duration = Duration::from_secs(1);
/// A process that is frozen or gone does not hold up the others.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The watcher. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Watcher,
    _stop: DropGuard,
}

#[derive(Clone, Debug)]
struct Watcher {
    http: Http,
    processes: Arc<[Watched]>,
    most: Arc<Mutex<BTreeMap<(Role, usize), Gauges>>>,
}

#[derive(Debug)]
struct Watched {
    key: (Role, usize),
    url: String,
    gauges: Vec<&'static str>,
}

// === impl Watch ===

impl Watch {
    /// Watches these processes by their admin ports, whether they run or not.
    pub(super) fn start(config: &Config, ports: impl Iterator<Item = ((Role, usize), u16)>) -> Self {
        let processes = ports.map(|(key, port)| Watched {
            key,
            url: format!("http://127.0.0.1:{port}/metrics"),
            gauges: memory::gauges(config, key.0).into_iter().map(|(name, _)| name).collect(),
        });
        let watcher = Watcher { http: Http::default(), processes: processes.collect(), most: Arc::default() };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let work = watcher.clone();
        drop(tasks::spawn("watch", work.run(stopped)));
        Self { watcher, _stop: stop.drop_guard() }
    }

    /// Looks once more.
    pub(super) async fn look(&self) {
        self.watcher.look().await;
    }

    /// The highest values seen of a process.
    pub(super) fn most(&self, key: (Role, usize)) -> Gauges {
        self.watcher.most.lock().get(&key).cloned().unwrap_or_default()
    }
}

// === impl Watcher ===

impl Watcher {
    async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look().await;
        }
    }

    async fn look(&self) {
        for process in self.processes.iter() {
            let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_WITHIN, self.http.get(&process.url)).await else {
                continue;
            };
            self.take(process, &String::from_utf8_lossy(&answer.body));
        }
    }

    fn take(&self, process: &Watched, metrics: &str) {
        let mut most = self.most.lock();
        let known = most.entry(process.key).or_default();
        for name in &process.gauges {
            // Gauges are whole numbers.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counts, and saturating is meant"
            )]
            let value = sum_of(metrics, name).map(|value| value.max(0.0) as u64);
            if let Some(value) = value {
                let highest = known.entry(name).or_insert(value);
                *highest = value.max(*highest);
            }
        }
    }
}
