//! The ledger: what was accepted, what the endpoints saw and what the topics hold, compared with the numbered invariants.
//!
//! ```text
//! collect   topics at read_committed, endpoint, what the clients were told  -> Books, plain data
//! plan      which deliveries must, may and must not be                      -> Plan
//! checks    one pure function per invariant                                 -> Violations
//! audit     all of them, and the numbers a test declared                    -> Audit
//! ```
//!
//! A ledger that cannot fail is no ledger: every check has a test that makes it fail on made-up books, and the planted bugs
//! of `schemas::planted` must turn it red on real ones.

pub mod audit;
pub mod books;
mod checks;
pub mod collect;
mod cut;
pub mod memory;
pub mod pings;
mod plan;

pub use audit::{Audit, Counts, Expect, audit};
pub use books::Books;
pub use checks::Violation;

#[cfg(test)]
mod tests;
