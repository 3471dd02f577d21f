//! What a source makes of its records: its definition, compiled. The one face of this crate to those who read topics of others.
//!
//! ```text
//! TopicSource --compile--> Mapping --map--> Event          with `record`, and the schemas that are at hand
//!                                           Skipped        no event, and nothing wrong
//!                                           Rejected       no event, and why
//!                                           NeedsSchema    its partition waits until somebody has fetched the schema
//! ```
//!
//! Pure: the same record and the same schemas come to the same event, on every worker, retry and replay.

use std::borrow::Cow;
use std::fmt;

use schemas::control::TopicSource;
use schemas::control::source::OnNull;
use schemas::ids::SchemaRegistryId;
use schemas::record::{Record, TopicPartition};

use crate::map::{self, FormatOptions, RecordAt, Unmapped};
use crate::schema::{NoSchemas, SchemaKey, SchemaLookup};
use crate::templates::Templates;
use crate::{Event, Rejection};

/// Default of [`Against::decoded_limit`]: the payload limit of the gateway.
pub const DECODED_LIMIT: usize = 699_050;

/// What a source makes of its records.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub(crate) templates: Templates,
    pub(crate) on_null: OnNull,
    pub(crate) registry: Option<SchemaRegistryId>,
    /// A template or the payload's pointer needs the value parsed.
    pub(crate) looks_into_the_value: bool,
    pub(crate) options: FormatOptions,
}

/// What a definition is refused for: told to whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MappingError {
    /// The field of the source, as it is called in the API: `labels.region`.
    pub field: String,
    /// Where in the field's text, in characters from 1, if that is known.
    pub column: Option<usize>,
    /// What is wrong, without the field's name in front.
    pub message: String,
}

/// What a record is mapped against.
#[derive(Clone, Copy)]
pub struct Against<'s> {
    /// Schemas that are at hand.
    pub schemas: &'s dyn SchemaLookup,
    /// Most bytes of JSON that a record is decoded to (`sources.decoded_limit_bytes`).
    pub decoded_limit: usize,
}

/// What a record comes to.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events, and none is kept: a box would be one for each record"
)]
pub enum Mapped<'a> {
    /// An event.
    Event(Event<'a>),
    /// No event, and nothing wrong: counted, nothing else.
    Skipped(SkipReason),
    /// No event, and why: it goes to `rejected`.
    Rejected(Rejection),
    /// It cannot be told before this schema is at hand, or known not to be there.
    NeedsSchema(SchemaKey),
}

/// Why a record is no event though nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// It has no value.
    Tombstone,
    /// A row that Debezium read for a snapshot.
    Snapshot,
    /// Debezium says that it is there.
    Heartbeat,
    /// Debezium says that a transaction began or ended.
    Transaction,
    /// Debezium tells of a change of the tables themselves.
    SchemaChange,
}

// === impl Mapping ===

impl Mapping {
    /// Compiles a source's definition.
    ///
    /// # Errors
    /// Names the field, and in templates and pointers the column.
    pub fn compile(source: &TopicSource) -> Result<Self, MappingError> {
        let templates = Templates::compile(source)?;
        let options = FormatOptions::compile(source, &templates)?;
        Ok(Self {
            looks_into_the_value: templates.look_into_the_value(),
            templates,
            on_null: source.on_null,
            registry: source.registry,
            options,
        })
    }

    /// What a record of a partition comes to.
    #[must_use]
    pub fn map<'a>(&'a self, record: &'a Record, from: &'a TopicPartition, against: Against<'_>) -> Mapped<'a> {
        match map::event(self, RecordAt { record, from }, against) {
            Ok(event) => Mapped::Event(event),
            Err(Unmapped::Skipped(reason)) => Mapped::Skipped(reason),
            Err(Unmapped::Rejected(rejection)) => Mapped::Rejected(rejection),
            Err(Unmapped::NeedsSchema(key)) => Mapped::NeedsSchema(key),
        }
    }

    /// The application that a record means, by id or uid, as far as it can be told without a schema: for its rejection.
    #[must_use]
    pub fn named_application<'a>(&'a self, record: &'a Record, from: &'a TopicPartition) -> Option<Cow<'a, str>> {
        map::named_application(self, RecordAt { record, from })
    }

    /// The registry whose schemas its records need, if any.
    #[must_use]
    pub fn registry(&self) -> Option<SchemaRegistryId> {
        self.registry
    }

    /// Whether values are parsed to map them. What no template looks into is passed on unseen.
    #[must_use]
    pub fn looks_into_the_value(&self) -> bool {
        self.looks_into_the_value
    }
}

// === impl MappingError ===

impl MappingError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), column: None, message: message.into() }
    }

    pub(crate) fn at(field: impl Into<String>, column: usize, message: impl Into<String>) -> Self {
        Self { field: field.into(), column: Some(column), message: message.into() }
    }
}

// === impl Against ===

impl Default for Against<'_> {
    /// Without schemas, and with the default limit.
    fn default() -> Self {
        Self { schemas: &NoSchemas, decoded_limit: DECODED_LIMIT }
    }
}

impl fmt::Debug for Against<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Against").field("decoded_limit", &self.decoded_limit).finish_non_exhaustive()
    }
}

// === impl SkipReason ===

impl SkipReason {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Tombstone, Self::Snapshot, Self::Heartbeat, Self::Transaction, Self::SchemaChange];

    /// The word for metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Snapshot => "snapshot",
            Self::Heartbeat => "heartbeat",
            Self::Transaction => "transaction",
            Self::SchemaChange => "schema_change",
        }
    }
}

#[cfg(test)]
mod tests;
