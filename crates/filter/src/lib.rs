//! Filters: CEL expressions over one event, compiled at write time, evaluated in the fan-out. Pure.
//!
//! ```text
//! text --compile--> syntax (crate `cel`) --check--> names, functions, can it be true? --meter--> Filter
//!                                                                                                   | matches
//! event --Facts::new--> type, id, labels, data (parsed once, when the first filter asks), time ----+--> yes, no, or why not known
//! ```
//!
//! A filter is a stranger's text that meets a stranger's payload in the middle of everybody's fan-out, so both ends are
//! bounded. [`Filter::compile`] refuses what is too long, too deep, loops in loops in loops, or names what does not exist.
//! [`Filter::matches`] counts what it does (see [`limits`]): the meter is woven into the expression when it is compiled,
//! because the interpreter has none of its own, and it also holds for all filters of one event together.
//!
//! What it leaves to others: whose filter it is (crates/catalog), what a failure leaves behind (fanout-worker).

mod check;
mod error;
mod facts;
mod functions;
pub mod limits;
mod matches;
mod meter;
mod payload;
mod price;

pub use error::{EvaluationError, FilterError, NoData};
pub use facts::{Event, Facts};
pub use matches::Filter;
pub use price::{PatternPrice, pattern_ns_per_byte, pattern_price};
