//! The promise of lists: every row that was there when the first page was asked for comes exactly once, whatever comes in
//! meanwhile, however many rows have the same time, while days turn and while a day is given up.

use std::collections::BTreeMap;

use rand::Rng as _;

use super::made::{Made, position_of_event, position_of_fact};
use super::{Fixture, GivenPage};
use crate::day::Day;
use crate::fact::{FactKind, Kinds};
use crate::position::RowPosition;
use crate::query::{EventQuery, FactQuery, ListOrder, PAGE_ENTRIES, PageOf, Subject, Times};
use crate::store::DeliveryStore;

/// Readers of each store: a reader is a seed.
const READERS: usize = 100;

/// One who reads a list page by page.
struct ListReader {
    asked: AskedList,
    /// What was there when it began.
    owed: Vec<RowPosition>,
    got: Vec<RowPosition>,
    is_done: bool,
    order: ListOrder,
    after: Option<RowPosition>,
    limit: usize,
}

enum AskedList {
    Facts(FactQuery),
    Events(EventQuery),
}

impl ListReader {
    fn random(made: &mut Made) -> Self {
        let application = made.applications[made.rng.random_range(0..made.applications.len())];
        let order = if made.rng.random_bool(0.7) { ListOrder::Descending } else { ListOrder::Ascending };
        let limit = made.rng.random_range(1..8);
        let some = made.events[made.rng.random_range(0..made.events.len())].accepted_ms;
        let times = match made.rng.random_range(0..4) {
            0 => Times { from_ms: Some(some), to_ms: None },
            1 => Times { from_ms: None, to_ms: Some(some) },
            _ => Times::default(),
        };
        let asked = if made.rng.random_bool(0.4) {
            AskedList::Events(EventQuery { times, ..EventQuery::of(application, limit) })
        } else {
            let subject = match made.rng.random_range(0..3) {
                0 => Subject::Subscription(made.subscription(application)),
                _ => Subject::All,
            };
            let kinds = match made.rng.random_range(0..4) {
                0 => Kinds::FAILED,
                1 => Kinds::of(&[FactKind::Delivered]),
                _ => Kinds::ALL,
            };
            AskedList::Facts(FactQuery { subject, kinds, times, ..FactQuery::of(application, limit) })
        };
        let owed = asked.positions(made);
        Self { asked, owed, got: Vec::new(), is_done: false, order, after: None, limit }
    }

    async fn read_on(&mut self, store: &impl DeliveryStore) {
        if self.is_done {
            return;
        }
        let page = PageOf { order: self.order, after: self.after, limit: self.limit };
        let (positions, next) = match &self.asked {
            AskedList::Facts(query) => {
                positions(store.facts(FactQuery { page, ..query.clone() }).await, position_of_fact)
            }
            AskedList::Events(query) => {
                positions(store.events(EventQuery { page, ..query.clone() }).await, position_of_event)
            }
        };
        self.got.extend(positions);
        self.after = next;
        self.is_done = next.is_none();
    }

    /// What it got, beside what it was owed; rows of a day that was given up it may have got or not.
    fn check(&self, oldest: Day, seed: &str) {
        let mut times: BTreeMap<RowPosition, usize> = BTreeMap::new();
        self.got.iter().for_each(|it| *times.entry(*it).or_default() += 1);
        let doubled: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "{seed}: came twice: {doubled:?}");
        let missed: Vec<_> = self.owed.iter().filter(|it| it.day >= oldest && !times.contains_key(it)).collect();
        assert!(missed.is_empty(), "{seed}: never came, {:?}: {missed:?}", self.order);
    }
}

impl AskedList {
    fn positions(&self, made: &Made) -> Vec<RowPosition> {
        match self {
            Self::Facts(query) => made.facts.iter().filter(|it| query.matches(it)).map(position_of_fact).collect(),
            Self::Events(query) => made.events.iter().filter(|it| query.matches(it)).map(position_of_event).collect(),
        }
    }
}

fn positions<T>(page: GivenPage<T>, position: fn(&T) -> RowPosition) -> (Vec<RowPosition>, Option<RowPosition>) {
    let page = page.unwrap();
    (page.rows.iter().map(position).collect(), page.next)
}

pub(crate) async fn every_row_that_was_there_when_the_first_page_was_asked_for_comes_once<F: Fixture>() {
    rows_come_once::<F>(F::READ_STORES).await;
}

/// Fills so many stores, and has readers go through each meanwhile.
pub(crate) async fn rows_come_once<F: Fixture>(stores: u64) {
    let mut owed = 0;
    for seed in 0..stores {
        let mut fixture = F::empty();
        let store = fixture.open().await;
        // Over some days before the first page is asked for: one that is given up takes what was owed of it with it.
        let mut made = Made::new(seed, 4, 1_500_000);
        made.go_on(80);
        store.project(made.chunks()).await.unwrap();
        let mut readers: Vec<ListReader> = (0..READERS).map(|_| ListReader::random(&mut made)).collect();
        let mut oldest = made.days()[0];
        owed += readers.iter().map(|it| it.owed.iter().filter(|at| at.day > oldest).count()).sum::<usize>();
        while readers.iter().any(|it| !it.is_done) {
            for reader in &mut readers {
                reader.read_on(store).await;
            }
            if made.facts.len() < 600 {
                made.go_on(10);
                store.project(made.chunks()).await.unwrap();
            }
            if made.rng.random_bool(0.1) && oldest < made.days()[0].next() {
                oldest = oldest.next();
                store.retain(oldest).await.unwrap();
            }
        }
        for (index, reader) in readers.iter().enumerate() {
            reader.check(oldest, &format!("store {seed}, reader {index}"));
        }
    }
    assert!(owed > 500 * usize::try_from(stores).unwrap(), "{owed} rows are of days that stay");
}

pub(crate) async fn a_page_that_looked_at_too_much_ends_and_goes_on<F: Fixture>() {
    let mut fixture = F::empty();
    let store = fixture.open().await;
    let mut made = Made::new(9, 1, 1_000);
    while made.facts.len() < PAGE_ENTRIES + 500 {
        made.go_on(2_000);
    }
    store.project(made.chunks()).await.unwrap();
    // Only the oldest row fits, which is behind more entries than a page looks at.
    let oldest = made.facts.iter().map(position_of_fact).min().unwrap();
    let times = Times { from_ms: None, to_ms: None };
    let query = FactQuery { times, error: Some("none that occurs".into()), ..FactQuery::of(made.applications[0], 5) };
    let first = store.facts(query.clone()).await.unwrap();
    assert_eq!(first.rows, []);
    let mut next = first.next;
    assert!(next.is_some_and(|it| it > oldest));
    while let Some(after) = next {
        let page = PageOf { after: Some(after), ..query.page };
        let found = store.facts(FactQuery { page, ..query.clone() }).await.unwrap();
        assert!(found.rows.is_empty() && found.next.is_none_or(|it| it < after));
        next = found.next;
    }
}
