//! Why a text is no filter, and why a filter cannot say yes or no.

use crate::limits::{DATA_BYTES, EVENT_UNITS, FILTER_UNITS};

/// A text that is no filter, and where: told to whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct FilterError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Why a filter could not be evaluated for an event: no match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It needs `data`, and there is none.
    #[error("`data` is not there: {0}")]
    NoData(NoData),
    /// It came to something that is neither true nor false.
    #[error("the filter came to a {got}, not to true or false")]
    NotBool {
        /// What it came to.
        got: String,
    },
    /// It costs more than one evaluation may.
    #[error("the filter does more than {FILTER_UNITS} units of work on this event")]
    TooCostly,
    /// All filters of the event together cost more than one event may.
    #[error("all filters together do more than {EVENT_UNITS} units of work on this event")]
    EventTooCostly,
    /// A key that is not there, operands that do not fit, a division by zero.
    #[error("{0}")]
    Failed(String),
    /// The interpreter has a bug.
    #[error("the interpreter panicked")]
    Panicked,
}

/// Why an event has no `data`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoData {
    /// The payload is no JSON, or nested too deeply.
    #[error("the payload is not JSON: {0}")]
    NotJson(String),
    /// The payload is too large to be looked into.
    #[error("the payload has {bytes} bytes, filters look into {DATA_BYTES} at most")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

// === impl EvaluationError ===

impl EvaluationError {
    /// Every word of the list.
    pub const WORDS: [&str; 6] = ["no_data", "not_bool", "too_costly", "event_too_costly", "failed", "panicked"];

    /// The word for metrics and records, of a closed list.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoData(_) => "no_data",
            Self::NotBool { .. } => "not_bool",
            Self::TooCostly => "too_costly",
            Self::EventTooCostly => "event_too_costly",
            Self::Failed(_) => "failed",
            Self::Panicked => "panicked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_the_list() {
        let errors = [
            EvaluationError::NoData(NoData::TooLarge { bytes: 1 }),
            EvaluationError::NotBool { got: "string".to_owned() },
            EvaluationError::TooCostly,
            EvaluationError::EventTooCostly,
            EvaluationError::Failed("x".to_owned()),
            EvaluationError::Panicked,
        ];
        assert_eq!(errors.map(|error| error.as_str()), EvaluationError::WORDS);
    }
}
