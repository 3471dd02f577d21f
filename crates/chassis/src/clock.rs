//! The clocks, for crates that do not talk to Kafka themselves. They live in `kafka::clock`, the lowest crate that needs one.

pub use kafka::clock::{boot_ms, instant, now_ms};
