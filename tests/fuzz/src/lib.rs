//! Fuzz targets: whatever strangers' bytes meet, each held against something that knows better.
//!
//! ```text
//! seeds/NAME.txt --+--> made inputs (deterministic, 100,000; 10,000 where each costs a millisecond) --> run    cargo test, CI
//!                  +--> libFuzzer, led by coverage (10,000,000) --> run    make fuzz
//! ```
//!
//! A target panics where a promise is broken, and says whether its input came so far that there was one to keep: inputs that are
//! all refused at the door prove nothing, so the test asks for a share of them. A finding becomes a seed, and where it was a
//! defect a test beside its mend.
//!
//! The gateway's and the delivery worker's targets look at what is private there, so most of their code stands
//! in those crates (`fuzzing.rs`, behind a feature that is in no product).
#![expect(clippy::panic, reason = "a target says by a panic what it has found")]

mod filter;
mod mapping;
mod metadata;
mod pattern;
mod records;
mod retry_after;
mod schema;
mod schema_visits;
mod signature;
mod source_event;
#[cfg(test)]
mod tests;

/// Inputs in a test, which has some seconds.
const MANY: u32 = 100_000;
/// Of a target that compiles something large for each.
const FEW: u32 = 10_000;
/// Where one input of a target that reads two texts is cut.
const CUT: &str = ";;";

/// Something to feed with bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Takes one input. Panics where a promise is broken; whether there was one to keep.
    pub run: fn(&[u8]) -> bool,
    /// Inputs to begin with, one per line.
    pub seeds: &'static str,
    /// How many inputs a test makes of them.
    pub inputs: u32,
}

/// All of them.
pub static TARGETS: [Target; 14] = [
    Target { name: "json", run: ingest_gateway::fuzzing::json, seeds: include_str!("../seeds/json.txt"), inputs: MANY },
    Target {
        name: "structured",
        run: ingest_gateway::fuzzing::structured,
        seeds: include_str!("../seeds/structured.txt"),
        inputs: MANY,
    },
    Target {
        name: "binary",
        run: ingest_gateway::fuzzing::binary,
        seeds: include_str!("../seeds/binary.txt"),
        inputs: MANY,
    },
    Target { name: "filter", run: filter::run, seeds: include_str!("../seeds/filter.txt"), inputs: MANY },
    Target { name: "pattern", run: pattern::run, seeds: include_str!("../seeds/pattern.txt"), inputs: FEW },
    Target { name: "schema", run: schema::run, seeds: include_str!("../seeds/schema.txt"), inputs: MANY },
    Target { name: "source", run: records::source, seeds: include_str!("../seeds/source.txt"), inputs: MANY },
    Target { name: "delivery", run: records::delivery, seeds: include_str!("../seeds/delivery.txt"), inputs: MANY },
    Target { name: "metadata", run: metadata::run, seeds: include_str!("../seeds/metadata.txt"), inputs: MANY },
    Target { name: "signature", run: signature::run, seeds: include_str!("../seeds/signature.txt"), inputs: MANY },
    Target {
        name: "retry_after",
        run: retry_after::run,
        seeds: include_str!("../seeds/retry_after.txt"),
        inputs: MANY,
    },
    Target { name: "template", run: mapping::template, seeds: include_str!("../seeds/template.txt"), inputs: MANY },
    Target { name: "frame", run: mapping::frame, seeds: include_str!("../seeds/frame.txt"), inputs: MANY },
    Target { name: "avro", run: mapping::avro, seeds: include_str!("../seeds/avro.txt"), inputs: FEW },
];

/// The target that the environment names.
///
/// # Panics
/// It names none.
#[must_use]
pub fn chosen() -> &'static Target {
    #[expect(
        clippy::disallowed_methods,
        reason = "libFuzzer's program is no product, and its arguments are libFuzzer's"
    )]
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    TARGETS.iter().find(|target| target.name == name).expect("FUZZ_TARGET names a target")
}

/// Says something on the terminal.
pub fn say(text: &str) {
    use std::io::Write as _;
    // Nobody can be told that nobody can be told.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// An input of two texts.
fn two_texts(data: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.split_once(CUT).unwrap_or((text, "")))
}
