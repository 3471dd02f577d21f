//! What can be wrong with a configuration. All problems are reported together, secrets never.

use std::fmt;
use std::path::PathBuf;

use super::value::Origin;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML. The line itself is not quoted: it may hold a secret.
    #[error("configuration file {} is not TOML: line {line}, column {column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// File and environment could not be laid over each other.
    #[error("cannot combine file and environment")]
    Layers(#[source] ::config::ConfigError),
    /// Keys that do not exist, values out of range, relations that do not hold.
    #[error("configuration is not valid:{}", Problems(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, as in the file.
    pub key: String,
    /// Where its value came from.
    pub origin: Origin,
    /// The value (masked if it is a secret) and what is allowed, or the nearest key that exists.
    pub message: String,
}

struct Problems<'a>(&'a [Problem]);

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.key, self.message, self.origin)
    }
}

// === impl Problems ===

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
