//! The only user of rdkafka: poller, window, transactional writer, producer, topics, lag.

pub mod clock;
