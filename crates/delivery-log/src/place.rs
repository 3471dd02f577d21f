//! A record's coordinates as one number, in their order: what rows are named and sorted by.

use crate::position::Coordinates;

/// Offsets have so many bits of a place, partitions those above.
const OFFSET_BITS: u32 = 44;

/// The place of coordinates. `None`: they are beyond what a place can name.
pub(crate) fn of(coordinates: Coordinates) -> Option<i64> {
    let fits = coordinates.offset >= 0 && coordinates.offset < 1 << OFFSET_BITS;
    let partition = i64::from(coordinates.partition);
    (fits && (0..1 << (62 - OFFSET_BITS)).contains(&partition))
        .then_some((partition << OFFSET_BITS) | coordinates.offset)
}

/// The coordinates of a place.
pub(crate) fn coordinates(place: i64) -> Coordinates {
    let partition = i32::try_from(place >> OFFSET_BITS).unwrap_or(i32::MAX);
    Coordinates { partition, offset: place & ((1 << OFFSET_BITS) - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_the_order_of_coordinates() {
        let all = [(0, 0), (0, 5), (0, (1 << 44) - 1), (1, 0), (7, 3), (262_143, 9)];
        let all = all.map(|(partition, offset)| Coordinates { partition, offset });
        let places = all.map(|it| of(it).unwrap());
        assert!(places.is_sorted());
        assert_eq!(places.map(coordinates), all);
        for (partition, offset) in [(-1, 0), (0, -1), (0, 1 << 44), (262_144, 0)] {
            assert_eq!(of(Coordinates { partition, offset }), None);
        }
    }
}
