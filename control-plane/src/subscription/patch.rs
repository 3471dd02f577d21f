//! A merge patch (RFC 7396) as the body of a `PUT`, which reads "absent" as "unchanged" and `null` as "cleared".
//!
//! Two fields need more than the general rule: names of custom headers do not depend on case, and an `auth` of another type
//! takes the place of the former one instead of being mixed with it.

use serde_json::{Map, Value};

use crate::body;

/// The patch over what is shown. Masked values come along as the mask, which keeps what is stored.
pub(crate) fn merged(mut patch: Map<String, Value>, mut shown: Value) -> Map<String, Value> {
    if let Some(headers) = patch.get_mut("target").and_then(|target| target.get_mut("headers")) {
        lower(headers);
    }
    let cleared: Vec<&str> =
        ["headers", "secret_headers"].into_iter().filter(|name| clears(patch.get("target"), name)).collect();
    let other_type =
        patch.get("auth").and_then(|auth| auth.get("type")).is_some_and(|kind| *kind != shown["auth"]["type"]);
    if other_type && let Some(shown) = shown.as_object_mut() {
        shown.remove("auth");
    }
    let mut merged = body::merge(patch, &shown);
    if let Some(target) = merged.get_mut("target").and_then(Value::as_object_mut) {
        for name in cleared {
            target.insert(name.to_owned(), Value::Null);
        }
    }
    merged
}

/// A field the patch sets to null.
fn clears(target: Option<&Value>, name: &str) -> bool {
    target.and_then(|target| target.get(name)).is_some_and(Value::is_null)
}

fn lower(headers: &mut Value) {
    if let Value::Object(map) = headers {
        *map = std::mem::take(map).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merge(patch: Value) -> Value {
        let Value::Object(patch) = patch else { panic!("an object") };
        let shown = json!({
            "labels": {"a": "1"},
            "target": {"type": "http", "method": "PUT", "url": "https://e.com/", "headers": {"x-a": "1", "x-b": "2"}},
            "auth": {"type": "basic", "username": "u", "password": "********"},
        });
        Value::Object(merged(patch, shown))
    }

    #[test]
    fn header_names_do_not_depend_on_case() {
        let patched = merge(json!({"target": {"headers": {"X-A": null, "X-C": "3"}}}));
        assert_eq!(patched["target"]["headers"], json!({"x-b": "2", "x-c": "3"}));
        assert_eq!(patched["target"]["method"], "PUT");
        assert_eq!(patched.as_object().unwrap().len(), 1, "what is not named is not given");
    }

    #[test]
    fn null_clears_instead_of_leaving_out() {
        let patched = merge(json!({"target": {"headers": null, "secret_headers": null}, "auth": null, "labels": null}));
        assert_eq!(patched["target"]["headers"], Value::Null);
        assert!(patched["target"].as_object().unwrap().contains_key("secret_headers"));
        assert_eq!((&patched["auth"], &patched["labels"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn an_auth_of_another_type_is_not_mixed_with_the_former_one() {
        let same = merge(json!({"auth": {"username": "v"}}));
        assert_eq!(same["auth"], json!({"type": "basic", "username": "v", "password": "********"}));
        let other = merge(json!({"auth": {"type": "bearer", "token": "t"}}));
        assert_eq!(other["auth"], json!({"type": "bearer", "token": "t"}));
    }
}
