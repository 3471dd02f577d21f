//! Checks of values against a JSON Schema, with the limits that schemas of event types have.

use serde_json::Value;
use sources::schema::{JsonCheck, UnfitValue};

use catalog::schema::{Schema, Unfit};

/// A compiled JSON Schema of a registry.
#[derive(Debug)]
struct RegistryCheck(Schema);

/// Compiles what checks values, or says why it cannot be used.
pub(crate) fn compile(schema: &Value) -> Result<Box<dyn JsonCheck>, String> {
    let compiled = Schema::compile(schema).map_err(|error| error.to_string())?;
    Ok(Box::new(RegistryCheck(compiled)))
}

impl JsonCheck for RegistryCheck {
    fn check(&self, value: &[u8]) -> Result<(), UnfitValue> {
        self.0.check(value).map_err(|unfit| match unfit {
            Unfit::Mismatch(it) => UnfitValue { pointer: it.path, message: it.message, is_costly: false },
            costly @ Unfit::TooCostly { .. } => {
                UnfitValue { pointer: String::new(), message: costly.to_string(), is_costly: true }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_checked_and_the_place_is_named() {
        let check = compile(&json!({"type": "object", "properties": {"n": {"type": "integer"}}})).unwrap();
        assert_eq!(check.check(br#"{"n":1}"#), Ok(()));
        let unfit = check.check(br#"{"n":"x"}"#).unwrap_err();
        assert_eq!((unfit.pointer.as_str(), unfit.is_costly), ("/n", false));
        assert!(compile(&json!({"type": "nonsense"})).is_err());
    }
}
