//! What goes wrong between the store and its server, and what the store says of it.

use std::time::Duration;

use chassis::telemetry::chain;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum PgFailure {
    /// The server refused it, or is away.
    Server(tokio_postgres::Error),
    /// Another process has filled the store since this one last did, or the store was made anew.
    Overtaken,
    /// Nothing was heard of it for so long, though its connection is there.
    Silent {
        /// Seconds.
        seconds: u64,
    },
    /// A row cannot be what this build has written.
    Unreadable(&'static str),
}

pub(super) type PgResult<T> = Result<T, PgFailure>;

/// What becomes of it in so long. The server has bounds of its own, which are no use where nobody answers: behind this one the
/// connection is closed by whoever asked.
pub(super) async fn within<T>(seconds: u64, asked: impl Future<Output = PgResult<T>> + Send) -> PgResult<T> {
    let answer = tokio::time::timeout(Duration::from_secs(seconds), asked).await;
    answer.unwrap_or(Err(PgFailure::Silent { seconds }))
}

// === impl PgFailure ===

impl PgFailure {
    /// The tables that were asked are gone: their day was given up meanwhile.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Server(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE))
    }

    /// Somebody else has held a lock for too long.
    pub(super) fn is_locked_out(&self) -> bool {
        matches!(self, Self::Server(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// As a failure of the store; a question may have taken so many seconds.
    pub(super) fn told(&self, seconds: u64) -> StoreError {
        match self {
            Self::Server(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => StoreError::TooSlow { seconds },
            Self::Server(error) if is_away(error) => StoreError::Away { reason: chain(error) },
            Self::Server(error) => StoreError::Failed { reason: chain(error) },
            Self::Silent { seconds } => StoreError::Away { reason: format!("nothing was heard of it for {seconds} s") },
            Self::Overtaken => StoreError::FilledByAnother,
            Self::Unreadable(what) => StoreError::Failed { reason: format!("a row of it has {what}") },
        }
    }
}

impl From<tokio_postgres::Error> for PgFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

/// Whether the server could not be asked, or will not answer anybody: it is none of the question's business.
fn is_away(error: &tokio_postgres::Error) -> bool {
    // Without a code nothing was answered: it could not be reached, or has gone away in the middle.
    error.code().is_none_or(|code| {
        // Connections, insufficient resources, and whoever looks after the server has intervened; refused names and passwords.
        ["08", "53", "57P", "28", "3D"].iter().any(|class| code.code().starts_with(class))
    })
}
