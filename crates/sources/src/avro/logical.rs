//! Logical types: as people write them, or as what they are made of.

use schemas::control::LogicalTypes;
use uuid::Uuid;

use super::LogicalNode;
use super::decode::{AvroDecoder, AvroFault};
use crate::instant::{Precision, push_date, push_moment, push_time};

/// Longest decimal, bytes: some 600 digits. To write one takes time by the square of its length.
const MAX_DECIMAL_BYTES: usize = 256;

impl AvroDecoder<'_> {
    pub(super) fn logical(&mut self, logical: LogicalNode) -> Result<(), AvroFault> {
        let is_raw = self.options.logical_types == LogicalTypes::Raw;
        match logical {
            LogicalNode::Decimal { size, scale } => {
                let bytes = match size {
                    Some(size) => self.take(size, "a decimal")?,
                    None => self.sized("a decimal")?,
                };
                if is_raw {
                    self.base64(bytes);
                } else {
                    self.decimal(bytes, scale)?;
                }
            }
            LogicalNode::BigDecimal => self.big_decimal(is_raw)?,
            LogicalNode::UuidString => {
                let text = self.text()?;
                self.json(text);
            }
            LogicalNode::UuidBytes => {
                let bytes = self.sized("a UUID")?;
                self.uuid(bytes, is_raw)?;
            }
            LogicalNode::UuidFixed => {
                let bytes = self.take(16, "a UUID")?;
                self.uuid(bytes, is_raw)?;
            }
            LogicalNode::Duration => {
                let bytes = self.array::<12>("a duration")?;
                if is_raw {
                    self.base64(&bytes);
                } else {
                    self.duration(bytes);
                }
            }
            LogicalNode::Date => {
                let days = self.int()?;
                self.written(is_raw, i64::from(days), "a date", |out| push_date(out, days))?;
            }
            LogicalNode::TimeMillis => {
                let count = i64::from(self.int()?);
                self.written(is_raw, count, "a time of day", |out| push_time(out, count, Precision::MILLIS))?;
            }
            LogicalNode::TimeMicros => {
                let count = self.long()?;
                self.written(is_raw, count, "a time of day", |out| push_time(out, count, Precision::MICROS))?;
            }
            LogicalNode::Timestamp { precision, is_moment } => {
                let count = self.long()?;
                self.written(is_raw, count, "a timestamp", |out| {
                    let is_one = push_moment(out, count, precision);
                    if is_moment {
                        out.push(b'Z');
                    }
                    is_one
                })?;
            }
        }
        Ok(())
    }

    /// A number, or the text it stands for.
    fn written(
        &mut self,
        is_raw: bool,
        count: i64,
        what: &str,
        push: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Result<(), AvroFault> {
        if is_raw {
            self.integer(count);
            return Ok(());
        }
        self.out.push(b'"');
        if !push(&mut self.out) {
            return Err(self.fault(format!(
                "{count} is not {what} that RFC 3339 can write; `logical_types: raw` writes the number"
            )));
        }
        self.out.push(b'"');
        Ok(())
    }

    fn uuid(&mut self, bytes: &[u8], is_raw: bool) -> Result<(), AvroFault> {
        let Ok(uuid) = Uuid::from_slice(bytes) else {
            return Err(self.fault(format!("a UUID has 16 bytes, not {}", bytes.len())));
        };
        if is_raw {
            self.base64(bytes);
        } else {
            self.json(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) as &str);
        }
        Ok(())
    }

    /// Bytes that hold a decimal and its scale.
    fn big_decimal(&mut self, is_raw: bool) -> Result<(), AvroFault> {
        let whole = self.long()?;
        let start = self.at();
        let Ok(whole) = usize::try_from(whole) else {
            return Err(self.fault("a decimal cannot have fewer than no bytes"));
        };
        let bytes = self.take(whole, "a decimal")?;
        if is_raw {
            self.base64(bytes);
            return Ok(());
        }
        // Inside there is the number behind its length, then the scale.
        self.seek(start);
        let unscaled = self.sized("a decimal's digits")?;
        let scale = self.long()?;
        if self.at() != start + bytes.len() {
            return Err(self.fault("a decimal does not end where it says"));
        }
        match usize::try_from(scale) {
            Ok(scale) if scale <= super::MAX_SCALE => self.decimal(unscaled, scale),
            _beyond => Err(self.fault(format!("a decimal of scale {scale} is not written here"))),
        }
    }

    /// Two's complement, big-endian, with so many digits behind the point.
    fn decimal(&mut self, bytes: &[u8], scale: usize) -> Result<(), AvroFault> {
        if bytes.len() > MAX_DECIMAL_BYTES {
            return Err(
                self.fault(format!("a decimal has {} bytes, at most {MAX_DECIMAL_BYTES} are written", bytes.len()))
            );
        }
        let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
        let digits = digits(bytes, is_negative);
        self.out.push(b'"');
        if is_negative {
            self.out.push(b'-');
        }
        let whole = digits.len().saturating_sub(scale);
        let (before, behind) = digits.split_at(whole);
        self.out.extend_from_slice(if before.is_empty() { b"0" } else { before });
        if scale > 0 {
            self.out.push(b'.');
            self.out.resize(self.out.len() + scale - behind.len(), b'0');
            self.out.extend_from_slice(behind);
        }
        self.out.push(b'"');
        Ok(())
    }

    /// Months, days and milliseconds, 32 bits each, little-endian: ISO 8601.
    fn duration(&mut self, bytes: [u8; 12]) {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (months, days, millis) = (number(0), number(4), number(8));
        let mut text = "P".to_owned();
        for (count, unit) in [(months, 'M'), (days, 'D')] {
            if count > 0 {
                text += &format!("{count}{unit}");
            }
        }
        if millis > 0 || text.len() == 1 {
            text += &format!("T{}", millis / 1_000);
            if millis % 1_000 > 0 {
                text += &format!(".{:03}", millis % 1_000);
            }
            text.push('S');
        }
        self.json(&text);
    }
}

/// Decimal digits of a number's absolute value, without zeros in front; none for zero.
fn digits(bytes: &[u8], is_negative: bool) -> Vec<u8> {
    const BILLION: u64 = 1_000_000_000;
    // The absolute value in words of 32 bits, the highest first.
    let fill = if is_negative { 0xff } else { 0 };
    let padding = (4 - bytes.len() % 4) % 4;
    let padded: Vec<u8> = std::iter::repeat_n(fill, padding).chain(bytes.iter().copied()).collect();
    let mut words: Vec<u32> =
        padded.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]])).collect();
    if is_negative {
        let mut carry = true;
        for word in words.iter_mut().rev() {
            (*word, carry) = (!*word).overflowing_add(u32::from(carry));
        }
    }
    let mut reversed = Vec::with_capacity(bytes.len() * 3);
    while words.iter().any(|word| *word != 0) {
        let mut rest = 0_u64;
        for word in &mut words {
            let whole = rest << 32 | u64::from(*word);
            *word = u32::try_from(whole / BILLION).unwrap_or(u32::MAX);
            rest = whole % BILLION;
        }
        for _ in 0..9 {
            reversed.push(b'0' + u8::try_from(rest % 10).unwrap_or(0));
            rest /= 10;
        }
    }
    let significant = reversed.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    reversed.truncate(significant);
    reversed.reverse();
    reversed
}
