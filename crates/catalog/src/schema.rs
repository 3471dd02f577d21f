//! JSON Schemas of event types: compiled with limits, checked against payloads.
//!
//! A schema is a stranger's text too (see crates/filter): nothing is fetched, patterns run in linear time, and [`cost`]
//! refuses what would look at one place of a payload over and over again. The control plane compiles a schema when it is
//! written, the gateway and the fan-out when the first event of its type comes.

mod cost;
mod price;

use std::fmt;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use self::price::{CheckWork, Extent};
pub use self::price::{MAX_CHECK_NS, READ_NS};

/// Largest schema, bytes of JSON.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Largest compiled pattern, bytes.
const PATTERN_MEMORY: usize = 32 * 1024;
/// Bytes of a pattern's table of states, which is made while it is read: names, numbers and mail addresses fit, so that their
/// bytes cost a step each.
const PATTERN_TABLE: usize = 256 * 1024;
/// Longest message and path, characters.
const MAX_MESSAGE: usize = 300;

/// A compiled schema.
pub struct Schema {
    validator: Validator,
    /// The most that may be done at one place of a payload.
    work: CheckWork,
}

/// A payload that was read and priced, and is not checked yet: who has many of them adds up their prices first.
#[derive(Debug)]
pub struct PricedCheck<'s> {
    schema: &'s Schema,
    payload: Value,
    price_ns: u64,
}

/// Why a value is no schema that events can be checked with: told to whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at `{path}`")]
pub struct SchemaError {
    /// Where in the schema, a JSON pointer; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
    /// It would take too long to compile.
    pub is_costly: bool,
}

/// Why a payload does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at `{path}`")]
pub struct Mismatch {
    /// Where in the payload, a JSON pointer; empty for the whole.
    pub path: String,
    /// What does not fit there, without the payload's values.
    pub message: String,
}

/// Why a payload is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It does not fit.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// To tell would take too long.
    #[error(
        "the check may take {price_ms} ms, at most {} are allowed: send less at once, or simplify the schema",
        MAX_CHECK_NS / 1_000_000
    )]
    TooCostly {
        /// What it may take.
        price_ms: u64,
    },
}

// === impl Schema ===

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// It is none, reaches outside of itself, or costs more than a check may.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        Self::build(schema, cost::check(schema, false)?)
    }

    /// Compiles a schema that was taken when it was written, whatever a new one may cost today.
    ///
    /// # Errors
    /// It is none that this build can check with.
    pub fn compile_stored(schema: &Value) -> Result<Self, SchemaError> {
        Self::build(schema, cost::check(schema, true)?)
    }

    fn build(schema: &Value, work: CheckWork) -> Result<Self, SchemaError> {
        let patterns = PatternOptions::regex().size_limit(PATTERN_MEMORY).dfa_size_limit(PATTERN_TABLE);
        let built = jsonschema::options().offline().with_pattern_options(patterns).build(schema);
        built.map(|validator| Self { validator, work }).map_err(|error| SchemaError {
            path: cut(error.instance_path().as_str()),
            message: cut(&error.masked().to_string()),
            is_costly: false,
        })
    }

    /// Whether a payload fits.
    ///
    /// # Errors
    /// The first place where it does not, or that it would take too long to tell.
    pub fn check(&self, payload: &[u8]) -> Result<(), Unfit> {
        self.price(payload)?.run()
    }

    /// Reads a payload, and says what its check may take.
    ///
    /// # Errors
    /// It is no JSON, or the check would take too long.
    pub fn price(&self, payload: &[u8]) -> Result<PricedCheck<'_>, Unfit> {
        let bytes = payload.len();
        let payload: Value = serde_json::from_slice(payload)
            .map_err(|error| Mismatch { path: String::new(), message: format!("the payload is not JSON: {error}") })?;
        let price_ns = self.work.price_ns(Extent::of(&payload), bytes);
        if price_ns > MAX_CHECK_NS {
            return Err(Unfit::TooCostly { price_ms: price_ns.div_ceil(1_000_000) });
        }
        Ok(PricedCheck { schema: self, payload, price_ns })
    }

    /// How many looks of a subschema at a place the price of a payload is made for.
    #[cfg(feature = "fuzzing")]
    #[must_use]
    pub fn priced_visits(&self, payload: &Value) -> u64 {
        self.work.visits.saturating_mul(Extent::of(payload).places)
    }
}

// === impl PricedCheck ===

impl PricedCheck<'_> {
    /// What reading the payload took and checking it may take, ns.
    #[must_use]
    pub fn price_ns(&self) -> u64 {
        self.price_ns
    }

    /// Whether the payload fits.
    ///
    /// # Errors
    /// The first place where it does not.
    pub fn run(self) -> Result<(), Unfit> {
        let misfit = |error: jsonschema::ValidationError<'_>| Mismatch {
            path: cut(error.instance_path().as_str()),
            message: cut(&error.masked().to_string()),
        };
        self.schema.validator.validate(&self.payload).map_err(|error| misfit(error).into())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests;
