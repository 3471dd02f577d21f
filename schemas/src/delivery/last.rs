//! How the last attempt of a delivery ended, as its retry and its dead letter carry it.

use crate::header;
use crate::record::HeadersBuilder;

/// How the last attempt of a delivery ended: its retry carries it, so that a delivery that dies while it waits can say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAttempt<'a> {
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
    /// What ended it, for people; cut to 300 bytes where it is written.
    pub error: &'a str,
}

// === impl LastAttempt ===

impl LastAttempt<'_> {
    /// Longest `hookbus-last-error`, bytes.
    const MAX_ERROR: usize = 300;

    /// Whether a header is one of its own.
    #[must_use]
    pub fn is_named(header: &[u8]) -> bool {
        [header::LAST_STATUS, header::LAST_ERROR].iter().any(|own| own.as_bytes() == header)
    }

    /// Writes its headers.
    pub fn encode(self, builder: &mut HeadersBuilder) {
        if let Some(status) = self.status {
            builder.push_i64(header::LAST_STATUS, i64::from(status));
        }
        let end = self.error.floor_char_boundary(Self::MAX_ERROR);
        builder.push(header::LAST_ERROR, &self.error.as_bytes()[..end]);
    }
}
