//! The topic under the store: Kafka, or in tests the catalog itself with a script of failures.

use std::sync::Arc;

use bytes::Bytes;
use catalog::Snapshot;
use chassis::config::KafkaConfig;
use kafka::{ExclusiveError, ExclusiveWriter, KafkaError};
use schemas::audit::VERSION as AUDIT_VERSION;
use schemas::control::{ControlKey, ControlObject, shape};
use schemas::header;
use schemas::record::{Headers, OutRecord};
use uuid::Uuid;

use crate::actor::Actor;
use crate::config::Deps;
use crate::error::Error;
use crate::operations::{Operations, WriteFacts};
use crate::store::Change;
use crate::store::audit::Audited;

/// Where records go.
#[derive(Debug)]
pub(crate) enum ControlLog {
    Kafka {
        writer: ExclusiveWriter,
        control: Arc<str>,
        audit: Arc<str>,
        operations: Option<Operations>,
    },
    #[cfg(test)]
    Memory(super::tests::Memory),
}

impl ControlLog {
    pub(crate) async fn start(deps: &Deps, operations: Option<Operations>) -> Result<Self, Error> {
        let id = transactional_id(&deps.kafka);
        let writer = ExclusiveWriter::start(&deps.connection, &id, deps.topics.max_message_bytes)
            .await
            .map_err(|source| Error::Kafka { purpose: "writing the control topic", source })?;
        let (control, audit) = (Arc::clone(&deps.topics.control), Arc::clone(&deps.topics.audit));
        Ok(Self::Kafka { writer, control, audit, operations })
    }

    /// The names of `control` and `audit`.
    fn topics(&self) -> (Arc<str>, Arc<str>) {
        match self {
            Self::Kafka { control, audit, .. } => (Arc::clone(control), Arc::clone(audit)),
            #[cfg(test)]
            Self::Memory(_) => (Arc::from("control"), Arc::from("audit")),
        }
    }

    fn operations(&self) -> Option<&Operations> {
        match self {
            Self::Kafka { operations, .. } => operations.as_ref(),
            #[cfg(test)]
            Self::Memory(memory) => memory.operations.as_ref(),
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

    /// One transaction. Returns the offset of its last record on `control`, if Kafka says where it stands.
    pub(crate) async fn write(&self, records: Vec<OutRecord>) -> Result<Option<i64>, ExclusiveError> {
        match self {
            Self::Kafka { writer, control, .. } => writer.write(records).await.map(|written| written.of(control)),
            #[cfg(test)]
            Self::Memory(memory) => memory.write(records).await,
        }
    }
}

/// The one id of all replicas: acquiring it fences whoever wrote before.
pub fn transactional_id(kafka: &KafkaConfig) -> String {
    format!("{}-control", kafka.installation)
}

/// One write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) write_id: Uuid,
    /// The transaction it shares with others.
    pub(crate) transaction: Option<Uuid>,
    pub(crate) at_ms: i64,
    pub(crate) actor: &'a Actor,
    pub(crate) changes: &'a [Change],
    pub(crate) used: &'a [ControlKey],
}

/// Records of writes.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// Those that belong together.
    pub(crate) records: Vec<OutRecord>,
    /// What the operator is told of it, in the same transaction if Kafka takes that.
    pub(crate) told: Vec<OutRecord>,
}

/// The records of one write on both topics, and what the operator is told of it. Tombstones carry the write's headers too.
pub(crate) fn encode(
    log: &ControlLog,
    snapshot: &Snapshot,
    entry: &Entry<'_>,
    audited: &Audited,
) -> Result<Encoded, serde_json::Error> {
    let (control, audit) = log.topics();
    let mut records = Vec::with_capacity(2 * entry.changes.len());
    for change in entry.changes {
        let value = match change {
            Change::Put(object) => Some(Bytes::from(object.encode()?)),
            Change::Remove(_) => None,
        };
        records.push(OutRecord {
            topic: Arc::clone(&control),
            partition: Some(0),
            key: Some(Bytes::from(change.key().to_string())),
            value,
            headers: headers(entry, change.put().map_or(shape::FIRST, ControlObject::shape)),
        });
    }
    for record in audited.records(entry)? {
        records.push(OutRecord {
            topic: Arc::clone(&audit),
            partition: Some(0),
            value: Some(Bytes::from(serde_json::to_vec(&record)?)),
            key: Some(Bytes::from(record.key)),
            headers: audit_headers(),
        });
    }
    let mut told = Vec::new();
    if let Some(operations) = log.operations() {
        let is_tenants = entry.actor.token.is_some();
        let write = WriteFacts { id: entry.write_id, at_ms: entry.at_ms, is_tenants };
        told = operations.of_write(snapshot, audited.changed(entry.changes), write)?;
    }
    Ok(Encoded { records, told })
}

fn headers(entry: &Entry<'_>, shape: u8) -> Headers {
    let mut builder = Headers::builder(5, 240);
    builder
        .push_i64(header::VERSION, i64::from(shape))
        .push_display(header::WRITE_ID, entry.write_id)
        .push_display(header::WRITE_SIZE, entry.changes.len())
        .push(header::ACTOR, entry.actor.name.as_bytes());
    if let Some(transaction) = entry.transaction {
        builder.push_display(header::TRANSACTION_ID, transaction);
    }
    builder.build()
}

fn audit_headers() -> Headers {
    let mut builder = Headers::builder(1, 32);
    builder.push_i64(header::VERSION, i64::from(AUDIT_VERSION));
    builder.build()
}
