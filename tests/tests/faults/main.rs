//! The faults that sink such systems, on real Kafka, each with the ledger balanced after it.
//!
//! What runs in `make test` is short and asserts no timing. What is `#[ignore]`d is long (`make faults`): 20 kills under
//! load, 50,000 records, pauses of the broker; it measures deadlines and prints the margin.

mod broker;
mod canaries;
mod control;
mod kills;
mod long;
mod scenes;
mod takeover;
mod transactions;
