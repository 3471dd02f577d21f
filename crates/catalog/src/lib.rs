//! The read side of `control`: one consistent snapshot of organizations, applications, tokens, event types and subscriptions,
//! kept current in the background, and the index that tells which subscriptions an event matches.
//!
//! ```text
//! [control] --Tail, read_committed, eof--> reader --change--> Snapshot --read--> gateway    (tokens, event types)
//!                                             |      (index)      |----------> fan-out    (matches, applied)
//!                                             v                   |----------> delivery   (subscription, signer, target)
//!                                          position               +----------> control    (everything; validates writes)
//!                                             ^
//!                  wait_for, read_index ------+
//! ```
//!
//! **Two numbers.** [`Snapshot::position`] is the next offset: everything below it is applied, transaction markers included (they
//! are passed when the end of the partition is seen). [`Snapshot::applied`] is the offset of the last control record that
//! was applied: what a delivery carries as its control offset. Comparing a delivery with `cancel_before` needs the latter:
//! a snapshot that has caught up to the end E of a later write has `position == E` but `applied < E`.
//!
//! **What cannot be read.** A record whose key names a type this build does not know is a newer writer's and is ignored. A
//! record of ours that does not decode keeps the former object, is counted and logged with its offset; it is never skipped
//! in silence.
//!
//! What it leaves to others: writing (the control plane alone), and what to do when nothing is found.

pub mod acceptance;
mod auth;
mod catalog;
mod change;
mod digest;
mod error;
mod event_type;
mod handles;
pub mod index;
mod metrics;
mod packed;
mod reader;
mod rehearsal;
pub mod schema;
pub mod sealed;
mod shared;
mod snapshot;
mod stored;
mod subscription;
mod transactions;
pub mod usage;

pub use auth::{Auth, Oauth2};
pub use catalog::{Catalog, CatalogDeps, SnapshotGuard};
pub use error::{CatalogError, PrepareError};
pub use event_type::EventType;
pub use rehearsal::{Rehearsal, RehearsalMark, Rehearsed};
pub use snapshot::{KeptAmount, RegistryMap, Snapshot, SourceMap, TokenEntry, TokenScope, source_of_topic, weights};
pub use stored::Stored;
pub use subscription::{Subscription, Target};
pub use usage::TokenUse;
