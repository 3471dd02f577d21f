//! Hookbus end to end: real Kafka, every role a process, and after each test the ledger.

mod bad_input;
mod delivery;
mod fanout;
mod producers;
mod topics;
