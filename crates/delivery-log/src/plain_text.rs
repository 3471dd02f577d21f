//! Texts without the character that PostgreSQL's texts cannot hold. Pure.

use crate::fact::{LogRow, RowContent};

/// What stands in its place.
const INSTEAD: &str = "\u{fffd}";

/// A row as a store has it that cannot hold NUL.
pub(crate) fn without_nul(row: &mut LogRow) {
    let clean = |text: &mut String| {
        if text.contains('\0') {
            *text = text.replace('\0', INSTEAD);
        }
    };
    match &mut row.content {
        RowContent::Fact(fact) => {
            let exchange = fact.exchange.iter_mut().flat_map(|it| [&mut it.error, &mut it.to]);
            let own = [&mut fact.event_type, &mut fact.made_by, &mut fact.reason, &mut fact.detail];
            own.into_iter().chain(exchange).flatten().for_each(clean);
        }
        RowContent::Event(event) => {
            let own = [
                &mut event.source,
                &mut event.content_type,
                &mut event.occurred_at,
                &mut event.labels,
                &mut event.metadata,
                &mut event.ip,
                &mut event.detail,
            ];
            let topic = event.origin.iter_mut().map(|it| &mut it.topic);
            let named = [&mut event.id, &mut event.event_type].into_iter().chain(topic);
            own.into_iter().flatten().chain(named).for_each(clean);
        }
        RowContent::Target(target) => clean(&mut target.facts),
        RowContent::Nothing => {}
    }
}
