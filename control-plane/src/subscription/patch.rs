//! A merge patch (RFC 7396) as the body of a `PUT`, which reads "absent" as "unchanged" and `null` as "cleared".
//!
//! Two fields need more than the general rule: names of custom headers do not depend on case, and an `auth` of another type
//! takes the place of the former one instead of being mixed with it.

use std::borrow::Cow;

use schemas::control::Subscription;
use serde_json::{Map, Value};
use target::TargetPolicy;

use super::{Input, View, show};
use crate::body;
use crate::problem::{Problem, internal};

/// A patch, read as far as it can be without the object: what a filter costs to compile is not paid while others wait for the
/// snapshot, and what is wrong by itself does not wait for its turn.
#[derive(Debug)]
pub(crate) struct PatchInput {
    /// Fields that take the place of the former ones.
    plain: Input,
    /// Fields that are merged with the former ones.
    merged: Map<String, Value>,
    policy: TargetPolicy,
}

// === impl PatchInput ===

impl PatchInput {
    pub(crate) fn read(patch: Map<String, Value>, policy: &TargetPolicy) -> Result<Self, Problem> {
        let has_labels = patch.get("labels").is_some_and(Value::is_object);
        let is_merged = |name: &str, value: &Value| match name {
            "auth" | "labels" | "metadata" | "retry" | "target" => value.is_object(),
            // The older pair says the same as the labels, or is refused.
            "label_key" | "label_value" => has_labels,
            _plain => false,
        };
        let (merged, plain): (Map<_, _>, Map<_, _>) =
            patch.into_iter().partition(|(name, value)| is_merged(name, value));
        let maps = merged.iter().filter(|(name, _)| matches!(name.as_str(), "labels" | "metadata"));
        let maps = maps.map(|(name, value)| (name.clone(), value.clone())).collect();
        Input::read(body::merge(maps, &Value::Null), policy)?;
        Ok(Self { plain: Input::read(plain, policy)?, merged, policy: policy.clone() })
    }

    /// The body of a `PUT` that says the same about this object.
    pub(crate) fn over(&self, former: &Subscription, view: View<'_>) -> Result<Cow<'_, Input>, Problem> {
        if self.merged.is_empty() {
            return Ok(Cow::Borrowed(&self.plain));
        }
        let shown = serde_json::to_value(show(former, view)?)
            .map_err(|error| internal("a subscription could not be shown", &error))?;
        let merged = Input::read(merged(self.merged.clone(), shown), &self.policy)?;
        Ok(Cow::Owned(self.plain.clone().with_merged(merged)))
    }
}

/// The patch over what is shown. Masked values come along as the mask, which keeps what is stored.
fn merged(mut patch: Map<String, Value>, mut shown: Value) -> Map<String, Value> {
    if let Some(headers) = patch.get_mut("target").and_then(|target| target.get_mut("headers")) {
        lower(headers);
    }
    let cleared: Vec<&str> = ["headers", "secret_headers", "ca_certificates"]
        .into_iter()
        .filter(|name| clears(patch.get("target"), name))
        .collect();
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
