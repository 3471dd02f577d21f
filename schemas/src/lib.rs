//! The contract between the roles: topics, records, ids, invariants. Pure: no clock, no network, no randomness but what is passed in.

pub mod record;
