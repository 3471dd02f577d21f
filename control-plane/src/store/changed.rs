//! Which fields of an object a change has changed: their names, never what stands in them.

use serde_json::{Map, Value};

/// Fields that are objects of a known form: of these the parts are named.
const TAKEN_APART: &[&str] = &["auth", "limits", "target"];
/// Names that follow from every change.
const ALWAYS: &[&str] = &["updated_ms"];
/// Names of one change.
const MOST: usize = 50;

/// The names, in order, of an object that was there and still is. Of any other there is nothing to compare.
pub(super) fn fields(before: Option<&[u8]>, after: Option<&[u8]>) -> Vec<String> {
    let (Some(before), Some(after)) = (before.and_then(object), after.and_then(object)) else { return Vec::new() };
    let mut names = Vec::new();
    for name in differing(&before, &after) {
        match (before.get(name), after.get(name)) {
            (Some(Value::Object(before)), Some(Value::Object(after))) if TAKEN_APART.contains(&name) => {
                names.extend(differing(before, after).map(|part| format!("{name}.{part}")));
            }
            _ if ALWAYS.contains(&name) => {}
            _ => names.push(name.to_owned()),
        }
    }
    names.truncate(MOST);
    names
}

/// Names whose values are not the same, in order, each once.
fn differing<'a>(before: &'a Map<String, Value>, after: &'a Map<String, Value>) -> impl Iterator<Item = &'a str> {
    let names: std::collections::BTreeSet<&str> = before.keys().chain(after.keys()).map(String::as_str).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name))
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_and_no_value() {
        let before = br#"{"name":"a","updated_ms":1,"same":{"x":1},"target":{"url":"u","headers":{"a":"1"}},"gone":7}"#;
        let after =
            br#"{"name":"b","updated_ms":2,"same":{"x":1},"target":{"url":"v","headers":{"a":"1"}},"secrets":["s"]}"#;
        assert_eq!(fields(Some(before), Some(after)), ["gone", "name", "secrets", "target.url"]);
        assert_eq!(fields(None, Some(after)), Vec::<String>::new());
        assert_eq!(fields(Some(before), None), Vec::<String>::new());
        assert_eq!(fields(Some(before), Some(before)), Vec::<String>::new());
        let many: Map<String, Value> = (0..200).map(|number| (format!("f{number}"), Value::Null)).collect();
        let many = serde_json::to_vec(&many).unwrap();
        assert_eq!(fields(Some(b"{}"), Some(&many)).len(), MOST);
    }
}
