//! Where a value's schema is named: in a header, or in front of the value. Confluent's wire formats.
//!
//! ```text
//! header __value_schema_id    0 | id, 4 bytes     [Protobuf: indexes]      the value is bare
//!                             1 | GUID, 16 bytes  [Protobuf: indexes]
//! value                       0 | id, 4 bytes     [Protobuf: indexes] | what is encoded
//!
//! indexes                     count, then as many indexes, zigzag varints: the path to a message in its file;
//!                             a single 0 is the first message
//! ```

use bytes::Bytes;
use schemas::record::Headers;
use schemas::varint;
use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

use crate::schema::SchemaId;
use crate::{RejectedAt, Rejection};

/// Names the schema of the value.
const VALUE_HEADER: &str = "__value_schema_id";
/// Names the schema of the key.
const KEY_HEADER: &str = "__key_schema_id";
/// What an id in front of a value begins with.
const ID: u8 = 0;
/// Largest id: registries number schemas with signed integers of 32 bits.
const MAX_ID: u32 = i32::MAX.unsigned_abs();
/// What a GUID in a header begins with.
const GUID: u8 = 1;
/// Deepest message in messages that an index path leads to.
const MAX_INDEXES: u64 = 64;

/// The path to a message in its file: the index of a message, then of one inside it, and so on.
pub(crate) type MessageIndexes = SmallVec<[usize; 2]>;

/// Whether it is the value or the key that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramedPart {
    Value,
    Key,
}

/// A frame, taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Framed {
    pub(crate) id: SchemaId,
    /// What is encoded, with the indexes in front of it where the frame was.
    pub(crate) rest: Bytes,
    /// Bytes of the value that were taken off.
    pub(crate) taken: usize,
    /// What follows the id in the header, if the id stood there.
    behind_id: Option<Bytes>,
}

/// Finds the schema of a value or a key: by its header, else by what is in front of it.
pub(crate) fn unframe(headers: &Headers, bytes: &Bytes, part: FramedPart) -> Result<Framed, Rejection> {
    let name = part.header();
    if let Some(header) = headers.get_bytes(name) {
        let (id, taken) =
            read_id(&header, true).map_err(|why| Rejection::undecodable(format!("header `{name}` {why}")))?;
        return Ok(Framed { id, rest: bytes.clone(), taken: 0, behind_id: Some(header.slice(taken..)) });
    }
    let (id, taken) = read_id(bytes, false).map_err(|why| {
        let detail = format!("the {} {why}, and there is no header `{name}`", part.word());
        Rejection { position: Some(RejectedAt::Byte(0)), ..Rejection::undecodable(detail) }
    })?;
    Ok(Framed { id, rest: bytes.slice(taken..), taken, behind_id: None })
}

/// Whether there is a frame at all: for formats that can also be bare, which never begin with a zero byte.
pub(crate) fn is_framed(headers: &Headers, bytes: &[u8], part: FramedPart) -> bool {
    headers.get(part.header()).is_some() || bytes.first() == Some(&ID)
}

/// The id in front of something, and how many bytes it takes.
fn read_id(bytes: &[u8], may_be_guid: bool) -> Result<(SchemaId, usize), String> {
    match bytes.split_first() {
        None => Err("is empty where a schema's id should stand".to_owned()),
        Some((&ID, rest)) => match rest.first_chunk::<4>() {
            Some(id) => match u32::from_be_bytes(*id) {
                // Beyond, a registry does not even look: it says that there is no such path, which is no answer about a schema.
                beyond if beyond > MAX_ID => Err(format!("names schema {beyond}, and ids end at {MAX_ID}")),
                id => Ok((SchemaId::Number(id), 5)),
            },
            None => Err(format!("has {} bytes, a zero byte and a schema's id take 5", bytes.len())),
        },
        Some((&GUID, rest)) if may_be_guid => match rest.first_chunk::<16>() {
            Some(guid) => Ok((SchemaId::Guid(Uuid::from_bytes(*guid)), 17)),
            None => Err(format!("has {} bytes, a one byte and a schema's GUID take 17", bytes.len())),
        },
        Some((first, _)) => Err(format!("begins with the byte {first}, not with a zero byte and a schema's id")),
    }
}

// === impl FramedPart ===

impl FramedPart {
    fn header(self) -> &'static str {
        match self {
            Self::Value => VALUE_HEADER,
            Self::Key => KEY_HEADER,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Key => "key",
        }
    }
}

// === impl Framed ===

impl Framed {
    /// Takes the path to a Protobuf message off: from behind the id, wherever that stood.
    pub(crate) fn indexes(&mut self) -> Result<MessageIndexes, Rejection> {
        let at = self.taken;
        let refused = |why: String| {
            let detail = format!("the indexes of the Protobuf message {why}");
            Err(Rejection { position: Some(RejectedAt::Byte(at)), ..Rejection::undecodable(detail) })
        };
        let whole = self.behind_id.as_ref().unwrap_or(&self.rest);
        let mut left: &[u8] = whole;
        let indexes = match read_indexes(&mut left) {
            Ok(indexes) => indexes,
            Err(why) => return refused(why),
        };
        let taken = whole.len() - left.len();
        if self.behind_id.is_some() {
            if !left.is_empty() {
                return refused(format!("are followed by {} bytes in the header", left.len()));
            }
        } else {
            self.rest = self.rest.slice(taken..);
            self.taken += taken;
        }
        Ok(indexes)
    }
}

fn read_indexes(bytes: &mut &[u8]) -> Result<MessageIndexes, String> {
    let mut number = || {
        let zigzag = varint::pull(bytes).ok_or("are cut off")?;
        // Zigzag: an odd number is a negative one.
        if zigzag & 1 == 1 {
            return Err(format!("say -{}, which is no number of anything", (zigzag >> 1).saturating_add(1)));
        }
        Ok(zigzag >> 1)
    };
    let count = number()?;
    if count == 0 {
        return Ok(smallvec![0]);
    }
    if count > MAX_INDEXES {
        return Err(format!("are {count}; no message is inside more than {MAX_INDEXES} others"));
    }
    (0..count)
        .map(|_| usize::try_from(number()?).map_err(|_too_large| "say more than there can be".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use schemas::rejected::RejectReason;

    use super::*;

    fn headers(name: &str, value: &[u8]) -> Headers {
        let mut builder = Headers::builder(1, 64);
        builder.push(name, value);
        builder.build()
    }

    fn value(bytes: &[u8]) -> Result<Framed, Rejection> {
        unframe(&Headers::default(), &Bytes::copy_from_slice(bytes), FramedPart::Value)
    }

    fn zigzag(numbers: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in numbers {
            varint::push(&mut bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
        }
        bytes
    }

    fn indexes(numbers: &[i64]) -> Result<Vec<usize>, Rejection> {
        let mut framed = value(&[&[0, 0, 0, 0, 7], zigzag(numbers).as_slice(), b"rest"].concat()).unwrap();
        let indexes = framed.indexes()?;
        assert_eq!(&framed.rest[..], b"rest");
        assert_eq!(framed.taken, 5 + zigzag(numbers).len());
        Ok(indexes.to_vec())
    }

    #[test]
    fn a_frame_of_0_to_4_bytes_is_rejected() {
        for length in 0..5 {
            let rejection = value(&[0, 0, 0, 0, 7][..length]).unwrap_err();
            assert_eq!(rejection.reason, RejectReason::Undecodable);
            assert_eq!(rejection.position, Some(RejectedAt::Byte(0)));
        }
        let framed = value(&[0, 0, 0, 1, 0]).unwrap();
        assert_eq!((framed.id, framed.rest.len(), framed.taken), (SchemaId::Number(256), 0, 5));
        assert!(value(b"{}").unwrap_err().detail.contains("begins with the byte 123"));
        assert!(value(&[[1].as_slice(), &[9; 16]].concat()).is_err(), "a GUID stands in a header only");
    }

    #[test]
    fn an_id_that_no_registry_can_give_is_rejected() {
        let rejection = value(&[0, 0x80, 0, 0, 0]).unwrap_err();
        assert_eq!((rejection.reason, rejection.position), (RejectReason::Undecodable, Some(RejectedAt::Byte(0))));
        assert!(
            rejection.detail.contains("names schema 2147483648, and ids end at 2147483647"),
            "{}",
            rejection.detail
        );
        assert_eq!(value(&[0, 0x7f, 0xff, 0xff, 0xff]).unwrap().id, SchemaId::Number(2_147_483_647));
        let header = unframe(&headers(VALUE_HEADER, &[0, 0xff, 0, 0, 0]), &Bytes::new(), FramedPart::Value);
        assert!(header.unwrap_err().detail.contains("ids end at"));
    }

    #[test]
    fn a_header_comes_first_and_the_value_is_bare_then() {
        let body = Bytes::from_static(&[0, 0, 0, 0, 1, 2]);
        let id = unframe(&headers(VALUE_HEADER, &[0, 0, 0, 0, 9]), &body, FramedPart::Value).unwrap();
        assert_eq!((id.id, &id.rest), (SchemaId::Number(9), &body));
        let guid = unframe(&headers(KEY_HEADER, &[[1].as_slice(), &[7; 16]].concat()), &body, FramedPart::Key).unwrap();
        assert_eq!(guid.id, SchemaId::Guid(Uuid::from_bytes([7; 16])));
        assert!(unframe(&headers(KEY_HEADER, &[0, 0, 0, 0, 9]), &Bytes::new(), FramedPart::Value).is_err());
    }

    #[test]
    fn a_guid_header_of_16_bytes_is_rejected() {
        let short = headers(VALUE_HEADER, &[[1].as_slice(), &[7; 15]].concat());
        let rejection = unframe(&short, &Bytes::from_static(b"x"), FramedPart::Value).unwrap_err();
        assert!(rejection.detail.contains("has 16 bytes"), "{}", rejection.detail);
    }

    #[test]
    fn paths_to_messages() {
        assert_eq!(indexes(&[0]).unwrap(), [0], "a single 0 is the first");
        assert_eq!(indexes(&[1, 0]).unwrap(), [0]);
        assert_eq!(indexes(&[3, 2, 0, 300]).unwrap(), [2, 0, 300]);
        let mut bare = unframe(
            &headers(VALUE_HEADER, &[&[0, 0, 0, 0, 9], zigzag(&[2, 1, 1]).as_slice()].concat()),
            &Bytes::from_static(b"\x02"),
            FramedPart::Value,
        )
        .unwrap();
        assert_eq!(bare.indexes().unwrap().to_vec(), [1, 1]);
        assert_eq!(&bare.rest[..], b"\x02", "what stands behind the id in the header is not in the value");
    }

    #[test]
    fn a_protobuf_index_count_of_minus_1_and_of_2_to_the_31_is_rejected() {
        for (numbers, word) in
            [([-1].as_slice(), "say -1"), (&[1 << 31], "are 2147483648"), (&[2, 0, -3], "say -3"), (&[65], "are 65")]
        {
            let rejection = indexes(numbers).unwrap_err();
            assert_eq!(rejection.reason, RejectReason::Undecodable);
            assert_eq!(rejection.position, Some(RejectedAt::Byte(5)));
            assert!(rejection.detail.contains(word), "{}", rejection.detail);
        }
        let mut cut = value(&[0, 0, 0, 0, 7, 4, 0]).unwrap();
        assert!(cut.indexes().unwrap_err().detail.contains("cut off"));
    }
}
