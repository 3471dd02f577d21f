//! What a record is, before anything is asked of the catalog.

use schemas::ids::Generation;
use schemas::rejected::RejectReason;
use sources::{Event, Rejection};

use super::judged::Judged;
use crate::expand::Place;
use crate::intake::{SourceReading, SourceTurn};
use crate::retried::RetriedTurn;

/// What a record is, by the rules of `events` or of its source; or, where it is no event or that cannot be told, what becomes of it.
/// One that is retried holds up nobody, nor does one whose source is to go on elsewhere.
pub(super) fn read<'a>(
    source: Option<SourceTurn<'a>>,
    retried: Option<&RetriedTurn>,
    place: Place<'a>,
) -> Result<Result<Event<'a>, Judged>, Rejection> {
    if let Some(refusal) = retried.and_then(RetriedTurn::refusal) {
        return Err(refusal);
    }
    let reading = match source {
        None => sources::decode(place.record, place.partition).map(SourceReading::Event),
        Some(source) => source.read(place.record, place.partition),
    };
    Ok(match reading? {
        SourceReading::Event(event) => Ok(event),
        SourceReading::Skipped(reason) => Err(Judged::Skipped(reason)),
        SourceReading::Held(why) if retried.is_some() || source.is_some_and(SourceTurn::is_leaving) => {
            return Err(Rejection::new(RejectReason::Unmapped, why.detail));
        }
        SourceReading::Held(why) => Err(Judged::Held(why)),
        SourceReading::Awaits(schema) => {
            let without = retried.and_then(|retried| retried.without(&schema));
            match without.or_else(|| source.and_then(|source| source.without(&schema))) {
                Some(rejection) => return Err(rejection),
                None => Err(Judged::Awaits(schema)),
            }
        }
    })
}

/// Why the rest of an event is not written of which a part is, where its source takes no notice of its record now.
pub(super) fn left_out(reason: &'static str) -> Rejection {
    let detail = format!("its source leaves the record out now ({reason})");
    Rejection::new(RejectReason::Unmapped, detail)
}

/// The first, unless the source was told to do again what was done before.
pub(super) fn generation(source: Option<SourceTurn<'_>>, place: Place<'_>) -> Generation {
    Generation(source.and_then(|source| source.again(place.record.offset)))
}
