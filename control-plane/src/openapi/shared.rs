//! Parameters and headers that many operations share, as the document describes them once.

use serde_json::{Value, json};

use crate::page::MOST;

/// The key of a request that may be sent again, in the header of that name.
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// A token of a write, in the header of that name.
pub(super) const CONSISTENCY: &str = "Hookbus-Consistency-Token";

pub(super) fn parameters() -> Value {
    let listed = json!({ "type": "string", "pattern": r#"^(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*$"# });
    let tags = json!({ "anyOf": [{ "const": "*" }, listed] });
    let digits = json!({ "type": "string", "minLength": 1, "pattern": "^[0-9]{1,18}$" });
    let header = |name: &str, description: &str, schema: &Value, example: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": description,
            "schema": schema, "example": example,
        })
    };
    let query = |name: &str, description: &str, schema: Value, example: Value| {
        json!({
            "name": name, "in": "query", "required": false, "description": description,
            "schema": schema, "example": example,
        })
    };
    let cursor = "Where the page begins: as the `Link` of the page before says.";
    json!({
        "limit": query("limit", "Rows of a page. Without it the list is whole, and a 422 above 10,000 rows.",
            json!({ "type": "integer", "minimum": 1, "maximum": MOST }), json!(100)),
        "IdCursor": query("pagination_cursor", cursor, json!({ "type": "string", "format": "uuid" }),
            json!("01890a5d-ac96-774b-bcce-b302099a8057")),
        "NameCursor": query("pagination_cursor", cursor, json!({ "type": "string", "minLength": 1 }), json!("invoice.paid")),
        "If-Match": header("If-Match", "The version the write builds on; another one is a 412. `*`: any that is there.", &tags,
            "*"),
        "If-None-Match": header("If-None-Match", "The version the client has; if it is still that, the answer is a 304.", &tags,
            "\"5891b5b522d5df086d0ff0b110fbd9d2\""),
        IDEMPOTENCY_KEY: header(IDEMPOTENCY_KEY, "Makes it safe to send the request again: for 24 h a repeat with the same key, path and \
            body has the answer of the first and changes nothing, another body is a 409. A key is the token's own.",
            &json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$" }),
            "9f0c1f6e-5b1e-4d0b-8f3e-2d5a9c7b1e44"),
        CONSISTENCY: header(CONSISTENCY, "What an earlier write answered: this request sees that write, on every replica.",
            &digits, "0"),
    })
}

pub(super) fn headers() -> Value {
    let text =
        |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    json!({
        "X-Request-Id": text("The request's id: the client's own, or a new one."),
        "ETag": text("The version of the object as it was written, in double quotes."),
        CONSISTENCY: text("Send it with later requests: they see this write, whichever replica answers."),
        "Link": {
            "description": "The next page: `<...>; rel=\"next\"`. Absent on the last one.", "schema": { "type": "string" },
        },
        "Retry-After": { "description": "Seconds to wait.", "schema": { "type": "integer", "minimum": 0 } },
    })
}
