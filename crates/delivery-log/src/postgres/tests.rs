//! The suite over PostgreSQL, and what is true of it alone.

mod crash;
mod server;
mod silent;

use std::sync::atomic::{AtomicU32, Ordering};

use self::server::TestServer;
use super::*;
use crate::conformance::made::Made;
use crate::conformance::{Fixture, all_events, all_facts, paging, suite};
use crate::fact::{FactKind, LogRow, RowContent};
use crate::position::Coordinates;
use crate::sqlite::{plain_fact, print_numbers};
use crate::stored::LogCopy as _;
use tokio_postgres::types::Type;

/// A schema of the server that all tests of this process share, and the store that has it open.
struct LogSchema {
    schema: String,
    store: Option<PostgresStore>,
}

impl Fixture for LogSchema {
    type Opened = PostgresStore;

    /// A store takes tables of its own on a server: the ignored test below has more.
    const READ_STORES: u64 = 1;

    fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { schema: format!("log_{}", NEXT.fetch_add(1, Ordering::Relaxed)), store: None }
    }

    async fn open(&mut self) -> &PostgresStore {
        self.store = None;
        self.store.insert(PostgresStore::open(&self.options()).await.unwrap())
    }
}

impl LogSchema {
    fn options(&self) -> PostgresOptions {
        TestServer::shared().options(&self.schema)
    }

    /// One more process.
    async fn another(&self) -> PostgresStore {
        PostgresStore::open(&self.options()).await.unwrap()
    }
}

suite!(LogSchema);

#[tokio::test]
#[ignore = "500 readers: a minute"]
async fn every_row_comes_once_to_five_hundred_readers() {
    paging::rows_come_once::<LogSchema>(5).await;
}

#[tokio::test]
#[ignore = "prints what the store costs"]
async fn numbers_of_a_million_attempts() {
    print_numbers(LogSchema::empty().open().await, 280, 30).await;
}

/// A fact of an application at an offset.
fn chunk(offset: i64, stored_ms: i64) -> LogChunk {
    let fact = plain_fact(FactKind::Attempted, Coordinates { partition: 0, offset }, stored_ms);
    let fact = Fact {
        application: Some(APPLICATION),
        delivery: Some(DeliveryId(Uuid::from_u128(offset.unsigned_abs().into()))),
        attempt: Some(1),
        ..fact
    };
    let rows = vec![LogRow { offset, stored_ms, content: RowContent::Fact(Box::new(fact)) }];
    LogChunk { partition: 0, offsets: offset..offset + 1, rows }
}

const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(7));

async fn offsets(store: &PostgresStore) -> Vec<i64> {
    let facts = all_facts(store, &FactQuery::of(APPLICATION, 250)).await;
    facts.iter().rev().map(|it| it.coordinates.offset).collect()
}

#[tokio::test]
async fn one_that_lost_its_lock_without_knowing_cannot_write() {
    let mut database = LogSchema::empty();
    database.open().await;
    let (frozen, other) = (database.another().await, database.another().await);
    frozen.project(vec![chunk(0, 5)]).await.unwrap();
    // As after its connection was cut on the server's side, and nothing was heard of that.
    let filler = frozen.filler.lock().await;
    let unlocked = filler.session.as_ref().unwrap().client.batch_execute("SELECT pg_advisory_unlock_all()").await;
    unlocked.unwrap();
    drop(filler);
    let mut given_up = frozen.given_up();
    given_up.mark_unchanged();
    other.turn().await.unwrap();
    assert_eq!(frozen.project(vec![chunk(1, 5), chunk(2, 86_400_000)]).await, Err(StoreError::FilledByAnother));
    assert_eq!(offsets(&other).await, [0]);
    assert_eq!(other.days().await.unwrap().len(), 1);
    other.project(vec![chunk(1, 5)]).await.unwrap();
    assert_eq!(frozen.project(vec![chunk(2, 5)]).await, Err(StoreError::FilledByAnother), "the other one has the lock");
    assert_eq!(offsets(&frozen).await, [0, 1], "and whoever stands by answers");
    drop(other);
    frozen.turn().await.unwrap();
    assert!(given_up.has_changed().unwrap(), "it looks again at what is covered");
    frozen.project(vec![chunk(2, 5)]).await.unwrap();
    assert_eq!(offsets(&frozen).await, [0, 1, 2]);
}

#[tokio::test]
async fn whoever_stands_by_is_told_how_far_it_is_and_takes_over_when_the_connection_ends() {
    let mut database = LogSchema::empty();
    database.open().await;
    let (first, second) = (database.another().await, database.another().await);
    first.turn().await.unwrap();
    assert_eq!(second.told().await.unwrap(), None);
    first.tell("so far".to_owned()).await.unwrap();
    assert_eq!(second.told().await.unwrap().as_deref(), Some("so far"));
    assert_eq!(second.tell("no".to_owned()).await, Err(StoreError::FilledByAnother));
    let mut standing_by = Box::pin(second.turn());
    let is_waiting =
        std::future::poll_fn(|context| std::task::Poll::Ready(standing_by.as_mut().poll(context).is_pending()));
    assert!(is_waiting.await);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1::int8::oid";
    let number = i64::from(u32::from_ne_bytes(schema::lock_number(&database.schema).to_ne_bytes()));
    let beside = second.readers.beside().await.unwrap();
    beside.query_typed(end, &[(&number, Type::INT8)]).await.unwrap();
    standing_by.await.unwrap();
    second.project(vec![chunk(0, 5)]).await.unwrap();
    first.tell("further".to_owned()).await.unwrap_err();
    assert_eq!(second.told().await.unwrap().as_deref(), Some("so far"));
}

#[tokio::test]
async fn a_log_is_made_again_and_an_event_erased_by_whoever_stands_by() {
    let mut database = LogSchema::empty();
    database.open().await;
    let (filler, beside) = (database.another().await, database.another().await);
    let mut made = Made::new(3, 1, 0);
    made.go_on(2);
    let chunks = made.chunks();
    filler.project(chunks.clone()).await.unwrap();
    let event = made.events.iter().find(|it| it.labels.is_some() || it.ip.is_some()).unwrap_or(&made.events[0]).clone();
    beside.erase(event.uuid).await.unwrap();
    let named = EventName::Uuid(event.uuid);
    let found = filler.event(event.application, named.clone()).await.unwrap().unwrap();
    assert_eq!((found.labels, found.ip), (None, None));
    // Of one that nothing was read of yet, too.
    beside.erase(Uuid::from_u128(5)).await.unwrap();
    let mut late = chunk(1 << 30, made.events[0].stored_ms);
    if let RowContent::Fact(fact) = &mut late.rows[0].content {
        (fact.event, fact.detail) = (Some(Uuid::from_u128(5)), Some("it says so".to_owned()));
    }
    filler.project(vec![late]).await.unwrap();
    let facts = all_facts(&filler, &FactQuery::of(APPLICATION, 250)).await;
    assert_eq!(facts[0].detail, None);
    filler.tell("all of it".to_owned()).await.unwrap();
    let edition = beside.edition().await.unwrap();
    let mut given_up = filler.given_up();
    given_up.mark_unchanged();
    assert_eq!(beside.give_up_all().await.unwrap(), [Day::of(event.stored_ms)]);
    assert_eq!(beside.told().await.unwrap(), None, "what was told is of what is gone");
    assert_ne!(filler.edition().await.unwrap(), edition);
    assert_eq!(filler.tell("so far".to_owned()).await, Err(StoreError::FilledByAnother));
    assert!(given_up.has_changed().unwrap(), "whoever fills it looks again");
    assert_eq!(filler.coverage().await.unwrap(), Coverage::default());
    filler.project(chunks).await.unwrap();
    let found = filler.event(event.application, named).await.unwrap().unwrap();
    assert_eq!((found.labels, found.ip), (None, None), "an erasure is not forgotten with the days");
}

#[tokio::test]
async fn the_rows_beside_the_one_who_fills_it_are_those_that_were_written() {
    let mut database = LogSchema::empty();
    let mut made = Made::new(11, 2, 900_000);
    made.go_on(100);
    let store = database.open().await;
    store.bind("attempts a".to_owned()).await.unwrap();
    let mut chunks = made.chunks();
    // Texts of strangers may have what a text of PostgreSQL cannot.
    if let RowContent::Fact(fact) = &mut chunks
        .iter_mut()
        .flat_map(|it| &mut it.rows)
        .find(|it| matches!(it.content, RowContent::Fact(_)))
        .unwrap()
        .content
    {
        fact.detail = Some("a\0b".to_owned());
    }
    store.project(chunks.clone()).await.unwrap();
    let beside = PostgresCopy::new(&database.options()).unwrap();
    let mut found = Vec::new();
    for day in beside.days().await.unwrap() {
        let stored = beside.day(day).await.unwrap();
        assert_eq!(stored.topic.as_deref(), Some("attempts a"));
        let removed = beside.removed(day).await.unwrap();
        for (partition, offsets) in stored.covered.iter() {
            let rows = beside.rows(day, partition, offsets.clone()).await.unwrap();
            found.extend(removed.without(rows).into_iter().map(|row| (partition, row)));
        }
    }
    let removed = crate::stored::RemovedContent { is_without_nul: true, ..Default::default() };
    let mut written: Vec<(i32, LogRow)> = Vec::new();
    for LogChunk { partition, rows, .. } in chunks {
        written.extend(removed.without(rows).into_iter().map(|row| (partition, row)));
    }
    written.sort_unstable_by_key(|(partition, row)| (*partition, row.offset));
    found.sort_unstable_by_key(|(partition, row)| (*partition, row.offset));
    assert_eq!(found, written);
    let details = found
        .iter()
        .filter(|(_, row)| matches!(&row.content, RowContent::Fact(it) if it.detail.as_deref() == Some("a\u{fffd}b")));
    assert_eq!(details.count(), 1);
}

#[tokio::test]
async fn people_see_all_days_as_one_and_tables_of_days_that_are_gone_are_dropped() {
    let mut database = LogSchema::empty();
    let store = database.open().await.clone();
    let days = [0, 1, 2].map(|day| Day::of(day * 86_400_000));
    store.project(days.map(|day| chunk(i64::from(day.number()), day.start_ms())).to_vec()).await.unwrap();
    store.retain(days[0]).await.unwrap();
    let connection = store.readers.beside().await.unwrap();
    let count = async || {
        let counted = "SELECT (SELECT count(*) FROM attempts), (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()
            AND tablename LIKE 'facts%')";
        let row = connection.query_typed_one(counted, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    assert_eq!(count().await, (3, 3));
    // Somebody looks at them for long: what is given up is out of answers at once, and its tables go later.
    let mut looking = store.connector.connect("").await.unwrap();
    let look = looking.transaction().await.unwrap();
    look.query_typed("SELECT count(*) FROM attempts", &[]).await.unwrap();
    assert_eq!(store.retain(days[1]).await.unwrap(), [days[0]]);
    assert_eq!(offsets(&store).await, [1, 2]);
    assert_eq!(count().await, (3, 3));
    // And whatever is written meanwhile waits for nobody, though there is a day more that they do not see yet.
    let filler = store.filler.lock().await;
    let session = &filler.session.as_ref().unwrap().client;
    session.batch_execute("SET lock_timeout = 1").await.unwrap();
    drop(filler);
    let next = days[2].next();
    store.project(vec![chunk(i64::from(next.number()), next.start_ms())]).await.unwrap();
    assert_eq!(store.filler.lock().await.session.as_ref().map(|session| session.is_untidy), Some(true));
    assert_eq!(count().await, (3, 4));
    store.retain(days[1]).await.unwrap();
    look.rollback().await.unwrap();
    store.retain(days[1]).await.unwrap();
    assert_eq!(count().await, (3, 3));
}

#[tokio::test]
async fn ordinary_rights_on_one_schema_are_enough() {
    let database = LogSchema::empty();
    let connector = PgConnector::new(database.options().url.expose_secret(), None, "public").unwrap();
    let (admin, schema) = (connector.connect("").await.unwrap(), &database.schema);
    let make = format!("CREATE ROLE {schema} LOGIN; CREATE SCHEMA {schema} AUTHORIZATION {schema}");
    admin.batch_execute(&make).await.unwrap();
    let options = TestServer::shared().options_as(schema, schema);
    let store = PostgresStore::open(&options).await.unwrap();
    store.project(vec![chunk(0, 5)]).await.unwrap();
    assert_eq!(offsets(&store).await, [0]);
    let refused =
        PostgresStore::open(&PostgresOptions { schema: format!("{schema}_other"), ..options }).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
}

#[tokio::test]
async fn tables_of_an_older_shape_are_made_again_and_those_of_a_newer_one_left_alone() {
    let mut database = LogSchema::empty();
    let store = database.open().await.clone();
    store.project(vec![chunk(0, 5)]).await.unwrap();
    let shape = async |change: &str| {
        let connection = store.readers.beside().await.unwrap();
        connection.batch_execute(&format!("UPDATE state SET shape = shape {change}")).await.unwrap();
    };
    shape("+ 1").await;
    let refused = PostgresStore::open(&database.options()).await.unwrap_err();
    assert!(refused.to_string().contains("newer version"), "{refused}");
    assert_eq!(offsets(&store).await, [0]);
    shape("- 2").await;
    let again = database.another().await;
    assert!(offsets(&again).await.is_empty());
    assert_eq!(store.project(vec![chunk(1, 5)]).await, Err(StoreError::FilledByAnother), "what was filled is gone");
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_ended() {
    let mut database = LogSchema::empty();
    database.open().await;
    let store = PostgresStore::open(&PostgresOptions { seconds: 2, ..database.options() }).await.unwrap();
    let asked = async |reader: reader::PgReader| reader.rows("SELECT pg_sleep(600)", &[]).await.map(drop);
    assert_eq!(store.readers.ask(asked).await, Err(StoreError::TooSlow { seconds: 2 }));
    assert_eq!(store.open_deliveries(Vec::new()).await, Ok(Vec::new()), "and the next is answered");
}

#[tokio::test]
async fn no_more_questions_wait_than_may() {
    let mut database = LogSchema::empty();
    let store = database.open().await;
    let mut asked = Vec::new();
    let refused = loop {
        let mut answer = store.undecided_letters();
        match std::future::poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context))).await {
            std::task::Poll::Ready(refused) => break refused,
            std::task::Poll::Pending => asked.push(answer),
        }
        assert!(asked.len() < 100);
    };
    assert_eq!(refused, Err(StoreError::Overloaded));
    assert_eq!(store.days().await, Ok(Vec::new()), "what is counted does not wait with the questions");
    for answer in asked {
        assert_eq!(answer.await, Ok(0));
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_said_without_its_password() {
    for url in ["postgres://one:geheim@127.0.0.1:1/x", "postgres://one:geheim@[broken/x", "nonsense geheim"] {
        let options = PostgresOptions { url: url.into(), ..TestServer::shared().options("log") };
        let refused = PostgresStore::open(&options).await.unwrap_err();
        assert!(!refused.to_string().contains("geheim") && !format!("{refused:?}").contains("geheim"), "{refused}");
    }
}

#[tokio::test]
async fn lists_are_read_in_the_order_of_an_index() {
    let mut database = LogSchema::empty();
    let mut made = Made::new(2, 3, 100_000);
    made.go_on(300);
    let store = database.open().await;
    store.project(made.chunks()).await.unwrap();
    let connection = store.readers.beside().await.unwrap();
    let row = connection.query_typed_one("SELECT tables FROM days ORDER BY day LIMIT 1", &[]).await.unwrap();
    let tables: String = row.get(0);
    for (index, condition) in [
        ("facts_by_application", "application = 1"),
        ("facts_failed", "application = 1 AND kind IN (4, 7, 8, 13)"),
        ("facts_by_subscription", "subscription = 1"),
        ("facts_by_event", "event = '00000000-0000-0000-0000-000000000001'"),
        ("facts_by_delivery", "delivery = '00000000-0000-0000-0000-000000000001'"),
    ] {
        let plan = format!(
            "EXPLAIN SELECT * FROM facts_{tables} WHERE {condition} AND time >= 5 AND time <= 9000000 ORDER BY time DESC, place DESC LIMIT 50"
        );
        let found = store.readers.ask(async move |reader| reader.rows(&plan, &[]).await).await.unwrap();
        let steps: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        assert!(steps.concat().contains(&format!("{index}_{tables}")), "{condition}: {steps:?}");
    }
    let events = all_events(store, &EventQuery::of(made.applications[0], 250)).await;
    assert!(!events.is_empty());
}
