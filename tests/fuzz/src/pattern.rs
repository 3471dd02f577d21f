//! Patterns: `pattern;;text`. Where a byte is priced as one step, the table of states holds whatever the text is.

use std::sync::LazyLock;

use filter::limits::{PATTERN_BYTES, PATTERN_MEMORY};
use filter::pattern_ns_per_byte;
use regex_automata::Input;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

use crate::two_texts;

/// The tables of filters, of schemas, and one that is soon too small.
const TABLES: [usize; 2] = [PATTERN_MEMORY, 16 * 1024];

/// The price of a byte where the table fits.
static ONE_STEP: LazyLock<u64> = LazyLock::new(|| pattern_ns_per_byte("a", PATTERN_MEMORY));

pub(crate) fn run(data: &[u8]) -> bool {
    let Some((pattern, text)) = two_texts(data) else { return false };
    if pattern.len() > PATTERN_BYTES {
        return false;
    }
    let mut came_far = false;
    for table in TABLES {
        let price = pattern_ns_per_byte(pattern, table);
        let one_step = *ONE_STEP;
        assert!(price >= one_step);
        let Some(dfa) = dfa(pattern, table) else {
            assert!(price > one_step, "what cannot be tried is not cheap");
            continue;
        };
        came_far = true;
        if price == one_step {
            let mut cache = dfa.create_cache();
            let found = dfa.try_search_fwd(&mut cache, &Input::new(text).earliest(true));
            assert!(found.is_ok(), "it was given up: {found:?}");
            assert_eq!(cache.clear_count(), 0, "the table did not hold the states of `{text}`");
        }
    }
    came_far
}

fn dfa(pattern: &str, table: usize) -> Option<DFA> {
    let config = DFA::config().cache_capacity(table).skip_cache_capacity_check(true);
    let places = thompson::Config::new().nfa_size_limit(Some(256 * 1024));
    let syntax = syntax::Config::new().nest_limit(32);
    DFA::builder().configure(config).thompson(places).syntax(syntax).build(pattern).ok()
}
