//! Key rotation while serving: what a former key has sealed is sealed again with the current one, so that the former key can
//! be removed.
//!
//! ```text
//! survey: every object, by the key that sealed it --> all current? --> look again in an hour
//!                                                        | no
//!                     batch by batch, paced: Store (compare-and-set) <--+
//! ```
//!
//! Every replica does it, each beginning somewhere else; a batch that another one has done meanwhile writes nothing. The gauge
//! `hookbus_control_sealed_objects` and a log line tell when a key has no object left. An object that does not open is left as
//! it is, counted and logged: its key is missing from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use catalog::{Catalog, Snapshot, sealed};
use schemas::control::{ControlKey, ControlObject};
use schemas::ids::{ApplicationId, OrganizationId};
use tracing::{error, info, warn};
use vault::{Vault, VaultError};

use crate::actor::Actor;
use crate::config::Deps;
use crate::metrics::ControlMetrics;
use crate::problem::Problem;
use crate::store::{Change, Decision, Moment, Store};

/// Objects of one write: about 100 KB, and some milliseconds in which nobody else decides.
const BATCH: usize = 100;
/// Between two writes: those who manage go first. A million objects take an hour.
const PAUSE: Duration = Duration::from_millis(250);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Between two surveys when nothing is left: a replica with older keys may still write.
const SURVEY_PERIOD: Duration = Duration::from_secs(60 * 60);
/// Looks in a row that may find something left. More of them: a replica with another current key seals at the same time, as in
/// the middle of a rollout, and neither would ever be done.
const MAX_PASSES: usize = 10;
/// Objects looked at between two chances for others.
const SLICE: usize = 500;
/// Lines about objects that do not open; the counter goes on.
const MAX_LINES: usize = 20;

struct Resealer {
    catalog: Catalog,
    store: Store,
    metrics: ControlMetrics,
    /// Between two writes.
    pause: Duration,
    /// Where this replica begins among the objects: another place than the others.
    start: usize,
    /// What does not open; not tried again before the next start.
    stuck: BTreeSet<ControlKey>,
}

/// Who sealed what.
#[derive(Debug, Default)]
struct Survey {
    /// Objects by key id.
    counts: BTreeMap<String, i64>,
    /// What the current key has not sealed.
    left: Vec<ControlKey>,
}

/// Runs until shutdown is requested.
pub(crate) async fn run(deps: Deps, store: Store, metrics: ControlMetrics) -> Result<(), Infallible> {
    let shutdown = deps.tasks.shutdown().clone();
    let slot = deps.kafka.slot.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let catalog = deps.catalog;
    let mut resealer = Resealer { catalog, store, metrics, pause: PAUSE, start: slot, stuck: BTreeSet::new() };
    let work = async {
        resealer.catalog.caught_up().await;
        loop {
            resealer.round().await;
            tokio::time::sleep(SURVEY_PERIOD).await;
        }
    };
    tokio::select! {
        () = work => Ok(()),
        () = shutdown.requested() => Ok(()),
    }
}

// === impl Resealer ===

impl Resealer {
    /// Seals everything again that needs it.
    async fn round(&mut self) {
        let mut survey = self.survey().await;
        let total = survey.left.len();
        if total > 0 {
            info!(objects = total, key = self.vault().current_id(), "sealing again what former keys have sealed");
        }
        let mut passes = 0;
        while !survey.left.is_empty() {
            if passes == MAX_PASSES {
                warn!(left = survey.left.len(), "others go on sealing with another key, going on in an hour");
                return;
            }
            passes += 1;
            let start = self.start % survey.left.len();
            survey.left.rotate_left(start);
            for keys in survey.left.chunks(BATCH) {
                self.batch(keys).await;
                tokio::time::sleep(self.pause).await;
            }
            survey = self.survey().await;
            info!(left = survey.left.len(), of = total, "sealed again with the current key");
        }
        if total > 0 {
            let stuck = self.stuck.len();
            info!(objects = total, stuck, key = self.vault().current_id(), "nothing is left to be sealed again");
        }
    }

    /// One write, tried until it is made or refused for good.
    async fn batch(&mut self, keys: &[ControlKey]) {
        loop {
            // Another replica may have done it: that costs no write then.
            let open: Vec<ControlKey> =
                keys.iter().filter(|key| !is_current(&self.catalog.read(), key, self.vault())).cloned().collect();
            if open.is_empty() {
                return;
            }
            let outcome = self.write(open.clone()).await;
            match outcome {
                Ok((done, failed)) => {
                    self.metrics.resealed.with_label_values(&["done"]).inc_by(done);
                    failed.into_iter().for_each(|(key, error)| self.give_up(key, &error));
                    return;
                }
                Err(problem) if problem.status >= 500 => {
                    warn!(detail = problem.detail, "cannot seal again now, trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(problem) => {
                    error!(objects = open.len(), detail = problem.detail, "a batch cannot be sealed again");
                    self.stuck.extend(open);
                    return;
                }
            }
        }
    }

    async fn write(&self, keys: Vec<ControlKey>) -> Result<(u64, Vec<(ControlKey, VaultError)>), Problem> {
        let vault = std::sync::Arc::clone(self.catalog.vault());
        let decide = move |snapshot: &Snapshot, _moment: Moment| {
            let (mut changes, mut failed) = (Vec::new(), Vec::new());
            for key in &keys {
                // What a newer release wrote is that one's to seal again.
                let found = find(snapshot, key).filter(|_| snapshot.newer(key).is_none());
                let Some(mut object) = found else { continue };
                match reseal(&vault, key, &mut object) {
                    Ok(true) => changes.push(Change::Put(object)),
                    Ok(false) => {}
                    Err(error) => failed.push((key.clone(), error)),
                }
            }
            let done = u64::try_from(changes.len()).unwrap_or(u64::MAX);
            Ok(Decision::of(changes, (done, failed)))
        };
        self.store.write_own(&Actor::system("reseal"), decide).await
    }

    fn give_up(&mut self, key: ControlKey, error: &VaultError) {
        self.metrics.resealed.with_label_values(&["failed"]).inc();
        if self.stuck.len() < MAX_LINES {
            error!(%key, %error, "a secret does not open, it stays as it is");
        }
        self.stuck.insert(key);
    }

    /// Looks at every object, a slice at a time. The gauges say what it found.
    async fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        let scopes = scopes(&self.catalog.read());
        for scope in scopes {
            let objects = keys_in(&self.catalog.read(), scope);
            for keys in objects.chunks(SLICE) {
                self.look(keys, &mut survey);
                tokio::task::yield_now().await;
            }
        }
        self.look_at_answers(&mut survey).await;
        let configured = self.vault().key_ids().map(|id| (id.to_owned(), 0));
        let mut counts: BTreeMap<String, i64> = configured.collect();
        counts.extend(std::mem::take(&mut survey.counts));
        self.metrics.sealed.reset();
        for (key, count) in &counts {
            self.metrics.sealed.with_label_values(&[key]).set(*count);
        }
        survey.counts = counts;
        survey
    }

    /// Answers that are kept are not sealed again: they are gone after a day. Until then their keys are needed.
    async fn look_at_answers(&self, survey: &mut Survey) {
        let answers: Vec<_> = self.catalog.read().kept_answers().cloned().collect();
        for answers in answers.chunks(SLICE) {
            for id in answers.iter().flat_map(|it| it.key_ids()) {
                *survey.counts.entry(id).or_default() += 1;
            }
            tokio::task::yield_now().await;
        }
    }

    fn look(&self, keys: &[ControlKey], survey: &mut Survey) {
        let current = self.vault().current_id();
        for key in keys {
            let (found, is_newer) = {
                let snapshot = self.catalog.read();
                (find(&snapshot, key), snapshot.newer(key).is_some())
            };
            let Some(object) = found else { continue };
            let ids: BTreeSet<&str> = object.sealed().into_iter().map(|sealed| sealed.kid.as_str()).collect();
            if ids.iter().any(|id| *id != current) && !is_newer && !self.stuck.contains(key) {
                survey.left.push(key.clone());
            }
            for id in ids {
                *survey.counts.entry(id.to_owned()).or_default() += 1;
            }
        }
    }

    fn vault(&self) -> &Vault {
        self.catalog.vault()
    }
}

/// Where objects with secrets are.
#[derive(Clone, Copy, Debug)]
enum ResealScope {
    Instance,
    Organization(OrganizationId),
    Application(ApplicationId),
}

fn scopes(snapshot: &Snapshot) -> Vec<ResealScope> {
    let organizations = snapshot.organizations().map(|it| ResealScope::Organization(it.organization_id));
    let applications = snapshot.applications().map(|it| ResealScope::Application(it.application_id));
    [ResealScope::Instance].into_iter().chain(organizations).chain(applications).collect()
}

fn keys_in(snapshot: &Snapshot, scope: ResealScope) -> Vec<ControlKey> {
    match scope {
        ResealScope::Instance => {
            snapshot.schema_registries().keys().map(|id| ControlKey::SchemaRegistry(*id)).collect()
        }
        ResealScope::Organization(id) => {
            snapshot.service_tokens(id).map(|it| ControlKey::ServiceToken(id, it.token_id)).collect()
        }
        ResealScope::Application(id) => {
            let secrets = snapshot.application_secrets(id).map(|it| ControlKey::ApplicationSecret(id, it.secret_id));
            let subscriptions = snapshot.subscriptions(id).map(|it| ControlKey::Subscription(id, it.id()));
            secrets.chain(subscriptions).collect()
        }
    }
}

fn find(snapshot: &Snapshot, key: &ControlKey) -> Option<ControlObject> {
    match key {
        ControlKey::ServiceToken(_, id) => {
            snapshot.service_token(*id).map(|it| ControlObject::ServiceToken((**it).clone()))
        }
        ControlKey::ApplicationSecret(application, id) => {
            let found = snapshot.application_secret(*application, *id);
            found.map(|it| ControlObject::ApplicationSecret((**it).clone()))
        }
        ControlKey::Subscription(_, id) => {
            snapshot.subscription(*id).map(|it| ControlObject::Subscription(Box::new(it.object())))
        }
        ControlKey::SchemaRegistry(id) => {
            snapshot.schema_registry(*id).map(|it| ControlObject::SchemaRegistry(Box::new((**it).clone())))
        }
        ControlKey::Organization(_)
        | ControlKey::Application(..)
        | ControlKey::RetiredApplication(_)
        | ControlKey::EventType(..)
        | ControlKey::Source(..)
        | ControlKey::KeptAnswer(..)
        | ControlKey::CancelledJob(..) => None,
    }
}

/// Whether nothing is to be done: sealed with the current key, or gone.
fn is_current(snapshot: &Snapshot, key: &ControlKey, vault: &Vault) -> bool {
    find(snapshot, key).is_none_or(|it| it.sealed().iter().all(|sealed| sealed.kid == vault.current_id()))
}

fn reseal(vault: &Vault, key: &ControlKey, object: &mut ControlObject) -> Result<bool, VaultError> {
    let context = key.to_string();
    let mut changed = false;
    for value in object.sealed_mut() {
        changed |= sealed::reseal(vault, &context, value)?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests;
