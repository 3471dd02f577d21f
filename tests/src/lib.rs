//! The testkit: what tests, faults, load and benchmarks of Hookbus are made with.
//!
//! ```text
//!     Hostile, Swallow  what endpoints and networks do to whoever sends: raw bytes, bytes that go nowhere
//!               ^
//!            Endpoint  scripted by path and call number, remembers and verifies what it was sent
//!          NameServer  scripted by name: lies, silence, a thousand addresses
//!        StubRegistry  has schemas by id and GUID, and fails as it is told
//!               ^
//!   Process: one role of the built binary, killed, frozen and stopped by id
//!    Player: a release of the chart, each pod a process; or what the compose file brings up
//!               |
//!             Proxy    between a role and Kafka: cuts, stalls, loses one answer of one kind
//!               v
//!    kafka-dev's Broker, one for the whole run (`with-kafka`), or one of a test's own; or a Cluster of three
//! ```
//!
//! Nothing here is linked into the product. Errors are `anyhow`, as in every test.

pub mod broker;
pub mod cluster;
pub mod dev;
pub mod dns;
pub mod endpoint;
pub mod engine;
pub mod environment;
pub mod hostile;
pub mod http;
pub mod ledger;
pub mod moved_clock;
pub mod pipeline;
pub mod player;
pub mod proxy;
pub mod registry;
pub mod strict;
pub mod supervisor;
pub mod swallow;
pub mod wait;

pub use cluster::Cluster;
pub use dev::Dev;
pub use endpoint::Endpoint;
pub use hostile::Hostile;
pub use ledger::Expect;
pub use moved_clock::MovedClock;
pub use pipeline::Pipeline;
pub use player::Player;
pub use proxy::Proxy;
pub use registry::StubRegistry;
pub use supervisor::Process;
pub use swallow::Swallow;
