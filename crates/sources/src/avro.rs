//! Avro, as it comes from a registry: the schema compiled to a flat plan, records decoded to JSON by it in one pass.
//!
//! ```text
//! text, references --apache_avro::Schema--> names resolved, JSON names quoted --> AvroPlan
//! bytes, AvroPlan ------------------------------- one pass ---------------------> JSON, or a fault and its byte
//! ```
//!
//! The library's own decoder is not used: it has no limit of depth, and takes what is cut off for `null`. Here the depth of a
//! value and the bytes it may become are bounded, every byte has to be used up, and nothing is built between bytes and JSON.

mod compile;
mod decode;
mod logical;

use schemas::control::AvroOptions;

pub(crate) use self::decode::AvroFault;

use crate::instant::Precision;

/// Deepest nesting of records, arrays and maps in a value: the decoder has a call for each.
pub(crate) const MAX_AVRO_DEPTH: usize = 64;
/// Most types, fields and symbols of a schema and what it refers to.
const MAX_AVRO_PARTS: usize = 100_000;
/// Most digits behind the point of a decimal.
const MAX_SCALE: usize = 1_000;

/// A schema, ready to decode by: types point at each other by their index.
#[derive(Debug)]
pub(crate) struct AvroPlan {
    nodes: Vec<AvroNode>,
    root: usize,
    /// Full name of the type, if it has one.
    name: Option<Box<str>>,
    /// Bytes it takes, roughly.
    weight: usize,
}

/// A type.
#[derive(Debug)]
enum AvroNode {
    /// A name that is used before its definition; none is left when the plan is complete.
    Undefined(Box<str>),
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(usize),
    Map(usize),
    Union(Box<[UnionBranch]>),
    Record(Box<[AvroField]>),
    /// Symbols as JSON texts.
    Enum(Box<[Box<str>]>),
    Fixed(usize),
    Logical(LogicalNode),
}

#[derive(Debug)]
struct UnionBranch {
    node: usize,
    /// What stands in front of it in Avro's own JSON: `{"string":`. Nothing before `null`.
    tag: Option<Box<str>>,
}

#[derive(Debug)]
struct AvroField {
    /// What stands in front of it: `"name":`.
    tag: Box<str>,
    node: usize,
}

/// A type that means more than what it is made of.
#[derive(Clone, Copy, Debug)]
enum LogicalNode {
    Decimal {
        /// Bytes, where the type is a fixed one.
        size: Option<usize>,
        scale: usize,
    },
    BigDecimal,
    UuidString,
    UuidBytes,
    UuidFixed,
    Date,
    TimeMillis,
    TimeMicros,
    Timestamp {
        precision: Precision,
        /// Whether it is a moment, and not what clocks show in some place.
        is_moment: bool,
    },
    Duration,
}

impl AvroPlan {
    /// Full name of the type, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// A value as JSON, of so many bytes at most.
    pub(crate) fn decode(&self, bytes: &[u8], options: AvroOptions, limit: usize) -> Result<Vec<u8>, AvroFault> {
        decode::decode(self, bytes, options, limit)
    }
}

#[cfg(test)]
mod tests;
