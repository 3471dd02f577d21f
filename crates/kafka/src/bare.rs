//! What the bare loops of the bench produce with: rdkafka's own future producer, as anybody would use it. Tests write with it
//! what is older than they are.

#![expect(clippy::disallowed_types, reason = "what our own is compared with")]

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders, Timestamp};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, FutureProducer, FutureRecord, Producer, ThreadedProducer};
use schemas::record::OutRecord;

use crate::connection::Connection;
use crate::error::KafkaError;
use crate::producer::{ProducerOptions, Written};

/// rdkafka's producer, with the same properties as ours.
#[derive(Clone)]
pub struct BareProducer(FutureProducer);

/// A transaction of somebody who is none of ours, open until it is ended: what follows it in its partition waits.
pub struct BareTransaction(ThreadedProducer<DefaultProducerContext>);

// === impl BareProducer ===

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

    /// Sends a record with a time of its own, Unix ms, and waits for the acknowledgement. The time that stands in the answer
    /// is another one on a topic with `LogAppendTime`.
    ///
    /// # Errors
    /// What the broker or the client said.
    pub async fn send_dated(&self, record: &OutRecord, timestamp_ms: i64) -> Result<Written, KafkaError> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (name, value) in record.headers.iter() {
            headers = headers.insert(Header { key: &String::from_utf8_lossy(name), value: Some(value) });
        }
        let dated = FutureRecord {
            topic: &record.topic,
            partition: record.partition,
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: Some(timestamp_ms),
            headers: Some(headers),
        };
        let sent = self.0.send(dated, Duration::ZERO).await;
        let failed = |error| KafkaError::from_rdkafka(format!("delivery to {}", record.topic), &error);
        let sent = sent.map_err(|(error, _record)| failed(error))?;
        let timestamp_ms = match sent.timestamp {
            Timestamp::CreateTime(at_ms) | Timestamp::LogAppendTime(at_ms) => at_ms,
            Timestamp::NotAvailable => -1,
        };
        Ok(Written { partition: sent.partition, offset: sent.offset, timestamp_ms })
    }
}

impl std::fmt::Debug for BareProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareProducer").finish_non_exhaustive()
    }
}

// === impl BareTransaction ===

impl BareTransaction {
    /// Begins it and has its one record acknowledged. Blocking. `timeout`: after which Kafka aborts it.
    ///
    /// # Errors
    /// Properties librdkafka refuses, and what the broker or the client said.
    pub fn open(
        connection: &Connection,
        transactional_id: &str,
        timeout: Duration,
        record: &OutRecord,
    ) -> Result<Self, KafkaError> {
        let call = || format!("a transaction of {transactional_id} on {}", record.topic);
        let failed = |error| KafkaError::from_rdkafka(call(), &error);
        let config = connection.transactional(transactional_id, timeout, 1_000_000);
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(failed)?;
        producer.init_transactions(timeout).map_err(failed)?;
        producer.begin_transaction().map_err(failed)?;
        let mut sent = BaseRecord::<[u8], [u8]>::to(&record.topic);
        (sent.key, sent.payload, sent.partition) = (record.key.as_deref(), record.value.as_deref(), record.partition);
        producer.send(sent).map_err(|(error, _record)| failed(error))?;
        producer.flush(timeout).map_err(failed)?;
        Ok(Self(producer))
    }

    /// Ends it as if it had never been. Blocking.
    ///
    /// # Errors
    /// What the broker or the client said: Kafka has ended it before, or does not answer.
    pub fn abort(self) -> Result<(), KafkaError> {
        let aborted = self.0.abort_transaction(Duration::from_secs(30));
        aborted.map_err(|error| KafkaError::from_rdkafka("the abort of a transaction", &error))
    }
}

impl std::fmt::Debug for BareTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareTransaction").finish_non_exhaustive()
    }
}
