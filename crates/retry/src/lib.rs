//! When to try again. Pure: `now` and randomness are arguments, nothing here waits or reads a clock.
//!
//! ```text
//! attempt n failed --Schedule::delay(n)--> wait --max with Retry-After, + jitter--> Next {wait, due}
//!                                           |                                         |
//!                                           None: dead letter                         Tiers::hop(due - now): retry.<tier>
//!                                                                                     | again until
//!                                                                                     None: promote, the delivery worker waits
//! ```
//!
//! Where it sits: the control plane validates a subscription's [`Schedule`], the fan-out takes its [`Schedule::max_age`], the
//! delivery worker asks for the [`next`] attempt, the retry scheduler for the next hop of [`Tiers`] and for a key's
//! [`Budget`]. A [`TokenBucket`] holds every rate in Hookbus.
//!
//! What it leaves to others: the classification of outcomes, reading a `Retry-After` header, and the waiting itself.

mod budget;
mod due;
pub mod duration;
mod error;
mod jitter;
mod schedule;
mod tiers;

pub use budget::{Budget, TokenBucket};
pub use due::{Next, RetryAfter, due_ms, next, remaining};
pub use error::RetryError;
pub use jitter::{JITTER_PERCENT, jittered, unit};
pub use schedule::{Exponential, MAX_DELAY, MAX_RETRIES, MAX_SPAN, MIN_DELAY, Preset, Schedule};
pub use tiers::{DEFAULT_TIERS, MAX_TIERS, Tier, Tiers};
