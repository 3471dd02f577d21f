//! What a reader does with what comes, where nobody answers for Kafka.

use delivery_log::{SqliteOptions, SqliteStore};
use schemas::record::{Headers, Record};

use super::*;
use chassis::metrics::Registry;

use crate::log::made;

/// What a reader reads for.
pub(super) struct Projecting {
    _folder: tempfile::TempDir,
    pub(super) projection: Projection,
    unreadable: Limited<()>,
    upkeep: Upkeep,
}

impl Projecting {
    /// Nobody listens where it asks.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 8 << 20 };
        let store: Arc<dyn DeliveryStore> = Arc::new(SqliteStore::open(&options).unwrap());
        let projection = Projection {
            connection: Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap(),
            topic: Arc::from("attempts"),
            deliveries: Arc::from("deliveries"),
            dead_letters: Arc::from("dead-letters"),
            store: Arc::clone(&store),
            keep: Duration::from_secs(86_400),
            metrics: LogMetrics::new(&Registry::new()).unwrap(),
            log: DeliveryLog::over(store, made::catalog()),
        };
        Self { _folder: folder, projection, unreadable: Limited::new(LINE), upkeep: Upkeep::new() }
    }

    /// A reader of so many partitions, each of which begins at 0.
    pub(super) fn reading(&self, partitions: i32) -> Reading<'_> {
        let starts: BTreeMap<i32, i64> = (0..partitions).map(|partition| (partition, 0)).collect();
        Reading {
            projection: &self.projection,
            offsets: Offsets::start(&self.projection.connection).unwrap(),
            starts: starts.clone(),
            live_from: starts.clone(),
            live: Gather::starting(starts.clone()),
            older: None,
            days: Vec::new(),
            today: Day::of(0),
            unreadable: &self.unreadable,
            dropped: Limited::new(LINE),
            upkeep: &self.upkeep,
            given_up: self.projection.store.given_up(),
            flush_at: None,
            ended: (0..partitions).map(|partition| (partition, false)).collect(),
            unreached: starts,
            silent: Vec::new(),
            is_silent: false,
        }
    }
}

/// A record that is none of the log.
fn record(partition: i32, offset: i64) -> TailEvent {
    let record = Record { offset, timestamp_ms: 1, key: None, value: None, headers: Headers::default() };
    TailEvent::Record { partition, record }
}

#[tokio::test]
async fn older_days_are_read_though_records_never_stop_coming() {
    let projecting = Projecting::new();
    let mut reading = projecting.reading(2);
    reading.unreached = BTreeMap::from([(0, 5), (1, 1)]);
    // Each was read to its end, and never both at once.
    reading.newest(record(0, 0));
    reading.newest(TailEvent::Eof { partition: 0, position: 1 });
    assert!(!reading.may_look_back(), "the other one is yet to be read");
    reading.newest(record(0, 1));
    reading.newest(TailEvent::Eof { partition: 1, position: 0 });
    reading.newest(record(1, 0));
    assert!(reading.may_look_back());
}

#[tokio::test]
async fn days_are_given_up_though_the_log_cannot_be_filled() {
    let projecting = Projecting::new();
    let store = &projecting.projection.store;
    let row = delivery_log::LogRow { offset: 0, stored_ms: 0, content: RowContent::Nothing };
    store.project(vec![delivery_log::LogChunk { partition: 0, offsets: 0..1, rows: vec![row] }]).await.unwrap();
    assert_eq!(store.days().await.unwrap().len(), 1);
    let failed = projecting.projection.read(&projecting.upkeep, &projecting.unreadable).await;
    assert!(matches!(failed, Err(ProjectError::Kafka(_))), "nobody answers for kafka");
    assert_eq!(store.days().await.unwrap(), []);
}
