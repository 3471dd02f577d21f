//! Kafka's framing: a length, then a message. A request begins with its api key, its version and a correlation id; its
//! answer with the same correlation id.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Far above what any client of ours sends or fetches at once.
const LIMIT: usize = 128 * 1024 * 1024;
const LENGTH_BYTES: usize = 4;

/// A message with its length before it, as it goes over the wire.
pub(crate) struct Frame(Bytes);

impl Frame {
    /// The next message, or `None` at the end of the stream.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let length = match from.read_u32().await {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = usize::try_from(length).map_err(io::Error::other)?;
        if size > LIMIT {
            return Err(io::Error::other(format!("a message of {size} bytes is none of Kafka's")));
        }
        let mut bytes = BytesMut::zeroed(LENGTH_BYTES + size);
        bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        from.read_exact(&mut bytes[LENGTH_BYTES..]).await?;
        Ok(Some(Self(bytes.freeze())))
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A request's api key and correlation id.
    pub(crate) fn request(&self) -> Option<(i16, i32)> {
        let api = self.field::<2>(LENGTH_BYTES)?;
        let correlation = self.field::<4>(LENGTH_BYTES + 4)?;
        Some((i16::from_be_bytes(api), i32::from_be_bytes(correlation)))
    }

    /// A request's `client.id`, which stands behind its correlation id in every version that is in use.
    pub(crate) fn client(&self) -> Option<&[u8]> {
        let at = LENGTH_BYTES + 8;
        let length = usize::try_from(i16::from_be_bytes(self.field::<2>(at)?)).ok()?;
        self.0.get(at + 2..at + 2 + length)
    }

    /// An answer's correlation id.
    pub(crate) fn answer(&self) -> Option<i32> {
        self.field::<4>(LENGTH_BYTES).map(i32::from_be_bytes)
    }

    /// An answer with this error code, which stands behind the correlation id and the throttle time. One that is too short for
    /// it stays as it is.
    pub(crate) fn failed(self, code: i16) -> Self {
        let mut bytes = self.0.to_vec();
        if let Some(place) = bytes.get_mut(LENGTH_BYTES + 8..LENGTH_BYTES + 10) {
            place.copy_from_slice(&code.to_be_bytes());
        }
        Self(bytes.into())
    }

    fn field<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_names_its_client() {
        let named = b"\x00\x00\x00\x0d\x00\x01\x00\x10\x00\x00\x00\x07\x00\x03abc";
        let nameless = b"\x00\x00\x00\x0a\x00\x01\x00\x10\x00\x00\x00\x07\xff\xff";
        let mut wire: &[u8] = &[&named[..], &nameless[..]].concat();
        assert_eq!(Frame::read(&mut wire).await.unwrap().unwrap().client(), Some(&b"abc"[..]));
        assert_eq!(Frame::read(&mut wire).await.unwrap().unwrap().client(), None);
    }

    #[tokio::test]
    async fn an_answer_fails_behind_its_throttle_time() {
        let mut wire: &[u8] = b"\x00\x00\x00\x0b\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00!";
        let answer = Frame::read(&mut wire).await.unwrap().unwrap().failed(15);
        assert_eq!(answer.bytes(), b"\x00\x00\x00\x0b\x00\x00\x00\x07\x00\x00\x00\x00\x00\x0f!");
    }

    #[tokio::test]
    async fn messages_are_cut_at_their_length_and_their_heads_read() {
        let mut wire: &[u8] =
            b"\x00\x00\x00\x09\x00\x1a\x00\x03\x00\x00\x00\x07!\x00\x00\x00\x04\xff\xff\xff\xfe\x00\x00";
        let request = Frame::read(&mut wire).await.unwrap().unwrap();
        assert_eq!(request.request(), Some((26, 7)));
        assert_eq!(request.bytes().len(), 13);
        let answer = Frame::read(&mut wire).await.unwrap().unwrap();
        assert_eq!(answer.answer(), Some(-2));
        assert_eq!(answer.request(), None, "too short for one");
        assert!(Frame::read(&mut wire).await.unwrap().is_none(), "half a length is an end");
    }
}
