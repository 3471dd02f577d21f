//! Wrong usage: what a person typed or wrote, as against what went wrong. Ends the program with its own exit code.

/// The command line or a file given to it is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

/// An error that says how it is done right.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}
