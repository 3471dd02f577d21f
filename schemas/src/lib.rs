//! The contract between the roles: topics, records, ids, invariants. Pure: no clock, no network, no randomness but what is passed in.
//!
//! ```text
//! event -> delivery -> attempt (retry -> delivery)* -> delivered | dead letter | cancelled
//!    |         |            |
//! [events] [deliveries] [retry.<delay>] [attempts] [dead-letters] [rejected] [retried] [seen] [control]
//! ```
//!
//! Services never depend on each other; whatever two of them share is here. One file per hop, [`topics`] is the whole
//! pipeline on one page, [`invariants`] numbers what must always hold.

pub mod access;
pub mod attempt;
pub mod audit;
pub mod cloud_event;
pub mod control;
pub mod dead_letter;
pub mod delivery;
pub mod event;
pub mod event_type;
pub mod header;
pub mod identity;
pub mod ids;
pub mod invariants;
pub mod jobs;
pub mod lanes;
pub mod murmur2;
pub mod operational;
pub mod ordering;
pub mod planted;
pub mod problem;
pub mod record;
pub mod rejected;
pub mod retried;
pub mod secret_header;
pub mod seen;
pub mod slices;
pub mod status;
pub mod time;
pub mod topics;
pub mod varint;

/// The OpenAPI document of the management and event routes: made from the control plane's code, committed, and served as it is.
pub const OPENAPI: &str = include_str!("../openapi/openapi.json");
