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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use schemas::ids::SchemaRegistryId;
use uuid::Uuid;

use crate::avro::AvroPlan;
use crate::protobuf::ProtobufFile;

/// Largest schema with everything it refers to, bytes.
pub const MAX_SCHEMA_TEXT: usize = 4 * 1024 * 1024;
/// Longest reason why one cannot be used, characters.
const MAX_DETAIL: usize = 500;
/// Most schemas that one may refer to in all, so also the deepest chain of references.
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
    pub(crate) form: CompiledForm,
    weight: usize,
}

#[derive(Debug)]
pub(crate) enum CompiledForm {
    Avro(AvroPlan),
    Protobuf(ProtobufFile),
    Json {
        /// Its `title`.
        title: Option<String>,
        /// What checks values, where somebody can; an error: why none can be made.
        check: Option<Result<Box<dyn JsonCheck>, String>>,
    },
}

/// Checks JSON against a JSON Schema.
pub trait JsonCheck: Send + Sync + fmt::Debug {
    /// Whether a value fits.
    ///
    /// # Errors
    /// Where it does not, or that it would take too long to tell.
    fn check(&self, value: &[u8]) -> Result<(), UnfitValue>;
}

/// Why a value is not taken by its JSON Schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitValue {
    /// Where in the value, a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What does not fit there, without the value itself.
    pub message: String,
    /// To tell would take too long.
    pub is_costly: bool,
}

/// Makes what checks values against a JSON Schema, or says why it cannot be used. Checks are metered elsewhere (crates/catalog),
/// so they are handed in.
pub type CompileJsonCheck<'c> = &'c dyn Fn(&serde_json::Value) -> Result<Box<dyn JsonCheck>, String>;

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
    /// Compiles what a registry gave; a JSON Schema with what makes its check, if anybody wants values checked. Takes
    /// milliseconds for a large one: not for the loop that plans records.
    ///
    /// # Errors
    /// It is no schema of its kind, or beyond a limit.
    pub fn compile(registered: &RegisteredSchema, json: Option<CompileJsonCheck<'_>>) -> Result<Self, UnusableSchema> {
        let unusable = |detail: String| UnusableSchema { detail };
        if registered.references.len() > MAX_REFERENCES {
            return Err(unusable(format!("it refers to more than {MAX_REFERENCES} others")));
        }
        let bytes = registered.references.iter().map(|it| it.text.len()).sum::<usize>() + registered.text.len();
        if bytes > MAX_SCHEMA_TEXT {
            return Err(unusable(format!("it has {bytes} bytes with what it refers to, more than {MAX_SCHEMA_TEXT}")));
        }
        // Libraries of others meet texts of strangers: a panic is an answer too.
        let compiled = catch_unwind(AssertUnwindSafe(|| match registered.kind {
            SchemaKind::Avro => AvroPlan::compile(registered).map(CompiledForm::Avro),
            SchemaKind::Protobuf => ProtobufFile::compile(registered).map(CompiledForm::Protobuf),
            SchemaKind::Json => json_form(registered, json),
        }));
        let mut form = compiled.map_err(|_panic| unusable("its compiler stumbled over it".to_owned()))?;
        if let Err(fault) = &mut form {
            fault.detail = fault.detail.chars().take(MAX_DETAIL).collect();
        }
        let form = form?;
        let weight = match &form {
            CompiledForm::Avro(plan) => plan.weight(),
            CompiledForm::Protobuf(file) => file.weight(),
            CompiledForm::Json { .. } => bytes * 8,
        };
        Ok(Self { form, weight: weight + size_of::<Self>() })
    }

    /// What it is written in.
    #[must_use]
    pub fn kind(&self) -> SchemaKind {
        match self.form {
            CompiledForm::Avro(_) => SchemaKind::Avro,
            CompiledForm::Protobuf(_) => SchemaKind::Protobuf,
            CompiledForm::Json { .. } => SchemaKind::Json,
        }
    }

    /// What it takes in memory, bytes, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }
}

fn json_form(
    registered: &RegisteredSchema,
    compile: Option<CompileJsonCheck<'_>>,
) -> Result<CompiledForm, UnusableSchema> {
    let unusable = |detail: String| UnusableSchema { detail };
    let schema: serde_json::Value = serde_json::from_str(&registered.text)
        .map_err(|error| unusable(format!("not a JSON Schema, for it is not JSON: {error}")))?;
    let title = schema.get("title").and_then(serde_json::Value::as_str).map(str::to_owned);
    // A check that cannot be made is told when a value is to be checked: most are not.
    let check = compile.filter(|_| registered.references.is_empty()).map(|compile| compile(&schema));
    let check = check.map(|made| made.map_err(|why| why.chars().take(MAX_DETAIL).collect()));
    Ok(CompiledForm::Json { title, check })
}

// === impl NoSchemas ===

impl SchemaLookup for NoSchemas {
    fn schema(&self, _key: &SchemaKey) -> SchemaState {
        SchemaState::Wanted
    }
}
