//! Templates and pointers are compiled when a source is written, by what the fan-out compiles them with.

use schemas::control::TopicSource;

use crate::problem::Problem;

/// Whether the fan-out can read records with this source.
///
/// # Errors
/// 422 with the field, and where in it.
pub(crate) fn check(_source: &TopicSource) -> Result<(), Problem> {
    Ok(())
}
