//! What the formats of sources can be told: one object per format, absent where everything is as usual.

use serde::{Deserialize, Serialize};

/// The options, by format. Those of other formats than the source's are refused when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOptions {
    /// Of `json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonOptions>,
    /// Of `json_schema`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<JsonSchemaOptions>,
    /// Of `binary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<BinaryOptions>,
    /// Of `avro`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avro: Option<AvroOptions>,
    /// Of `protobuf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protobuf: Option<ProtobufOptions>,
    /// Of `debezium`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debezium: Option<DebeziumOptions>,
}

/// Where a value's schema is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueFrame {
    /// In a header, or in front of the value.
    #[default]
    Registry,
    /// Nowhere: the value is bare.
    None,
}

/// Of `json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonOptions {
    /// `none`: a value that begins with a zero byte is no frame.
    pub frame: ValueFrame,
}

/// Of `json_schema`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonSchemaOptions {
    /// The value must fit its schema.
    pub validate: bool,
}

/// Of `binary`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryOptions {
    /// The payload is `{"data_base64"}`, JSON.
    pub base64: bool,
}

/// How a union is written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AvroUnions {
    /// The value alone.
    #[default]
    Plain,
    /// As Avro's own JSON has it: `{"string":"hi"}`.
    Avro,
}

/// How logical types are written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogicalTypes {
    /// As people write them.
    #[default]
    Readable,
    /// As what they are made of.
    Raw,
}

/// Of `avro`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AvroOptions {
    /// Unions.
    pub unions: AvroUnions,
    /// Logical types.
    pub logical_types: LogicalTypes,
}

/// How fields are called in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtobufFieldNames {
    /// `camelCase`, as the canonical mapping has it.
    #[default]
    Json,
    /// As the schema has it.
    Original,
}

/// What 64-bit integers are in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtobufInt64 {
    /// Strings, as the canonical mapping has it.
    #[default]
    String,
    /// Numbers.
    Number,
}

/// Of `protobuf`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtobufOptions {
    /// Names of fields.
    pub field_names: ProtobufFieldNames,
    /// 64-bit integers.
    pub int64: ProtobufInt64,
    /// Fields that have their default are written too.
    pub defaults: bool,
}

/// Of `debezium`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DebeziumOptions {
    /// Rows of a snapshot are events too, of type `{table}.read`.
    pub snapshots: bool,
}

// === impl SourceOptions ===

impl SourceOptions {
    /// The fields that are given, in their order.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        let given = [
            ("json", self.json.is_some()),
            ("json_schema", self.json_schema.is_some()),
            ("binary", self.binary.is_some()),
            ("avro", self.avro.is_some()),
            ("protobuf", self.protobuf.is_some()),
            ("debezium", self.debezium.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }
}
