//! What one check of a payload costs at worst, by what the payload consists of and by what meets it.
//!
//! A schema says how much work may meet at one place ([`CheckWork`], counted by `cost`), a payload how many places it has. Their
//! product is known before the check begins, so a check that would take too long is not begun: nothing could end it.

use std::collections::HashMap;

use serde_json::Value;

use super::PATTERN_TABLE;

/// A check costs at most that much, ns: while it runs nobody else is served by its thread.
pub const MAX_CHECK_NS: u64 = 20_000_000;
/// A subschema at a place, ns.
const VISIT_NS: u64 = 40;
/// A value that is compared with a place, ns.
const ENTRY_NS: u64 = 8;
/// A name that is looked for in an object, ns.
const NAME_NS: u64 = 15;
/// A byte of a text that is looked at as a `format`, or counted for its length, ns.
const FORM_NS: u64 = 5;
/// A byte that is read as JSON, ns.
pub const READ_NS: u64 = 4;

/// Patterns of a schema: each of them is compiled, and takes up to a millisecond for it.
const MAX_PATTERNS: usize = 200;
/// Looks at the tables of all patterns of a schema; what people write takes some hundred per pattern.
const MAX_LOOKS: u64 = 4_000_000;

/// What may meet at one place of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckWork {
    /// Subschemas.
    pub(super) visits: u64,
    /// Values of `enum` and `const` that are compared one by one.
    pub(super) entries: u64,
    /// Names looked for in an object.
    pub(super) names: u64,
    /// Patterns, ns per byte of a text or name.
    pub(super) byte_ns: u64,
}

/// What the patterns of one schema cost: each text is looked at once, and all together so far.
#[derive(Debug, Default)]
pub(super) struct PatternPrices {
    known: HashMap<String, u64>,
    /// Patterns, each as often as it stands there: as often it is compiled.
    count: usize,
    looks: u64,
}

/// What a payload consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) places: u64,
    pub(super) objects: u64,
    /// Of texts and names.
    pub(super) text_bytes: u64,
}

// === impl CheckWork ===

impl CheckWork {
    /// A subschema with what it does at its place itself. `enum` of many texts is hashed.
    pub(super) fn of(schema: &serde_json::Map<String, Value>, prices: &mut PatternPrices) -> Self {
        let len = |keyword: &str| match schema.get(keyword) {
            Some(Value::Array(list)) => list.len() as u64,
            Some(Value::Object(map)) => map.len() as u64,
            _none => 0,
        };
        let compared = match schema.get("enum") {
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => 10.min(all.len() as u64),
            Some(given) => leaves(given),
            None => 0,
        };
        let dependent = ["dependentRequired", "dependencies"].into_iter().filter_map(|keyword| schema.get(keyword));
        let names = len("properties") + len("required") + dependent.map(leaves).fold(0, u64::saturating_add);
        let pattern = schema.get("pattern").and_then(Value::as_str).map_or(0, |it| prices.of(it));
        let forms =
            ["format", "minLength", "maxLength"].into_iter().filter(|it| schema.contains_key(*it)).count() as u64;
        let names_of = schema.get("patternProperties").and_then(Value::as_object);
        let patterns = names_of.into_iter().flat_map(|map| map.keys()).map(|it| prices.of(it));
        Self {
            visits: 1 + u64::from(schema.contains_key("uniqueItems")) * 4,
            entries: compared.saturating_add(schema.get("const").map_or(0, leaves)),
            names,
            byte_ns: patterns.fold(pattern.saturating_add(forms * FORM_NS), u64::saturating_add),
        }
    }

    pub(super) fn add(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// The worse of two that do not meet.
    pub(super) fn max(self, other: Self) -> Self {
        self.each(other, Ord::max)
    }

    fn each(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            visits: of(self.visits, other.visits),
            entries: of(self.entries, other.entries),
            names: of(self.names, other.names),
            byte_ns: of(self.byte_ns, other.byte_ns),
        }
    }

    /// What a check of such a payload costs at worst, ns.
    pub(super) fn price_ns(self, of: Extent, bytes: usize) -> u64 {
        let at_places = self.visits.saturating_mul(VISIT_NS).saturating_add(self.entries.saturating_mul(ENTRY_NS));
        let parts = [
            at_places.saturating_mul(of.places),
            self.names.saturating_mul(NAME_NS).saturating_mul(of.objects),
            self.byte_ns.saturating_mul(of.text_bytes),
            READ_NS.saturating_mul(bytes as u64),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

// === impl PatternPrices ===

impl PatternPrices {
    /// Nanoseconds that a byte of text costs a pattern at worst.
    fn of(&mut self, pattern: &str) -> u64 {
        self.count += 1;
        if let Some(known) = self.known.get(pattern) {
            return *known;
        }
        let price = filter::pattern_price(pattern, PATTERN_TABLE, MAX_LOOKS.saturating_sub(self.looks));
        self.looks += price.looks;
        self.known.insert(pattern.to_owned(), price.ns_per_byte);
        price.ns_per_byte
    }

    /// Why a schema with these patterns would take too long to compile, if it would.
    pub(super) fn excess(&self) -> Option<String> {
        if self.count > MAX_PATTERNS {
            return Some(format!("a schema has at most {MAX_PATTERNS} patterns, this one has {}", self.count));
        }
        let message = "its patterns take too long to compile: together they have too many states";
        (self.looks >= MAX_LOOKS).then(|| message.to_owned())
    }
}

/// Values without values in them, and texts by their length.
fn leaves(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => 1 + text.len() as u64 / 64,
        Value::Array(all) => all.iter().map(leaves).fold(1, u64::saturating_add),
        Value::Object(all) => all.values().map(|value| 1 + leaves(value)).fold(1, u64::saturating_add),
    }
}

// === impl Extent ===

impl Extent {
    /// Looks at every value once; the parser has bounded the depth.
    pub(super) fn of(value: &Value) -> Self {
        let mut extent = Self::default();
        extent.add(value);
        extent
    }

    fn add(&mut self, value: &Value) {
        self.places += 1;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => self.text_bytes += text.len() as u64,
            Value::Array(all) => all.iter().for_each(|value| self.add(value)),
            Value::Object(all) => {
                self.objects += 1;
                for (name, value) in all {
                    self.text_bytes += name.len() as u64;
                    self.add(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
