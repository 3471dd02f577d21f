//! The suite over SQLite, and what is true of its files alone.

mod erasure;
pub(crate) mod numbers;

use tempfile::TempDir;

use super::*;
use crate::conformance::{Fixture, suite};
use crate::fact::{LogRow, RowContent};
use crate::stored::LogCopy as _;

/// A folder, and the store that has it open.
struct Folder {
    place: TempDir,
    store: Option<SqliteStore>,
}

impl Fixture for Folder {
    type Opened = SqliteStore;

    fn empty() -> Self {
        Self { place: tempfile::tempdir().unwrap(), store: None }
    }

    async fn open(&mut self) -> &SqliteStore {
        self.opened()
    }
}

impl Folder {
    fn opened(&mut self) -> &SqliteStore {
        self.close();
        self.store.insert(SqliteStore::open(&options(self.place.path())).unwrap())
    }

    /// Waits until the threads have noticed that nobody asks any more: then they let go of the folder, and all files are closed.
    fn close(&mut self) {
        self.store = None;
        while lock(self.place.path()).is_err() {
            std::thread::yield_now();
        }
    }
}

fn options(folder: &Path) -> SqliteOptions {
    SqliteOptions { folder: folder.to_owned(), readers: 2, memory_bytes: 8 << 20 }
}

suite!(Folder);

fn chunk(partition: i32, offset: i64, stored_ms: i64) -> LogChunk {
    let rows = vec![LogRow { offset, stored_ms, content: RowContent::Nothing }];
    LogChunk { partition, offsets: offset..offset + 1, rows }
}

#[tokio::test]
async fn a_folder_belongs_to_one_store() {
    let mut folder = Folder::empty();
    folder.opened();
    let refused = SqliteStore::open(&options(folder.place.path())).unwrap_err();
    assert!(refused.to_string().contains("another process has it"), "{refused}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_said_with_its_name() {
    let folder = Folder::empty();
    let file = folder.place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = SqliteStore::open(&options(&file.join("log"))).unwrap_err();
    assert!(refused.to_string().contains("file/log"), "{refused}");
}

#[tokio::test]
async fn files_that_are_damaged_or_of_another_shape_are_made_again_and_no_others() {
    let mut folder = Folder::empty();
    let days = [0, 1, 2].map(|day| Day::of(day * 86_400_000));
    let chunks = days.map(|day| chunk(0, i64::from(day.number()), day.start_ms()));
    folder.opened().project(chunks.to_vec()).await.unwrap();
    folder.close();
    std::fs::write(schema::day_path(folder.place.path(), days[0]), "no database").unwrap();
    let other = rusqlite::Connection::open(schema::day_path(folder.place.path(), days[1])).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    drop(other);
    std::fs::write(schema::open_path(folder.place.path()), "no database").unwrap();
    let store = folder.opened();
    let coverage = store.coverage().await.unwrap();
    assert_eq!(coverage.of(0), std::slice::from_ref(&(2..3)), "the others are to be read again");
    store.project(chunks.to_vec()).await.unwrap();
    assert_eq!(store.coverage().await.unwrap().of(0), std::slice::from_ref(&(0..3)));
}

#[tokio::test]
async fn a_day_whose_file_nobody_can_open_keeps_no_other_one_closed() {
    let mut folder = Folder::empty();
    let days = [0, 1].map(|day| Day::of(day * 86_400_000));
    let chunks = days.map(|day| chunk(0, i64::from(day.number()), day.start_ms()));
    folder.opened().project(chunks.to_vec()).await.unwrap();
    folder.close();
    let path = schema::day_path(folder.place.path(), days[0]);
    schema::remove(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("somebody's"), "").unwrap();
    let store = folder.opened();
    assert_eq!(store.coverage().await.unwrap().of(0), std::slice::from_ref(&(1..2)), "it is to be read again");
    store.project(chunks.to_vec()).await.unwrap();
    assert_eq!(store.coverage().await.unwrap().of(0), std::slice::from_ref(&(0..2)));
    let names = std::fs::read_dir(folder.place.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let aside: Vec<String> =
        names.filter_map(|name| name.into_string().ok()).filter(|it| it.contains("unusable")).collect();
    assert!(matches!(&*aside, [one] if one.starts_with("1970-01-01.db.")), "{aside:?}");
}

#[tokio::test]
async fn a_day_with_a_damaged_page_is_given_up_and_no_other() {
    let mut folder = Folder::empty();
    let days = [0, 1].map(|day| Day::of(day * 86_400_000));
    let chunks = days.map(|day| chunk(0, i64::from(day.number()), day.start_ms()));
    folder.opened().project(chunks.to_vec()).await.unwrap();
    folder.close();
    damage(&schema::day_path(folder.place.path(), days[0]), "facts");
    // What is open is asked of the days again.
    schema::remove(&schema::open_path(folder.place.path())).unwrap();
    let store = folder.opened();
    let failed = store.bind("attempts".to_owned()).await.unwrap_err();
    assert!(failed.to_string().contains("1970-01-01.db: "), "{failed}");
    assert_eq!(store.bind("attempts".to_owned()).await, Ok(false), "the next try goes on without it");
    assert_eq!(store.coverage().await.unwrap().of(0), std::slice::from_ref(&(1..2)), "it is to be read again");
    store.project(chunks.to_vec()).await.unwrap();
    assert_eq!(store.coverage().await.unwrap().of(0), std::slice::from_ref(&(0..2)));
}

/// A fact of its own application, and what is asked for it.
fn fact(application: u128, offset: i64, stored_ms: i64) -> (LogChunk, FactQuery) {
    let application = ApplicationId(Uuid::from_u128(application));
    let (mut lines, at) = (chunk(0, offset, stored_ms), crate::position::Coordinates { partition: 0, offset });
    let delivery = Some(DeliveryId(Uuid::from_u128(5)));
    let fact = numbers::plain(crate::fact::FactKind::Attempted, at, stored_ms);
    let fact = Fact { application: Some(application), delivery, attempt: Some(1), ..fact };
    lines.rows[0].content = RowContent::Fact(Box::new(fact));
    (lines, FactQuery::of(application, 10))
}

#[tokio::test]
async fn a_day_in_which_a_reader_meets_a_damaged_page_is_given_up_and_can_be_read_again() {
    let mut folder = Folder::empty();
    let days = [0, 1].map(|day| Day::of(day * 86_400_000));
    let (lines, query) = fact(1, 0, days[0].start_ms());
    let chunks = vec![lines, chunk(0, 1, days[1].start_ms())];
    folder.opened().project(chunks.clone()).await.unwrap();
    folder.close();
    damage(&schema::day_path(folder.place.path(), days[0]), "facts");
    let store = folder.opened();
    let mut given_up = store.given_up();
    let failed = store.facts(query.clone()).await.unwrap_err();
    assert_eq!(failed, StoreError::Damaged { file: "1970-01-01.db".to_owned() });
    given_up.changed().await.unwrap();
    assert_eq!(store.coverage().await.unwrap().of(0), std::slice::from_ref(&(1..2)), "it is to be read again");
    assert_eq!(store.facts(query.clone()).await.unwrap().rows, [], "and the others answer meanwhile");
    store.project(chunks).await.unwrap();
    assert_eq!(store.facts(query).await.unwrap().rows.len(), 1);
    assert_eq!(*given_up.borrow_and_update(), 1);
}

#[tokio::test]
async fn a_damaged_file_of_what_is_open_is_made_again_from_the_days() {
    let mut folder = Folder::empty();
    folder.opened().project(vec![fact(1, 0, 5).0]).await.unwrap();
    folder.close();
    damage(&schema::open_path(folder.place.path()), "open");
    let store = folder.opened();
    let delivery = || vec![DeliveryId(Uuid::from_u128(5))];
    let failed = store.open_deliveries(delivery()).await.unwrap_err();
    assert_eq!(failed, StoreError::Damaged { file: "open.db".to_owned() });
    // What is asked of the writer comes after it has mended.
    store.coverage().await.unwrap();
    assert_eq!(store.open_deliveries(delivery()).await.unwrap().len(), 1);
    assert_eq!(*store.given_up().borrow(), 0, "no record has to be read again for it");
}

#[tokio::test]
async fn what_a_build_passed_over_is_read_again_by_one_that_keeps_other_kinds() {
    let mut folder = Folder::empty();
    let day = 86_400_000;
    let (kept, query) = fact(1, 0, day);
    // The first day holds a record that nobody keeps, the other one does not.
    let chunks = vec![chunk(0, 1, 0), kept.clone()];
    folder.opened().project(chunks.clone()).await.unwrap();
    let store = folder.opened();
    assert_eq!(store.coverage().await.unwrap().of(0), std::slice::from_ref(&(0..2)), "the same build keeps the same");
    folder.close();
    let newer = SqliteStore::open_keeping(&options(folder.place.path()), "v9 everything").unwrap();
    assert_eq!(newer.coverage().await.unwrap().of(0), std::slice::from_ref(&(0..1)), "one day is to be read again");
    let known = newer.project(chunks).await.unwrap();
    assert_eq!((known.new, known.known), (0, 1), "and what is there is not there twice");
    assert_eq!(newer.facts(query).await.unwrap().rows.len(), 1);
    assert_eq!(newer.open_deliveries(vec![DeliveryId(Uuid::from_u128(5))]).await.unwrap().len(), 1);
    drop(newer);
    folder.close();
    let again = SqliteStore::open_keeping(&options(folder.place.path()), "v9 everything").unwrap();
    assert_eq!(again.coverage().await.unwrap().of(0), std::slice::from_ref(&(0..2)), "once is enough");
}

#[tokio::test]
async fn a_folder_is_read_beside_the_process_that_has_it() {
    let mut folder = Folder::empty();
    let mut made = crate::conformance::made::Made::new(9, 2, 600_000);
    made.go_on(60);
    let chunks = made.chunks();
    let store = folder.opened();
    store.bind("attempts a".to_owned()).await.unwrap();
    store.project(chunks.clone()).await.unwrap();
    let summaries = store.days().await.unwrap();
    assert_eq!(summaries.iter().map(|it| it.rows).sum::<u64>(), (made.facts.len() + made.events.len()) as u64);
    let beside = LogFolder::new(folder.place.path().to_owned());
    let days: Vec<Day> = beside.days().await.unwrap();
    assert_eq!(days, summaries.iter().map(|it| it.day).collect::<Vec<_>>());
    let mut found = Vec::new();
    for day in days {
        let stored = beside.day(day).await.unwrap();
        assert_eq!(stored.topic.as_deref(), Some("attempts a"));
        for (partition, offsets) in stored.covered.iter() {
            let rows = beside.rows(day, partition, offsets.clone()).await.unwrap();
            found.extend(rows.into_iter().map(|row| (partition, row)));
        }
    }
    let mut written: Vec<(i32, LogRow)> =
        chunks.into_iter().flat_map(|it| it.rows.into_iter().map(move |row| (it.partition, row))).collect();
    written.sort_unstable_by_key(|(partition, row)| (*partition, row.offset));
    found.sort_unstable_by_key(|(partition, row)| (*partition, row.offset));
    assert_eq!(found, written);
    let store = folder.opened();
    let rows = store.days().await.unwrap().iter().map(|it| it.rows).sum::<u64>();
    assert_eq!(rows, written.len() as u64, "also when it is opened again");
}

/// Overwrites the first page of a table.
fn damage(path: &Path, table: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let place = "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = ?1";
    let numbers = connection.query_row(place, [table], |row| Ok((row.get(0)?, row.get(1)?)));
    let (page, size): (u32, u32) = numbers.unwrap();
    let (page, size) = (usize::try_from(page).unwrap(), usize::try_from(size).unwrap());
    drop(connection);
    let mut bytes = std::fs::read(path).unwrap();
    bytes[(page - 1) * size..page * size].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_ended() {
    let mut folder = Folder::empty();
    let store = folder.opened();
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
    let asked: StoreAnswer<'_, i64> = store.readers.ask(move |reader| {
        let connection = reader.open()?.ok_or(StoreError::Stopped)?;
        connection.query_row(endless, [], |row| row.get(0)).map_err(failed)
    });
    assert_eq!(asked.await, Err(StoreError::TooSlow { seconds: 2 }));
    assert_eq!(store.open_deliveries(Vec::new()).await, Ok(Vec::new()), "and the thread goes on");
}

#[tokio::test]
async fn no_more_questions_wait_than_may() {
    let mut folder = Folder::empty();
    let store = folder.opened();
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
    let held = Arc::new(parking_lot::Mutex::new(held));
    let mut asked = Vec::new();
    let refused = loop {
        let held = Arc::clone(&held);
        let mut answer: StoreAnswer<'static, ()> = store.readers.ask(move |_reader| {
            assert!(held.lock().recv().is_err(), "it ends when the other half is dropped");
            Ok(())
        });
        match std::future::poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context))).await {
            std::task::Poll::Ready(refused) => break refused,
            std::task::Poll::Pending => asked.push(answer),
        }
        assert!(asked.len() < 100);
    };
    assert_eq!(refused, Err(StoreError::Overloaded));
    assert_eq!(store.days().await, Ok(Vec::new()), "what is counted does not wait with the questions");
    drop(hold);
    for answer in asked {
        answer.await.unwrap();
    }
}

#[test]
fn lists_are_read_in_the_order_of_an_index() {
    let folder = Folder::empty();
    let path = folder.place.path().join("day.db");
    let connection = schema::open_to_write(&path, &schema::DAY).unwrap().unwrap();
    let lists = [
        "facts INDEXED BY facts_by_application WHERE application = ?5",
        "facts INDEXED BY facts_failed WHERE application = ?5 AND kind IN (4, 7, 8, 13)",
        "facts INDEXED BY facts_by_subscription WHERE subscription = ?5",
        "facts INDEXED BY facts_by_event WHERE event = ?5",
        "events INDEXED BY events_by_application WHERE application = ?5",
    ];
    for list in lists {
        for order in [crate::query::ListOrder::Descending, crate::query::ListOrder::Ascending] {
            let sql = format!("EXPLAIN QUERY PLAN SELECT * FROM {list} AND {}", list::clause(order));
            let mut statement = connection.prepare(&sql).unwrap();
            let steps = statement.query_map([1, 2, 3, 4, 5], |row| row.get::<_, String>(3)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            assert!(!steps.concat().contains("TEMP B-TREE"), "{list}: {steps:?}");
            assert!(steps.concat().contains("time>? AND time<?"), "{list}: {steps:?}");
        }
    }
}
