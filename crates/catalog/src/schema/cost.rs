//! How often a schema looks at one place of a payload, at most.
//!
//! A validator walks the payload once for every subschema that applies to it, so its work is the payload's size times the
//! number of subschemas that can meet at one place. `allOf` adds them up, references repeat them, `unevaluatedProperties`
//! tries them twice, and a reference to what it stands in multiplies them at every level. This walk counts:
//!
//! ```text
//! here(S)  = 1 + here of every subschema for the same place       allOf anyOf oneOf not if then else $ref dependentSchemas
//! below(S) = their below + what one child can meet of S's own     one of properties, all of patternProperties, items, ..
//! ```
//!
//! and refuses what exceeds [`MAX_VISITS`], and references that come back to where they stand. In the same way it adds up what
//! the subschemas do at a place ([`CheckWork`]), from which a check is priced before it begins.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::price::{CheckWork, PatternPrices};
use super::{MAX_SCHEMA_BYTES, SchemaError};

/// Subschemas that may meet at one place: a generous union, no explosion.
const MAX_VISITS: u64 = 200;
/// A pattern weighs as much as that many subschemas.
const PATTERN_WEIGHT: u64 = 10;
/// Deepest nesting, references followed: compiling and checking recurse.
const MAX_DEPTH: usize = 48;

/// Keywords whose subschemas apply to the same place.
const HERE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];
/// Keywords of which one subschema applies to a child.
const ONE_OF: [&str; 2] = ["properties", "prefixItems"];
/// Keywords of which every subschema may apply to a child.
const ALL_OF: [&str; 8] = [
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "contains",
    "unevaluatedProperties",
    "unevaluatedItems",
];
/// Keywords that make references mean other things than `#/...` says.
const REFUSED: [&str; 6] =
    ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"];

/// What one subschema costs.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Subschemas that meet where it applies.
    here: u64,
    /// Subschemas that meet at one place below.
    below: u64,
    /// All that is done where it applies.
    work: CheckWork,
    /// All that is done at one place below.
    work_below: CheckWork,
    /// Levels of nesting.
    height: usize,
}

/// Refuses a schema that reaches outside of itself or costs too much. Returns the most that may be done at one place. One that was
/// stored is taken also where its compilation costs more than is allowed today: no event is lost for that.
pub(super) fn check(schema: &Value, is_stored: bool) -> Result<CheckWork, SchemaError> {
    let bytes = schema.to_string().len();
    if bytes > MAX_SCHEMA_BYTES {
        return Err(error("", format!("a schema has at most {MAX_SCHEMA_BYTES} bytes, this one has {bytes}")));
    }
    let mut walk = Walk { root: schema, known: HashMap::new(), jumps: Vec::new(), prices: PatternPrices::default() };
    let cost = walk.schema(schema, "", 0)?;
    if let Some(message) = walk.prices.excess().filter(|_| !is_stored) {
        return Err(SchemaError { is_costly: true, ..error("", message) });
    }
    let visits = cost.here.max(cost.below);
    if visits > MAX_VISITS {
        let message = format!("{visits} subschemas can apply to one place of a payload, at most {MAX_VISITS} may");
        return Err(error("", message));
    }
    Ok(cost.work.max(cost.work_below))
}

struct Walk<'a> {
    root: &'a Value,
    /// Cost of what references lead to.
    known: HashMap<String, Cost>,
    /// Where the references that are being followed stand.
    jumps: Vec<String>,
    prices: PatternPrices,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Value, path: &str, depth: usize) -> Result<Cost, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(error(path, format!("a schema is nested at most {MAX_DEPTH} levels, references followed")));
        }
        let Value::Object(schema) = schema else {
            // `true` and `false` are schemas; what is none at all is for the compiler to say.
            return Ok(Cost {
                here: 1,
                height: 1,
                work: CheckWork { visits: 1, ..CheckWork::default() },
                ..Cost::default()
            });
        };
        let refused = REFUSED.into_iter().find(|keyword| schema.contains_key(*keyword));
        if let Some(keyword) = refused.or_else(|| ["$id", "id"].into_iter().find(|id| is_nested_id(schema, id, path))) {
            return Err(error(path, format!("`{keyword}` is not supported here")));
        }
        let mut cost = Cost { here: 1, work: CheckWork::of(schema, &mut self.prices), ..Cost::default() };
        if schema.contains_key("uniqueItems") {
            // What is compared is compared down to its leaves.
            cost.work_below = CheckWork { visits: 4, ..CheckWork::default() };
        }
        if schema.contains_key("pattern") {
            cost.here += PATTERN_WEIGHT;
        }
        if let Some(Value::String(to)) = schema.get("$ref") {
            cost.add(self.reference(to, path, depth)?);
        }
        for keyword in HERE {
            for part in self.parts(schema, keyword, path, depth)? {
                cost.add(part);
            }
        }
        // Before 2019 `dependencies` held schemas, or lists of names.
        for part in self.parts(schema, "dependencies", path, depth)? {
            cost.add(part);
        }
        let child = self.child(schema, path, depth)?;
        cost.below = cost.below.saturating_add(child.here.max(child.below));
        cost.work_below = cost.work_below.add(child.work.max(child.work_below));
        cost.height = cost.height.max(child.height) + 1;
        if schema.keys().any(|keyword| keyword.starts_with("unevaluated")) {
            cost.here = cost.here.saturating_mul(2);
            cost.below = cost.below.saturating_mul(2);
            cost.work = cost.work.add(cost.work);
            cost.work_below = cost.work_below.add(cost.work_below);
        }
        Ok(cost)
    }

    /// What one child can meet of a schema's own keywords.
    fn child(&mut self, schema: &Map<String, Value>, path: &str, depth: usize) -> Result<Cost, SchemaError> {
        let mut child = Cost::default();
        for keyword in ONE_OF {
            let mut costliest = Cost::default();
            for part in self.parts(schema, keyword, path, depth)? {
                costliest.here = costliest.here.max(part.here);
                costliest.below = costliest.below.max(part.below);
                costliest.work = costliest.work.max(part.work);
                costliest.work_below = costliest.work_below.max(part.work_below);
                costliest.height = costliest.height.max(part.height);
            }
            child.add(costliest);
        }
        for keyword in ALL_OF {
            for part in self.parts(schema, keyword, path, depth)? {
                child.add(part);
            }
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len) as u64;
        child.here = child.here.saturating_add(patterns.saturating_mul(PATTERN_WEIGHT));
        Ok(child)
    }

    /// The costs of a keyword's subschemas: one, a list, or a map of them.
    fn parts(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        path: &str,
        depth: usize,
    ) -> Result<Vec<Cost>, SchemaError> {
        let Some(value) = schema.get(keyword) else { return Ok(Vec::new()) };
        let path = format!("{path}/{keyword}");
        let is_map = ["properties", "patternProperties", "dependentSchemas", "dependencies"].contains(&keyword);
        match value {
            Value::Object(parts) if is_map => parts
                .iter()
                .map(|(name, part)| self.schema(part, &format!("{path}/{}", escape(name)), depth + 1))
                .collect(),
            Value::Array(parts) => parts
                .iter()
                .enumerate()
                .map(|(at, part)| self.schema(part, &format!("{path}/{at}"), depth + 1))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Ok(vec![self.schema(value, &path, depth + 1)?])
            }
        }
    }

    fn reference(&mut self, to: &str, path: &str, depth: usize) -> Result<Cost, SchemaError> {
        let path = format!("{path}/$ref");
        let Some(pointer) =
            to.strip_prefix('#').filter(|it| (it.is_empty() || it.starts_with('/')) && !it.contains('%'))
        else {
            return Err(error(&path, "a reference may only be to a place inside of the schema: `#/..`"));
        };
        let is_inside =
            |place: &str| place.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_inside(&path) || self.jumps.iter().any(|place| is_inside(place)) {
            return Err(error(&path, "a reference may not lead back to where it stands: its cost has no bound"));
        }
        if let Some(known) = self.known.get(pointer).copied() {
            if depth + known.height > MAX_DEPTH {
                return Err(error(
                    &path,
                    format!("a schema is nested at most {MAX_DEPTH} levels, references followed"),
                ));
            }
            return Ok(known);
        }
        let Some(target) = self.root.pointer(pointer) else {
            return Err(error(&path, "the reference leads nowhere"));
        };
        self.jumps.push(path);
        let cost = self.schema(target, pointer, depth + 1)?;
        self.jumps.pop();
        self.known.insert(pointer.to_owned(), cost);
        Ok(cost)
    }
}

impl Cost {
    /// A subschema beside it.
    fn add(&mut self, other: Self) {
        self.here = self.here.saturating_add(other.here);
        self.below = self.below.saturating_add(other.below);
        self.work = self.work.add(other.work);
        self.work_below = self.work_below.add(other.work_below);
        self.height = self.height.max(other.height);
    }
}

/// The schema's own name at the top is harmless; further down it would change what references mean.
fn is_nested_id(schema: &Map<String, Value>, id: &str, path: &str) -> bool {
    !path.is_empty() && schema.get(id).is_some_and(Value::is_string)
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn error(path: &str, message: impl Into<String>) -> SchemaError {
    SchemaError { path: super::cut(path), message: message.into(), is_costly: false }
}
