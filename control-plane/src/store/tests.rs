//! The write loop under a script of failures.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use chassis::metrics::Registry;
use parking_lot::Mutex as Lock;
use schemas::control::Organization;
use schemas::ids::OrganizationId;
use schemas::record::OutRecord;
use vault::{EncryptionKey, Vault};

use super::*;

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
}

/// The catalog as its own log, and a script; after its end everything works.
#[derive(Debug)]
pub(crate) struct Memory {
    catalog: Catalog,
    held: AtomicBool,
    script: Lock<VecDeque<Step>>,
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

    pub(super) fn write(&self, records: Vec<OutRecord>) -> Result<(), ExclusiveError> {
        assert!(self.is_held(), "a write without having acquired");
        let step = self.script.lock().pop_front();
        let lost = || ExclusiveError::Unknown(kafka::KafkaError::Closed);
        if let Some(Step::FencedBy(_) | Step::LostAnswer | Step::LostWrite) = step {
            self.held.store(false, Ordering::SeqCst);
        }
        match step {
            Some(Step::FencedBy(number)) => {
                let change = Change::Put(organization(number, "other"));
                self.catalog.feed(encode("control".into(), &[change], Uuid::now_v7(), "other").unwrap());
                Err(ExclusiveError::Fenced)
            }
            Some(Step::LostWrite) => Err(lost()),
            Some(Step::LostAnswer) => {
                self.catalog.feed(records);
                Err(lost())
            }
            Some(Step::Refused) => Err(ExclusiveError::Refused(kafka::KafkaError::Closed)),
            None => {
                self.catalog.feed(records);
                Ok(())
            }
        }
    }
}

impl ControlLog {
    pub(super) fn memory(catalog: Catalog, script: Vec<Step>) -> Self {
        Self::Memory(Memory { catalog, held: AtomicBool::new(false), script: Lock::new(script.into()) })
    }
}

fn organization(number: u128, name: &str) -> ControlObject {
    let organization_id = OrganizationId(Uuid::from_u128(number));
    ControlObject::Organization(Organization { organization_id, name: name.to_owned(), created_ms: 1, uid: None })
}

fn store(script: Vec<Step>) -> Store {
    let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
    let catalog = Catalog::of([], Arc::new(vault));
    let log = ControlLog::memory(catalog.clone(), script);
    Store::new(catalog, log, Duration::from_secs(10), ControlMetrics::new(&Registry::new()).unwrap())
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

fn names(store: &Store) -> Vec<String> {
    store.inner.catalog.read().organizations().map(|it| it.name.clone()).collect()
}

#[tokio::test]
async fn a_fenced_writer_decides_again_over_what_the_other_wrote() {
    let store = store(vec![Step::FencedBy(1), Step::FencedBy(2)]);
    assert_eq!(add(&store).await, (3, 3));
    assert_eq!(names(&store), ["other", "other", "ours"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_and_not_repeated() {
    let store = store(vec![Step::LostAnswer]);
    assert_eq!(add(&store).await, (1, 1));
    assert_eq!(names(&store), ["ours"]);
}

#[tokio::test]
async fn a_write_that_was_lost_is_written_again() {
    let store = store(vec![Step::LostWrite, Step::LostWrite]);
    assert_eq!(add(&store).await, (1, 3));
    assert_eq!(names(&store), ["ours"]);
}

#[tokio::test]
async fn a_refused_write_is_tried_again() {
    let store = store(vec![Step::Refused]);
    assert_eq!(add(&store).await, (1, 2));
}

#[tokio::test]
async fn concurrent_writes_take_turns() {
    let store = store(vec![]);
    let (one, other) = tokio::join!(add(&store), add(&store));
    let mut numbers = [one.0, other.0];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}
