//! A subscription's filter, checked when it is written: what does not compile is told with the place of the mistake.

use filter::limits::TEXT_BYTES;
use filter::{Filter, FilterError};
use schemas::problem::Code;
use serde_json::json;

use crate::body::Fields;
use crate::problem::Problem;

#[cfg(test)]
thread_local! {
    /// Filters that were compiled by this test.
    static COMPILED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many filters this test has compiled.
#[cfg(test)]
pub(crate) fn compiled() -> usize {
    COMPILED.get()
}

/// Reads the field. Nothing but spaces is no filter.
pub(super) fn read(fields: &mut Fields) -> Result<Option<Option<String>>, Problem> {
    let Some(given) = fields.text("filter", 0..=TEXT_BYTES)? else { return Ok(None) };
    let Some(text) = given.filter(|text| !text.trim().is_empty()) else { return Ok(Some(None)) };
    #[cfg(test)]
    COMPILED.set(COMPILED.get() + 1);
    Filter::compile(&text).map_err(|error| wrong(&error))?;
    Ok(Some(Some(text)))
}

/// A 422 with the place, for people in the message and for editors in fields of their own.
fn wrong(error: &FilterError) -> Problem {
    let tree = json!({ "filter": [{
        "code": Code::InvalidField,
        "message": error.to_string(),
        "line": error.line,
        "column": error.column,
    }] });
    Problem::field("filter", Code::InvalidField, error.to_string()).with_validation(tree)
}
