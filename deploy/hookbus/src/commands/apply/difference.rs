//! Field-level differences, with what is secret hidden. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::yaml::join;

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";
/// Longest value that is printed whole.
const SHOWN: usize = 200;
/// Fields whose values are secrets, wherever they come from.
const SECRETS: [&str; 5] = ["secret", "signing_secret", "signing_private_key", "token", "auth"];
/// Fields that follow from a change and say nothing about it.
const FOLLOWING: [&str; 4] = ["updated_at", "created_at", "label_key", "label_value"];

/// Whether what is written is shown already, exactly so. `false` only means that the API has to be asked.
pub(crate) fn is_there(written: &Value, shown: &Value) -> bool {
    match (written, shown) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(name, value)| is_there(value, &shown[name]))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_there(one, other))
        }
        (one, other) => one == other,
    }
}

/// The lines that tell a new object's fields.
pub(crate) fn fields(body: &Value, hidden: &BTreeSet<String>) -> Vec<String> {
    let mut lines = Vec::new();
    walk(&Value::Null, body, "", &mut |path, _before, after| {
        // A document of nothing but its name has no field to tell.
        if !path.is_empty() {
            lines.push(format!("{path}: {}", text(path, after, hidden)));
        }
    });
    lines
}

/// The lines that tell what becomes of each field.
pub(crate) fn changes(before: &Value, after: &Value, hidden: &BTreeSet<String>) -> Vec<String> {
    let mut lines = Vec::new();
    walk(before, after, "", &mut |path, before, after| {
        lines.push(format!("{path}: {} -> {}", text(path, before, hidden), text(path, after, hidden)));
    });
    lines
}

/// Calls `tell` for every leaf that differs.
fn walk(before: &Value, after: &Value, path: &str, tell: &mut dyn FnMut(&str, &Value, &Value)) {
    if before == after || FOLLOWING.contains(&path) {
        return;
    }
    match (before, after) {
        (Value::Object(_) | Value::Null, Value::Object(entries)) if before.is_object() || !entries.is_empty() => {
            let names = before.as_object().into_iter().flatten().map(|(name, _)| name).chain(entries.keys());
            let names: BTreeSet<&String> = names.collect();
            for name in names {
                walk(&before[name], &after[name], &join(path, name), tell);
            }
        }
        (before, after) => tell(path, before, after),
    }
}

fn text(path: &str, value: &Value, hidden: &BTreeSet<String>) -> String {
    if value.is_null() {
        return "(none)".to_owned();
    }
    let first = path.split('.').next().unwrap_or_default();
    let within = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    let referred = hidden.iter().any(|it| path == it || within(it, path) || within(path, it));
    if referred || SECRETS.contains(&first) {
        return HIDDEN.to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_leaf_by_leaf() {
        let before =
            json!({"a": 1, "t": {"url": "x", "headers": {"h": "1"}}, "l": ["a"], "gone": true, "updated_at": "1"});
        let after = json!({"a": 1, "t": {"url": "y", "headers": {"h": "1"}}, "l": ["a", "b"], "new": {"n": 1}, "updated_at": "2"});
        assert_eq!(
            changes(&before, &after, &BTreeSet::new()),
            ["gone: true -> (none)", r#"l: ["a"] -> ["a","b"]"#, "new.n: (none) -> 1", r#"t.url: "x" -> "y""#,]
        );
        assert_eq!(changes(&before, &before, &BTreeSet::new()), [""; 0]);
        assert_eq!(fields(&json!({}), &BTreeSet::new()), [""; 0]);
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let hidden = BTreeSet::from(["target.headers.authorization".to_owned()]);
        let body = json!({
            "secret": "s1", "signing_secret": "s2", "auth": {"type": "basic", "password": "s3"}, "token": "s4",
            "target": {"headers": {"authorization": "s5", "x": "plain"}},
        });
        let lines = fields(&body, &hidden).join("\n");
        assert!(!lines.contains("s1") && !lines.contains("s2") && !lines.contains("s3"), "{lines}");
        assert!(!lines.contains("s4") && !lines.contains("s5"), "{lines}");
        assert!(lines.contains("target.headers.x: \"plain\""), "{lines}");
        // A list or mapping that holds a hidden value is hidden as a whole.
        let whole = changes(&json!({"target": "x"}), &json!({"target": ["s5"]}), &hidden).join("\n");
        assert!(!whole.contains("s5"), "{whole}");
    }

    #[test]
    fn what_is_there_needs_no_question() {
        let shown = json!({"name": "x", "limits": {"a": 1}, "rate": 5.0, "list": [1, "b"]});
        assert!(is_there(&json!(5), &shown["rate"]));
        assert!(is_there(&json!({"a": 1.0}), &shown["limits"]));
        assert!(is_there(&json!([1, "b"]), &shown["list"]));
        assert!(is_there(&Value::Null, &shown["absent"]));
        assert!(!is_there(&json!({}), &shown["limits"]));
        assert!(!is_there(&json!([1]), &shown["list"]));
    }
}
