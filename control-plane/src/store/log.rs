//! The topic under the store: Kafka, or in tests the catalog itself with a script of failures.

use std::sync::Arc;

use bytes::Bytes;
use kafka::{ExclusiveError, ExclusiveWriter, KafkaError};
use schemas::control::VERSION;
use schemas::header;
use schemas::record::{Headers, OutRecord};
use uuid::Uuid;

use crate::config::Deps;
use crate::error::Error;
use crate::store::Change;

/// Where records go.
#[derive(Debug)]
pub(crate) enum ControlLog {
    Kafka {
        writer: ExclusiveWriter,
        topic: Arc<str>,
    },
    #[cfg(test)]
    Memory(super::tests::Memory),
}

impl ControlLog {
    pub(crate) async fn start(deps: &Deps) -> Result<Self, Error> {
        // One id for all replicas: acquiring it fences whoever wrote before.
        let id = format!("{}-control", deps.kafka.installation);
        let writer = ExclusiveWriter::start(&deps.connection, &id, deps.topics.max_message_bytes)
            .await
            .map_err(|source| Error::Kafka { purpose: "writing the control topic", source })?;
        Ok(Self::Kafka { writer, topic: Arc::clone(&deps.topics.control) })
    }

    pub(crate) fn topic(&self) -> Arc<str> {
        match self {
            Self::Kafka { topic, .. } => Arc::clone(topic),
            #[cfg(test)]
            Self::Memory(_) => Arc::from("control"),
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        match self {
            Self::Kafka { writer, .. } => writer.is_held(),
            #[cfg(test)]
            Self::Memory(memory) => memory.is_held(),
        }
    }

    pub(crate) async fn acquire(&self) -> Result<(), KafkaError> {
        match self {
            Self::Kafka { writer, .. } => writer.acquire().await,
            #[cfg(test)]
            Self::Memory(memory) => memory.acquire(),
        }
    }

    pub(crate) async fn write(&self, records: Vec<OutRecord>) -> Result<(), ExclusiveError> {
        match self {
            Self::Kafka { writer, .. } => writer.write(records).await,
            #[cfg(test)]
            Self::Memory(memory) => memory.write(records),
        }
    }
}

/// The records of one write. Tombstones carry the write's headers too.
pub(crate) fn encode(
    topic: Arc<str>,
    changes: &[Change],
    write_id: Uuid,
    actor: &str,
) -> Result<Vec<OutRecord>, serde_json::Error> {
    let mut builder = Headers::builder(3, 128);
    builder
        .push_i64(header::VERSION, i64::from(VERSION))
        .push_display(header::WRITE_ID, write_id)
        .push(header::ACTOR, actor.as_bytes());
    let headers = builder.build();
    let record = |change: &Change| {
        let (key, value) = match change {
            Change::Put(object) => (object.key(), Some(Bytes::from(object.encode()?))),
            Change::Remove(key) => (key.clone(), None),
        };
        Ok(OutRecord {
            topic: Arc::clone(&topic),
            partition: Some(0),
            key: Some(Bytes::from(key.to_string())),
            value,
            headers: headers.clone(),
        })
    };
    changes.iter().map(record).collect()
}
