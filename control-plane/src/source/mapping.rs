//! Templates and pointers are compiled when a source is written, by what the fan-out compiles them with.

use schemas::control::TopicSource;
use schemas::problem::Code;
use sources::{Mapping, MappingError};

use crate::problem::Problem;

/// Whether the fan-out can read records with this source.
///
/// # Errors
/// 422 with the field, and where in it.
pub(crate) fn check(source: &TopicSource) -> Result<(), Problem> {
    Mapping::compile(source).map(drop).map_err(|error| mapping_problem(&error))
}

/// What is wrong with a definition, by its field.
pub(crate) fn mapping_problem(error: &MappingError) -> Problem {
    let message = match error.column {
        Some(column) => format!("column {column}: {}", error.message),
        None => error.message.clone(),
    };
    Problem::field(&error.field, Code::InvalidField, message)
}
