//! How far an event is written that goes in several transactions: said by the commits that leave its offset where it is
//! (`crates/kafka`), and on `rejected` and `retried` of what could not go on.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

/// How far a record is written whose outputs go in slices, in the order of an id that each output has.
///
/// It belongs to one record and to no other: whoever goes on with that does so above [`Self::last`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceCursor {
    /// The id of the last output that is written.
    pub last: Uuid,
    /// Outputs that are written.
    pub count: u64,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a cursor is written `id/count`")]
pub struct SliceCursorError;

// === impl SliceCursor ===

impl fmt::Display for SliceCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.last, self.count)
    }
}

impl FromStr for SliceCursor {
    type Err = SliceCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (last, count) = text.split_once('/').ok_or(SliceCursorError)?;
        let last = last.parse().map_err(|_no_id| SliceCursorError)?;
        Ok(Self { last, count: count.parse().map_err(|_no_count| SliceCursorError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written_and_nothing_else_is_one() {
        let cursor = SliceCursor { last: Uuid::from_u128(7), count: u64::MAX };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "/", "7/7", "00000000-0000-0000-0000-000000000007", "00000000-0000-0000-0000-000000000007/-1"]
        {
            assert_eq!(text.parse::<SliceCursor>(), Err(SliceCursorError), "{text:?}");
        }
    }
}
