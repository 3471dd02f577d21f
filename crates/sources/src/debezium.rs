//! Debezium's change events: what a record says of a row, and which records say nothing of one.
//!
//! ```text
//! {"schema": .., "payload": ENVELOPE}   or the envelope alone
//! ENVELOPE  {"before", "after", "source": {"table", ..}, "op", "ts_ms", ..}
//!
//! op c, u, d, t    an event, of type {table}.created, .updated, .deleted, .truncated by default
//! op r             a row of a snapshot: skipped, or {table}.read where the source asks for it
//! no op            heartbeats, ends of transactions, changes of tables: skipped; anything else is none of Debezium's
//! ```
//!
//! Templates and the payload's pointer lead into the envelope, whichever way it came. One pass finds both.

use std::borrow::Cow;

use schemas::rejected::RejectReason;

use crate::attributes::cut;
use crate::mapping::SkipReason;
use crate::pointers::Pointers;
use crate::scan::{FoundPlaces, ScanFault, scalar, scan};
use crate::templates::LookedInto;
use crate::{RejectedAt, Rejection, pointer};

/// Where the envelope is, beside a schema.
const WRAPPED: &str = "/payload";

/// What is looked at in an envelope, beside what templates ask for; by [`EnvelopePart`].
const OWN: [&str; 11] = [
    "",
    "/op",
    "/source/table",
    "/source/collection",
    "/status",
    "/ddl",
    "/tableChanges",
    "/ts_ms",
    "/source",
    "/before",
    "/after",
];

/// Index into [`OWN`].
#[derive(Clone, Copy, Debug)]
enum EnvelopePart {
    Envelope,
    Op,
    Table,
    Collection,
    Status,
    Ddl,
    TableChanges,
    At,
    Source,
    Before,
    After,
}

/// Reads envelopes.
#[derive(Clone, Debug)]
pub(crate) struct DebeziumReader {
    pointers: Pointers,
    bare: EnvelopeSlots,
    wrapped: EnvelopeSlots,
    snapshots: bool,
}

/// Where in the pointers stands what is looked for in an envelope.
#[derive(Clone, Debug)]
struct EnvelopeSlots {
    own: [usize; OWN.len()],
    /// By the slots of the templates.
    asked: Vec<usize>,
}

/// What a record says.
#[derive(Debug)]
pub(crate) struct ChangedRow<'x> {
    /// The envelope, with what templates ask for.
    pub(crate) looked: LookedInto<'x>,
    pub(crate) envelope: &'x str,
    /// `{table}.created` and so on, where a table is told.
    pub(crate) default_type: Option<String>,
}

/// Why a record is no event.
#[derive(Debug)]
pub(crate) enum NoChange {
    Skipped(SkipReason),
    Rejected(Rejection),
    /// It is no JSON.
    Unreadable(ScanFault),
}

// === impl DebeziumReader ===

impl DebeziumReader {
    /// A reader that also finds what templates ask for.
    pub(crate) fn new(asked: &Pointers, snapshots: bool) -> Self {
        let mut pointers = Pointers::new();
        let mut slots = |prefix: &str| {
            let mut add = |text: &str| {
                let whole = format!("{prefix}{text}");
                // What templates ask for was read before.
                pointers.add(&whole, &pointer::steps(&whole).unwrap_or_default())
            };
            let own = OWN.map(&mut add);
            EnvelopeSlots { own, asked: (0..asked.len()).map(|slot| add(asked.text(slot))).collect() }
        };
        let (bare, wrapped) = (slots(""), slots(WRAPPED));
        Self { pointers, bare, wrapped, snapshots }
    }

    /// Reads a record's JSON.
    pub(crate) fn read<'x>(&self, json: &'x str) -> Result<ChangedRow<'x>, NoChange> {
        let places = scan(json, &self.pointers).map_err(NoChange::Unreadable)?;
        let of = |slots: &EnvelopeSlots, own: EnvelopePart| {
            let place = places[slots.own[own as usize]].clone();
            place.and_then(|place| json.get(place)).filter(|json| *json != "null")
        };
        let is_wrapped = places[self.wrapped.own[EnvelopePart::Envelope as usize]].is_some()
            && of(&self.bare, EnvelopePart::Op).is_none();
        let slots = if is_wrapped { &self.wrapped } else { &self.bare };
        let told = |own| of(slots, own);
        let Some(envelope) = told(EnvelopePart::Envelope) else {
            let nothing = Rejection::new(RejectReason::NullValue, "there is no change event: it is `null`");
            return Err(rejected(if is_wrapped { WRAPPED } else { "" }, nothing));
        };
        let Some(op) = told(EnvelopePart::Op) else { return Err(without_op(told)) };
        let op = scalar(op).ok().flatten().unwrap_or(Cow::Borrowed(op));
        let verb = match &*op {
            "c" => "created",
            "u" => "updated",
            "d" => "deleted",
            "t" => "truncated",
            "r" if self.snapshots => "read",
            "r" => return Err(NoChange::Skipped(SkipReason::Snapshot)),
            unknown => {
                let detail = format!("`op` is `{}`, none of c, u, d, r and t", cut(unknown));
                return Err(rejected("/op", Rejection::new(RejectReason::Unmapped, detail)));
            }
        };
        let table = told(EnvelopePart::Table).or_else(|| told(EnvelopePart::Collection));
        let table = table.and_then(|table| scalar(table).ok().flatten()).filter(|table| !table.is_empty());
        let found: FoundPlaces = slots.asked.iter().map(|slot| places[*slot].clone()).collect();
        Ok(ChangedRow {
            looked: LookedInto { json, places: found },
            envelope,
            default_type: table.map(|table| format!("{table}.{verb}")),
        })
    }
}

/// What a record without `op` is.
fn without_op<'x>(told: impl Fn(EnvelopePart) -> Option<&'x str>) -> NoChange {
    let is_there = |own| told(own).is_some();
    if is_there(EnvelopePart::Ddl) || is_there(EnvelopePart::TableChanges) {
        return NoChange::Skipped(SkipReason::SchemaChange);
    }
    let says_of_a_row =
        is_there(EnvelopePart::Source) || is_there(EnvelopePart::Before) || is_there(EnvelopePart::After);
    match (is_there(EnvelopePart::Status), is_there(EnvelopePart::At), says_of_a_row) {
        (true, _, false) => NoChange::Skipped(SkipReason::Transaction),
        (false, true, false) => NoChange::Skipped(SkipReason::Heartbeat),
        _none_of_these => {
            let detail =
                "there is no `op`: no change event of Debezium; what a transform has unwrapped is of format `json`";
            rejected("/op", Rejection::new(RejectReason::Unmapped, detail))
        }
    }
}

fn rejected(pointer: &str, rejection: Rejection) -> NoChange {
    NoChange::Rejected(Rejection { position: Some(RejectedAt::Pointer(pointer.into())), ..rejection })
}
