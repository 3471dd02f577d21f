//! The beginnings of a request's signatures, for the delivery log: enough to compare with what a receiver computed, useless for
//! sending.

use http::{HeaderMap, HeaderName};

use super::{HOOK0_SIGNATURE, WEBHOOK_SIGNATURE};

/// Characters of a signature that are shown.
const SHOWN: usize = 12;
/// Bytes of all of them: two forms, and some secrets that overlap. What does not fit is left out.
const CAPACITY: usize = 95;

/// `v1,K5oZfzN95Zr8 v1=0123456789ab`. It has its room in itself: every attempt has one.
#[derive(Clone, Copy)]
pub(crate) struct Signed {
    text: [u8; CAPACITY],
    length: u8,
}

// === impl Signed ===

impl Signed {
    /// What a request's headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut signed = Self::default();
        let text = |name: HeaderName| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
        for entry in text(WEBHOOK_SIGNATURE).split(|byte| *byte == b' ') {
            signed.push(entry, b',');
        }
        // Its last part is the signature, the others say what it covers.
        let hook0 = text(HOOK0_SIGNATURE).rsplit(|byte| *byte == b',').next();
        signed.push(hook0.unwrap_or_default(), b'=');
        signed
    }

    /// The text, empty where nothing was signed.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or_default()
    }

    /// Appends the beginning of a signature behind the name of its form.
    fn push(&mut self, entry: &[u8], mark: u8) {
        let Some(at) = entry.iter().position(|byte| *byte == mark) else { return };
        let shown = &entry[..entry.len().min(at + 1 + SHOWN)];
        let mut end = usize::from(self.length);
        if end + usize::from(end > 0) + shown.len() > CAPACITY || !shown.is_ascii() {
            return;
        }
        if end > 0 {
            self.text[end] = b' ';
            end += 1;
        }
        self.text[end..end + shown.len()].copy_from_slice(shown);
        self.length = u8::try_from(end + shown.len()).unwrap_or(self.length);
    }
}

impl Default for Signed {
    fn default() -> Self {
        Self { text: [0; CAPACITY], length: 0 }
    }
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signed").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(standard: &str, hook0: &str) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in [(WEBHOOK_SIGNATURE, standard), (HOOK0_SIGNATURE, hook0)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        Signed::of(&headers).as_str().to_owned()
    }

    #[test]
    fn twelve_characters_of_each_signature_are_shown_and_no_more() {
        let (one, other) = ("v1,K5oZfzN95Zr8+/AAAAAA=", "v1a,abcdefghijklmnop==");
        let hook0 = "t=1790000000,h=content-type x-event-id,v1=0123456789abcdef";
        assert_eq!(signed(one, ""), "v1,K5oZfzN95Zr8");
        assert_eq!(signed("", hook0), "v1=0123456789ab");
        assert_eq!(signed("", "sha256=0123456789abcdef"), "sha256=0123456789ab");
        let both = "v1,K5oZfzN95Zr8 v1a,abcdefghijkl v1=0123456789ab";
        assert_eq!(signed(&format!("{one} {other}"), hook0), both);
        assert_eq!(signed("", ""), "");
    }

    #[test]
    fn more_signatures_than_there_is_room_for_are_left_out_whole() {
        let many = vec!["v1,K5oZfzN95Zr8+/AAAAAA="; 20].join(" ");
        assert_eq!(signed(&many, "v1=0123456789abcdef"), ["v1,K5oZfzN95Zr8"; 6].join(" "));
    }
}
