//! Erased events in what is taken: which they are, and rows without their content. Pure.

use std::collections::HashSet;

use uuid::Uuid;

use crate::fact::{Fact, FactKind, LogRow, RowContent};

/// The event that a row says is erased.
pub(crate) fn erasure(content: &RowContent) -> Option<Uuid> {
    match content {
        RowContent::Fact(fact) => of_fact(fact),
        RowContent::Event(_) | RowContent::Target(_) | RowContent::Nothing => None,
    }
}

fn of_fact(fact: &Fact) -> Option<Uuid> {
    fact.event.filter(|_| fact.kind == FactKind::Erased)
}

/// A row without what was erased; as it is where nothing was.
pub(crate) fn without_content(row: LogRow, erased: &HashSet<Uuid>) -> (LogRow, Option<Uuid>) {
    let event = row.content.event().filter(|event| erased.contains(event));
    let mut row = row;
    if event.is_some() {
        row.content.erase();
    }
    (row, event)
}
