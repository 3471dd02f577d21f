//! Just enough of Kafka's protocol for what librdkafka's admin client cannot do: a request and its answer, a connection each.
//!
//! A request is *flexible* from a version on that depends on its kind: then lengths are variable, counted from one, and
//! every structure ends with tagged fields, of which we send none and skip all.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A broker that serves answers in milliseconds; one that is frozen never does.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The answer that lists every topic of a test cluster has some 20 KiB.
const ANSWER_LIMIT: usize = 16 * 1_024 * 1_024;

/// A request in the making.
#[derive(Debug)]
pub(super) struct Call {
    flexible: bool,
    bytes: BytesMut,
}

/// What came back, read from the front.
#[derive(Debug)]
pub(super) struct Answer {
    flexible: bool,
    bytes: Bytes,
}

impl Call {
    /// A request of a kind and version.
    pub(super) fn new(api: i16, version: i16, flexible: bool) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_i16(api);
        bytes.put_i16(version);
        bytes.put_i32(1);
        let mut call = Self { flexible: false, bytes };
        // The header's client id is of the old kind in every version.
        call.text("testkit");
        call.flexible = flexible;
        call.end();
        call
    }

    pub(super) fn byte(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    pub(super) fn number(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.flexible {
            self.count(text.len());
        } else {
            self.bytes.put_i16(i16::try_from(text.len()).expect("a name"));
        }
        self.bytes.put_slice(text.as_bytes());
    }

    /// So many elements follow.
    pub(super) fn count(&mut self, count: usize) {
        if !self.flexible {
            return self.bytes.put_i32(i32::try_from(count).expect("a list of a test"));
        }
        let mut rest = count + 1;
        while let (low @ 0..=127, high @ 1..) = (rest & 127, rest >> 7) {
            self.bytes.put_u8(u8::try_from(low | 128).expect("eight bits"));
            rest = high;
        }
        self.bytes.put_u8(u8::try_from(rest).expect("seven bits"));
    }

    /// All lists: elements, each written by `one`.
    pub(super) fn list<T>(&mut self, all: impl ExactSizeIterator<Item = T>, mut one: impl FnMut(&mut Self, T)) {
        self.count(all.len());
        for element in all {
            one(self, element);
        }
    }

    /// The end of a structure.
    pub(super) fn end(&mut self) {
        if self.flexible {
            self.bytes.put_u8(0);
        }
    }

    /// Sends it to a port of 127.0.0.1.
    ///
    /// # Errors
    /// No answer in 5 s.
    pub(super) async fn send(self, port: u16) -> anyhow::Result<Answer> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, exchange(port, &self.bytes)).await;
        let answer = answer.with_context(|| format!("127.0.0.1:{port} does not answer in {ANSWER_WITHIN:?}"))?;
        let mut answer = Answer { flexible: self.flexible, bytes: answer? };
        answer.number()?;
        answer.end()?;
        Ok(answer)
    }
}

async fn exchange(port: u16, request: &[u8]) -> anyhow::Result<Bytes> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_i32(i32::try_from(request.len())?).await?;
    stream.write_all(request).await?;
    let length = usize::try_from(stream.read_i32().await?)?;
    ensure!(length <= ANSWER_LIMIT, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer.into())
}

impl Answer {
    pub(super) fn short(&mut self) -> anyhow::Result<i16> {
        Ok(self.bytes.try_get_i16()?)
    }

    pub(super) fn number(&mut self) -> anyhow::Result<i32> {
        Ok(self.bytes.try_get_i32()?)
    }

    pub(super) fn byte(&mut self) -> anyhow::Result<u8> {
        Ok(self.bytes.try_get_u8()?)
    }

    /// A text or none.
    pub(super) fn text(&mut self) -> anyhow::Result<Option<String>> {
        let length = if self.flexible { self.varint()?.checked_sub(1) } else { usize::try_from(self.short()?).ok() };
        let Some(length) = length else { return Ok(None) };
        ensure!(length <= self.bytes.len(), "a text of {length} bytes where {} are left", self.bytes.len());
        Ok(Some(String::from_utf8(self.bytes.split_to(length).to_vec())?))
    }

    /// All elements of a list, each read by `one`.
    pub(super) fn list<T>(&mut self, one: impl Fn(&mut Self) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
        let count = if self.flexible { self.varint()?.saturating_sub(1) } else { usize::try_from(self.number()?)? };
        (0..count).map(|_| one(self)).collect()
    }

    /// The end of a structure.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            ensure!(length <= self.bytes.len(), "a tagged field longer than the answer");
            self.bytes.advance(length);
        }
        Ok(())
    }

    fn varint(&mut self) -> anyhow::Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes.try_get_u8()?;
            value |= usize::from(byte & 127) << shift;
            if byte & 128 == 0 {
                return Ok(value);
            }
        }
        bail!("a number of more than five bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flexible_call_writes_an_answer_reads_back() {
        let mut call = Call { flexible: true, bytes: BytesMut::new() };
        let long = "x".repeat(300);
        call.list([1, -2, 3].into_iter(), Call::number);
        call.text(&long);
        call.end();
        let mut answer = Answer { flexible: true, bytes: call.bytes.freeze() };
        assert_eq!(answer.list(Answer::number).unwrap(), [1, -2, 3]);
        assert_eq!(answer.text().unwrap(), Some(long));
        answer.end().unwrap();
        assert!(answer.number().is_err(), "nothing is left");
    }

    #[test]
    fn no_text_and_a_text_that_is_cut_off_are_told_apart() {
        let mut none = Answer { flexible: false, bytes: Bytes::from_static(&[255, 255]) };
        assert_eq!(none.text().unwrap(), None);
        let mut cut = Answer { flexible: false, bytes: Bytes::from_static(&[0, 9, 1]) };
        assert!(cut.text().is_err());
    }
}
