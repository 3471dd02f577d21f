//! A real Kafka for development and tests: one `KRaft` node, or one of three, everything on loopback, gone when its parent is.
//!
//! ```text
//! prepare  -> Jars     Maven copies Kafka's jars into a cache folder, once
//! Broker::start        choose ports, write server.properties, format the storage once, fence the former incarnation,
//!                      run, wait until it serves
//! stop, kill, pause, resume
//! ```
//!
//! Used by `hookbus dev` and by the testkit. Nothing here knows a topic: what the cluster holds is the caller's matter.
//! [`tether`] is of use beyond Kafka: it runs any program so that it cannot outlive the process that started it.

mod broker;
mod error;
mod fence;
mod jars;
mod options;
pub mod ports;
mod probe;
pub mod tether;

pub use broker::Broker;
pub use error::KafkaDevError;
pub use jars::{Jars, KAFKA_VERSION, prepare};
pub use options::{BrokerOptions, Member, Proxied};
