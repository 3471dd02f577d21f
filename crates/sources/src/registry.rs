//! Values and keys whose schema a registry has: the frame is taken off, and what it names decodes the rest to JSON.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use schemas::control::{AvroOptions, ProtobufOptions};
use schemas::ids::SchemaRegistryId;
use schemas::record::Headers;
use schemas::rejected::RejectReason;

use crate::frame::{Framed, FramedPart, unframe};
use crate::map::Unmapped;
use crate::mapping::Against;
use crate::protobuf::ProtobufFile;
use crate::schema::{CompiledForm, CompiledSchema, JsonCheck, SchemaKey, SchemaKind, SchemaState};
use crate::{RejectedAt, Rejection};

/// JSON, and where it came from.
#[derive(Debug)]
pub(crate) struct RegistryJson {
    pub(crate) json: Bytes,
    /// The byte of the value that it begins with, where it is a slice of it.
    pub(crate) begins: Option<usize>,
    /// Full name of the record or message, a JSON Schema's title.
    pub(crate) schema_name: Option<String>,
    pub(crate) key: SchemaKey,
}

/// How values are decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegistryReader<'m, 's> {
    pub(crate) registry: SchemaRegistryId,
    /// What the schema has to be, where only one will do.
    pub(crate) kind: Option<SchemaKind>,
    pub(crate) avro: AvroOptions,
    pub(crate) protobuf: ProtobufOptions,
    /// Values of a JSON Schema are checked.
    pub(crate) is_validated: bool,
    /// The name is asked for.
    pub(crate) names_the_schema: bool,
    pub(crate) headers: &'m Headers,
    pub(crate) against: Against<'s>,
}

impl RegistryReader<'_, '_> {
    /// A value or a key as JSON.
    pub(crate) fn read(&self, bytes: &Bytes, part: FramedPart) -> Result<RegistryJson, Unmapped> {
        let framed = unframe(self.headers, bytes, part)?;
        let key = SchemaKey { registry: self.registry, id: framed.id };
        if self.kind == Some(SchemaKind::Json) && !self.is_validated && !self.names_the_schema {
            // What follows the frame needs no schema to be read.
            return Ok(RegistryJson { json: framed.rest, begins: Some(framed.taken), schema_name: None, key });
        }
        let schema = self.schema(key)?;
        match &schema.form {
            CompiledForm::Avro(plan) => {
                let json = plan.decode(&framed.rest, self.avro, self.against.decoded_limit).map_err(|fault| {
                    let at = framed.taken + fault.at;
                    let detail = format!("not a value of {}: {}, at byte {at}", key.id, fault.what);
                    Rejection::new(reason(fault.is_too_large), detail).at(at)
                })?;
                Ok(RegistryJson { json: json.into(), begins: None, schema_name: plan.name().map(str::to_owned), key })
            }
            CompiledForm::Protobuf(file) => self.protobuf(file, framed, key),
            CompiledForm::Json { title, check } => {
                if self.is_validated {
                    validate(check.as_ref(), &framed.rest, &key)?;
                }
                let schema_name = title.clone();
                Ok(RegistryJson { json: framed.rest, begins: Some(framed.taken), schema_name, key })
            }
        }
    }

    fn schema(&self, key: SchemaKey) -> Result<Arc<CompiledSchema>, Unmapped> {
        let rejected = |reason, detail: String| Err(Rejection::new(reason, detail).into());
        match self.against.schemas.schema(&key) {
            SchemaState::Wanted => Err(Unmapped::NeedsSchema(key)),
            SchemaState::NotFound => rejected(RejectReason::SchemaNotFound, format!("the registry has no {}", key.id)),
            SchemaState::Unusable(why) => rejected(RejectReason::SchemaUnusable, format!("{}: {why}", key.id)),
            SchemaState::Ready(schema) => match self.kind.filter(|kind| *kind != schema.kind()) {
                None => Ok(schema),
                Some(kind) => {
                    let detail = format!("{} is {}, the source's values are {kind}", key.id, schema.kind());
                    rejected(RejectReason::SchemaUnusable, detail)
                }
            },
        }
    }

    fn protobuf(&self, file: &ProtobufFile, mut framed: Framed, key: SchemaKey) -> Result<RegistryJson, Unmapped> {
        let begun = framed.taken;
        let indexes = framed.indexes()?;
        let message = file.message(&indexes).ok_or_else(|| {
            let detail = format!("{} has no message at {indexes:?}", key.id);
            Rejection::undecodable(detail).at(begun)
        })?;
        let name = message.full_name().to_owned();
        let limit = self.against.decoded_limit;
        // A library of others meets bytes of strangers: a panic is an answer too.
        let decode = || ProtobufFile::decode(message, &framed.rest, self.protobuf, limit);
        let decoded = catch_unwind(AssertUnwindSafe(decode))
            .map_err(|_panic| Rejection::undecodable(format!("not a value of {}", key.id)))?;
        let json = decoded.map_err(|fault| {
            Rejection::new(reason(fault.is_too_large), format!("not a value of {}: {}", key.id, fault.what))
        })?;
        Ok(RegistryJson { json: json.into(), begins: None, schema_name: Some(name), key })
    }
}

/// Whether a value fits its JSON Schema, where there is something to check it with.
fn validate(
    check: Option<&Result<Box<dyn JsonCheck>, String>>,
    value: &[u8],
    key: &SchemaKey,
) -> Result<(), Rejection> {
    let Some(check) = check else {
        let detail =
            format!("{} refers to others, or nothing here checks with it: its values are not validated", key.id);
        return Err(Rejection::new(RejectReason::SchemaUnusable, detail));
    };
    let check = check.as_ref().map_err(|why| {
        let detail = format!("{}: not a JSON Schema that can be checked with: {why}", key.id);
        Rejection::new(RejectReason::SchemaUnusable, detail)
    })?;
    check.check(value).map_err(|unfit| {
        let reason = if unfit.is_costly { RejectReason::SchemaTooCostly } else { RejectReason::SchemaMismatch };
        let detail = format!("the value does not fit {}: {}", key.id, unfit.message);
        let position = Some(RejectedAt::Pointer(unfit.pointer.into()));
        Rejection { position, ..Rejection::new(reason, detail) }
    })
}

fn reason(is_too_large: bool) -> RejectReason {
    if is_too_large { RejectReason::TooLarge } else { RejectReason::Undecodable }
}
