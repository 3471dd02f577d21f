//! Whole numbers in as few bytes as they need: seven bits in each, the lowest first, the eighth says that more follow (LEB128).

/// Bytes of the largest number.
pub const MAX_BYTES: usize = 10;

/// How many bytes a number takes.
#[must_use]
pub fn length(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends a number.
pub fn push(bytes: &mut Vec<u8>, mut rest: u64) {
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits fit a byte");
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Takes the number at the beginning; `None` if it is cut off, or has more than 64 bits.
pub fn pull(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, value);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_pulled_and_as_long_as_it_is_said_to_be(value in any::<u64>(), bits in 0_u32..64, more in any::<u8>()) {
            let value = value >> bits;
            let mut bytes = pushed(value);
            prop_assert_eq!(bytes.len(), length(value));
            bytes.push(more);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(pull(&mut rest), Some(value));
            prop_assert_eq!(rest, [more]);
            prop_assert_eq!(pull(&mut &bytes[..length(value) - 1]), None, "it is cut off");
        }
    }

    #[test]
    fn a_tenth_byte_has_one_bit() {
        assert_eq!((length(u64::MAX), length(u64::MAX >> 1), length(0)), (MAX_BYTES, 9, 1));
        let largest = pushed(u64::MAX);
        assert_eq!(largest, [[0xff; 9].as_slice(), &[1]].concat());
        for tenth in [2, 0x7f, 0x81] {
            let mut bytes = largest.clone();
            bytes[9] = tenth;
            assert_eq!(pull(&mut bytes.as_slice()), None, "{tenth:#x}");
        }
    }
}
