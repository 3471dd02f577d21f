//! Options of formats: each is an object of its own, read as a whole.

use schemas::control::{
    AvroOptions, BinaryOptions, DebeziumOptions, JsonOptions, JsonSchemaOptions, ProtobufOptions, SourceOptions,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body::Fields;
use crate::problem::Problem;

/// What is given. `Some(None)`: it is as usual again.
#[derive(Clone, Debug, Default)]
pub(super) struct OptionsInput {
    json: Option<Option<JsonOptions>>,
    json_schema: Option<Option<JsonSchemaOptions>>,
    binary: Option<Option<BinaryOptions>>,
    avro: Option<Option<AvroOptions>>,
    protobuf: Option<Option<ProtobufOptions>>,
    debezium: Option<Option<DebeziumOptions>>,
}

impl OptionsInput {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Problem> {
        Ok(Self {
            json: one(fields, "json", "frame: `registry` or `none`")?,
            json_schema: one(fields, "json_schema", "validate: true or false")?,
            binary: one(fields, "binary", "base64: true or false")?,
            avro: one(fields, "avro", "unions: `plain` or `avro`, logical_types: `readable` or `raw`")?,
            protobuf: one(
                fields,
                "protobuf",
                "field_names: `json` or `original`, int64: `string` or `number`, defaults: true or false",
            )?,
            debezium: one(fields, "debezium", "snapshots: true or false")?,
        })
    }

    pub(super) fn apply(&self, options: &mut SourceOptions) {
        super::put(&mut options.json, self.json.as_ref());
        super::put(&mut options.json_schema, self.json_schema.as_ref());
        super::put(&mut options.binary, self.binary.as_ref());
        super::put(&mut options.avro, self.avro.as_ref());
        super::put(&mut options.protobuf, self.protobuf.as_ref());
        super::put(&mut options.debezium, self.debezium.as_ref());
    }
}

/// The options of one format. Those that change nothing are as good as none.
fn one<T: DeserializeOwned + Default + PartialEq>(
    fields: &mut Fields,
    name: &str,
    known: &str,
) -> Result<Option<Option<T>>, Problem> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(given) => {
            let read = serde_json::from_value(given);
            let read: T = read.map_err(|_error| fields.wrong(name, format!("must be an object with {known}")))?;
            Ok(Some(Some(read).filter(|it| *it != T::default())))
        }
    }
}
