//! A refusal of the management API, as a person reads it.

use http::StatusCode;
use serde_json::Value;

/// An answer that is no success.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {detail} ({id}, HTTP {status})")]
pub(crate) struct Refused {
    what: String,
    /// The problem's id.
    id: String,
    /// What is wrong.
    pub(crate) detail: String,
    /// HTTP status.
    pub(crate) status: u16,
    /// The fields it is about, with what is wrong with each.
    pub(crate) fields: Vec<(String, String)>,
}

impl Refused {
    /// Whether it is this problem.
    pub(crate) fn is(&self, id: &str) -> bool {
        self.id == id
    }

    /// What a problem says about an object.
    pub(crate) fn of(what: &str, status: StatusCode, problem: &Value) -> Self {
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        let page = || problem.as_str().map_or_else(|| "it said no more".to_owned(), str::to_owned);
        let mut fields = Vec::new();
        if let Some(tree) = problem["validation"].as_object() {
            for (field, messages) in tree {
                let messages = messages.as_array().into_iter().flatten();
                let messages = messages.filter_map(|entry| entry["message"].as_str());
                fields.extend(messages.map(|message| (field.clone(), message.to_owned())));
            }
        }
        Self {
            what: what.to_owned(),
            id: text("id").unwrap_or_else(|| "no problem of Hookbus".to_owned()),
            detail: text("detail").unwrap_or_else(page),
            status: status.as_u16(),
            fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_told_with_its_fields() {
        let problem = json!({
            "id": "Validation", "detail": "name: is required", "status": 422,
            "validation": { "name": [{ "code": "invalid_field", "message": "is required" }] },
        });
        let refused = Refused::of("application shop", StatusCode::UNPROCESSABLE_ENTITY, &problem);
        assert_eq!(refused.to_string(), "application shop: name: is required (Validation, HTTP 422)");
        assert_eq!(refused.fields, [("name".to_owned(), "is required".to_owned())]);
        let page = Refused::of("x", StatusCode::BAD_GATEWAY, &json!("<html>"));
        assert_eq!(page.to_string(), "x: <html> (no problem of Hookbus, HTTP 502)");
    }
}
