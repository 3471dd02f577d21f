//! The write loop under a script of failures.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use chassis::config::ByteLimits;
use chassis::metrics::Registry;
use kafka::ExclusiveError;
use schemas::audit::Audit;
use schemas::control::{ControlKey, ControlObject, Organization};
use schemas::ids::OrganizationId;
use schemas::problem::Code;
use schemas::record::OutRecord;
use tokio::sync::Semaphore;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::*;
use crate::actor::Caller;
use crate::health::Instances;
use crate::operations::Operations;
use crate::store::audit::Audited;
use crate::store::log::{Entry, encode};

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another writer came first: it wrote an organization of this number, and we are fenced.
    FencedBy(u128),
    /// It is written, but nobody says so.
    LostAnswer,
    /// It is not written, and nobody says so.
    LostWrite,
    /// It is refused for now.
    Refused,
    /// It is written, and only its first record reaches the catalog until the rest is let through.
    Torn,
}

/// The catalog as its own log, and a script; after its end everything works.
#[derive(Debug)]
pub(crate) struct Memory {
    catalog: Catalog,
    held: AtomicBool,
    pub(super) script: Lock<VecDeque<Step>>,
    audited: Lock<Vec<Audit>>,
    /// Records of other topics.
    beside: Lock<Vec<OutRecord>>,
    /// Kafka does not let us write to other topics.
    pub(super) denies_others: AtomicBool,
    pub(super) operations: Option<Operations>,
    /// Lets through what is left of torn transactions.
    pub(super) rest: Arc<Semaphore>,
    /// Writes wait while a test holds it.
    pub(super) gate: Mutex<()>,
    /// A record with a longer value fits no topic.
    pub(super) longest: usize,
}

impl Memory {
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    #[expect(clippy::unnecessary_wraps, reason = "same face as Kafka's")]
    pub(super) fn acquire(&self) -> Result<(), kafka::KafkaError> {
        self.held.store(true, Ordering::SeqCst);
        Ok(())
    }

    pub(super) async fn write(&self, records: Vec<OutRecord>) -> Result<Option<i64>, ExclusiveError> {
        let _open = self.gate.lock().await;
        let other = records.iter().find(|record| !matches!(&*record.topic, "control" | "audit"));
        if let Some(other) = other.filter(|_| self.denies_others.load(Ordering::SeqCst)) {
            return Err(ExclusiveError::Refused(kafka::KafkaError::may_not_write(&other.topic)));
        }
        let longest = records.iter().filter_map(|it| it.value.as_ref()).map(bytes::Bytes::len).max();
        if longest.is_some_and(|longest| longest > self.longest) {
            let transaction = Box::new(kafka::Transaction { outputs: Vec::new(), progress: Vec::new() });
            return Err(ExclusiveError::Refused(kafka::KafkaError::Unwritable { refused: Vec::new(), transaction }));
        }
        assert!(self.is_held(), "a write without having acquired");
        let step = self.script.lock().pop_front();
        let lost = || ExclusiveError::Unknown(kafka::KafkaError::Closed);
        if let Some(Step::FencedBy(_) | Step::LostAnswer | Step::LostWrite) = step {
            self.held.store(false, Ordering::SeqCst);
        }
        match step {
            Some(Step::FencedBy(number)) => {
                let changes = [Change::Put(organization(number, "other"))];
                let actor = Actor::system("other");
                let entry = Entry {
                    write_id: Uuid::now_v7(),
                    transaction: None,
                    at_ms: 1,
                    actor: &actor,
                    changes: &changes,
                    used: &[],
                };
                let log = ControlLog::memory(self.catalog.clone(), Vec::new());
                let records = encode(&log, &self.catalog.read(), &entry, &Audited::nothing(&changes)).unwrap();
                self.apply(records.records);
                Err(ExclusiveError::Fenced)
            }
            Some(Step::LostWrite) => Err(lost()),
            Some(Step::LostAnswer) => {
                self.apply(records);
                Err(lost())
            }
            Some(Step::Refused) => Err(ExclusiveError::Refused(kafka::KafkaError::Closed)),
            Some(Step::Torn) => Ok(self.apply_torn(records)),
            None => Ok(self.apply(records)),
        }
    }
}

impl Memory {
    /// What is committed: `control` to the catalog, `audit` and all others to lists.
    fn apply(&self, records: Vec<OutRecord>) -> Option<i64> {
        let control = self.put_by(records);
        self.catalog.feed(control);
        Some(self.catalog.position() - 1)
    }

    /// The same, but the catalog gets the first record alone, as a reader's batch may have it.
    fn apply_torn(&self, records: Vec<OutRecord>) -> Option<i64> {
        let mut control = self.put_by(records).into_iter();
        self.catalog.feed(control.next());
        let last = self.catalog.position() - 1 + i64::try_from(control.len()).unwrap();
        let (catalog, rest) = (self.catalog.clone(), Arc::clone(&self.rest));
        tasks::spawn("rest", async move {
            rest.acquire().await.unwrap().forget();
            catalog.feed(control);
        });
        Some(last)
    }

    /// Keeps what is not the catalog's.
    fn put_by(&self, records: Vec<OutRecord>) -> Vec<OutRecord> {
        let (control, others): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| &*record.topic == "control");
        let (audit, beside): (Vec<_>, Vec<_>) = others.into_iter().partition(|record| &*record.topic == "audit");
        self.beside.lock().extend(beside);
        let decode = |record: OutRecord| serde_json::from_slice(&record.value.unwrap()).unwrap();
        self.audited.lock().extend(audit.into_iter().map(decode));
        control
    }
}

impl ControlLog {
    pub(super) fn memory(catalog: Catalog, script: Vec<Step>) -> Self {
        Self::Memory(Memory {
            catalog,
            held: AtomicBool::new(false),
            script: Lock::new(script.into()),
            audited: Lock::default(),
            beside: Lock::default(),
            denies_others: AtomicBool::new(false),
            operations: None,
            rest: Arc::new(Semaphore::new(0)),
            gate: Mutex::default(),
            longest: 2_000,
        })
    }
}

pub(super) fn organization(number: u128, name: &str) -> ControlObject {
    let organization_id = OrganizationId(Uuid::from_u128(number));
    ControlObject::Organization(Organization::new(organization_id, name, 1))
}

pub(super) fn store(script: Vec<Step>) -> Store {
    let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
    let catalog = Catalog::of([], Arc::new(vault));
    let log = ControlLog::memory(catalog.clone(), script);
    Store::new(
        catalog,
        log,
        (Duration::from_secs(10), WriteRules::new(ByteLimits::default(), Instances::default())),
        ControlMetrics::new(&Registry::new()).unwrap(),
    )
}

/// Adds an organization with the next free number; how often it decided.
async fn add(store: &Store) -> (u128, usize) {
    let mut decided = 0;
    let decide = move |snapshot: &Snapshot, _moment: Moment| {
        decided += 1;
        let number = snapshot.organizations().count() as u128 + 1;
        Ok(Decision::put(organization(number, "ours"), (number, decided)))
    };
    store.write("test".to_owned(), decide).await.unwrap()
}

pub(super) fn names(store: &Store) -> Vec<String> {
    store.inner.catalog.read().organizations().map(|it| it.name.clone()).collect()
}

#[tokio::test]
async fn a_fenced_writer_decides_again_over_what_the_other_wrote() {
    let store = store(vec![Step::FencedBy(1), Step::FencedBy(2)]);
    // Each time once before the writer's place is taken, and once after.
    assert_eq!(add(&store).await, (3, 6));
    assert_eq!(names(&store), ["other", "other", "ours"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_and_not_repeated() {
    let store = store(vec![Step::LostAnswer]);
    assert_eq!(add(&store).await, (1, 2));
    assert_eq!(names(&store), ["ours"]);
}

#[tokio::test]
async fn a_write_that_was_lost_is_written_again() {
    let store = store(vec![Step::LostWrite, Step::LostWrite]);
    assert_eq!(add(&store).await, (1, 4));
    assert_eq!(names(&store), ["ours"]);
}

#[tokio::test]
async fn a_refused_write_is_tried_again() {
    let store = store(vec![Step::Refused]);
    assert_eq!(add(&store).await, (1, 4));
}

#[tokio::test]
async fn concurrent_writes_take_turns() {
    let store = store(vec![]);
    let (one, other) = tokio::join!(add(&store), add(&store));
    let mut numbers = [one.0, other.0];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

/// What a store in memory has written to other topics.
pub(crate) fn beside(store: &Store) -> Vec<OutRecord> {
    match &store.inner.log {
        ControlLog::Memory(memory) => memory.beside.lock().clone(),
        ControlLog::Kafka { .. } => Vec::new(),
    }
}

/// Keeps Kafka silent under a store in memory.
pub(crate) async fn silent(store: &Store) -> tokio::sync::MutexGuard<'_, ()> {
    match &store.inner.log {
        ControlLog::Memory(memory) => memory.gate.lock().await,
        ControlLog::Kafka { .. } => panic!("a store in memory"),
    }
}

/// What a store in memory has audited.
pub(crate) fn audited(store: &Store) -> Vec<Audit> {
    match &store.inner.log {
        ControlLog::Memory(memory) => memory.audited.lock().clone(),
        ControlLog::Kafka { .. } => Vec::new(),
    }
}

#[tokio::test]
async fn a_refusal_counts_only_over_a_listed_end_and_a_write_needs_none_while_held() {
    let store = store(vec![]);
    let ends = |store: &Store| store.inner.metrics.listed.get();
    add(&store).await;
    assert_eq!(ends(&store), 1, "whoever has just acquired lists the end");
    add(&store).await;
    assert_eq!(ends(&store), 1, "the transaction proves the rest");
    let refuse = |_: &Snapshot, _: Moment| -> Result<Decision<()>, Problem> { Err(unavailable("refused")) };
    store.write("test".to_owned(), refuse).await.unwrap_err();
    assert_eq!(ends(&store), 2);
    let nothing = |_: &Snapshot, _: Moment| Ok(Decision::nothing(()));
    store.write("test".to_owned(), nothing).await.unwrap();
    assert_eq!(ends(&store), 3);
}

#[tokio::test]
async fn a_fenced_writer_does_not_trust_its_snapshot() {
    // The first write holds, the second one is fenced by somebody who took the number.
    let store = store(vec![]);
    add(&store).await;
    if let ControlLog::Memory(memory) = &store.inner.log {
        memory.script.lock().push_back(Step::FencedBy(2));
    }
    assert_eq!(add(&store).await, (3, 3));
    assert_eq!(names(&store), ["ours", "other", "ours"]);
}

#[tokio::test]
async fn every_change_is_audited_once_with_what_was_there_before() {
    let store = store(vec![Step::LostAnswer]);
    let caller =
        Caller { address: Some("192.0.2.7".parse().unwrap()), request_id: Some("r-1".into()), ..Caller::default() };
    let actor = Actor::new("admin", caller);
    let put = |name: &'static str| move |_: &Snapshot, _: Moment| Ok(Decision::put(organization(1, name), ()));
    store.write(actor.clone(), put("one")).await.unwrap();
    store.write(actor.clone().doing("organization.rename"), put("two")).await.unwrap();
    let gone = |_: &Snapshot, _: Moment| {
        let keys = [1, 2].map(|number| ControlKey::Organization(OrganizationId(Uuid::from_u128(number))));
        Ok(Decision::of(keys.into_iter().map(Change::Remove).collect(), ()))
    };
    store.write(Actor::system("test").doing("subscription.rotate_secret"), gone).await.unwrap();
    let audited = audited(&store);
    let actions: Vec<&str> = audited.iter().map(|it| it.action.as_str()).collect();
    assert_eq!(actions, ["organization.create", "organization.rename", "organization.delete"]);
    assert_eq!((audited[0].before.as_ref(), audited[0].after.as_ref()), (None, audited[1].before.as_ref()));
    assert_eq!((audited[1].after.as_ref(), audited[2].after.as_ref()), (audited[2].before.as_ref(), None));
    assert_eq!(audited[0].after.as_ref().map(String::len), Some(64));
    assert_eq!((audited[0].address.as_deref(), audited[0].request_id.as_deref()), (Some("192.0.2.7"), Some("r-1")));
    assert_eq!((audited[2].actor.as_str(), audited[2].address.as_deref()), ("system/test", None));
}

/// A ping of the organization: it changes nothing, and writes beside.
async fn ping(store: &Store) -> Result<(), Problem> {
    let key = ControlKey::Organization(OrganizationId(Uuid::from_u128(1)));
    let record = OutRecord {
        topic: "deliveries".into(),
        partition: None,
        key: None,
        value: None,
        headers: schemas::record::Headers::default(),
    };
    let rule = move |_: &Snapshot, _: Moment| {
        Ok(Decision { changes: Vec::new(), beside: vec![record.clone()], used: vec![key.clone()], answer: () })
    };
    store.write(Actor::new("test", Caller::default()).doing("organization.ping"), rule).await
}

#[tokio::test]
async fn what_changes_nothing_is_audited_and_cannot_be_looked_for() {
    let store = store(vec![]);
    add(&store).await;
    let (position, changes) = (store.inner.catalog.position(), audited(&store).len());
    ping(&store).await.unwrap();
    assert_eq!((beside(&store).len(), store.inner.catalog.position()), (1, position));
    let audited = audited(&store);
    assert_eq!((audited.len(), audited[changes].action.as_str()), (changes + 1, "organization.ping"));
    assert_eq!((audited[changes].before.as_ref(), audited[changes].after.as_ref()), (None, None));
    if let ControlLog::Memory(memory) = &store.inner.log {
        memory.script.lock().push_back(Step::LostAnswer);
    }
    let problem = ping(&store).await.unwrap_err();
    assert_eq!((problem.code, problem.retry_after_s), (Some(Code::OutcomeUnknown), None));
    assert_eq!(beside(&store).len(), 2, "it is not written again");
    assert_eq!(add(&store).await.0, 2, "who comes next is not held up");
}

#[tokio::test]
async fn a_request_whose_time_is_over_before_its_write_waits_has_done_nothing() {
    let store = store(vec![]);
    let caller = Caller { deadline: Some(clock::instant()), ..Caller::default() };
    let rule = |_: &Snapshot, _: Moment| Ok(Decision::put(organization(1, "late"), ()));
    let problem = store.write(Actor::new("test", caller), rule).await.unwrap_err();
    assert_eq!((problem.code, problem.retry_after_s), (Some(Code::Overloaded), Some(1)));
    assert_eq!(names(&store), Vec::<String>::new());
}
