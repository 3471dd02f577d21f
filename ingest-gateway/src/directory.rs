//! Who may send what: the catalog as the gateway asks it, and the recheck before a refusal.

use std::pin::Pin;
use std::time::Instant;

use catalog::{Catalog, Role};
use chassis::clock;
use parking_lot::Mutex as SyncMutex;
use schemas::ids::ApplicationId;
use secrecy::{ExposeSecret as _, SecretString};
use vault::LookupHash;

use crate::config::{RECHECK_PACE, RECHECK_TIMEOUT};

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The admin key: any application.
    Admin,
    /// A token of one application that may send.
    Application(ApplicationId),
    /// A token that may only read.
    ReadOnly,
}

/// A boxed step of a directory.
pub(crate) type Step<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the gateway asks the catalog. A trait, because a catalog that changes needs Kafka, and tests have none.
pub(crate) trait Directory: Send + Sync {
    /// Whose token it is.
    fn caller(&self, token: &str) -> Option<Caller>;
    /// The application of an id or uid.
    fn application(&self, id_or_uid: &str) -> Option<ApplicationId>;
    /// Whether an application has declared an event type.
    fn has_event_type(&self, application: ApplicationId, name: &str) -> bool;
    /// Resolves at the first catch-up.
    fn caught_up(&self) -> Step<'_, ()>;
    /// Waits until what was written before the call is seen; the error is for people.
    fn refresh(&self) -> Step<'_, Result<(), String>>;
}

/// The directory over a catalog.
#[derive(Debug)]
pub(crate) struct CatalogDirectory {
    catalog: Catalog,
    /// Hashed like every token: comparing hashes under a secret key tells nothing by its timing.
    admin: Option<LookupHash>,
}

/// Refreshes at most every [`RECHECK_PACE`], each for everybody who asked before it started.
///
/// A negative answer is never remembered: who was refused, declares the type and tries again at once must succeed. The
/// flood of bad tokens that a memory would stop is paced instead.
#[derive(Debug, Default)]
pub(crate) struct Recheck {
    turn: tokio::sync::Mutex<()>,
    state: SyncMutex<State>,
}

#[derive(Debug, Default)]
struct State {
    started: u64,
    last_start: Option<Instant>,
    finished: Option<(u64, Result<(), String>)>,
}

// === impl CatalogDirectory ===

impl CatalogDirectory {
    pub(crate) fn new(catalog: Catalog, admin_key: Option<&SecretString>) -> Self {
        let admin = admin_key.map(|key| catalog.vault().lookup(key.expose_secret()));
        Self { catalog, admin }
    }
}

impl Directory for CatalogDirectory {
    fn caller(&self, token: &str) -> Option<Caller> {
        let lookup = self.catalog.vault().lookup(token);
        if self.admin == Some(lookup) {
            return Some(Caller::Admin);
        }
        let snapshot = self.catalog.read();
        let entry = snapshot.token(&lookup)?;
        Some(match entry.role {
            Role::Ingest | Role::Editor => Caller::Application(entry.application),
            Role::Viewer => Caller::ReadOnly,
        })
    }

    fn application(&self, id_or_uid: &str) -> Option<ApplicationId> {
        self.catalog.read().application(id_or_uid).map(|application| application.application_id)
    }

    fn has_event_type(&self, application: ApplicationId, name: &str) -> bool {
        self.catalog.read().event_type(application, name).is_some()
    }

    fn caught_up(&self) -> Step<'_, ()> {
        Box::pin(self.catalog.caught_up())
    }

    fn refresh(&self) -> Step<'_, Result<(), String>> {
        Box::pin(async { self.catalog.read_index().await.map(|_end| ()).map_err(|error| error.to_string()) })
    }
}

// === impl Recheck ===

impl Recheck {
    /// Waits for a refresh that started after this call.
    pub(crate) async fn refresh(&self, directory: &dyn Directory) -> Result<(), String> {
        let asked = self.state.lock().started;
        let within = tokio::time::timeout(RECHECK_TIMEOUT, self.refresh_after(asked, directory));
        within.await.unwrap_or_else(|_elapsed| Err("no answer in time".to_owned()))
    }

    async fn refresh_after(&self, asked: u64, directory: &dyn Directory) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        if let Some(outcome) = self.finished_after(asked) {
            return outcome;
        }
        let last = self.state.lock().last_start;
        if let Some(last) = last {
            tokio::time::sleep_until((last + RECHECK_PACE).into()).await;
        }
        let number = {
            let mut state = self.state.lock();
            state.started += 1;
            state.last_start = Some(clock::instant());
            state.started
        };
        let outcome = directory.refresh().await;
        self.state.lock().finished = Some((number, outcome.clone()));
        outcome
    }

    fn finished_after(&self, asked: u64) -> Option<Result<(), String>> {
        let state = self.state.lock();
        state.finished.as_ref().filter(|(number, _)| *number > asked).map(|(_, outcome)| outcome.clone())
    }
}
