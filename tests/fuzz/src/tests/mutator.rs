//! Makes inputs of seeds: deterministic, so that a finding is found again.

/// Longest input, bytes.
const MAX_BYTES: usize = 4_096;
/// Bytes that mean something to what is fuzzed here.
const MEANINGFUL: &[u8] = b"{}[]()\"'\\:,;|.=*+?-_/%# \t0123456789aAeEnutf$@";
/// Numbers at the edges of types.
const NUMBERS: [&[u8]; 10] = [
    b"0",
    b"-1",
    b"255",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e999",
    b"0.1",
    b"99999999999999999999999",
];

pub(super) struct Mutator {
    state: u64,
}

impl Mutator {
    /// A sequence of its own for each name.
    pub(super) fn new(name: &str) -> Self {
        let mix = |state: u64, byte: u8| state.wrapping_mul(31).wrapping_add(u64::from(byte));
        let state = name.bytes().fold(0x686f_6f6b_6275_7300, mix);
        Self { state }
    }

    /// One of the seeds, changed one to eight times.
    pub(super) fn input(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        let mut input = self.one_of(seeds).to_vec();
        for _ in 0..=self.below(8) {
            self.change(&mut input, seeds);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[&[u8]]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(16)).min(input.len());
        match self.below(8) {
            0 => {
                let byte = self.byte();
                if let Some(place) = input.get_mut(at) {
                    *place = byte;
                }
            }
            1 => input.insert(at, self.byte()),
            2 => drop(input.drain(at..end)),
            3 => {
                let again: Vec<u8> = input[at..end].repeat(1 + self.below(20));
                input.splice(at..at, again);
            }
            4 => {
                let other = self.one_of(seeds);
                let from = self.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            5 => {
                let other = self.one_of(seeds);
                let from = self.below(other.len() + 1);
                let to = (from + self.below(24)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            6 => {
                let number = self.one_of(&NUMBERS);
                let digits = input[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                input.splice(at..at + digits, number.iter().copied());
            }
            _swap => {
                let other = self.below(input.len() + 1);
                if at < input.len() && other < input.len() {
                    input.swap(at, other);
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => u8::try_from(self.below(256)).expect("it is below 256"),
            _meaningful => MEANINGFUL[self.below(MEANINGFUL.len())],
        }
    }

    fn one_of<'a>(&mut self, all: &[&'a [u8]]) -> &'a [u8] {
        all[self.below(all.len())]
    }

    /// A number below another, of a well-known mix of a counter (splitmix64).
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).expect("it is below a length")
    }
}
