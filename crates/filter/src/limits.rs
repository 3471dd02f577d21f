//! Every limit of a filter, with its reason.
//!
//! Work is counted in units of roughly 20 ns: a value looked at is one, a text one more per 64 bytes, a turn of a loop
//! [`TURN`] and one per part of its body.

/// Longest text, bytes: a screen full; longer ones are programs.
pub const TEXT_BYTES: usize = 4_096;
/// Most parts (operators, names, literals) after macros are expanded.
pub const PARTS: usize = 1_000;
/// Deepest nesting of parts: the interpreter recurses.
pub const DEPTH: usize = 48;
/// Deepest nesting of brackets and calls: the parser recurses, and deeper per level than the interpreter.
pub const PARSER_DEPTH: u16 = 24;
/// Loops (`all`, `exists`, `exists_one`, `map`, `filter`) inside each other.
pub const LOOPS: usize = 2;
/// Patterns of `matches` in one filter.
pub const PATTERNS: usize = 8;
/// Longest pattern, bytes.
pub const PATTERN_BYTES: usize = 256;
/// Largest compiled pattern, bytes: a few Unicode classes, no large repetitions of them.
pub const PATTERN_MEMORY: usize = 256 * 1024;
/// Longest text a pattern is tried on, bytes.
pub const SUBJECT_BYTES: usize = 64 * 1024;
/// Largest payload that is parsed for `data`, bytes.
pub const DATA_BYTES: usize = 1024 * 1024;
/// Units of one evaluation.
pub const FILTER_UNITS: u64 = 250_000;
/// Units of all evaluations for one event, beyond each one's own: many filters at their limit must not stop a partition.
pub const EVENT_UNITS: u64 = 2_500_000;
/// Units that every evaluation has of its own, whatever the event's other filters did.
///
/// A simple filter (some ten parts, texts of a few KiB) never fails because of its neighbours. Ten thousand filters cost at
/// most 100 ms by it.
pub const OWN_UNITS: u64 = 500;
/// Units of a loop's turn.
pub(crate) const TURN: usize = 15;
/// Nanoseconds of a unit.
pub(crate) const UNIT_NS: u64 = 20;
/// Bytes of text that cost one unit.
pub(crate) const UNIT_BYTES: usize = 64;
/// Longest name or message part repeated in an error, characters.
pub(crate) const REPEATED: usize = 80;
