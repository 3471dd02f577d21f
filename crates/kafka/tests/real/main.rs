//! The crate against a real Kafka, which the testkit starts and names in `HOOKBUS_TEST_KAFKA`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::match_wildcard_for_single_variants,
    reason = "a test fails by panicking, also in its helpers"
)]

mod claims;
mod coordinator;
mod cut;
mod ends;
mod fetcher;
mod foreign;
mod group;
mod lists;
mod ownership;
mod permissions;
mod reading;
mod refused;
mod slow;
mod subscription;
mod support;
mod takeover;
mod transactions;
