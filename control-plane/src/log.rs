//! The delivery log: an index over `attempts` in a store, which can be thrown away and made again.
//!
//! ```text
//! [attempts] --two tails without a group--> gather.rs: rows, by partition --> project.rs: DeliveryStore::project, newest day first
//!                                                                                  |
//! request --> api/<resource>.rs --> DeliveryLog::store --> crates/delivery-log <---+
//! ```
//!
//! Every replica has a log of its own, or all share one in PostgreSQL: then one of them fills it, and tells the others how far it is
//! (standby.rs). Without one, while it cannot be opened, and until it is known how far behind it is, its
//! routes answer 503 `log_unavailable`; no other route and no probe waits for it.

pub(crate) mod accepted;
pub(crate) mod attempts;
mod bounds;
mod check;
mod dead_letter;
pub(crate) mod explain;
mod fetch;
mod forget;
mod gates;
mod gather;
pub(crate) mod health;
pub(crate) mod held;
pub(crate) mod letters;
#[cfg(test)]
pub(crate) mod made;
mod metrics;
pub(crate) mod overview;
mod progress;
mod project;
mod retained;
mod standby;
mod stores;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use chassis::config::{ControlLogConfig, LogStore};
use chassis::metrics::HistogramVec;
use delivery_log::{DeliveryStore, Fact, StoreError};
use http::{HeaderName, HeaderValue};
use kafka::Offsets;
use parking_lot::RwLock;
use schemas::delivery::Delivery;
use schemas::problem::{Code, ProblemId};
use tracing::{error, info};
use uuid::Uuid;

pub use self::check::{LogCheckError, LogChecked, LogDifference, check_log};
use self::dead_letter::DeadLetterReader;
use self::fetch::RecordFetch;
use self::held::HeldLetters;
use self::metrics::LogMetrics;
pub(crate) use self::metrics::QueryTimer;
use self::progress::LogProgress;
use self::project::Projection;
use self::retained::RetainedStore;
pub use self::stores::log_copy;
use crate::config::Deps;
use crate::error::Error;
use crate::problem::{Problem, not_found};

/// A log that is further behind may lack what a client has just been told of, ms.
const LATE_MS: i64 = 10_000;
/// Between two tries to open the store.
const OPEN_AGAIN: Duration = Duration::from_secs(30);
/// How far behind `attempts` an answer may be, ms.
pub(crate) const BEHIND: HeaderName = HeaderName::from_static("hookbus-log-behind-ms");
/// From when on an answer is whole, while older days are still read.
pub(crate) const FROM: HeaderName = HeaderName::from_static("hookbus-log-from");

/// See the module. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryLog(Arc<LogInner>);

#[derive(Debug)]
struct LogInner {
    /// The store as whoever asks may see it, or why there is none.
    opened: RwLock<Result<Arc<dyn DeliveryStore>, String>>,
    progress: LogProgress,
    /// The topic that it is an index of.
    topic: Arc<str>,
    /// Reads records back, where Kafka can be asked.
    read_back: Option<RecordFetch>,
    /// Knows the topic's ends, once a reader has begun.
    offsets: RwLock<Option<Offsets>>,
    /// Finds dead letters, where Kafka can be asked.
    letters: Option<DeadLetterReader>,
    /// What of those who died can still be read.
    held_letters: RwLock<HeldLetters>,
    /// How long answers take, by route.
    query_seconds: Option<HistogramVec>,
    /// What keeps it.
    kind: LogStore,
    /// This one.
    replica: String,
    /// The replica that fills it, where it is another one.
    filler: RwLock<Option<String>>,
}

// === impl DeliveryLog ===

impl DeliveryLog {
    /// None, and why.
    pub(crate) fn none(reason: &str) -> Self {
        Self(Arc::new(LogInner {
            opened: RwLock::new(Err(reason.to_owned())),
            progress: LogProgress::default(),
            topic: Arc::from(""),
            read_back: None,
            letters: None,
            offsets: RwLock::default(),
            held_letters: RwLock::default(),
            query_seconds: None,
            kind: LogStore::None,
            replica: String::new(),
            filler: RwLock::default(),
        }))
    }

    /// With a store that somebody else fills, and has filled.
    #[cfg(test)]
    pub(crate) fn over(store: Arc<dyn DeliveryStore>, catalog: catalog::Catalog) -> Self {
        let log = Self::none("");
        *log.0.opened.write() = Ok(Arc::new(RetainedStore::new(store, catalog)));
        log.progress().begin(0..1, 0, 0);
        log.progress().reached(0, progress::ReachedTo::End);
        log.progress().whole_from(None);
        log
    }

    /// Begins to open the store, and then to fill it.
    ///
    /// # Errors
    /// A metric's name is taken, or no Kafka client can be made.
    pub(crate) fn start(config: &ControlLogConfig, deps: &Deps) -> Result<Self, Error> {
        if config.store == LogStore::None {
            return Ok(Self::none("`control.log.store` is `none`"));
        }
        let metrics = LogMetrics::new(&deps.registry)?;
        metrics.closed.set(1);
        let read_back = RecordFetch::start(&deps.connection, &deps.tasks)
            .map_err(|source| Error::Kafka { purpose: "reading records back", source })?;
        let letters = DeadLetterReader::start(&deps.connection, &deps.topics.dead_letters)
            .map_err(|source| Error::Kafka { purpose: "reading dead letters back", source })?;
        let log = Self(Arc::new(LogInner {
            opened: RwLock::new(Err("its store is being opened".to_owned())),
            progress: LogProgress::default(),
            topic: Arc::clone(&deps.topics.attempts),
            read_back: Some(read_back),
            letters: Some(letters),
            offsets: RwLock::default(),
            held_letters: RwLock::default(),
            query_seconds: Some(metrics.query_seconds.clone()),
            kind: config.store,
            replica: deps.kafka.slot.clone(),
            filler: RwLock::default(),
        }));
        let (run, stop) = (log.clone().run(config.clone(), deps.clone(), metrics), deps.tasks.shutdown().clone());
        deps.tasks.spawn("control-log", async move {
            tokio::select! {
                () = run => {}
                () = stop.requested() => {}
            }
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(log)
    }

    /// What is asked.
    ///
    /// # Errors
    /// 503 `log_unavailable` with the reason.
    pub(crate) fn store(&self) -> Result<Arc<dyn DeliveryStore>, Problem> {
        let store = self.0.opened.read().clone().map_err(|reason| unavailable(&reason))?;
        // An answer says how far behind it is; whatever it said before a reader has begun would be invented.
        if self.0.progress.behind_ms(0).is_none() {
            return Err(unavailable("its topic is not read yet"));
        }
        Ok(store)
    }

    /// What is answered where a thing that is named is not in the log: there is none, or it may be there a little later.
    pub(crate) fn absent(&self, what: &str) -> Problem {
        self.may_lack(what).unwrap_or_else(|| not_found(what))
    }

    /// Why something that is not in the log may be there a little later, 503 `log_behind`; `None`: the log has everything.
    pub(crate) fn may_lack(&self, what: &str) -> Option<Problem> {
        let progress = self.progress();
        let why = match (progress.whole_from_ms(), progress.behind_ms(clock::now_ms())) {
            (Some(from_ms), _) => {
                let from = crate::api::time(from_ms);
                format!("it is being made, and whole from {from} on")
            }
            (None, Some(behind_ms)) if behind_ms > LATE_MS => format!("it is {} s behind", behind_ms / 1_000),
            (None, _) => return None,
        };
        let detail = format!("this {what} is not in the delivery log, which does not have everything yet: {why}");
        let problem = Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::LogBehind);
        Some(problem.with_retry_after(5))
    }

    /// Whether the content of an event was erased that was accepted at this time, Unix ms.
    ///
    /// # Errors
    /// 503 `log_behind`: the log is being made, or is late, and what was said of the event since may not be in it yet.
    pub(crate) async fn is_erased(&self, event: Uuid, accepted_ms: i64) -> Result<bool, Problem> {
        let erased = self.store()?.erased(vec![event]).await.map_err(|error| failed(&error))?;
        if !erased.is_empty() {
            return Ok(true);
        }
        let is_being_made = self.progress().whole_from_ms().is_some_and(|from_ms| accepted_ms < from_ms);
        // An event of the newest part is no exception: the record of its erasure is younger than itself.
        let is_late = self.progress().behind_ms(clock::now_ms()).is_some_and(|ms| ms > LATE_MS);
        if (is_being_made || is_late)
            && let Some(behind) = self.may_lack("event's erasure, if there was one,")
        {
            return Err(behind);
        }
        Ok(false)
    }

    /// Whether the content of the event of a fact was erased.
    ///
    /// # Errors
    /// As of [`Self::is_erased`].
    pub(crate) async fn is_erased_of(&self, fact: &Fact) -> Result<bool, Problem> {
        let Some(event) = fact.event else { return Ok(false) };
        self.is_erased(event, fact.accepted_ms.unwrap_or(fact.stored_ms)).await
    }

    /// As while it is filled: whole from this time on, and this far behind, both ms.
    #[cfg(test)]
    pub(crate) fn filled(&self, whole_from_ms: Option<i64>, behind_ms: i64) {
        self.progress().whole_from(whole_from_ms);
        self.progress().reached(0, progress::ReachedTo::Time(clock::now_ms() - behind_ms));
    }

    /// What reads records back.
    ///
    /// # Errors
    /// 503 `log_unavailable`: Kafka cannot be asked.
    pub(crate) fn read_back(&self) -> Result<&RecordFetch, Problem> {
        self.0.read_back.as_ref().ok_or_else(|| unavailable("records cannot be read back here"))
    }

    /// Counts how long an answer takes, from now until it is dropped.
    pub(crate) fn timer(&self, route: &str) -> Option<QueryTimer> {
        let seconds = self.0.query_seconds.as_ref()?;
        Some(QueryTimer::new(seconds.with_label_values(&[route])))
    }

    /// Which replica fills the store, where it is another one.
    fn filled_by(&self, filler: Option<String>) {
        *self.0.filler.write() = filler;
    }

    fn is_filled_by_another(&self) -> bool {
        self.0.filler.read().is_some()
    }

    /// This one.
    fn replica(&self) -> &str {
        &self.0.replica
    }

    fn reads_with(&self, offsets: Offsets) {
        *self.0.offsets.write() = Some(offsets);
    }

    /// The delivery of a dead letter, out of the dead letter itself; `None`: Kafka does not hold that either.
    ///
    /// # Errors
    /// 503 where Kafka does not answer in time, or cannot be asked.
    pub(crate) async fn dead_letter(&self, dead: &Fact) -> Result<Option<Delivery>, Problem> {
        let letters = self.0.letters.as_ref().ok_or_else(|| unavailable("dead letters cannot be read back here"))?;
        letters.find(dead).await
    }

    /// What of those who died can still be read.
    pub(crate) fn held_letters(&self) -> HeldLetters {
        self.0.held_letters.read().clone()
    }

    /// As Kafka says.
    pub(crate) fn holds(&self, held: HeldLetters) {
        *self.0.held_letters.write() = held;
    }

    /// Whether everything that was written below these offsets of the topic is in it.
    pub(crate) fn has(&self, ends: &BTreeMap<i32, i64>) -> bool {
        self.progress().has(ends)
    }

    /// The edition of the store of which all days are there; `None`: older ones are still read, a reader has just begun, or is to begin
    /// since days were given up that are kept.
    ///
    /// # Errors
    /// 503: there is no log, or it does not answer.
    pub(crate) async fn whole_edition(&self) -> Result<Option<i64>, Problem> {
        let edition = self.edition().await?;
        let is_whole = self.progress().whole_from_ms().is_none() && self.progress().edition() == edition;
        Ok(is_whole.then_some(edition))
    }

    /// The edition that whoever asks now is answered from.
    ///
    /// # Errors
    /// As of [`Self::whole_edition`].
    pub(crate) async fn edition(&self) -> Result<i64, Problem> {
        self.store()?.edition().await.map_err(|error| failed(&error))
    }

    /// The topic that it is an index of.
    pub(crate) fn topic(&self) -> &str {
        &self.0.topic
    }

    /// What an answer says of how new and how whole it is.
    pub(crate) fn headers(&self, now_ms: i64) -> Vec<(HeaderName, HeaderValue)> {
        let behind = self.0.progress.behind_ms(now_ms);
        let mut headers: Vec<_> = behind.map(|ms| (BEHIND, HeaderValue::from(ms))).into_iter().collect();
        let from = self.0.progress.whole_from_ms().map(crate::api::time);
        headers.extend(from.and_then(|from| Some((FROM, HeaderValue::from_str(&from).ok()?))));
        headers
    }

    async fn run(self, config: ControlLogConfig, deps: Deps, metrics: LogMetrics) {
        let store = loop {
            match stores::open(&config).await {
                Ok(store) => break store,
                Err(reason) => {
                    error!(%reason, "the delivery log cannot be opened; everything else works, its routes answer 503");
                    *self.0.opened.write() = Err(reason);
                }
            }
            tokio::time::sleep(OPEN_AGAIN).await;
        };
        info!(?store, "the delivery log is open");
        metrics.closed.set(0);
        let shown = RetainedStore::new(Arc::clone(&store), deps.catalog.clone());
        *self.0.opened.write() = Ok(Arc::new(shown));
        let forget = async {
            deps.catalog.caught_up().await;
            forget::run(Arc::clone(&store), deps.catalog.clone()).await;
        };
        let projection = Projection {
            connection: deps.connection.clone(),
            topic: Arc::clone(&deps.topics.attempts),
            deliveries: Arc::clone(&deps.topics.deliveries),
            dead_letters: Arc::clone(&deps.topics.dead_letters),
            store: Arc::clone(&store),
            keep: config.keep,
            metrics,
            log: self,
        };
        tokio::join!(projection.run(), forget);
    }

    fn progress(&self) -> &LogProgress {
        &self.0.progress
    }
}

/// 503: there is no log, or none yet.
pub(crate) fn unavailable(reason: &str) -> Problem {
    let detail = format!("the delivery log is not available: {reason}");
    Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::LogUnavailable).with_retry_after(5)
}

/// What a store's failure is over HTTP.
pub(crate) fn failed(error: &StoreError) -> Problem {
    match error {
        StoreError::Overloaded => Problem::new(ProblemId::ServiceUnavailable, error.to_string())
            .with_code(Code::Overloaded)
            .with_retry_after(1),
        StoreError::TooSlow { .. }
        | StoreError::Unopened { .. }
        | StoreError::Damaged { .. }
        | StoreError::Away { .. }
        | StoreError::FilledByAnother
        | StoreError::Stopped => unavailable(&error.to_string()),
        StoreError::Failed { .. } => {
            error!(%error, "the delivery log could not be read");
            unavailable(
                "its store failed, and the log of the control plane says why; if it stays so, stop the control plane, \
                empty the folder of `control.log.folder`, or drop the schema in PostgreSQL, and start it: the log is made again from \
                Kafka",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use delivery_log::{SqliteOptions, SqliteStore};

    use super::*;

    #[test]
    fn whatever_a_store_fails_with_is_a_503_that_says_what_is_done_about_it() {
        let all = [
            (StoreError::Overloaded, "too many questions"),
            (StoreError::TooSlow { seconds: 2 }, "within 2 s"),
            (StoreError::Unopened { place: "x".into(), reason: "y".into() }, "cannot be opened: y"),
            (
                StoreError::Damaged { file: "2026-11-29.db".into() },
                "2026-11-29.db of the delivery log is damaged; it is given up",
            ),
            (StoreError::Failed { reason: "disk I/O error at /srv".into() }, "empty the folder"),
            (StoreError::Away { reason: "connection refused".into() }, "does not answer: connection refused"),
            (StoreError::FilledByAnother, "another control plane"),
            (StoreError::Stopped, "stopped"),
        ];
        for (error, said) in all {
            let problem = failed(&error);
            assert_eq!(problem.status, 503, "{error}");
            assert!(problem.detail.contains(said) && !problem.detail.contains("/srv"), "{}", problem.detail);
        }
    }

    #[test]
    fn there_is_no_answer_before_it_is_known_how_far_behind_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 1 << 20 };
        let log = DeliveryLog::none("it is being opened");
        *log.0.opened.write() = Ok(Arc::new(SqliteStore::open(&options).unwrap()));
        let problem = log.store().unwrap_err();
        assert_eq!((problem.status, problem.code), (503, Some(Code::LogUnavailable)));
        assert!(problem.detail.contains("not read yet"), "{}", problem.detail);
        assert!(log.headers(5_000).is_empty());
        log.progress().begin(0..1, 1_000, 0);
        assert!(log.store().is_ok());
        let (behind, from) = (HeaderValue::from(4_000), HeaderValue::from_static("1970-01-01T00:00:01Z"));
        assert_eq!(log.headers(5_000), [(BEHIND, behind), (FROM, from)]);
    }

    #[tokio::test]
    async fn a_log_that_was_given_up_is_whole_no_more_though_nobody_who_fills_it_has_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 1 << 20 };
        let store = Arc::new(SqliteStore::open(&options).unwrap());
        let log = DeliveryLog::over(Arc::<SqliteStore>::clone(&store), made::catalog());
        let before = log.whole_edition().await.unwrap();
        assert!(before.is_some());
        store.give_up_all().await.unwrap();
        // What the projection says is of what was there before.
        assert!(log.has(&BTreeMap::new()) && log.progress().whole_from_ms().is_none());
        assert_eq!(log.whole_edition().await.unwrap(), None, "what is found now may lack days");
        assert_ne!(log.edition().await.ok(), before, "and so may what was asked meanwhile");
        log.progress().begin(0..1, 1_000, log.edition().await.unwrap());
        assert_eq!(log.whole_edition().await.unwrap(), None);
        log.progress().whole_from(None);
        assert_eq!(log.whole_edition().await.ok().flatten(), log.edition().await.ok());
    }

    #[tokio::test]
    async fn whether_an_event_was_erased_is_not_known_by_a_log_that_is_late() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 1 << 20 };
        let store = Arc::new(SqliteStore::open(&options).unwrap());
        let log = DeliveryLog::over(Arc::<SqliteStore>::clone(&store), made::catalog());
        let (event, now_ms) = (Uuid::from_u128(1), clock::now_ms());
        assert!(!log.is_erased(event, now_ms).await.unwrap());
        for whole_from_ms in [None, Some(now_ms - 3_600_000)] {
            log.filled(whole_from_ms, LATE_MS + 1_000);
            let late = log.is_erased(event, now_ms).await.unwrap_err();
            assert_eq!((late.status, late.code), (503, Some(Code::LogBehind)), "{whole_from_ms:?}");
        }
        log.filled(Some(now_ms - 3_600_000), 0);
        assert!(!log.is_erased(event, now_ms).await.unwrap(), "of what is there it is");
        log.filled(None, LATE_MS + 1_000);
        store.erase(event).await.unwrap();
        assert!(log.is_erased(event, now_ms).await.unwrap(), "what is known is said, however late it is");
    }
}
