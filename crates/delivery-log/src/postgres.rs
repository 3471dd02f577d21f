//! The shared store: tables of PostgreSQL (13 and newer) in a schema of its own, a set for each day, filled by one process at a time.
//!
//! ```text
//! project --> session.rs: lock, turn --one transaction--> days, covered, facts_20261129_7, ..., open_deliveries
//! questions --> reader.rs: bounded pool, statement_timeout --> fill.rs writes what facts.rs, events.rs, counts.rs read
//! ```
//!
//! A day's tables have no parent and no default partition; their names are its own, so that a day that is made again is another set.
//! Giving a day up is a row that goes: its tables are dropped behind it, when nobody reads them. Nothing is migrated: tables of an
//! older shape are made again from Kafka, which is why there is a number of the shape here, and no tool for migrations.

mod beside;
mod connect;
mod copy;
mod counts;
mod ended;
mod erasures;
mod events;
mod facts;
mod failure;
mod fill;
mod forgotten;
mod list;
mod names;
mod open;
mod reader;
mod removals;
mod schema;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, MutexGuard, watch};
use uuid::Uuid;

pub use self::beside::PostgresCopy;
use self::connect::PgConnector;
use self::failure::{PgResult, within};
use self::reader::PgReaders;
use self::session::{LOOK, PgSession};
use crate::coverage::Coverage;
use crate::day::Day;
use crate::decode::kept_kinds;
use crate::ended::{EndedOnDay, EndedQuery};
use crate::fact::{Fact, LogChunk, LoggedEvent, OpenDelivery};
use crate::minute::{BucketQuery, MinuteBucket};
use crate::query::{DaySummary, EventName, EventQuery, FactQuery, LogPage};
use crate::store::{AcceptedCounts, DeliveryStore, Forgotten, Projected, StoreAnswer, StoreError};

/// How long a write waits for the lock: whoever has just lost it may not have been noticed by the server.
const WAIT: Duration = Duration::from_secs(5);
/// How long a statement of a write may take, seconds, as its connection is set.
const WRITE_SECONDS: u64 = 120;
/// How long a write may take with all of its statements, seconds, where the server says nothing.
const SILENT_SECONDS: u64 = 300;
/// The same of what is little.
const LITTLE_SECONDS: u64 = 60;
/// Deliveries of one question about their histories.
const AT_ONCE: usize = 100;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where the server is and what opens it: `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// Certificates of the authorities that are trusted for it; else the public ones and the host's.
    pub ca_file: Option<PathBuf>,
    /// The schema that is the store's own: lower-case letters, digits and underscores. It is made if it is not there.
    pub schema: String,
    /// Questions that are looked for at once.
    pub readers: usize,
    /// How long one may be looked for, seconds.
    pub seconds: u64,
}

/// See the module. Clones are the same one.
#[derive(Clone)]
pub struct PostgresStore {
    connector: PgConnector,
    readers: PgReaders,
    /// The one who fills it, where this process is it.
    filler: Arc<Mutex<PgFiller>>,
    given_up: Arc<watch::Sender<u64>>,
    kept: Arc<str>,
}

/// What this process has of filling the store.
struct PgFiller {
    session: Option<PgSession>,
    /// It has had one: what was known of the store then may not be so any more.
    had_session: bool,
    /// Days before it are given up.
    oldest: Day,
}

// === impl PostgresOptions ===

impl PostgresOptions {
    /// The schema of Hookbus.
    pub const SCHEMA: &str = "hookbus_log";
    /// How long a question may be looked for, as in an embedded store, seconds.
    pub const SECONDS: u64 = 2;
}

// === impl PostgresStore ===

impl PostgresStore {
    /// Asks the server, and makes the tables that are not there.
    ///
    /// # Errors
    /// The server cannot be used.
    pub async fn open(options: &PostgresOptions) -> Result<Self, StoreError> {
        Self::open_keeping(options, &kept_kinds()).await
    }

    /// As a build opens it that keeps these kinds.
    async fn open_keeping(options: &PostgresOptions, kept: &str) -> Result<Self, StoreError> {
        let connector = PgConnector::new(options.url.expose_secret(), options.ca_file.as_deref(), &options.schema)?;
        schema::prepare(&connector).await?;
        let readers = PgReaders::new(&connector, options.readers, options.seconds)?;
        let filler = PgFiller { session: None, had_session: false, oldest: Day::of(0) };
        Ok(Self {
            connector,
            readers,
            filler: Arc::new(Mutex::new(filler)),
            given_up: Arc::new(watch::Sender::new(0)),
            kept: Arc::from(kept),
        })
    }

    /// The session that fills the store, out of its place: whoever fails, or is ended in the middle, leaves none there.
    async fn session(&self) -> Result<(MutexGuard<'_, PgFiller>, PgSession), StoreError> {
        let until = clock::instant() + WAIT;
        let mut filler = self.filler.lock().await;
        loop {
            match self.take(&mut filler).await {
                Ok(Some(session)) => return Ok((filler, session)),
                Ok(None) if clock::instant() < until => tokio::time::sleep(LOOK / 10).await,
                Ok(None) => return Err(StoreError::FilledByAnother),
                Err(error) => return Err(error),
            }
        }
    }

    /// The session that is there, or a new one. `None`: another process has the lock.
    async fn take(&self, filler: &mut PgFiller) -> Result<Option<PgSession>, StoreError> {
        if let Some(session) = filler.session.take().filter(|it| !it.client.is_closed()) {
            filler.had_session = true;
            return Ok(Some(session));
        }
        let taken = Box::pin(within(LITTLE_SECONDS, PgSession::take(&self.connector, &self.kept))).await;
        let session = taken.map_err(|error| error.told(WRITE_SECONDS))?;
        if session.is_some() && std::mem::replace(&mut filler.had_session, true) {
            // Somebody else may have filled it meanwhile, and made it again.
            self.look_again();
        }
        Ok(session)
    }

    fn look_again(&self) {
        self.given_up.send_modify(|count| *count += 1);
    }

    /// Puts a session back that has done its work; one that has not is not put back.
    fn done<T>(mut filler: MutexGuard<'_, PgFiller>, session: PgSession, answer: PgResult<T>) -> Result<T, StoreError> {
        let answer = answer.map_err(|error| error.told(WRITE_SECONDS))?;
        filler.session = Some(session);
        Ok(answer)
    }

    async fn bind_to(&self, topic: String) -> Result<bool, StoreError> {
        let (filler, mut session) = self.session().await?;
        let answer = within(SILENT_SECONDS, session.bind(&topic)).await;
        Self::done(filler, session, answer)
    }

    async fn fill(&self, chunks: Vec<LogChunk>) -> Result<Projected, StoreError> {
        let (filler, mut session) = self.session().await?;
        let answer = within(SILENT_SECONDS, session.project(chunks, filler.oldest, &self.kept)).await;
        Self::done(filler, session, answer)
    }

    async fn keep_from(&self, oldest: Day) -> Result<Vec<Day>, StoreError> {
        let (mut filler, mut session) = self.session().await?;
        // One day less is a clock that was set right around midnight: nothing new is lost by it.
        if oldest < filler.oldest.minus(1) {
            tracing::warn!(was = %filler.oldest, is = %oldest, "the clock was set back: days that were given up are read again");
            filler.oldest = oldest;
            self.look_again();
        }
        filler.oldest = filler.oldest.max(oldest);
        let gone = within(SILENT_SECONDS, session.retain(filler.oldest)).await;
        let gone = gone.map_err(|error| error.told(WRITE_SECONDS))?;
        // Not after every write: whoever reads the views for long would be waited for each time, while nothing is filled in. What
        // fails here is done again with the next look; its session is not put back.
        if within(SILENT_SECONDS, session.tidy()).await.is_ok() {
            filler.session = Some(session);
        }
        Ok(gone)
    }

    async fn forget_some(&self, before: Vec<(ApplicationId, i64)>) -> Result<Forgotten, StoreError> {
        let (filler, mut session) = self.session().await?;
        let answer = within(SILENT_SECONDS, session.forget(&before)).await;
        Self::done(filler, session, answer)
    }

    /// Where this process fills the store, as whoever fills it; else beside the one who does, who finds out with what it does next.
    async fn make_again(&self) -> Result<Vec<Day>, StoreError> {
        let mut filler = self.filler.lock().await;
        let all = match filler.session.take().filter(|it| !it.client.is_closed()) {
            Some(mut session) => {
                let answer = within(SILENT_SECONDS, session.give_up_all()).await;
                Self::done(filler, session, answer)?
            }
            None => self.readers.give_up_all().await?,
        };
        tracing::info!(days = all.len(), "the delivery log is made again, as it was asked to be");
        self.look_again();
        Ok(all)
    }

    async fn await_turn(&self) -> Result<(), StoreError> {
        loop {
            let mut filler = self.filler.lock().await;
            if let Some(session) = self.take(&mut filler).await? {
                filler.session = Some(session);
                return Ok(());
            }
            drop(filler);
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn tell_others(&self, progress: String) -> Result<(), StoreError> {
        let mut filler = self.filler.lock().await;
        let Some(mut session) = filler.session.take() else { return Err(StoreError::FilledByAnother) };
        let is_ours = within(LITTLE_SECONDS, session.tell(&progress)).await.map_err(|error| error.told(WRITE_SECONDS));
        match is_ours {
            Ok(true) => {
                filler.session = Some(session);
                Ok(())
            }
            // Whoever fills it from here reads what is covered anew.
            failed => {
                self.look_again();
                failed.and(Err(StoreError::FilledByAnother))
            }
        }
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.connector.place()).finish_non_exhaustive()
    }
}

impl DeliveryStore for PostgresStore {
    fn bind(&self, topic: String) -> StoreAnswer<'_, bool> {
        Box::pin(self.bind_to(topic))
    }

    fn turn(&self) -> StoreAnswer<'_, ()> {
        Box::pin(self.await_turn())
    }

    fn tell(&self, progress: String) -> StoreAnswer<'_, ()> {
        Box::pin(self.tell_others(progress))
    }

    fn told(&self) -> StoreAnswer<'_, Option<String>> {
        Box::pin(self.readers.told())
    }

    fn project(&self, chunks: Vec<LogChunk>) -> StoreAnswer<'_, Projected> {
        Box::pin(self.fill(chunks))
    }

    fn coverage(&self) -> StoreAnswer<'_, Coverage> {
        Box::pin(self.readers.coverage())
    }

    fn retain(&self, oldest: Day) -> StoreAnswer<'_, Vec<Day>> {
        Box::pin(self.keep_from(oldest))
    }

    fn cut(&self, ends: BTreeMap<i32, i64>) -> StoreAnswer<'_, Vec<Day>> {
        Box::pin(self.cut_to(ends))
    }

    fn given_up(&self) -> watch::Receiver<u64> {
        self.given_up.subscribe()
    }

    fn edition(&self) -> StoreAnswer<'_, i64> {
        Box::pin(self.readers.edition())
    }

    fn give_up_all(&self) -> StoreAnswer<'_, Vec<Day>> {
        Box::pin(self.make_again())
    }

    fn erase(&self, event: Uuid) -> StoreAnswer<'_, ()> {
        Box::pin(self.readers.erase(event))
    }

    fn erased(&self, events: Vec<Uuid>) -> StoreAnswer<'_, Vec<Uuid>> {
        Box::pin(self.readers.erased(events))
    }

    fn forget(&self, before: Vec<(ApplicationId, i64)>) -> StoreAnswer<'_, Forgotten> {
        Box::pin(self.forget_some(before))
    }

    fn days(&self) -> StoreAnswer<'_, Vec<DaySummary>> {
        Box::pin(self.readers.days())
    }

    fn facts(&self, query: FactQuery) -> StoreAnswer<'_, LogPage<Fact>> {
        Box::pin(self.readers.ask(async move |reader| facts::page(&reader, &query).await))
    }

    fn events(&self, query: EventQuery) -> StoreAnswer<'_, LogPage<LoggedEvent>> {
        Box::pin(self.readers.ask(async move |reader| events::page(&reader, &query).await))
    }

    fn event(&self, application: ApplicationId, name: EventName) -> StoreAnswer<'_, Option<LoggedEvent>> {
        Box::pin(self.readers.ask(async move |reader| events::find(&reader, application, &name).await))
    }

    fn events_of(&self, application: ApplicationId, events: Vec<(Uuid, Day)>) -> StoreAnswer<'_, Vec<LoggedEvent>> {
        Box::pin(self.readers.ask(async move |reader| events::of(&reader, application, &events).await))
    }

    fn histories(&self, application: ApplicationId, deliveries: Vec<(DeliveryId, Day)>) -> StoreAnswer<'_, Vec<Fact>> {
        // A question has its own time: a thousand that start at the oldest day are looked for in each of them.
        Box::pin(async move {
            let mut all = Vec::new();
            for few in deliveries.chunks(AT_ONCE) {
                let few = few.to_vec();
                let found = async move |reader| facts::histories(&reader, application, &few).await;
                all.extend(self.readers.ask(found).await?);
            }
            Ok(all)
        })
    }

    fn history_of(&self, application: ApplicationId, prefix: [u8; 14]) -> StoreAnswer<'_, Vec<Fact>> {
        Box::pin(self.readers.ask(async move |reader| facts::history_of(&reader, application, prefix).await))
    }

    fn target(&self, application: ApplicationId, of: (SubscriptionId, i64)) -> StoreAnswer<'_, Option<String>> {
        Box::pin(self.readers.ask(async move |reader| counts::target(&reader, application, of).await))
    }

    fn open_deliveries(&self, deliveries: Vec<DeliveryId>) -> StoreAnswer<'_, Vec<OpenDelivery>> {
        Box::pin(self.readers.ask(async move |reader| counts::open(&reader, &deliveries).await))
    }

    fn open_letters(
        &self,
        application: ApplicationId,
        subscription: SubscriptionId,
        since_ms: i64,
    ) -> StoreAnswer<'_, u64> {
        let of = (subscription, since_ms);
        Box::pin(self.readers.ask(async move |reader| counts::open_letters(&reader, application, of).await))
    }

    fn undecided_letters(&self) -> StoreAnswer<'_, u64> {
        Box::pin(self.readers.ask(async move |reader| counts::undecided_letters(&reader).await))
    }

    fn buckets(&self, query: BucketQuery) -> StoreAnswer<'_, Vec<MinuteBucket>> {
        Box::pin(self.readers.ask(async move |reader| counts::buckets(&reader, &query).await))
    }

    fn ended(&self, query: EndedQuery) -> StoreAnswer<'_, Vec<EndedOnDay>> {
        Box::pin(self.readers.ask(async move |reader| ended::ask(&reader, &query).await))
    }

    fn accepted(&self, applications: Vec<ApplicationId>, from: Day, to: Day) -> StoreAnswer<'_, AcceptedCounts> {
        Box::pin(self.readers.ask(async move |reader| counts::accepted(&reader, &applications, (from, to)).await))
    }
}
