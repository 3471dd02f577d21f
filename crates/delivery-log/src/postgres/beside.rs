//! What is asked and done beside the questions and the one who fills the store, and what compares the store with its topic.

use std::ops::Range;
use std::time::Duration;

use chassis::clock;
use schemas::ids::ApplicationId;
use secrecy::ExposeSecret as _;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::connect::PgConnector;
use super::failure::{PgFailure, PgResult};
use super::reader::{AskedDay, LentConnection, PgReader, PgReaders};
use super::session::day_of;
use super::{PostgresOptions, WRITE_SECONDS, counts, erasures, events, facts, removals};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::fact::{LogRow, RowContent};
use crate::place;
use crate::position::Coordinates;
use crate::query::{DaySummary, ListOrder};
use crate::store::{StoreAnswer, StoreError};
use crate::stored::{LogCopy, RemovedContent, StoredDay, merged};

/// How long what is asked beside the questions may take, a little more than the server gives it, seconds.
const SECONDS: u64 = 35;
/// The same of what is asked again and again, and waits for nobody.
const SOON_SECONDS: u64 = 2;

/// A store's rows beside the process that fills it.
#[derive(Debug)]
pub struct PostgresCopy(PgReaders);

// === impl PgReaders ===

impl PgReaders {
    pub(super) async fn coverage(&self) -> Result<Coverage, StoreError> {
        let look = async |connection: LentConnection| {
            let coverage = counts::coverage(&connection).await?;
            connection.answered();
            Ok(coverage)
        };
        self.look(SECONDS, look).await
    }

    pub(super) async fn days(&self) -> Result<Vec<DaySummary>, StoreError> {
        let look = async |connection: LentConnection| {
            let days = counts::days(&connection).await?;
            connection.answered();
            Ok(days)
        };
        self.look(SECONDS, look).await
    }

    pub(super) async fn told(&self) -> Result<Option<String>, StoreError> {
        let look = async |connection: LentConnection| {
            let row = connection.query_typed_one("SELECT progress FROM state", &[]).await?;
            connection.answered();
            Ok(row.try_get(0)?)
        };
        self.look(SOON_SECONDS, look).await
    }

    pub(super) async fn edition(&self) -> Result<i64, StoreError> {
        let look = async |connection: LentConnection| {
            let row = connection.query_typed_one("SELECT edition FROM state", &[]).await?;
            connection.answered();
            Ok(row.try_get(0)?)
        };
        self.look(SOON_SECONDS, look).await
    }

    /// Those of these events that are erased.
    pub(super) async fn erased(&self, events: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        let look = async |mut connection: LentConnection| {
            let transaction = connection.transaction().await?;
            let known = erasures::known(&transaction, &events).await?;
            transaction.commit().await?;
            connection.answered();
            Ok(known)
        };
        let known = self.look(SECONDS, look).await?;
        Ok(events.into_iter().filter(|event| known.contains(event)).collect())
    }

    /// Takes the content of an event out of all rows, whoever fills them.
    pub(super) async fn erase(&self, event: Uuid) -> Result<(), StoreError> {
        let erase = async |mut connection: LentConnection| {
            let transaction = connection.transaction().await?;
            erasures::erase(&transaction, event, Day::of(clock::now_ms())).await?;
            transaction.commit().await?;
            connection.answered();
            Ok(())
        };
        self.look(WRITE_SECONDS, erase).await
    }

    /// Gives up all days under whoever fills them. Their tables are dropped by whoever does next.
    pub(super) async fn give_up_all(&self) -> Result<Vec<Day>, StoreError> {
        let give_up = async |mut connection: LentConnection| {
            let transaction = connection.transaction().await?;
            transaction.execute_typed("UPDATE state SET turn = turn + 1", &[]).await?;
            let rows = transaction.query_typed("SELECT day FROM days ORDER BY day", &[]).await?;
            let days = rows.iter().map(|row| day_of(row.try_get(0)?)).collect::<PgResult<Vec<_>>>()?;
            removals::give_up_everything(&transaction).await?;
            transaction.commit().await?;
            connection.answered();
            Ok(days)
        };
        self.look(WRITE_SECONDS, give_up).await
    }

    /// Asks beside the questions: what is not answered in so long is given up, with its connection.
    async fn look<T: Send, F: Future<Output = PgResult<T>> + Send>(
        &self,
        seconds: u64,
        look: impl FnOnce(LentConnection) -> F + Send,
    ) -> Result<T, StoreError> {
        let asked = async {
            let connection = self.beside().await?;
            look(connection).await.map_err(|error| error.told(WRITE_SECONDS))
        };
        let silent = |_over| PgFailure::Silent { seconds }.told(seconds);
        tokio::time::timeout(Duration::from_secs(seconds), asked).await.map_err(silent)?
    }
}

impl std::fmt::Debug for PgReaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgReaders").finish_non_exhaustive()
    }
}

// === impl PostgresCopy ===

impl PostgresCopy {
    /// Over the tables that are there; nothing is asked yet.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(options: &PostgresOptions) -> Result<Self, StoreError> {
        let connector = PgConnector::new(options.url.expose_secret(), options.ca_file.as_deref(), &options.schema)?;
        Ok(Self(PgReaders::new(&connector, 1, WRITE_SECONDS)?))
    }

    /// Asks of a day that is there.
    async fn of_day<T: Send, F: Future<Output = PgResult<T>> + Send>(
        &self,
        day: Day,
        question: impl FnOnce(PgReader, AskedDay) -> F + Send,
    ) -> Result<T, StoreError> {
        let find = async |reader: PgReader| {
            let days = reader.days(ListOrder::Descending).await?;
            let found = days.into_iter().find(|it| it.day == day);
            question(reader, found.ok_or(PgFailure::Unreadable("a day that was given up meanwhile"))?).await
        };
        self.0.ask(find).await
    }
}

impl LogCopy for PostgresCopy {
    fn days(&self) -> StoreAnswer<'_, Vec<Day>> {
        let list = async move |reader: PgReader| {
            let days = reader.days(ListOrder::Descending).await?;
            Ok(days.into_iter().map(|it| it.day).collect())
        };
        Box::pin(self.0.ask(list))
    }

    fn day(&self, day: Day) -> StoreAnswer<'_, StoredDay> {
        let look = async move |reader: PgReader, _: AskedDay| {
            let sql = "SELECT topic, part, start, stop FROM state LEFT JOIN covered ON day = $1";
            let mut stored = StoredDay::default();
            for row in reader.rows(sql, &[(&day.number(), Type::INT4)]).await? {
                stored.topic = row.try_get(0)?;
                let found: (Option<i32>, Option<i64>, Option<i64>) =
                    (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
                if let (Some(partition), Some(start), Some(stop)) = found {
                    stored.covered.add(partition, start..stop);
                }
            }
            Ok(stored)
        };
        Box::pin(self.of_day(day, look))
    }

    fn rows(&self, day: Day, partition: i32, offsets: Range<i64>) -> StoreAnswer<'_, Vec<LogRow>> {
        let place = move |offset| place::of(Coordinates { partition, offset }).unwrap_or(i64::MAX);
        let places = place(offsets.start)..place(offsets.end);
        let read = async move |reader: PgReader, asked: AskedDay| {
            let row = |offset, stored_ms, content| LogRow { offset, stored_ms, content };
            let facts = facts::between(&reader, &asked, &places).await?.into_iter();
            let facts = facts.map(|it| row(it.coordinates.offset, it.stored_ms, RowContent::Fact(Box::new(it))));
            let events = events::between(&reader, &asked, &places).await?.into_iter();
            let events = events.map(|it| row(it.coordinates.offset, it.stored_ms, RowContent::Event(Box::new(it))));
            let targets = counts::targets_between(&reader, &asked, &places).await?.into_iter();
            let targets = targets.map(|it| row(it.coordinates.offset, 0, RowContent::Target(Box::new(it))));
            Ok(merged([facts.collect(), events.collect(), targets.collect()]))
        };
        Box::pin(self.of_day(day, read))
    }

    fn removed(&self, day: Day) -> StoreAnswer<'_, RemovedContent> {
        let look = async move |reader: PgReader, _: AskedDay| {
            let mut removed = RemovedContent { is_without_nul: true, ..RemovedContent::default() };
            let erased = "SELECT event FROM erased WHERE day = $1";
            for row in reader.rows(erased, &[(&day.number(), Type::INT4)]).await? {
                removed.erased.insert(row.try_get(0)?);
            }
            let forgotten = "SELECT application, before FROM forgotten WHERE day = $1";
            for row in reader.rows(forgotten, &[(&day.number(), Type::INT4)]).await? {
                let before: i64 = row.try_get(1)?;
                removed.forgotten.insert(ApplicationId(row.try_get(0)?), before.saturating_add(day.start_ms()));
            }
            Ok(removed)
        };
        Box::pin(self.of_day(day, look))
    }
}
