//! Who may send what: the catalog as the gateway asks it, and the recheck before a refusal.
//!
//! Nothing of an answer is kept: every request asks the snapshot, so a token that is revoked, expires or gets another role
//! opens nothing more as soon as the snapshot has the change.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use catalog::{Catalog, EventType, Snapshot, TokenScope};
use chassis::clock;
use parking_lot::Mutex as SyncMutex;
use schemas::control::Limits;
use schemas::ids::{ApplicationId, OrganizationId};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;
use vault::LookupHash;

use crate::config::{RECHECK_PACE, RECHECK_TIMEOUT};
use crate::limits::{Allowance, Senders};

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The admin key: any application.
    Admin,
    /// A token of one application that may send.
    Application(ApplicationId),
    /// A token of an organization that may send: any of its applications.
    Organization(OrganizationId),
    /// A token that may only read, of this organization.
    ReadOnly(Option<OrganizationId>),
}

/// An event type as it is declared, and whose limits its events count against.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    /// The declaration, where it asks something of an event.
    pub(crate) demanding: Option<Arc<EventType>>,
    /// Whether it is still accepted, but should not be sent any more.
    pub(crate) is_deprecated: bool,
    /// Whose limits.
    pub(crate) senders: Senders,
    /// Whether a repeat of an id that was acknowledged is told that it is one: not where its application says how long it is one, which
    /// the fan-out alone can tell.
    pub(crate) is_repeat_told: bool,
}

/// A boxed step of a directory.
pub(crate) type DirectoryAnswer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the gateway asks the catalog. A trait, because a catalog that changes needs Kafka, and tests have none.
pub(crate) trait Directory: Send + Sync {
    /// Whose token it is.
    fn caller(&self, token: &str) -> Option<Caller>;
    /// The application of an id or uid, among those the caller may send for: what others call theirs hides nothing.
    fn application(&self, caller: Caller, id_or_uid: &str) -> Option<ApplicationId>;
    /// An event type of an application.
    fn event_type(&self, application: ApplicationId, name: &str) -> Option<Declared>;
    /// Whose limits a request of this caller counts against, as far as the caller alone tells.
    fn senders(&self, caller: Caller) -> Option<Senders>;
    /// Whose limits what is refused of this caller counts against, whose requests count against those of these.
    fn refused_senders(&self, caller: Caller, senders: Senders) -> Senders;
    /// Resolves at the first catch-up.
    fn caught_up(&self) -> DirectoryAnswer<'_, ()>;
    /// Waits until what was written before the call is seen; the error is for people.
    fn refresh(&self) -> DirectoryAnswer<'_, Result<(), String>>;
}

/// The directory over a catalog.
#[derive(Debug)]
pub(crate) struct CatalogDirectory {
    catalog: Catalog,
    /// Hashed like every token: comparing hashes under a secret key tells nothing by its timing.
    admin: Vec<LookupHash>,
    /// Where neither an application nor its organization has a limit.
    default: Allowance,
}

/// Refreshes at most every [`RECHECK_PACE`], each for everybody who asked before it started.
///
/// A negative answer is never remembered: who was refused, declares the type and tries again at once must succeed. The
/// flood of bad tokens that a memory would stop is paced instead.
#[derive(Debug, Default)]
pub(crate) struct Recheck {
    turn: tokio::sync::Mutex<()>,
    state: SyncMutex<RecheckState>,
}

#[derive(Debug, Default)]
struct RecheckState {
    started: u64,
    last_start: Option<Instant>,
    finished: Option<(u64, Result<(), String>)>,
}

// === impl CatalogDirectory ===

impl CatalogDirectory {
    pub(crate) fn new(catalog: Catalog, admin_keys: &[SecretString], default: Allowance) -> Self {
        let admin = admin_keys.iter().map(|key| catalog.vault().lookup(key.expose_secret())).collect();
        Self { catalog, admin, default }
    }

    fn senders_of(&self, snapshot: &Snapshot, application: ApplicationId) -> Option<Senders> {
        let of = snapshot.application_by_id(application)?;
        let organization = snapshot.organization(of.organization_id);
        let organization_allowance = organization.map(|it| allowance(it.limits)).unwrap_or_default();
        let (application_allowance, shared_allowance) =
            allowance(of.limits).with_default(organization_allowance, self.default);
        let organization = of.organization_id;
        Some(Senders { application, application_allowance, organization, organization_allowance, shared_allowance })
    }
}

fn allowance(limits: Limits) -> Allowance {
    Allowance { per_second: limits.events_per_second, per_day: limits.events_per_day.map(u64::from) }
}

impl Directory for CatalogDirectory {
    fn caller(&self, token: &str) -> Option<Caller> {
        let lookup = self.catalog.vault().lookup(token);
        if self.admin.contains(&lookup) {
            return Some(Caller::Admin);
        }
        let snapshot = self.catalog.read();
        let now_ms = clock::now_ms();
        let entry = snapshot.token(&lookup).filter(|entry| entry.is_live(now_ms))?;
        self.catalog.used().touch(entry.token, now_ms);
        Some(match entry.scope {
            scope if !entry.role.may_send() => Caller::ReadOnly(match scope {
                TokenScope::Application(own) => snapshot.application_by_id(own).map(|it| it.organization_id),
                TokenScope::Organization(own) => Some(own),
            }),
            TokenScope::Application(application) => Caller::Application(application),
            TokenScope::Organization(organization) => Caller::Organization(organization),
        })
    }

    fn application(&self, caller: Caller, id_or_uid: &str) -> Option<ApplicationId> {
        let snapshot = self.catalog.read();
        let found = match caller {
            Caller::Admin => {
                let mut called = snapshot.applications_called(id_or_uid);
                let first = called.next();
                if called.next().is_none() { first } else { None }
            }
            Caller::Application(own) => snapshot.application_by_id(own).filter(|it| it.is_called(id_or_uid)),
            Caller::Organization(own) => snapshot.application_in(own, id_or_uid),
            Caller::ReadOnly(_) => None,
        };
        found.map(|it| it.application_id)
    }

    fn event_type(&self, application: ApplicationId, name: &str) -> Option<Declared> {
        let snapshot = self.catalog.read();
        let event_type = snapshot.event_type(application, name)?;
        Some(Declared {
            demanding: event_type.is_demanding().then(|| Arc::clone(event_type)),
            is_deprecated: event_type.is_deprecated(clock::now_ms()),
            senders: self.senders_of(&snapshot, application)?,
            is_repeat_told: snapshot.application_by_id(application)?.dedup_window_ms.is_none(),
        })
    }

    fn senders(&self, caller: Caller) -> Option<Senders> {
        let snapshot = self.catalog.read();
        match caller {
            Caller::Application(own) => self.senders_of(&snapshot, own),
            Caller::Organization(own) => Some(Senders {
                application: ApplicationId(Uuid::nil()),
                application_allowance: Allowance::default(),
                organization: own,
                organization_allowance: allowance(snapshot.organization(own)?.limits),
                // The application may have a limit of its own: whose it is the body tells.
                shared_allowance: Allowance::default(),
            }),
            Caller::Admin | Caller::ReadOnly(_) => None,
        }
    }

    fn refused_senders(&self, caller: Caller, senders: Senders) -> Senders {
        if !matches!(caller, Caller::Organization(_)) {
            return senders;
        }
        // What is refused of an organization's token may be of none of its applications.
        let (_, shared_allowance) = Allowance::default().with_default(senders.organization_allowance, self.default);
        Senders { shared_allowance, ..senders }
    }

    fn caught_up(&self) -> DirectoryAnswer<'_, ()> {
        Box::pin(self.catalog.caught_up())
    }

    fn refresh(&self) -> DirectoryAnswer<'_, Result<(), String>> {
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

#[cfg(test)]
mod tests {
    use schemas::control::{Application, ControlObject, Organization};
    use uuid::Uuid;
    use vault::{EncryptionKey, Vault};

    use super::*;

    #[test]
    fn the_default_is_counted_for_all_applications_without_a_limit_together() {
        let organization = |number| OrganizationId(Uuid::from_u128(number));
        let application = |number| ApplicationId(Uuid::from_u128(number));
        let (default, own) = (Allowance { per_second: None, per_day: Some(2) }, Allowance::default());
        let owner = |number, events_per_day| {
            let limits = Limits { events_per_day, ..Limits::default() };
            ControlObject::Organization(Organization { limits, ..Organization::new(organization(number), "owner", 1) })
        };
        let owned = |number, owner, events_per_day| {
            let limits = Limits { events_per_day, ..Limits::default() };
            let new = Application::new(application(number), organization(owner), "shop", 1);
            ControlObject::Application(Application { limits, ..new })
        };
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let objects = [
            owner(1, None),
            owned(11, 1, None),
            owned(12, 1, None),
            owned(13, 1, Some(9)),
            owner(2, Some(3)),
            owned(21, 2, None),
            owned(22, 2, None),
        ];
        let directory = CatalogDirectory::new(Catalog::of(objects, vault), &[], default);
        let limits = crate::limits::SendLimits::new(1);
        let passed = |number| {
            let senders = directory.senders(Caller::Application(application(number))).unwrap();
            (0..20).filter(|_| limits.take(senders, 1_000).is_ok()).count()
        };
        assert_eq!((passed(11), passed(12)), (2, 0), "one application more is not two events more");
        assert_eq!(passed(13), 9, "its own limit is its own");
        assert_eq!((passed(21), passed(22)), (2, 1), "an organization with a limit bounds its applications by that");
        let caller = Caller::Organization(organization(1));
        let alone = directory.senders(caller).unwrap();
        assert_eq!((alone.shared_allowance, alone.organization_allowance), (own, own));
        let of_refused = directory.refused_senders(caller, alone);
        assert_eq!(of_refused.shared_allowance, default, "what is of no application counts as of one without a limit");
    }

    #[test]
    fn a_uid_is_looked_for_among_what_the_caller_may_send_for() {
        let organization = |number| OrganizationId(Uuid::from_u128(number));
        let application = |number| ApplicationId(Uuid::from_u128(number));
        let named = |number| {
            let new = Application::new(application(10 + number), organization(number), "shop", 1);
            ControlObject::Application(Application { uid: Some("shop".to_owned()), ..new })
        };
        let owner = |number| ControlObject::Organization(Organization::new(organization(number), "owner", 1));
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let catalog = Catalog::of([owner(1), owner(2), named(1), named(2)], vault);
        let directory = CatalogDirectory::new(catalog, &[], Allowance::default());
        let found = |caller, given: &str| directory.application(caller, given);
        for number in [1, 2] {
            let (own, other) = (application(10 + number), application(13 - number).to_string());
            let callers = [Caller::Organization(organization(number)), Caller::Application(own)];
            for caller in callers {
                assert_eq!(found(caller, "shop"), Some(own));
                assert_eq!(found(caller, &own.to_string()), Some(own));
                assert_eq!(found(caller, &other), None);
            }
        }
        assert_eq!(found(Caller::Admin, "shop"), None, "it cannot be told which is meant");
        assert_eq!(found(Caller::ReadOnly(None), &application(11).to_string()), None);
    }
}
