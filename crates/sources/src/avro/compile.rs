//! From a schema's text to the plan that values are decoded by.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{Alias, InnerDecimalSchema, Name, UuidSchema};
use serde_json::Value;

use super::{AvroField, AvroNode, AvroPlan, LogicalNode, MAX_AVRO_PARTS, MAX_SCALE, UnionBranch};
use crate::instant::Precision;
use crate::schema::{RegisteredSchema, UnusableSchema};

/// Deepest nesting of JSON in a schema and everything it refers to, added up: the library's parser has several calls for each.
const MAX_TEXT_DEPTH: usize = 512;
/// Bytes of named types that the library may copy: it keeps each once for its name and once for each of its aliases, with all that is
/// inside it, before anything here can count.
const MAX_COPIED: usize = 32 << 20;
/// Bytes a value takes beside its text, roughly.
const VALUE_BYTES: usize = 16;
/// Bytes a part of the plan takes, roughly.
const PART_BYTES: usize = 48;

struct PlanBuilder {
    nodes: Vec<AvroNode>,
    names: HashMap<String, usize>,
    /// What the plan holds beside nodes: fields, branches, symbols.
    parts: usize,
    text_bytes: usize,
}

impl AvroPlan {
    /// Compiles a schema with what it refers to.
    pub(crate) fn compile(registered: &RegisteredSchema) -> Result<Self, UnusableSchema> {
        let texts = std::iter::once(&registered.text).chain(registered.references.iter().map(|it| &it.text));
        if texts.map(|text| depth(text)).sum::<usize>() > MAX_TEXT_DEPTH {
            return Err(unusable("its types are nested too deeply"));
        }
        let texts = std::iter::once(&registered.text).chain(registered.references.iter().map(|it| &it.text));
        // What is no JSON is told by the library, which then copies nothing.
        let values = texts.filter_map(|text| serde_json::from_str::<Value>(text).ok());
        if values.map(|value| copied(&value).copied).fold(0, usize::saturating_add) > MAX_COPIED {
            return Err(unusable("its named types and their aliases are too large to be compiled"));
        }
        let references = registered.references.iter().map(|it| it.text.as_str());
        let parsed = Schema::parse_str_with_list(&registered.text, references);
        let (schema, others) = parsed.map_err(|error| unusable(format!("not an Avro schema: {error}")))?;
        let mut builder = PlanBuilder { nodes: Vec::new(), names: HashMap::new(), parts: 0, text_bytes: 0 };
        for other in &others {
            builder.node(other)?;
        }
        let root = builder.node(&schema)?;
        builder.finish(root, name_of(&schema))
    }
}

/// What the library copies of a schema, bytes, roughly.
#[derive(Clone, Copy, Default)]
struct CopiedBytes {
    /// Of the schema itself.
    bytes: usize,
    /// Of all copies of the named types in it.
    copied: usize,
}

fn copied(schema: &Value) -> CopiedBytes {
    let mut sum = CopiedBytes { bytes: VALUE_BYTES, copied: 0 };
    let mut add = |more: usize, inner: CopiedBytes| {
        sum.bytes = sum.bytes.saturating_add(more).saturating_add(inner.bytes);
        sum.copied = sum.copied.saturating_add(inner.copied);
    };
    match schema {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => add(text.len(), CopiedBytes::default()),
        Value::Array(items) => items.iter().for_each(|item| add(0, copied(item))),
        Value::Object(members) => members.iter().for_each(|(name, value)| add(name.len(), copied(value))),
    }
    let kind = schema.get("type").and_then(Value::as_str);
    if matches!(kind, Some("record" | "error" | "enum" | "fixed")) {
        let aliases = schema.get("aliases").and_then(Value::as_array).map_or(0, Vec::len);
        sum.copied = sum.copied.saturating_add(sum.bytes.saturating_mul(aliases.saturating_add(1)));
    }
    sum
}

/// Levels of brackets in a text that is JSON, or near it.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn unusable(detail: impl Into<String>) -> UnusableSchema {
    UnusableSchema { detail: detail.into() }
}

/// A name as a JSON text.
fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

fn name_of(schema: &Schema) -> Option<Box<str>> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most types have no name")]
    match schema {
        Schema::Record(it) => Some(it.name.to_string().into()),
        Schema::Enum(it) => Some(it.name.to_string().into()),
        Schema::Fixed(it) => Some(it.name.to_string().into()),
        Schema::Ref { name } => Some(name.to_string().into()),
        _nameless => None,
    }
}

// === impl PlanBuilder ===

impl PlanBuilder {
    fn finish(self, root: usize, name: Option<Box<str>>) -> Result<AvroPlan, UnusableSchema> {
        let undefined = self.nodes.iter().find_map(|node| match node {
            AvroNode::Undefined(name) => Some(name),
            AvroNode::Null
            | AvroNode::Boolean
            | AvroNode::Int
            | AvroNode::Long
            | AvroNode::Float
            | AvroNode::Double
            | AvroNode::Bytes
            | AvroNode::String
            | AvroNode::Array(_)
            | AvroNode::Map(_)
            | AvroNode::Union(_)
            | AvroNode::Record(_)
            | AvroNode::Enum(_)
            | AvroNode::Fixed(_)
            | AvroNode::Logical(_) => None,
        });
        if let Some(name) = undefined {
            return Err(unusable(format!("nothing defines the type `{name}`")));
        }
        let weight = (self.nodes.len() + self.parts) * PART_BYTES + self.text_bytes;
        Ok(AvroPlan { nodes: self.nodes, root, name, weight })
    }

    /// The index of a type.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is left of the schemas are the logical types")]
    fn node(&mut self, schema: &Schema) -> Result<usize, UnusableSchema> {
        let node = match schema {
            Schema::Null => AvroNode::Null,
            Schema::Boolean => AvroNode::Boolean,
            Schema::Int => AvroNode::Int,
            Schema::Long => AvroNode::Long,
            Schema::Float => AvroNode::Float,
            Schema::Double => AvroNode::Double,
            Schema::Bytes => AvroNode::Bytes,
            Schema::String => AvroNode::String,
            Schema::Array(it) => AvroNode::Array(self.node(&it.items)?),
            Schema::Map(it) => AvroNode::Map(self.node(&it.types)?),
            Schema::Union(it) => AvroNode::Union(self.branches(it.variants())?),
            Schema::Ref { name } => return Ok(self.named(name.as_ref())),
            Schema::Record(it) => {
                // The name first: its fields may be of this very type.
                let index = self.define(&it.name, it.aliases.as_deref(), AvroNode::Null)?;
                let mut fields = Vec::with_capacity(it.fields.len());
                for field in &it.fields {
                    let tag = quoted(&field.name) + ":";
                    self.count(tag.len())?;
                    fields.push(AvroField { tag: tag.into(), node: self.node(&field.schema)? });
                }
                self.nodes[index] = AvroNode::Record(fields.into());
                return Ok(index);
            }
            Schema::Enum(it) => {
                let symbols: Vec<Box<str>> = it.symbols.iter().map(|symbol| quoted(symbol).into()).collect();
                for symbol in &symbols {
                    self.count(symbol.len())?;
                }
                return self.define(&it.name, it.aliases.as_deref(), AvroNode::Enum(symbols.into()));
            }
            Schema::Fixed(it) => return self.define(&it.name, it.aliases.as_deref(), AvroNode::Fixed(it.size)),
            logical => {
                let node = AvroNode::Logical(logical_node(logical)?);
                return match fixed_name(logical) {
                    Some((name, aliases)) => self.define(name, aliases, node),
                    None => self.push(node),
                };
            }
        };
        self.push(node)
    }

    fn branches(&mut self, variants: &[Schema]) -> Result<Box<[UnionBranch]>, UnusableSchema> {
        let mut branches = Vec::with_capacity(variants.len());
        for variant in variants {
            let tag: Option<Box<str>> = branch_name(variant).map(|name| format!("{{{}:", quoted(&name)).into());
            self.count(tag.as_deref().map_or(0, str::len))?;
            branches.push(UnionBranch { node: self.node(variant)?, tag });
        }
        Ok(branches.into())
    }

    /// The place of a type's name, defined yet or not.
    fn named(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let index = self.nodes.len();
        self.nodes.push(AvroNode::Undefined(name.into()));
        self.names.insert(name.to_owned(), index);
        index
    }

    /// Puts a type at the place of its name, and of its other names.
    fn define(&mut self, name: &Name, aliases: Option<&[Alias]>, node: AvroNode) -> Result<usize, UnusableSchema> {
        self.count(0)?;
        let index = self.named(name.as_ref());
        for alias in aliases.unwrap_or_default() {
            self.names.entry(alias.fullname(name.namespace())).or_insert(index);
        }
        self.nodes[index] = node;
        Ok(index)
    }

    fn push(&mut self, node: AvroNode) -> Result<usize, UnusableSchema> {
        self.count(0)?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn count(&mut self, bytes: usize) -> Result<(), UnusableSchema> {
        self.parts += 1;
        self.text_bytes += bytes;
        if self.parts > MAX_AVRO_PARTS {
            return Err(unusable(format!("it has more than {MAX_AVRO_PARTS} types, fields and symbols")));
        }
        Ok(())
    }
}

/// The name of a fixed type that means more.
fn fixed_name(schema: &Schema) -> Option<(&Name, Option<&[Alias]>)> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are made of types without a name")]
    let fixed = match schema {
        Schema::Decimal(it) => match &it.inner {
            InnerDecimalSchema::Fixed(fixed) => fixed,
            InnerDecimalSchema::Bytes => return None,
        },
        Schema::Uuid(UuidSchema::Fixed(fixed)) | Schema::Duration(fixed) => fixed,
        _nameless => return None,
    };
    Some((&fixed.name, fixed.aliases.as_deref()))
}

fn logical_node(schema: &Schema) -> Result<LogicalNode, UnusableSchema> {
    let timestamp = |precision, is_moment| LogicalNode::Timestamp { precision, is_moment };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others were seen before; one that is new is told")]
    Ok(match schema {
        Schema::Decimal(it) => {
            if it.scale > MAX_SCALE {
                return Err(unusable(format!(
                    "a decimal has {} digits behind the point, at most {MAX_SCALE} are written",
                    it.scale
                )));
            }
            let size = match &it.inner {
                InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                InnerDecimalSchema::Bytes => None,
            };
            LogicalNode::Decimal { size, scale: it.scale }
        }
        Schema::BigDecimal => LogicalNode::BigDecimal,
        Schema::Uuid(UuidSchema::String) => LogicalNode::UuidString,
        Schema::Uuid(UuidSchema::Bytes) => LogicalNode::UuidBytes,
        Schema::Uuid(UuidSchema::Fixed(_)) => LogicalNode::UuidFixed,
        Schema::Date => LogicalNode::Date,
        Schema::TimeMillis => LogicalNode::TimeMillis,
        Schema::TimeMicros => LogicalNode::TimeMicros,
        Schema::TimestampMillis => timestamp(Precision::MILLIS, true),
        Schema::TimestampMicros => timestamp(Precision::MICROS, true),
        Schema::TimestampNanos => timestamp(Precision::NANOS, true),
        Schema::LocalTimestampMillis => timestamp(Precision::MILLIS, false),
        Schema::LocalTimestampMicros => timestamp(Precision::MICROS, false),
        Schema::LocalTimestampNanos => timestamp(Precision::NANOS, false),
        Schema::Duration(_) => LogicalNode::Duration,
        other => {
            return Err(unusable(format!("a type that is not known: {other:?}").chars().take(200).collect::<String>()));
        }
    })
}

/// What Avro's own JSON calls a branch of a union; `null` is called nothing.
fn branch_name(schema: &Schema) -> Option<String> {
    let name = match schema {
        Schema::Null => return None,
        Schema::Boolean => "boolean",
        Schema::Int | Schema::Date | Schema::TimeMillis => "int",
        Schema::Long
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => "long",
        Schema::Float => "float",
        Schema::Double => "double",
        Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => "bytes",
        Schema::String | Schema::Uuid(UuidSchema::String) => "string",
        Schema::Array(_) => "array",
        Schema::Map(_) => "map",
        // A union stands in no union.
        Schema::Union(_) => "union",
        Schema::Record(it) => return Some(it.name.to_string()),
        Schema::Enum(it) => return Some(it.name.to_string()),
        Schema::Fixed(it) | Schema::Uuid(UuidSchema::Fixed(it)) | Schema::Duration(it) => {
            return Some(it.name.to_string());
        }
        Schema::Ref { name } => return Some(name.to_string()),
        Schema::Decimal(it) => match &it.inner {
            InnerDecimalSchema::Fixed(fixed) => return Some(fixed.name.to_string()),
            InnerDecimalSchema::Bytes => "bytes",
        },
    };
    Some(name.to_owned())
}
