//! Bytes of a value to JSON, in one pass.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::control::{AvroOptions, AvroUnions};
use schemas::varint;

use super::{AvroNode, AvroPlan, MAX_AVRO_DEPTH};

/// Why bytes are no value of a schema, or none that is written as JSON here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AvroFault {
    /// The byte where it was seen.
    pub(crate) at: usize,
    pub(crate) what: Cow<'static, str>,
    /// Nothing is wrong but the size of the JSON.
    pub(crate) is_too_large: bool,
}

pub(super) struct AvroDecoder<'b> {
    nodes: &'b [AvroNode],
    bytes: &'b [u8],
    at: usize,
    pub(super) out: Vec<u8>,
    pub(super) options: AvroOptions,
    limit: usize,
    depth: usize,
}

pub(super) fn decode(plan: &AvroPlan, bytes: &[u8], options: AvroOptions, limit: usize) -> Result<Vec<u8>, AvroFault> {
    let out = Vec::with_capacity(bytes.len().saturating_mul(2).clamp(64, limit.max(64)));
    let mut decoder = AvroDecoder { nodes: &plan.nodes, bytes, at: 0, out, options, limit, depth: 0 };
    decoder.value(plan.root)?;
    let left = bytes.len() - decoder.at;
    if left > 0 {
        return Err(decoder.fault(format!("{left} bytes follow the value")));
    }
    Ok(decoder.out)
}

// === impl AvroDecoder ===

impl<'b> AvroDecoder<'b> {
    #[expect(clippy::too_many_lines, reason = "one arm for each type of a schema")]
    fn value(&mut self, node: usize) -> Result<(), AvroFault> {
        let nodes = self.nodes;
        match &nodes[node] {
            AvroNode::Undefined(_) | AvroNode::Null => self.out.extend_from_slice(b"null"),
            AvroNode::Boolean => self.boolean()?,
            AvroNode::Int => {
                let number = self.int()?;
                self.integer(i64::from(number));
            }
            AvroNode::Long => {
                let number = self.long()?;
                self.integer(number);
            }
            AvroNode::Float => {
                let number = f32::from_le_bytes(self.array("a float")?);
                if number.is_finite() { self.json(&number) } else { self.no_number(f64::from(number)) }
            }
            AvroNode::Double => {
                let number = f64::from_le_bytes(self.array("a double")?);
                if number.is_finite() { self.json(&number) } else { self.no_number(number) }
            }
            AvroNode::Bytes => {
                let bytes = self.sized("bytes")?;
                self.base64(bytes);
            }
            AvroNode::String => {
                let text = self.text()?;
                self.json(text);
            }
            AvroNode::Fixed(size) => {
                let bytes = self.take(*size, "a fixed")?;
                self.base64(bytes);
            }
            AvroNode::Enum(symbols) => {
                let symbol = self.chosen(symbols, "symbols of the enum")?;
                self.out.extend_from_slice(symbol.as_bytes());
            }
            AvroNode::Logical(logical) => self.logical(*logical)?,
            AvroNode::Union(branches) => {
                let branch = self.chosen(branches, "types of the union")?;
                let tag = branch.tag.as_deref().filter(|_| self.options.unions == AvroUnions::Avro);
                self.out.extend_from_slice(tag.unwrap_or_default().as_bytes());
                self.value(branch.node)?;
                if tag.is_some() {
                    self.out.push(b'}');
                }
            }
            AvroNode::Record(fields) => {
                self.enter()?;
                self.out.push(b'{');
                for (number, field) in fields.iter().enumerate() {
                    if number > 0 {
                        self.out.push(b',');
                    }
                    self.out.extend_from_slice(field.tag.as_bytes());
                    self.value(field.node)?;
                }
                self.out.push(b'}');
                self.depth -= 1;
            }
            AvroNode::Array(items) => self.blocks(*items, b"[]", |_decoder| Ok(()))?,
            AvroNode::Map(values) => self.blocks(*values, b"{}", |decoder| {
                let key = decoder.text()?;
                decoder.json(key);
                decoder.out.push(b':');
                Ok(())
            })?,
        }
        if self.out.len() > self.limit {
            let what = format!("as JSON it has more than {} bytes", self.limit).into();
            return Err(AvroFault { at: self.at, what, is_too_large: true });
        }
        Ok(())
    }

    /// The blocks of an array or a map, with what stands before each value.
    fn blocks(
        &mut self,
        node: usize,
        brackets: &[u8; 2],
        mut before: impl FnMut(&mut Self) -> Result<(), AvroFault>,
    ) -> Result<(), AvroFault> {
        self.enter()?;
        self.out.push(brackets[0]);
        let mut is_first = true;
        loop {
            let begun = self.at;
            let count = self.long()?;
            // A negative count is followed by the bytes that the block takes.
            let end = if count < 0 { Some(self.block_end()?) } else { None };
            for _ in 0..count.unsigned_abs() {
                if !is_first {
                    self.out.push(b',');
                }
                is_first = false;
                before(self)?;
                self.value(node)?;
            }
            if let Some(end) = end.filter(|end| *end != self.at) {
                let what = format!("a block says that it ends at byte {end}, and ends at byte {}", self.at);
                return Err(AvroFault { at: begun, what: what.into(), is_too_large: false });
            }
            if count == 0 {
                break;
            }
        }
        self.out.push(brackets[1]);
        self.depth -= 1;
        Ok(())
    }

    fn block_end(&mut self) -> Result<usize, AvroFault> {
        let size = self.long()?;
        let end = usize::try_from(size).ok().and_then(|size| self.at.checked_add(size));
        end.filter(|end| *end <= self.bytes.len())
            .ok_or_else(|| self.fault(format!("a block says that it takes {size} bytes, more than there are")))
    }

    fn enter(&mut self) -> Result<(), AvroFault> {
        if self.depth == MAX_AVRO_DEPTH {
            return Err(self.fault(format!("nested more than {MAX_AVRO_DEPTH} levels deep")));
        }
        self.depth += 1;
        Ok(())
    }

    /// One of a list, by the index that comes.
    fn chosen<'n, T>(&mut self, list: &'n [T], what: &str) -> Result<&'n T, AvroFault> {
        let index = self.long()?;
        let chosen = usize::try_from(index).ok().and_then(|index| list.get(index));
        chosen.ok_or_else(|| self.fault(format!("{index} is none of the {} {what}", list.len())))
    }

    fn boolean(&mut self) -> Result<(), AvroFault> {
        let word: &[u8] = match self.array::<1>("a boolean")? {
            [0] => b"false",
            [1] => b"true",
            [other] => return Err(self.fault(format!("{other} is no boolean"))),
        };
        self.out.extend_from_slice(word);
        Ok(())
    }

    pub(super) fn long(&mut self) -> Result<i64, AvroFault> {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(zigzag) = varint::pull(&mut rest) else {
            let what = "a whole number is cut off, or has more than 64 bits";
            return Err(self.fault(what));
        };
        self.at = self.bytes.len() - rest.len();
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    pub(super) fn int(&mut self) -> Result<i32, AvroFault> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_too_large| self.fault(format!("{number} is no number of 32 bits")))
    }

    /// So many bytes.
    pub(super) fn take(&mut self, count: usize, what: &str) -> Result<&'b [u8], AvroFault> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| {
            let left = self.bytes.len() - self.at;
            self.fault(format!("{what} takes {count} bytes, {left} are left"))
        })?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], AvroFault> {
        let bytes = self.take(N, what)?;
        bytes.try_into().map_err(|_another_length| self.fault("bytes are missing"))
    }

    /// Bytes behind their length.
    pub(super) fn sized(&mut self, what: &str) -> Result<&'b [u8], AvroFault> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length, what),
            Err(_negative) => Err(self.fault(format!("{what} cannot have {length} bytes"))),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'b str, AvroFault> {
        let bytes = self.sized("a string")?;
        std::str::from_utf8(bytes).map_err(|error| {
            let at = self.at - bytes.len() + error.valid_up_to();
            AvroFault { at, what: "a string is not UTF-8".into(), is_too_large: false }
        })
    }

    pub(super) fn integer(&mut self, number: i64) {
        self.json(&number);
    }

    pub(super) fn base64(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(bytes, &mut self.out[start..]);
        // It fits: base64 takes four bytes for three.
        self.out.truncate(start + written.unwrap_or(0));
        self.out.push(b'"');
    }

    /// A text or a number as JSON.
    pub(super) fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.out, value)
            .expect("texts and finite numbers are JSON, and a vector takes them");
    }

    fn no_number(&mut self, number: f64) {
        let word: &[u8] = match (number.is_nan(), number.is_sign_positive()) {
            (true, _) => b"\"NaN\"",
            (false, true) => b"\"Infinity\"",
            (false, false) => b"\"-Infinity\"",
        };
        self.out.extend_from_slice(word);
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to a byte that was read before.
    pub(super) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn fault(&self, what: impl Into<Cow<'static, str>>) -> AvroFault {
        AvroFault { at: self.at, what: what.into(), is_too_large: false }
    }
}
