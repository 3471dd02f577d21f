//! What one byte of text costs a pattern, at worst.
//!
//! A pattern runs as a table of states that is made while it is read: then a byte is one step. Where the table does not fit its
//! room it is thrown away and made anew, or given up for the simulation of all places the pattern may be at, and a byte costs a
//! step per place. `[ab]*a[ab]{300}c` is such a one: 300 places, and 2^300 sets of them. So it is tried: if all of the table
//! fits, a byte is a byte; else it is the number of places.

use std::collections::HashSet;

use regex_automata::Input;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_syntax::hir::{Hir, HirKind};

/// A byte of text where the table fits, ns.
const STEP_NS: u64 = 5;
/// A byte of text at one of the places of a pattern whose table does not fit, ns.
const PLACE_NS: u64 = 15;
/// States that are looked at before the table counts as too large: what a compilation may take.
const MAX_STATES: usize = 2_000;
/// Places of a pattern that are looked at at once.
const PLACES_OF_A_LOOK: u64 = 64;
/// Bytes of a pattern's places: `a{500000000}` is refused here as it is by the engines, before it takes the memory.
const PLACES_BYTES: usize = 256 * 1024;
/// Places of a pattern that cannot be taken apart here: more than the engines' own limits let through.
const UNKNOWN_PLACES: u64 = 1_500;

/// What a pattern costs, and what it took to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternPrice {
    /// Nanoseconds that a byte of text costs at worst.
    pub ns_per_byte: u64,
    /// Looks at its table: one is a byte at a state, times the places of a pattern by the dozen. Some 100 ns each.
    pub looks: u64,
}

/// Nanoseconds that a byte of text costs a pattern at worst, in an engine with that much room for its table.
#[must_use]
pub fn pattern_ns_per_byte(pattern: &str, table_bytes: usize) -> u64 {
    pattern_price(pattern, table_bytes, u64::MAX).ns_per_byte
}

/// The same with at most so many looks: a table that would take more counts as one that does not fit.
#[must_use]
pub fn pattern_price(pattern: &str, table_bytes: usize, max_looks: u64) -> PatternPrice {
    let mut left = max_looks;
    let fits = if left == 0 { None } else { fits(pattern, table_bytes, &mut left) };
    let looks = max_looks - left;
    if fits == Some(true) {
        return PatternPrice { ns_per_byte: STEP_NS, looks };
    }
    let places = regex_syntax::Parser::new().parse(pattern).map_or(UNKNOWN_PLACES, |hir| places(&hir));
    PatternPrice { ns_per_byte: STEP_NS.max(PLACE_NS.saturating_mul(places.saturating_add(1))), looks }
}

/// Whether the whole table fits. `None`: it cannot be made at all, as with word boundaries beyond ASCII or too many places.
fn fits(pattern: &str, table_bytes: usize, left: &mut u64) -> Option<bool> {
    let config = DFA::config().cache_capacity(table_bytes).skip_cache_capacity_check(true);
    let places = thompson::Config::new().nfa_size_limit(Some(PLACES_BYTES));
    let syntax = syntax::Config::new().nest_limit(32);
    let built = DFA::builder().configure(config).thompson(places).syntax(syntax).build(pattern);
    let dfa = built.ok()?;
    let each = 1 + dfa.get_nfa().states().len() as u64 / PLACES_OF_A_LOOK;
    let mut cache = dfa.create_cache();
    let start = dfa.start_state_forward(&mut cache, &Input::new("")).ok()?;
    let bytes: Vec<u8> = dfa.byte_classes().representatives(0..=255).filter_map(|unit| unit.as_u8()).collect();
    let (mut known, mut waiting) = (HashSet::from([start]), vec![start]);
    while let Some(state) = waiting.pop() {
        // The search ends there.
        if state.is_dead() || state.is_match() {
            continue;
        }
        *left = left.saturating_sub(each.saturating_mul(bytes.len() as u64));
        if *left == 0 {
            return Some(false);
        }
        for byte in &bytes {
            let next = dfa.next_state(&mut cache, state, *byte).ok()?;
            if cache.clear_count() > 0 || known.len() > MAX_STATES {
                return Some(false);
            }
            if next.is_quit() {
                return None;
            }
            if known.insert(next) {
                waiting.push(next);
            }
        }
    }
    Some(true)
}

/// Places a pattern may be at: what is repeated counts as often as it may be told apart.
fn places(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 1,
        HirKind::Repetition(it) => places(&it.sub).saturating_mul(u64::from(it.max.unwrap_or_else(|| it.min.max(1)))),
        HirKind::Capture(it) => places(&it.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(places).fold(0, u64::saturating_add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_to_tell_counts_as_what_does_not_fit() {
        let plain = "^in_[0-9]+$";
        let price = pattern_price(plain, 32 * 1024, u64::MAX);
        assert_eq!((price.ns_per_byte, (1..500).contains(&price.looks)), (STEP_NS, true), "{price:?}");
        assert_eq!(pattern_price(plain, 32 * 1024, price.looks + 1), price);
        let less = pattern_price(plain, 32 * 1024, price.looks - 1);
        assert_eq!((less.ns_per_byte > STEP_NS, less.looks), (true, price.looks - 1), "all that was allowed is spent");
        assert_eq!(pattern_price(plain, 32 * 1024, 0), PatternPrice { looks: 0, ..less });
        let hard = pattern_price("[ab]*a[ab]{300}c", 256 * 1024, u64::MAX);
        assert!(hard.looks > 10_000, "{hard:?}");
    }

    #[test]
    fn a_byte_is_a_byte_where_the_table_fits_and_a_step_per_place_where_it_cannot() {
        for plain in ["^in_[0-9]+$", "(foo|bar)baz", "^[A-Z]{2}[0-9]{6}$", "[ab]*a[ab]{4}c", "^[a-z0-9-]{1,64}$"] {
            assert_eq!(pattern_ns_per_byte(plain, 32 * 1024), STEP_NS, "{plain}");
        }
        for (hard, places) in [("[ab]*a[ab]{300}c", 304), ("(a|b)*a(a|b){40}c", 43)] {
            let price = pattern_ns_per_byte(hard, 32 * 1024);
            assert!(price >= places * PLACE_NS, "{hard}: {price}");
        }
        // As refused as they are, they are priced in no memory.
        for huge in ["a{4000000000}", "a{500000000}", r"(\w{20000}){20000}"] {
            assert!(pattern_ns_per_byte(huge, 32 * 1024) >= PLACE_NS * UNKNOWN_PLACES, "{huge}");
        }
        assert_eq!(pattern_ns_per_byte("(", 1_024), PLACE_NS * (UNKNOWN_PLACES + 1), "for others to refuse");
    }
}
