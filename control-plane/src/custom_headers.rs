//! Custom headers of a target: how many, how long, and which names Hookbus and the connection keep for themselves.

use schemas::problem::Code;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Headers of one target.
const MAX_HEADERS: usize = 10;
/// Bytes of a name, and of a value.
const MAX_BYTES: usize = 500;
/// Shown in place of a value that is not shown; sent back, it means "as it was".
pub(crate) const MASK: &str = "********";

/// Set by us or by the connection.
const RESERVED: [&str; 15] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
    "user-agent",
];
/// Signed or set by us, by name or prefix. What a deprecated type says is not signed, but nobody else may say it.
const OURS: [&str; 5] = ["x-event-id", "x-event-type", "x-hook0-signature", "deprecation", "sunset"];
const OUR_PREFIXES: [&str; 2] = ["webhook-", "x-hookbus-"];

/// A custom header as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// This value.
    Value(String),
    /// The mask: where the value is a secret, what is stored stays.
    Masked,
}

/// Checks and normalises: lower-case names, trimmed values.
pub(crate) fn check(headers: Map<String, Value>) -> Result<Vec<(String, Given)>, Problem> {
    let wrong = |message: String| Problem::field("target.headers", Code::InvalidField, message);
    if headers.len() > MAX_HEADERS {
        return Err(wrong(format!("at most {MAX_HEADERS} headers are allowed")));
    }
    let mut checked: Vec<(String, Given)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let Value::String(value) = value else { return Err(wrong(format!("the value of `{name}` must be a string"))) };
        let name = name.to_ascii_lowercase();
        check_name(&name).map_err(wrong)?;
        if checked.iter().any(|(other, _)| *other == name) {
            return Err(wrong(format!("`{name}` is given twice")));
        }
        let value = value.trim_matches([' ', '\t']);
        if value.len() > MAX_BYTES {
            return Err(wrong(format!("the value of `{name}` has more than {MAX_BYTES} bytes")));
        }
        if !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
            return Err(wrong(format!("the value of `{name}` must be visible ASCII")));
        }
        let given = if value == MASK { Given::Masked } else { Given::Value(value.to_owned()) };
        checked.push((name, given));
    }
    Ok(checked)
}

/// Checks a list of names whose values are not to be shown, lower-case, each once.
pub(crate) fn check_names(list: Value) -> Result<Vec<String>, Problem> {
    let wrong = |message: String| Problem::field("target.secret_headers", Code::InvalidField, message);
    let Value::Array(list) = list else { return Err(wrong("must be a list of header names".to_owned())) };
    if list.len() > MAX_HEADERS {
        return Err(wrong(format!("has more than {MAX_HEADERS} entries")));
    }
    let mut names: Vec<String> = Vec::with_capacity(list.len());
    for name in list {
        let Value::String(name) = name else { return Err(wrong("must be a list of header names".to_owned())) };
        let name = name.to_ascii_lowercase();
        check_name(&name).map_err(wrong)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn check_name(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !(1..=MAX_BYTES).contains(&name.len()) || !name.bytes().all(token) {
        let shown: String = name.chars().take(60).collect();
        return Err(format!("`{shown}` is not a header name of 1 to {MAX_BYTES} bytes"));
    }
    let ours = OURS.contains(&name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if ours || RESERVED.contains(&name) {
        return Err(format!("`{name}` is set by Hookbus or by the connection"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(headers: Value) -> Result<Vec<(String, Given)>, Problem> {
        let Value::Object(map) = headers else { panic!("an object") };
        check(map)
    }

    #[test]
    fn names_become_lower_case_and_values_are_trimmed() {
        let headers = checked(json!({"X-Tenant": "  a b ", "Authorization": MASK, "X-Other": MASK})).unwrap();
        assert!(headers.contains(&("x-tenant".into(), Given::Value("a b".into()))));
        assert!(headers.contains(&("authorization".into(), Given::Masked)));
        assert!(headers.contains(&("x-other".into(), Given::Masked)));
    }

    #[test]
    fn what_we_or_the_connection_set_is_refused() {
        for name in [
            "Host",
            "content-length",
            "Content-Type",
            "Transfer-Encoding",
            "connection",
            "Keep-Alive",
            "Webhook-Id",
            "webhook-anything",
            "X-Event-Id",
            "x-event-type",
            "X-Hook0-Signature",
            "x-hookbus-attempt",
            "Deprecation",
            "sunset",
            "TE",
            "Upgrade",
        ] {
            assert_eq!(checked(json!({name: "1"})).unwrap_err().status, 422, "{name}");
        }
    }

    #[test]
    fn shapes_that_could_split_a_request_are_refused() {
        for headers in [
            json!({"a b": "1"}),
            json!({"": "1"}),
            json!({"a:": "1"}),
            json!({"a": "1\r\nb: 2"}),
            json!({"a": "\u{e9}"}),
            json!({"a": 1}),
            json!({"a": "1", "A": "2"}),
            json!({"a".repeat(501): "1"}),
            json!({"a": "1".repeat(501)}),
        ] {
            assert_eq!(checked(headers.clone()).unwrap_err().status, 422, "{headers}");
        }
        let many: Map<String, Value> = (0..11).map(|n| (format!("h{n}"), json!("1"))).collect();
        assert!(check(many).is_err());
    }
}
