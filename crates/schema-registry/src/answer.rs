//! What an answer of a registry means. Pure.
//!
//! ```text
//! 200 with a schema                                 Found
//! 404 with error_code 40403                         NotFound
//! 200 with a schema of a type nobody here knows     Unusable
//! everything else                                   Unavailable: it may be otherwise later
//! ```
//!
//! A bare 404 is no answer about a schema: Apicurio gives one for a wrong route, which a wrong address leads to. Only where the
//! address is right, for the registry names its subjects, does it mean that there are no schemas by GUID: Unusable.

use schema_registry_converter::schema_registry_common::RawRegisteredSchema;
use serde_json::Value;
use sources::schema::{MAX_REFERENCES, SchemaKind};

/// There is no schema of this id.
const SCHEMA_NOT_FOUND: u64 = 40_403;
/// What is shown of a message of the registry's own, characters.
const MAX_MESSAGE: usize = 200;

/// What a registry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryAnswer<T> {
    /// This.
    Found(T),
    /// It surely has no such schema.
    NotFound,
    /// Nothing that can be relied on: a sentence with the URL and what came.
    Unavailable(String),
    /// It is there, and nothing can be decoded with it: says why.
    Unusable(String),
}

/// A schema as a registry gives it, without what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundSchema {
    pub(crate) kind: SchemaKind,
    pub(crate) text: String,
    pub(crate) references: Vec<FoundReference>,
}

/// What a schema refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundReference {
    /// What the schema calls it.
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) version: u32,
}

// === impl RegistryAnswer ===

impl<T> RegistryAnswer<T> {
    /// What was found; an error: what was said in its place.
    pub(crate) fn found<U>(self) -> Result<T, RegistryAnswer<U>> {
        Err(match self {
            Self::Found(found) => return Ok(found),
            Self::NotFound => RegistryAnswer::NotFound,
            Self::Unavailable(why) => RegistryAnswer::Unavailable(why),
            Self::Unusable(why) => RegistryAnswer::Unusable(why),
        })
    }
}

/// What the answer to a question for a schema means.
pub(crate) fn schema(status: u16, body: &[u8]) -> RegistryAnswer<FoundSchema> {
    match status {
        200 => found(body),
        404 if error_code(body) == Some(SCHEMA_NOT_FOUND) => RegistryAnswer::NotFound,
        other => RegistryAnswer::Unavailable(refusal(other, body)),
    }
}

/// Whether an answer says that there is no such path, whatever is asked for: a 404 that is Confluent's own or nobody's.
pub(crate) fn is_no_route(status: u16, body: &[u8]) -> bool {
    status == 404 && matches!(error_code(body), None | Some(404))
}

/// How many subjects the answer to `GET /subjects` names.
pub(crate) fn subjects(status: u16, body: &[u8]) -> RegistryAnswer<usize> {
    if status != 200 {
        return RegistryAnswer::Unavailable(refusal(status, body));
    }
    match serde_json::from_slice::<Vec<String>>(body) {
        Ok(names) => RegistryAnswer::Found(names.len()),
        Err(_other) => RegistryAnswer::Unavailable("answered 200 without a list of subjects".to_owned()),
    }
}

fn found(body: &[u8]) -> RegistryAnswer<FoundSchema> {
    let Ok(raw) = serde_json::from_slice::<RawRegisteredSchema>(body) else {
        return RegistryAnswer::Unavailable("answered 200 with something that is no schema".to_owned());
    };
    let Some(text) = raw.schema else {
        return RegistryAnswer::Unavailable("answered 200 without a schema".to_owned());
    };
    let Some(kind) = SchemaKind::parse(raw.schema_type.as_deref()) else {
        let kind: String = raw.schema_type.unwrap_or_default().chars().take(80).collect();
        return RegistryAnswer::Unusable(format!("its type `{kind}` is none of AVRO, PROTOBUF and JSON"));
    };
    let references = raw.references.unwrap_or_default();
    if references.len() > MAX_REFERENCES {
        return RegistryAnswer::Unusable(format!("it refers to more than {MAX_REFERENCES} others"));
    }
    let references = references.into_iter();
    let references =
        references.map(|it| FoundReference { name: it.name, subject: it.subject, version: it.version }).collect();
    RegistryAnswer::Found(FoundSchema { kind, text, references })
}

fn error_code(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(body).ok()?.get("error_code")?.as_u64()
}

/// The status, and what the registry says beside it.
fn refusal(status: u16, body: &[u8]) -> String {
    let message = serde_json::from_slice::<Value>(body).ok();
    let message = message.as_ref().and_then(|it| it.get("message")?.as_str()).unwrap_or_default();
    let message: String = message.chars().filter(|it| !it.is_control()).take(MAX_MESSAGE).collect();
    match (status, message.is_empty()) {
        (404, true) => "answered 404 without a registry's error code: is the address right?".to_owned(),
        (401 | 403, true) => format!("answered {status}: are the credentials right?"),
        (_, true) => format!("answered {status}"),
        (_, false) => format!("answered {status}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word<T>(answer: &RegistryAnswer<T>) -> &'static str {
        match answer {
            RegistryAnswer::Found(_) => "found",
            RegistryAnswer::NotFound => "not found",
            RegistryAnswer::Unavailable(_) => "unavailable",
            RegistryAnswer::Unusable(_) => "unusable",
        }
    }

    #[test]
    fn the_table_of_answers() {
        for (status, body, means) in [
            (200, r#"{"schema":"\"string\""}"#, "found"),
            (200, r#"{"schema":"{}","schemaType":"JSON","references":null}"#, "found"),
            (200, r#"{"schema":"x","schemaType":"XML"}"#, "unusable"),
            (200, "", "unavailable"),
            (200, "<html>", "unavailable"),
            (200, "[]", "unavailable"),
            (200, "{}", "unavailable"),
            (404, r#"{"error_code":40403,"message":"Schema 7 not found"}"#, "not found"),
            (404, r#"{"error_code":40403}"#, "not found"),
            (404, "", "unavailable"),
            (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#, "unavailable"),
            (404, r#"{"error_code":40401,"message":"Subject not found"}"#, "unavailable"),
            (404, r#"{"error_code":"40403"}"#, "unavailable"),
            (500, r#"{"error_code":40403}"#, "unavailable"),
            (401, "", "unavailable"),
            (403, r#"{"error_code":40301,"message":"no"}"#, "unavailable"),
            (429, "", "unavailable"),
            (301, "", "unavailable"),
            (204, "", "unavailable"),
            (503, "", "unavailable"),
            (504, "", "unavailable"),
        ] {
            assert_eq!(word(&schema(status, body.as_bytes())), means, "{status} {body}");
        }
    }

    #[test]
    fn a_schema_is_read_with_what_it_refers_to_and_its_type() {
        let body = br#"{"id":4,"schema":"s","schemaType":"PROTOBUF","references":[{"name":"a.proto","subject":"a/b","version":3}]}"#;
        let reference = FoundReference { name: "a.proto".to_owned(), subject: "a/b".to_owned(), version: 3 };
        let found = FoundSchema { kind: SchemaKind::Protobuf, text: "s".to_owned(), references: vec![reference] };
        assert_eq!(schema(200, body), RegistryAnswer::Found(found));
    }

    #[test]
    fn more_references_than_are_read_are_not_kept() {
        let of = |count: usize| {
            let reference = serde_json::json!({"name": "a", "subject": "a", "version": 1});
            let body = serde_json::json!({"schema": "s", "references": vec![reference; count]});
            word(&schema(200, body.to_string().as_bytes()))
        };
        assert_eq!((of(MAX_REFERENCES), of(MAX_REFERENCES + 1)), ("found", "unusable"));
    }

    #[test]
    fn what_the_registry_says_is_told_in_one_line() {
        let body = format!(r#"{{"error_code":50001,"message":"store\n{}"}}"#, "x".repeat(300));
        let RegistryAnswer::Unavailable(why) = schema(500, body.as_bytes()) else { panic!("unavailable") };
        assert_eq!(why, format!("answered 500: store{}", "x".repeat(195)));
        let RegistryAnswer::Unavailable(why) = schema(404, b"") else { panic!("unavailable") };
        assert!(why.contains("is the address right?"), "{why}");
    }

    #[test]
    fn a_path_that_is_not_there_is_told_from_a_schema_that_is_not() {
        for (status, body, expected) in [
            (404, "", true),
            (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#, true),
            (404, r#"{"error_code":40403}"#, false),
            (404, r#"{"error_code":40401}"#, false),
            (503, "", false),
        ] {
            assert_eq!(is_no_route(status, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn subjects_are_counted() {
        assert_eq!(subjects(200, br#"["a","b"]"#), RegistryAnswer::Found(2));
        assert_eq!(word(&subjects(200, b"{}")), "unavailable");
        assert_eq!(word(&subjects(404, br#"{"error_code":40403}"#)), "unavailable");
    }
}
