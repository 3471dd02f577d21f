//! JSON Schemas: `schema;;payload`. A check that is begun does no more than was paid for, and says the same twice.

use catalog::schema::{MAX_SCHEMA_BYTES, Schema};
use serde_json::Value;

use crate::schema_visits::Walk;
use crate::two_texts;

pub(crate) fn run(data: &[u8]) -> bool {
    let Some((schema, payload)) = two_texts(data) else { return false };
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return false };
    let compiled = match Schema::compile(&schema) {
        Ok(compiled) => compiled,
        Err(error) => {
            assert!(!error.message.is_empty() && error.message.len() < 4_096);
            return false;
        }
    };
    assert!(schema.to_string().len() <= MAX_SCHEMA_BYTES);
    let verdict = compiled.check(payload.as_bytes());
    assert_eq!(compiled.check(payload.as_bytes()), verdict, "the same payload, the same answer");
    let Ok(payload) = serde_json::from_str::<Value>(payload) else {
        assert!(verdict.is_err());
        return false;
    };
    let (done, paid) = (Walk::visits(&schema, &payload), compiled.priced_visits(&payload));
    assert!(done <= paid, "{done} looks at places are paid as {paid}");
    true
}
