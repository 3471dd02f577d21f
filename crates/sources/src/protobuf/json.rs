//! A message as JSON: the canonical mapping, in one order.

use std::borrow::Cow;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage as _, SerializeOptions, Value};
use schemas::control::{ProtobufFieldNames, ProtobufInt64, ProtobufOptions};

use super::allowance::TreeAllowance;
use super::{MAX_MESSAGE_DEPTH, ProtobufFault, fault};

struct MessageWriter {
    out: Vec<u8>,
    options: ProtobufOptions,
    /// The same for the library.
    well_known: SerializeOptions,
    limit: usize,
    /// For what is inside an `Any`, which the decoder takes for bytes.
    allowance: TreeAllowance,
    depth: usize,
}

/// What the library may write.
struct Bounded<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
}

pub(super) fn write(
    message: &DynamicMessage,
    options: ProtobufOptions,
    limit: usize,
    allowance: TreeAllowance,
) -> Result<Vec<u8>, ProtobufFault> {
    let well_known = SerializeOptions::new()
        .stringify_64_bit_integers(options.int64 == ProtobufInt64::String)
        .use_proto_field_name(options.field_names == ProtobufFieldNames::Original)
        .skip_default_fields(!options.defaults);
    let mut writer = MessageWriter { out: Vec::with_capacity(256), options, well_known, limit, allowance, depth: 0 };
    writer.message(message)?;
    Ok(writer.out)
}

/// Whether the canonical mapping writes a type in a way of its own, and the library knows it.
fn is_well_known(name: &str) -> bool {
    let Some(name) = name.strip_prefix("google.protobuf.") else { return false };
    matches!(
        name,
        "Timestamp"
            | "Duration"
            | "Struct"
            | "Value"
            | "ListValue"
            | "FieldMask"
            | "Empty"
            | "StringValue"
            | "BytesValue"
            | "BoolValue"
            | "Int32Value"
            | "UInt32Value"
            | "Int64Value"
            | "UInt64Value"
    )
}

// === impl MessageWriter ===

impl MessageWriter {
    fn message(&mut self, message: &DynamicMessage) -> Result<(), ProtobufFault> {
        if self.depth == MAX_MESSAGE_DEPTH {
            return Err(fault(format!("nested more than {MAX_MESSAGE_DEPTH} messages deep")));
        }
        self.depth += 1;
        let descriptor = message.descriptor();
        match descriptor.full_name() {
            "google.protobuf.Any" => self.any(message)?,
            // The library writes what is no finite number as `null`.
            "google.protobuf.FloatValue" | "google.protobuf.DoubleValue" => {
                if let Some(value) = message.get_field_by_number(1) {
                    self.value(&value, &Kind::Double)?;
                }
            }
            name if is_well_known(name) => self.well_known(message)?,
            _ours => {
                self.out.push(b'{');
                self.fields(message, true)?;
                self.out.push(b'}');
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// The fields that are set, and those that are not where they are asked for.
    fn fields(&mut self, message: &DynamicMessage, mut is_first: bool) -> Result<(), ProtobufFault> {
        for field in message.descriptor().fields() {
            let is_written = message.has_field(&field) || (self.options.defaults && !field.supports_presence());
            if !is_written {
                continue;
            }
            let name = match self.options.field_names {
                ProtobufFieldNames::Json => field.json_name(),
                ProtobufFieldNames::Original => field.name(),
            };
            self.name(name, &mut is_first);
            self.value(&message.get_field(&field), &field.kind())?;
        }
        for (extension, value) in message.extensions() {
            self.name(extension.json_name(), &mut is_first);
            self.value(value, &extension.kind())?;
        }
        Ok(())
    }

    fn name(&mut self, name: &str, is_first: &mut bool) {
        if !std::mem::take(is_first) {
            self.out.push(b',');
        }
        self.json(name);
        self.out.push(b':');
    }

    fn value(&mut self, value: &Value, kind: &Kind) -> Result<(), ProtobufFault> {
        match value {
            Value::Bool(value) => self.json(value),
            Value::I32(value) => self.json(value),
            Value::U32(value) => self.json(value),
            Value::I64(value) => self.long(value),
            Value::U64(value) => self.long(value),
            Value::F32(value) if value.is_finite() => self.json(value),
            Value::F64(value) if value.is_finite() => self.json(value),
            Value::F32(value) => self.no_number(f64::from(*value)),
            Value::F64(value) => self.no_number(*value),
            Value::String(value) => self.json(value.as_str()),
            Value::Bytes(value) => {
                let text = STANDARD.encode(value);
                self.json(text.as_str());
            }
            Value::EnumNumber(number) => self.symbol(*number, kind),
            Value::Message(message) => self.message(message)?,
            Value::List(items) => {
                self.out.push(b'[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        self.out.push(b',');
                    }
                    self.value(item, kind)?;
                }
                self.out.push(b']');
            }
            Value::Map(entries) => {
                let of = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
                let of = of.as_ref().unwrap_or(kind);
                let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
                entries.sort_unstable_by(|one, other| one.0.cmp(other.0));
                self.out.push(b'{');
                let mut is_first = true;
                for (key, value) in entries {
                    self.name(&key_text(key), &mut is_first);
                    self.value(value, of)?;
                }
                self.out.push(b'}');
            }
        }
        self.check()
    }

    fn symbol(&mut self, number: i32, kind: &Kind) {
        let known = kind.as_enum();
        if known.is_some_and(|known| known.full_name() == "google.protobuf.NullValue") {
            self.out.extend_from_slice(b"null");
            return;
        }
        match known.and_then(|known| known.get_value(number)) {
            Some(symbol) => self.json(symbol.name()),
            None => self.json(&number),
        }
    }

    /// A message of any type, with the name of its type.
    fn any(&mut self, message: &DynamicMessage) -> Result<(), ProtobufFault> {
        let url = message.get_field_by_number(1);
        let url = url.as_deref().and_then(Value::as_str).unwrap_or_default();
        if url.is_empty() {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
        let shown: String = name.chars().take(200).collect();
        let descriptor = message.descriptor().parent_pool().get_message_by_name(name);
        let descriptor =
            descriptor.ok_or_else(|| fault(format!("an `Any` of type `{shown}`, which the schema does not have")))?;
        let value = message.get_field_by_number(2);
        let bytes = value.as_deref().and_then(Value::as_bytes).cloned().unwrap_or_default();
        self.allowance.take(&descriptor, &bytes)?;
        let inner = DynamicMessage::decode(descriptor, bytes);
        let inner = inner.map_err(|error| fault(format!("an `Any` holds no message `{shown}`: {error}")))?;
        self.out.extend_from_slice(b"{\"@type\":");
        self.json(url);
        if is_special(name) {
            self.out.extend_from_slice(b",\"value\":");
            self.message(&inner)?;
        } else {
            self.depth += 1;
            if self.depth > MAX_MESSAGE_DEPTH {
                return Err(fault(format!("nested more than {MAX_MESSAGE_DEPTH} messages deep")));
            }
            self.fields(&inner, false)?;
            self.depth -= 1;
        }
        self.out.push(b'}');
        self.check()
    }

    fn well_known(&mut self, message: &DynamicMessage) -> Result<(), ProtobufFault> {
        let mut bounded = Bounded { out: &mut self.out, limit: self.limit };
        let mut serializer = serde_json::Serializer::new(&mut bounded);
        let written = message.serialize_with_options(&mut serializer, &self.well_known);
        let name = message.descriptor().full_name().to_owned();
        self.check()?;
        written.map_err(|error| fault(format!("a `{name}` that has no JSON: {error}")))
    }

    fn long<T: serde::Serialize + std::fmt::Display>(&mut self, value: &T) {
        match self.options.int64 {
            ProtobufInt64::Number => self.json(value),
            ProtobufInt64::String => self.json(value.to_string().as_str()),
        }
    }

    fn no_number(&mut self, number: f64) {
        let word = match (number.is_nan(), number.is_sign_positive()) {
            (true, _) => "NaN",
            (false, true) => "Infinity",
            (false, false) => "-Infinity",
        };
        self.json(word);
    }

    fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.out, value)
            .expect("texts and finite numbers are JSON, and a vector takes them");
    }

    fn check(&self) -> Result<(), ProtobufFault> {
        if self.out.len() > self.limit {
            let what = format!("as JSON it has more than {} bytes", self.limit);
            return Err(ProtobufFault { what, is_too_large: true });
        }
        Ok(())
    }
}

/// Whether a type's JSON is no object of its fields, so that it stands in one inside an `Any`.
fn is_special(name: &str) -> bool {
    is_well_known(name)
        || matches!(name, "google.protobuf.Any" | "google.protobuf.FloatValue" | "google.protobuf.DoubleValue")
}

fn key_text(key: &MapKey) -> Cow<'_, str> {
    match key {
        MapKey::Bool(key) => key.to_string().into(),
        MapKey::I32(key) => key.to_string().into(),
        MapKey::I64(key) => key.to_string().into(),
        MapKey::U32(key) => key.to_string().into(),
        MapKey::U64(key) => key.to_string().into(),
        MapKey::String(key) => Cow::Borrowed(key),
    }
}

// === impl Bounded ===

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() > self.limit {
            return Err(io::Error::other("too large"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
