//! `hookbus dev`: everything in one process, for a person at a terminal.
//!
//! ```text
//! Kafka (started, or configured) -> topics -> control + gateway on one port -> fan-out, delivery, retry
//!    -> demo objects -> receiver (verifies) -> feed: every lifecycle record is a line -> Ctrl-C drains, stops Kafka
//! ```

pub(crate) mod demo;
mod feed;
mod info;
mod kafka;
mod keys;
pub(crate) mod receiver;
mod start;

pub(crate) use start::run;
