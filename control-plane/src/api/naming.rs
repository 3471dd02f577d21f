//! Names and uids: the same rules for everything that has them.

use schemas::problem::{Code, ProblemId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Fields;
use crate::problem::Problem;

/// A name: not blank, without control characters.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a field that is read by hand")]
#[schema(
    min_length = 2,
    max_length = 50,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
    example = "billing"
)]
pub(super) struct Name(String);

/// A client's own id: visible ASCII, no UUID.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a field that is read by hand")]
#[schema(pattern = "^[!-~]{1,128}$", example = "tenant-7")]
pub(super) struct Uid(String);

/// Characters of a name.
const NAME: std::ops::RangeInclusive<usize> = 2..=50;

/// A name. `None`: not given.
pub(crate) fn name(fields: &mut Fields, blank: ProblemId) -> Result<Option<String>, Problem> {
    let Some(given) = fields.kept_text("name", 0..=1_000)? else { return Ok(None) };
    let name = given.trim();
    if name.is_empty() {
        return Err(Problem::new(blank, "the name is blank"));
    }
    if !NAME.contains(&given.chars().count()) {
        return Err(fields.wrong("name", format!("must have {} to {} characters", NAME.start(), NAME.end())));
    }
    if given.chars().any(char::is_control) {
        return Err(fields.wrong("name", "must not hold control characters"));
    }
    Ok(Some(name.to_owned()))
}

/// A client's own id. `Some(None)`: it is taken away.
pub(crate) fn uid(fields: &mut Fields) -> Result<Option<Option<String>>, Problem> {
    let Some(given) = fields.text("uid", 1..=128)? else { return Ok(None) };
    let Some(uid) = given else { return Ok(Some(None)) };
    if !uid.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fields.wrong("uid", "must be visible ASCII characters"));
    }
    // A uid that reads as a UUID could hide another object's id.
    if Uuid::parse_str(&uid).is_ok() {
        return Err(fields.wrong("uid", "must not be a UUID"));
    }
    Ok(Some(Some(uid)))
}

/// An id that a client gives to a new object (it had it in another system).
pub(crate) fn given_id(fields: &mut Fields, name: &str) -> Result<Option<Uuid>, Problem> {
    let Some(text) = fields.text(name, 1..=50)?.flatten() else { return Ok(None) };
    let id = Uuid::parse_str(&text).ok().filter(|id| !id.is_nil());
    id.map(Some).ok_or_else(|| fields.wrong(name, "must be a UUID"))
}

/// 409: another object has what must be unique.
pub(crate) fn taken(field: &str, what: &str) -> Problem {
    Problem::field(field, Code::Taken, format!("another {what} has it")).with_status(409)
}
