//! The only user of rdkafka: poller, window, transactional writer, producer, topics, lag.
//!
//! ```text
//! Kafka --> Poller (own thread) --> role --> Writer (own thread, transactions) --> Kafka
//!             |  leases, epochs       |        ^
//!             +---- Ownership --------|--------+      (which partitions are ours, under which group generation)
//!                                   Window            (what is done above the committed offset)
//! ```
//!
//! Beside them: [`Producer`] (idempotent, one future per record), [`ExclusiveWriter`] (compare-and-set on one topic),
//! [`Tail`] and [`Offsets`] (reading without a group), [`topics`] (create and verify), [`lag`] and
//! [`group`] (what an operator sees and sets).
//! Nothing of rdkafka appears in a public signature.

mod bare;
mod catch_up;
pub mod clock;
mod connection;
mod error;
mod error_counts;
mod exclusive;
mod fetcher;
mod ffi;
pub mod group;
pub mod lag;
mod lasting_producer;
mod lease;
mod lists;
mod log;
pub mod metadata;
mod offsets;
mod pace;
mod poller;
pub mod probe;
mod producer;
mod restore;
mod session;
mod tail;
mod takeover;
pub mod topics;
mod window;
mod writer;

pub use bare::{BareProducer, BareTransaction};
pub use catch_up::{CatchUp, CatchUpOptions, CatchUpStep, ReadingStand, ReadingWatch};
pub use connection::{Connection, TAIL_GROUP};
pub use error::{ErrorCode, ExclusiveError, KafkaError};
pub use error_counts::error_counts;
pub use exclusive::{ExclusiveWriter, LastOffsets};
pub use fetcher::{Answers, FetchOutcome, Fetched, Fetcher, FetcherOptions, Urgency};
pub use lasting_producer::{LastingProducer, ProducerState};
pub use lease::{Epoch, Lease, Ownership};
pub use lists::{KeptRecord, ListsRestorer, RestoredLists};
pub use metadata::{Handled, ListsClaim, PositionClaim, SliceCursor};
pub use offsets::{FoundTopics, Offsets};
pub use pace::Pace;
pub use poller::{Heartbeat, LeaseLag, Membership, Poller, PollerEvent, PollerEvents, PollerOptions, RevokeDone};
pub use producer::{Acknowledgement, Producer, ProducerOptions, Written};
pub use restore::{LogCut, Restored};
pub use tail::{Below, From, Tail, TailEvent, TailOptions};
pub use window::Window;
pub use writer::{
    Claimed, Committed, FailedTry, MAX_LEASES, Output, Progress, Refusal, Transaction, Tries, Writer, WriterOptions,
    WriterStats,
};
