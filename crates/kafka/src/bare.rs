//! What the bare loops of the bench produce with: rdkafka's own future producer, as anybody would use it.

use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::connection::Connection;
use crate::error::KafkaError;
use crate::producer::ProducerOptions;

/// rdkafka's producer, with the same properties as ours.
#[derive(Clone)]
pub struct BareProducer(FutureProducer);

impl BareProducer {
    /// Makes the producer.
    ///
    /// # Errors
    /// Properties librdkafka refuses.
    pub fn start(connection: &Connection, options: &ProducerOptions) -> Result<Self, KafkaError> {
        let producer = connection.producer(options).create();
        let producer = producer.map_err(|error| KafkaError::Client { purpose: "producing", reason: error.to_string() });
        Ok(Self(producer?))
    }

    /// Sends a record and waits for the acknowledgement.
    ///
    /// # Errors
    /// What the broker or the client said.
    pub async fn send(&self, topic: &str, key: &[u8], value: &[u8]) -> Result<(), KafkaError> {
        let sent = self.0.send(FutureRecord::to(topic).key(key).payload(value), Duration::ZERO).await;
        sent.map(drop).map_err(|(error, _record)| KafkaError::from_rdkafka(format!("delivery to {topic}"), &error))
    }
}

impl std::fmt::Debug for BareProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareProducer").finish_non_exhaustive()
    }
}
