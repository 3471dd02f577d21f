//! The delivery log's stores: an index over the records of `attempts`, which can be thrown away and made again.
//!
//! ```text
//! [attempts] --decode--> Row --Chunk--> DeliveryStore::project --> one set of tables a day: facts, events, minutes, covered offsets
//!                                                     \--> open deliveries, which catch up from the days
//! request --> FactQuery, EventQuery --> Store --> Page, and a cursor for the next
//! ```
//!
//! Rows are append-only, one for each record, named by its partition and offset: projecting twice changes nothing, and the order of
//! records does not matter. A day is that of the record's Kafka timestamp; it is given up as a whole. Bodies, heads and
//! payloads stay in Kafka.
//!
//! What it leaves to others: reading the topic, and answering requests (the control plane).

mod attempt_id;
#[cfg(test)]
mod conformance;
mod coverage;
mod day;
mod decode;
mod ended;
mod erasure;
mod fact;
mod growing;
mod histogram;
mod minute;
mod place;
mod plain_text;
mod position;
mod postgres;
mod query;
mod split;
mod sqlite;
mod store;
mod stored;
mod tally;

pub use attempt_id::{attempt_id, delivery_prefix};
pub use coverage::Coverage;
pub use day::Day;
pub use decode::{decode, kept_kinds};
pub use ended::{EndedOnDay, EndedQuery};
pub use fact::{
    Fact, FactKind, Kinds, LogChunk, LogRow, LoggedEvent, LoggedExchange, LoggedTarget, OpenDelivery, RowContent,
};
pub use histogram::Histogram;
pub use minute::{BucketQuery, MinuteBucket};
pub use position::{Coordinates, CursorError, FilterHash, RowPosition};
pub use postgres::{PostgresCopy, PostgresOptions, PostgresStore};
pub use query::{
    DaySummary, EventName, EventQuery, FactQuery, ListOrder, LogPage, PAGE_ENTRIES, PAGE_MS, PageOf, Subject, Times,
};
pub use sqlite::{LogFolder, SqliteOptions, SqliteStore};
pub use store::{AcceptedCounts, DeliveryStore, Forgotten, Projected, StoreAnswer, StoreError};
pub use stored::{LogCopy, RemovedContent, StoredDay};
