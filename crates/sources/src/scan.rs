//! One pass over a JSON text: is it JSON, and where are the values that pointers lead to? No tree is made, nothing is copied.
//!
//! ```text
//! on the way of a pointer:  one call per step (32 at most), each object's members of interest ticked off: one stands once
//! everywhere else:          a loop with a stack of bits, because strangers nest as deep as they like
//! ```
//!
//! What is found is where it stands in the text, so a payload or an attribute is a slice of the record.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

use crate::pointers::{PointerStep, Pointers};

/// Deepest nesting that is accepted, as over HTTP: who reads a payload later has a stack.
pub(crate) const MAX_JSON_DEPTH: usize = 127;

/// Where the values stand that pointers lead to, by slot.
pub(crate) type FoundPlaces = SmallVec<[Option<Range<usize>>; 8]>;

/// Why a text is no JSON, or none that can be looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScanFault {
    /// The byte where it was seen.
    pub(crate) at: usize,
    pub(crate) what: ScanFaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScanFaultKind {
    /// Something else stands there.
    Expected(&'static str),
    /// It ends there.
    Ended,
    /// Deeper than [`MAX_JSON_DEPTH`].
    TooDeep,
    /// A name on the way of a pointer stands twice in its object: which one is meant?
    Twice(String),
}

struct Scanner<'j, 'p> {
    text: &'j str,
    bytes: &'j [u8],
    at: usize,
    depth: usize,
    pointers: &'p Pointers,
    found: FoundPlaces,
}

/// Looks pointers up in a JSON text.
pub(crate) fn scan(text: &str, pointers: &Pointers) -> Result<FoundPlaces, ScanFault> {
    let found = std::iter::repeat_n(None, pointers.len()).collect();
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0, depth: 0, pointers, found };
    scanner.value(pointers.root())?;
    scanner.space();
    if scanner.at < text.len() {
        return Err(scanner.expected("nothing after the value"));
    }
    Ok(scanner.found)
}

/// The text of a JSON scalar: of a string what it says, of anything else its spelling; `None` for `null`.
pub(crate) fn scalar(json: &str) -> Result<Option<Cow<'_, str>>, &'static str> {
    match json.as_bytes().first() {
        Some(b'{') => Err("is an object, not a text, a number or a boolean"),
        Some(b'[') => Err("is an array, not a text, a number or a boolean"),
        Some(b'n') | None => Ok(None),
        Some(b'"') => {
            let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
            if !inner.contains('\\') {
                return Ok(Some(Cow::Borrowed(inner)));
            }
            let text = serde_json::from_str::<String>(json);
            text.map(|text| Some(Cow::Owned(text)))
                .map_err(|_lone_surrogate| "is a text with an escape that is no character")
        }
        Some(_number_or_word) => Ok(Some(Cow::Borrowed(json))),
    }
}

// === impl Scanner ===

impl<'j> Scanner<'j, '_> {
    /// One value, on the way of pointers.
    fn value(&mut self, step: &PointerStep) -> Result<(), ScanFault> {
        self.space();
        let start = self.at;
        match self.bytes.get(start) {
            Some(b'{') if !step.next.is_empty() => self.object(step)?,
            Some(b'[') if !step.next.is_empty() => self.array(step)?,
            _not_walked_into => self.skip()?,
        }
        if let Some(slot) = step.slot {
            self.found[slot] = Some(start..self.at);
        }
        Ok(())
    }

    fn object(&mut self, step: &PointerStep) -> Result<(), ScanFault> {
        self.enter()?;
        self.space();
        if self.take(b'}') {
            self.depth -= 1;
            return Ok(());
        }
        let mut seen = 0_u128;
        loop {
            self.space();
            let start = self.at;
            let name = self.name()?;
            match step.member(&name) {
                Some((bit, _)) if seen >> bit & 1 == 1 => {
                    return Err(ScanFault { at: start, what: ScanFaultKind::Twice(cut(&name)) });
                }
                Some((bit, to)) => {
                    seen |= 1 << bit;
                    self.value(self.pointers.step(to))?;
                }
                None => self.skip()?,
            }
            self.space();
            if self.take(b'}') {
                self.depth -= 1;
                return Ok(());
            }
            self.need(b',', "`,` or `}`")?;
        }
    }

    fn array(&mut self, step: &PointerStep) -> Result<(), ScanFault> {
        self.enter()?;
        self.space();
        if self.take(b']') {
            self.depth -= 1;
            return Ok(());
        }
        for index in 0.. {
            match step.element(index) {
                Some(to) => self.value(self.pointers.step(to))?,
                None => self.skip()?,
            }
            self.space();
            if self.take(b']') {
                break;
            }
            self.need(b',', "`,` or `]`")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// A member's name and the colon behind it.
    fn name(&mut self) -> Result<Cow<'j, str>, ScanFault> {
        let start = self.at;
        let is_escaped = self.string("a name in quotes")?;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        self.space();
        self.need(b':', "`:`")?;
        if !is_escaped {
            return Ok(Cow::Borrowed(quoted.get(1..quoted.len() - 1).unwrap_or_default()));
        }
        // A name with an escape that is no character is the name of no pointer.
        Ok(Cow::Owned(serde_json::from_str(quoted).unwrap_or_else(|_lone_surrogate| "\u{fffd}".to_owned())))
    }

    /// One value that no pointer leads into.
    fn skip(&mut self) -> Result<(), ScanFault> {
        let outer = self.depth;
        // One bit for each level that is open here: an object or an array.
        let mut objects = 0_u128;
        loop {
            self.space();
            match self.bytes.get(self.at) {
                Some(b'{') => {
                    self.enter()?;
                    objects = objects << 1 | 1;
                    self.space();
                    if self.bytes.get(self.at) != Some(&b'}') {
                        self.skip_name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.enter()?;
                    objects <<= 1;
                    self.space();
                    if self.bytes.get(self.at) != Some(&b']') {
                        continue;
                    }
                }
                _scalar => self.scalar()?,
            }
            while self.depth > outer {
                self.space();
                let is_object = objects & 1 == 1;
                let goes_on = self.take(b',');
                if goes_on && is_object {
                    self.space();
                    self.skip_name()?;
                }
                if goes_on {
                    break;
                }
                match is_object {
                    true => self.need(b'}', "`,` or `}`")?,
                    false => self.need(b']', "`,` or `]`")?,
                }
                objects >>= 1;
                self.depth -= 1;
            }
            if self.depth == outer {
                return Ok(());
            }
        }
    }

    fn skip_name(&mut self) -> Result<(), ScanFault> {
        self.string("a name in quotes")?;
        self.space();
        self.need(b':', "`:`")
    }

    fn scalar(&mut self) -> Result<(), ScanFault> {
        match self.bytes.get(self.at) {
            Some(b'"') => self.string("a value").map(|_is_escaped| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.expected("a value")),
            None => Err(self.ended()),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), ScanFault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), ScanFault> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _has_sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ScanFault> {
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(if rest.is_empty() { self.ended() } else { self.expected("a digit") });
        }
        self.at += digits;
        Ok(())
    }

    /// A string; whether anything is escaped in it.
    fn string(&mut self, expected: &'static str) -> Result<bool, ScanFault> {
        self.need(b'"', expected)?;
        let mut is_escaped = false;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(is_escaped);
                }
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(_control) => return Err(self.expected("a control character escaped")),
                None => return Err(self.ended()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanFault> {
        let bytes = &self.bytes[self.at + 1..];
        let length = match bytes.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => {
                let digits = bytes.iter().skip(1).take(4).take_while(|byte| byte.is_ascii_hexdigit()).count();
                if digits < 4 {
                    return Err(self.expected("an escape of four hexadecimal digits"));
                }
                6
            }
            Some(_) => return Err(self.expected("an escape that JSON knows")),
            None => return Err(self.ended()),
        };
        self.at += length;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), ScanFault> {
        if self.depth == MAX_JSON_DEPTH {
            return Err(ScanFault { at: self.at, what: ScanFaultKind::TooDeep });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn need(&mut self, byte: u8, expected: &'static str) -> Result<(), ScanFault> {
        if self.take(byte) {
            return Ok(());
        }
        Err(if self.at >= self.bytes.len() { self.ended() } else { self.expected(expected) })
    }

    fn expected(&self, what: &'static str) -> ScanFault {
        ScanFault { at: self.at, what: ScanFaultKind::Expected(what) }
    }

    fn ended(&self) -> ScanFault {
        ScanFault { at: self.bytes.len(), what: ScanFaultKind::Ended }
    }
}

/// How many bytes of a string go by until one that means something: a quote, a backslash, a control character.
fn plain(bytes: &[u8]) -> usize {
    const EIGHT: usize = size_of::<u64>();
    const ONES: u64 = u64::from_ne_bytes([1; EIGHT]);
    const HIGH: u64 = ONES << 7;
    const QUOTE: u64 = u64::from_ne_bytes([b'"'; EIGHT]);
    const BACKSLASH: u64 = u64::from_ne_bytes([b'\\'; EIGHT]);
    const SPACE: u64 = u64::from_ne_bytes([b' '; EIGHT]);
    // Eight at once: a byte below a bound, or equal to zero, borrows from its highest bit.
    let below = |word: u64, bound: u64| word.wrapping_sub(bound) & !word & HIGH;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..at + EIGHT).and_then(|chunk| <[u8; EIGHT]>::try_from(chunk).ok()) {
        let word = u64::from_ne_bytes(chunk);
        if below(word, SPACE) | below(word ^ QUOTE, ONES) | below(word ^ BACKSLASH, ONES) != 0 {
            break;
        }
        at += EIGHT;
    }
    let means = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = &bytes[at..];
    at + rest.iter().position(means).unwrap_or(rest.len())
}

fn cut(name: &str) -> String {
    name.chars().take(80).collect()
}

// === impl ScanFault ===

impl fmt::Display for ScanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.what {
            ScanFaultKind::Expected(what) => write!(f, "not JSON: {what} was expected at byte {at}"),
            ScanFaultKind::Ended => write!(f, "not JSON: it ends at byte {at}, in the middle"),
            ScanFaultKind::TooDeep => write!(f, "nested more than {MAX_JSON_DEPTH} levels deep, at byte {at}"),
            ScanFaultKind::Twice(name) => write!(f, "`{name}` stands twice in one object, at byte {at}"),
        }
    }
}

#[cfg(test)]
mod tests;
