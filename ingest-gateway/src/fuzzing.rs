//! Doors of the fuzz targets (tests/fuzz): what strangers' bytes meet at the gateway, held against `serde_json`. In no product: the
//! feature `fuzzing` is turned on by tests/fuzz alone.
//!
//! Each function panics where a promise is broken, and says whether there was something to promise: whether the bytes were
//! taken.
#![expect(clippy::panic, reason = "a target says by a panic what it has found")]

mod cloud_events;
mod events;

pub use self::cloud_events::{binary, structured};
pub use self::events::json;

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::Refused;

/// Longest payload that is taken here, bytes: so short that inputs pass it.
const LIMIT: usize = 256;

/// The members of an object as `serde_json` reads them.
type Members = BTreeMap<String, Box<RawValue>>;

/// The text of a member; `null` is absent.
fn text(members: &Members, name: &str) -> Option<String> {
    let raw = members.get(name).filter(|raw| raw.get() != "null")?;
    Some(serde_json::from_str(raw.get()).expect("what was taken as a text is a string"))
}

/// Whether a text is JSON that a reader with a stack refuses for its depth and nothing else.
fn is_refused_for_depth(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit")
}

/// A payload that was taken as JSON can be read by whoever looks into it later.
fn assert_readable(payload: &[u8]) {
    if let Err(error) = serde_json::from_slice::<Value>(payload) {
        // A number without a value or an escape without a character are JSON, and nobody's fault here.
        assert!(!is_refused_for_depth(&error), "nobody can read what was taken: {error}");
        assert!(serde_json::from_slice::<&RawValue>(payload).is_ok(), "what was taken is no JSON: {error}");
    }
}

/// A refusal is the caller's fault, and can be sent.
fn assert_told(refused: &Refused) {
    assert!((400..500).contains(&refused.status), "{refused:?}");
    assert!(!refused.detail.is_empty() && refused.detail.len() < 16_384, "{refused:?}");
}
