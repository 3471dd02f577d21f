//! Schemas of registries: asked for over HTTP, compiled beside the loop, kept within bounds. Confluent's API.
//!
//! ```text
//! planner --SchemaLookup--> SchemaCache --Wanted--> its partition waits
//!                             ^    |  want
//!                             |    v
//!                             SchemaFetcher --RegistryClient--> registry: answer.rs says what an answer means
//!                               |    ^                            references.rs reads what it refers to
//!                               +----+ compile.rs, on a thread for what takes long
//! ```
//!
//! What is known of a schema, for how long, and when it is asked for again is decided by pure functions of `now`
//! (`knowledge.rs`, `table.rs`). What it leaves to others: which records wait, and what waits with them (fanout-worker).

mod answer;
mod cache;
mod check;
mod client;
mod compile;
mod fetcher;
mod knowledge;
mod references;
mod settings;
mod table;
mod tls;

pub use answer::RegistryAnswer;
pub use cache::{SchemaCache, SchemasAt};
pub use client::{ClientError, RegistryClient, RegistryReach};
pub use compile::SchemaCompiler;
pub use fetcher::SchemaFetcher;
pub use knowledge::{NOT_FOUND_FOR, UNUSABLE_FOR, WAIT_CAP, WAIT_FLOOR};
pub use settings::{RegistryCredentials, RegistrySettings};
pub use table::CacheLimits;
pub use tls::TrustedRoots;
