//! The one loop of every role that turns records of one topic into records of others, exactly once.
//!
//! ```text
//!                 +------------------------------- Stage (turn.rs) --------------------------------+
//! Kafka -Poller-> | membership.rs   assigned: take over, restore, begin; revoked: hand over        |
//!                 |      | records                                                                 |
//!                 |      v                                                                         |
//!                 |    Work (the role: pure)  --resolve-->  outbox.rs   done, outputs, progress    |
//!                 |                                            | cut                               |
//!                 |                                            v                                   |
//!                 |                                         commit.rs --Writer--> one transaction  |
//!                 +--------------------------------------------------------------------------------+
//!   gate.rs: may requests be sent?   status.rs: how far is it?   watchdog.rs: does anything stand still?
//! ```
//!
//! A role is one [`Work`] and one call of [`run`]. The stage owns everything that has to be right whatever a role does: leases
//! and their epochs, what is done of each partition, one transaction at a time, credit, hand-over, drain, and that nothing
//! stands still unnoticed. Rules W1 to W8 in `docs/guarantees.md` are kept here and in `kafka::Writer`.

mod assigning;
mod commit;
mod error;
mod gate;
mod group;
mod membership;
mod metrics;
mod options;
mod outbox;
mod start;
mod status;
mod turn;
mod waits;
mod watchdog;
mod work;

pub use self::error::{StageError, WorkError};
pub use self::metrics::StageMetrics;
pub use self::options::{Deps, Options};
pub use self::outbox::{Batch, BatchLimits, Entry, Order, Outbox, Part, Slow};
pub use self::status::{Measured, MeasuredLease};
pub use self::turn::run;
pub use self::work::{Fetching, NextTurn, Now, Refusal, Refused, Restoring, Turn, Waiting, Work};
