//! What a store of the log has to do. Every one of them passes the same suite.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use thiserror::Error;
use tokio::sync::watch;
use uuid::Uuid;

use crate::coverage::Coverage;
use crate::day::Day;
use crate::ended::{EndedOnDay, EndedQuery};
use crate::fact::{Fact, LogChunk, LoggedEvent, OpenDelivery};
use crate::minute::{BucketQuery, MinuteBucket};
use crate::query::{DaySummary, EventName, EventQuery, FactQuery, LogPage};

/// What a store answers, when it does.
pub type StoreAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Days of append-only rows, made of the records of one topic, which can be thrown away and made again.
///
/// Whatever is projected twice changes nothing, and the order in which chunks come does not matter. A row of another application
/// is never in an answer.
pub trait DeliveryStore: fmt::Debug + Send + Sync {
    /// Says which topic the rows are of. What is there of another one is thrown away; returns whether there was some.
    fn bind(&self, topic: String) -> StoreAnswer<'_, bool>;

    /// Until it is this process that fills the store: where several share one, one of them does at a time, and the others stand by.
    fn turn(&self) -> StoreAnswer<'_, ()>;

    /// Tells those that stand by how far this process is, in words of its own.
    fn tell(&self, progress: String) -> StoreAnswer<'_, ()>;

    /// What the one who fills the store has told last; `None`: nobody has, or nobody else can.
    fn told(&self) -> StoreAnswer<'_, Option<String>>;

    /// Takes what was read. When it answers, all of it is there and covered, except for days that were given up.
    fn project(&self, chunks: Vec<LogChunk>) -> StoreAnswer<'_, Projected>;

    /// Which offsets were read into the days that are there.
    fn coverage(&self) -> StoreAnswer<'_, Coverage>;

    /// Gives up every day before this one, now and until it is told another. Returns those that were there. Where the day before
    /// it was a later one, days between them may be read again.
    fn retain(&self, oldest: Day) -> StoreAnswer<'_, Vec<Day>>;

    /// Gives up every day that covers offsets from these on, by partition: the topic was cut back to them, and others take those
    /// offsets. What is covered of their other offsets is to be read again. Returns the days.
    fn cut(&self, ends: BTreeMap<i32, i64>) -> StoreAnswer<'_, Vec<Day>>;

    /// How often days were given up that may be read again, because they were damaged or a clock that was ahead was set right:
    /// whoever fills the store looks again at what is covered when it changes.
    fn given_up(&self) -> watch::Receiver<u64>;

    /// Which edition of the rows it has: another one from before the first day goes that is given up though it is kept. Whoever finds the
    /// same before and behind what they ask was answered from the days that were there. Never refused for the questions that wait.
    fn edition(&self) -> StoreAnswer<'_, i64>;

    /// Gives up all days: they are read again. Returns those that were there.
    fn give_up_all(&self) -> StoreAnswer<'_, Vec<Day>>;

    /// Takes what an event's producer wrote, and sentences about it, out of all rows, by the UUID of its identity. When it answers, none
    /// of it is in any row, nor will be in what is taken later; in no file of an embedded store either, at the latest once what reads it
    /// now has ended. Where some day has rows of it that outlives this process; the record of the erasure, once it is taken, does the
    /// same.
    fn erase(&self, event: Uuid) -> StoreAnswer<'_, ()>;

    /// Those of these events that are erased. Never refused for the questions that wait.
    fn erased(&self, events: Vec<Uuid>) -> StoreAnswer<'_, Vec<Uuid>>;

    /// Removes rows of these applications that are older than the time beside each, Unix ms: events by when they were accepted, facts by
    /// when they were stored. Some thousand at once; whoever asks asks again until there are no more.
    fn forget(&self, before: Vec<(ApplicationId, i64)>) -> StoreAnswer<'_, Forgotten>;

    /// The days that are there, the newest first. Never refused for the questions that wait.
    fn days(&self) -> StoreAnswer<'_, Vec<DaySummary>>;

    /// A page of facts.
    fn facts(&self, query: FactQuery) -> StoreAnswer<'_, LogPage<Fact>>;

    /// A page of events, without `subscriptions` and `control_offset`.
    fn events(&self, query: EventQuery) -> StoreAnswer<'_, LogPage<LoggedEvent>>;

    /// One event; the newest one, where several have the name.
    fn event(&self, application: ApplicationId, name: EventName) -> StoreAnswer<'_, Option<LoggedEvent>>;

    /// These events, by the UUIDs of their identities, each with the day before which it was not stored. Those that are not there
    /// are left out, and so are `subscriptions` and `control_offset`.
    fn events_of(&self, application: ApplicationId, events: Vec<(Uuid, Day)>) -> StoreAnswer<'_, Vec<LoggedEvent>>;

    /// All facts of these deliveries, each with the day before which none was stored: at most 250 of each, the oldest first.
    fn histories(&self, application: ApplicationId, deliveries: Vec<(DeliveryId, Day)>) -> StoreAnswer<'_, Vec<Fact>>;

    /// All facts of the delivery whose id begins so, the oldest first: what an attempt's id tells of it.
    fn history_of(&self, application: ApplicationId, prefix: [u8; 14]) -> StoreAnswer<'_, Vec<Fact>>;

    /// What the attempts of a subscription had in common as it stood at this offset of `control`: a JSON object as its record has
    /// it.
    fn target(&self, application: ApplicationId, of: (SubscriptionId, i64)) -> StoreAnswer<'_, Option<String>>;

    /// Those of these deliveries that have been tried and have not ended.
    fn open_deliveries(&self, deliveries: Vec<DeliveryId>) -> StoreAnswer<'_, Vec<OpenDelivery>>;

    /// How many dead letters of a subscription nobody has decided about, of those that died at this time, Unix ms, or later.
    fn open_letters(
        &self,
        application: ApplicationId,
        subscription: SubscriptionId,
        since_ms: i64,
    ) -> StoreAnswer<'_, u64>;

    /// How many dead letters nobody has decided about, of all applications and all days that are there.
    fn undecided_letters(&self) -> StoreAnswer<'_, u64>;

    /// How deliveries went, step by step, the oldest first; steps without anything are left out.
    fn buckets(&self, query: BucketQuery) -> StoreAnswer<'_, Vec<MinuteBucket>>;

    /// How many deliveries of a generation have ended, by day, the oldest first; days without any are left out. Each is counted once,
    /// however often its record is taken, and for as long as its day is there.
    fn ended(&self, query: EndedQuery) -> StoreAnswer<'_, Vec<EndedOnDay>>;

    /// Events that were accepted, by day and application, of these applications.
    fn accepted(&self, applications: Vec<ApplicationId>, from: Day, to: Day) -> StoreAnswer<'_, AcceptedCounts>;
}

/// Events by day and application.
pub type AcceptedCounts = BTreeMap<(Day, ApplicationId), u64>;

/// What became of a projection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projected {
    /// Rows that are new.
    pub new: u64,
    /// Rows that were there.
    pub known: u64,
    /// Rows of days that were given up.
    pub too_old: u64,
}

/// What was removed before its day was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows.
    pub rows: u64,
    /// There are more.
    pub is_more: bool,
}

/// Why a store does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Too many questions wait.
    #[error("too many questions wait for the delivery log")]
    Overloaded,
    /// A question took longer than it may.
    #[error("the delivery log did not answer within {seconds} s")]
    TooSlow {
        /// What it may take.
        seconds: u64,
    },
    /// It cannot be opened.
    #[error("the delivery log's store in {place} cannot be opened: {reason}")]
    Unopened {
        /// Where it is.
        place: String,
        /// Why.
        reason: String,
    },
    /// A file of it is damaged: it is given up, and its rows are to be read again.
    #[error("{file} of the delivery log is damaged; it is given up, and made again from Kafka")]
    Damaged {
        /// Which.
        file: String,
    },
    /// It is a server that does not answer; whoever asks later may be answered.
    #[error("postgresql, which has the delivery log, does not answer: {reason}")]
    Away {
        /// Why.
        reason: String,
    },
    /// Another process fills it: what was written goes through no more.
    #[error("another control plane fills the delivery log now")]
    FilledByAnother,
    /// It failed.
    #[error("the delivery log's store failed: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
    /// It was stopped.
    #[error("the delivery log's store was stopped")]
    Stopped,
}
