//! How often a check looks at places of a payload, counted the plain way: by walking schema and payload together.
//!
//! A validator may end sooner (the first misfit, the first fit of `anyOf`), so this is the most it does.

use serde_json::{Map, Value};

/// Visits after which nobody has to count on.
const ENOUGH: u64 = 1_000_000;

pub(crate) struct Walk<'a> {
    root: &'a Value,
    visits: u64,
}

impl<'a> Walk<'a> {
    /// Looks of a subschema at a place.
    pub(crate) fn visits(schema: &'a Value, payload: &Value) -> u64 {
        let mut walk = Walk { root: schema, visits: 0 };
        walk.at(schema, payload);
        walk.visits
    }

    fn at(&mut self, schema: &'a Value, place: &Value) {
        self.visits += 1;
        let Value::Object(schema) = schema else { return };
        if self.visits >= ENOUGH {
            return;
        }
        let to = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        if let Some(target) = to.and_then(|pointer| self.root.pointer(pointer)) {
            self.at(target, place);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            schema.get(keyword).and_then(Value::as_array).into_iter().flatten().for_each(|part| self.at(part, place));
        }
        for keyword in ["not", "if", "then", "else"] {
            schema.get(keyword).into_iter().for_each(|part| self.at(part, place));
        }
        match place {
            Value::Object(members) => self.members(schema, place, members),
            Value::Array(elements) => self.elements(schema, elements),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn members(&mut self, schema: &'a Map<String, Value>, place: &Value, members: &Map<String, Value>) {
        for keyword in ["dependentSchemas", "dependencies"] {
            for (name, part) in schema.get(keyword).and_then(Value::as_object).into_iter().flatten() {
                if members.contains_key(name) && !part.is_array() {
                    self.at(part, place);
                }
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, child) in members {
            let known = properties.and_then(|properties| properties.get(name));
            known.into_iter().for_each(|part| self.at(part, child));
            // Whether a pattern fits is its own price; here it does.
            let patterns = schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
            patterns.for_each(|(_pattern, part)| self.at(part, child));
            if known.is_none() {
                schema.get("additionalProperties").into_iter().for_each(|part| self.at(part, child));
            }
            schema.get("propertyNames").into_iter().for_each(|part| self.at(part, &Value::Null));
            schema.get("unevaluatedProperties").into_iter().for_each(|part| self.at(part, child));
        }
    }

    fn elements(&mut self, schema: &'a Map<String, Value>, elements: &[Value]) {
        for (at, child) in elements.iter().enumerate() {
            let prefix = schema.get("prefixItems").and_then(Value::as_array);
            let known = prefix.and_then(|prefix| prefix.get(at));
            match (known, schema.get("items")) {
                (Some(part), _) => self.at(part, child),
                (None, Some(Value::Array(parts))) => {
                    let part = parts.get(at).or_else(|| schema.get("additionalItems"));
                    part.into_iter().for_each(|part| self.at(part, child));
                }
                (None, Some(part)) => self.at(part, child),
                (None, None) => {}
            }
            for keyword in ["contains", "unevaluatedItems"] {
                schema.get(keyword).into_iter().for_each(|part| self.at(part, child));
            }
        }
    }
}
