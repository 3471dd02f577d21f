//! What a source's definition says of its format, compiled.

use schemas::control::{AvroOptions, ProtobufOptions, SourceFormat, TopicSource, ValueFrame};

use crate::debezium::DebeziumReader;
use crate::mapping::MappingError;
use crate::templates::Templates;

/// A format with its options.
#[derive(Clone, Debug)]
pub(crate) enum FormatOptions {
    Cloudevents,
    Hookbus,
    Json {
        /// A value that begins with a frame is what follows it.
        is_unframed: bool,
    },
    Debezium(Box<DebeziumReader>),
    Avro(AvroOptions),
    Protobuf(ProtobufOptions),
    JsonSchema {
        /// Values are checked against their schema.
        is_validated: bool,
    },
    Text,
    Binary {
        /// The payload is `{"data_base64"}`.
        is_base64: bool,
    },
}

impl FormatOptions {
    /// Compiles what a source says, and checks it against its templates.
    pub(crate) fn compile(source: &TopicSource, templates: &Templates) -> Result<Self, MappingError> {
        let format = source.format;
        let word = format.as_str();
        if !format.brings_attributes() && !templates.has_application() {
            return Err(MappingError::new("application", format!("must be there: `{word}` brings none")));
        }
        let brings_type = format.brings_attributes() || format == SourceFormat::Debezium;
        if !brings_type && !templates.has_type() {
            return Err(MappingError::new("type", format!("must be there, or `default_type`: `{word}` brings none")));
        }
        let is_json = !matches!(format, SourceFormat::Text | SourceFormat::Binary);
        if !is_json && templates.look_into_the_value() {
            return Err(MappingError::new(
                "format",
                format!("is `{word}`: `{{value:..}}` and `payload` look into JSON, which it is not"),
            ));
        }
        if templates.payload.is_some() && format.brings_attributes() {
            return Err(MappingError::new(
                "payload",
                format!("does not go with `{word}`, which says what its payload is"),
            ));
        }
        let has_registry = matches!(format, SourceFormat::Avro | SourceFormat::Protobuf | SourceFormat::JsonSchema);
        if has_registry && source.registry.is_none() {
            return Err(MappingError::new("registry", format!("must be there: `{word}` needs a schema registry")));
        }
        let options = &source.options;
        let is_unframed = options.json.unwrap_or_default().frame == ValueFrame::Registry;
        if source.registry.is_some() && format == SourceFormat::Json && !is_unframed {
            return Err(MappingError::new(
                "registry",
                "does not go with `json: {frame: none}`, which looks for no frame",
            ));
        }
        let may_have_one = has_registry || matches!(format, SourceFormat::Debezium | SourceFormat::Json);
        if source.registry.is_some() && !may_have_one {
            return Err(MappingError::new("registry", format!("does not go with `{word}`")));
        }
        if templates.name_the_schema() && source.registry.is_none() {
            return Err(MappingError::new(
                "format",
                format!("is `{word}`: `{{schema}}` needs one with a schema registry"),
            ));
        }
        Ok(match format {
            SourceFormat::Cloudevents => Self::Cloudevents,
            SourceFormat::Json => Self::Json { is_unframed },
            SourceFormat::Text => Self::Text,
            SourceFormat::Binary => Self::Binary { is_base64: options.binary.unwrap_or_default().base64 },
            SourceFormat::Debezium => {
                let snapshots = options.debezium.unwrap_or_default().snapshots;
                Self::Debezium(Box::new(DebeziumReader::new(&templates.pointers.value, snapshots)))
            }
            SourceFormat::Avro => Self::Avro(options.avro.unwrap_or_default()),
            SourceFormat::Protobuf => Self::Protobuf(options.protobuf.unwrap_or_default()),
            SourceFormat::JsonSchema => {
                Self::JsonSchema { is_validated: options.json_schema.unwrap_or_default().validate }
            }
            SourceFormat::Hookbus => Self::Hookbus,
        })
    }
}
