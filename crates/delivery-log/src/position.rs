//! Where a row stands in a list, and the cursor that a client hands back to go on behind it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use uuid::Uuid;

use crate::day::Day;

/// Namespace of the hashes of filters; the cursors of an older one are refused.
const NAMESPACE: Uuid = Uuid::from_u128(0x5e1f_7c0a_39d4_5b7e_8a61_0c4f_2d9b_e810);
/// Version, day, time, partition, offset, hash.
const BYTES: usize = 1 + 4 + 8 + 4 + 8 + 8;
const VERSION: u8 = 1;

/// Partition and offset of a record on `attempts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinates {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Where a row stands: lists are sorted by this, and no two rows have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPosition {
    /// Day of its record's Kafka timestamp.
    pub day: Day,
    /// The time the list is sorted by within the day, Unix ms.
    pub ms: i64,
    /// Its record.
    pub coordinates: Coordinates,
}

/// What a filter is, so that a cursor goes with no other one. Made of all that restricts or orders a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterHash([u8; 8]);

/// Why a text is no cursor of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CursorError {
    /// It was never one.
    #[error("is none that a `Link` of this list has named")]
    Unreadable,
    /// It belongs to another list.
    #[error("belongs to a list with another filter")]
    OtherFilter,
}

// === impl RowPosition ===

impl RowPosition {
    /// As a text that only fits the same filter.
    #[must_use]
    pub fn to_cursor(self, filter: FilterHash) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.day.number().to_be_bytes());
        bytes.extend_from_slice(&self.ms.to_be_bytes());
        bytes.extend_from_slice(&self.coordinates.partition.to_be_bytes());
        bytes.extend_from_slice(&self.coordinates.offset.to_be_bytes());
        bytes.extend_from_slice(&filter.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor of a list with this filter.
    ///
    /// # Errors
    /// It is none, or of another list.
    pub fn of_cursor(text: &str, filter: FilterHash) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_wrong| CursorError::Unreadable)?;
        let mut rest: &[u8] = &bytes;
        let [version] = take(&mut rest)?;
        let day = Day::numbered(i32::from_be_bytes(take(&mut rest)?)).ok_or(CursorError::Unreadable)?;
        let ms = i64::from_be_bytes(take(&mut rest)?);
        let partition = i32::from_be_bytes(take(&mut rest)?);
        let offset = i64::from_be_bytes(take(&mut rest)?);
        let hash = take(&mut rest)?;
        if version != VERSION || !rest.is_empty() || partition < 0 || offset < 0 {
            return Err(CursorError::Unreadable);
        }
        if FilterHash(hash) != filter {
            return Err(CursorError::OtherFilter);
        }
        Ok(Self { day, ms, coordinates: Coordinates { partition, offset } })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CursorError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(CursorError::Unreadable)?;
    *bytes = rest;
    Ok(*first)
}

// === impl FilterHash ===

impl FilterHash {
    /// Of a text that names everything that the list was asked with, its cursor and limit apart.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let hash = Uuid::new_v5(&NAMESPACE, text.as_bytes()).into_bytes();
        let [a, b, c, d, e, f, _, g, _, h, ..] = hash;
        Self([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_goes_with_its_filter_alone() {
        let position = RowPosition {
            day: Day::of(1_795_960_799_999),
            ms: -5,
            coordinates: Coordinates { partition: 7, offset: 1 << 43 },
        };
        let filter = FilterHash::of("attempts application=1");
        let cursor = position.to_cursor(filter);
        assert_eq!(RowPosition::of_cursor(&cursor, filter), Ok(position));
        assert_eq!(RowPosition::of_cursor(&cursor, FilterHash::of("attempts")), Err(CursorError::OtherFilter));
        let cut: String = cursor.chars().skip(4).collect();
        for bad in ["", "x", &cut, &format!("{cursor}AAAA"), "AAAA", "Ö"] {
            assert_eq!(RowPosition::of_cursor(bad, filter), Err(CursorError::Unreadable), "{bad}");
        }
    }
}
