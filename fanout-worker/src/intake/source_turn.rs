//! What a record of a source is planned by: its source's rules, what that one has handled, and the schemas that are here. Pure.

use kafka::Handled;
use schema_registry::SchemasAt;
use schemas::record::{Record, TopicPartition};
use schemas::rejected::RejectReason;
use sources::Rejection;
use sources::schema::{NoSchemas, SchemaKey};
use uuid::Uuid;

use super::route::{SourceReading, SourceRoute};

/// What a record of a source is planned by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceTurn<'a> {
    /// By whose rules.
    pub(crate) route: &'a SourceRoute,
    pub(super) handled: &'a Handled,
    pub(super) again: Option<Uuid>,
    /// None: there are no schemas.
    pub(super) schemas: Option<SchemasAt<'a>>,
    /// Its source is to go on elsewhere: what cannot be told of a record for now is not waited for.
    pub(super) is_leaving: bool,
}

// === impl SourceTurn ===

impl<'a> SourceTurn<'a> {
    /// For a record that is planned again: wherever its source reads, it is planned as what was never handled.
    pub(crate) fn retried(route: &'a SourceRoute, schemas: SchemasAt<'a>) -> Self {
        const NOTHING: &Handled = &Handled::nothing();
        Self { route, handled: NOTHING, again: None, schemas: Some(schemas), is_leaving: false }
    }

    /// Of a source that has handled nothing yet, for tests.
    #[cfg(test)]
    pub(crate) fn first(route: &'a SourceRoute) -> Self {
        const NOTHING: &Handled = &Handled::nothing();
        Self { route, handled: NOTHING, again: None, schemas: None, is_leaving: false }
    }

    /// Of a source that has handled this much, for tests.
    #[cfg(test)]
    pub(crate) fn after(route: &'a SourceRoute, handled: &'a Handled) -> Self {
        Self { route, handled, again: None, schemas: None, is_leaving: false }
    }

    /// What a record is.
    pub(crate) fn read(self, record: &'a Record, from: &'a TopicPartition) -> Result<SourceReading<'a>, Rejection> {
        match &self.schemas {
            None => self.route.read(record, from, &NoSchemas),
            Some(schemas) => self.route.read(record, from, schemas),
        }
    }

    /// Whether its source is to go on elsewhere once this record is done.
    pub(crate) fn is_leaving(self) -> bool {
        self.is_leaving
    }

    /// Whether an application that is not there holds up its records: it is the one that the source names of all of them.
    pub(crate) fn is_held_without_application(self) -> bool {
        self.route.names_application() && !self.is_leaving
    }

    /// Why a record is nothing without a schema, if it is not waited for.
    pub(crate) fn without(self, key: &SchemaKey) -> Option<Rejection> {
        let is_silent = self.schemas.is_some_and(|schemas| schemas.is_unavailable(key));
        let why = || {
            let SchemaKey { registry, id } = key;
            format!(
                "it needs {id} of schema registry {registry}, which gives no answer, and its source was moved: retry it when it does"
            )
        };
        (self.is_leaving && is_silent).then(|| Rejection::new(RejectReason::SchemaNotFound, why()))
    }

    /// Whether this source has handled the record before, as far as is known. An id that is its position repeats then.
    pub(crate) fn was_handled(self, offset: i64) -> bool {
        self.handled.contains(offset)
    }

    /// Whether this source has rejected the record before, as far as is known: it may have been retried since.
    pub(crate) fn was_rejected(self, offset: i64) -> bool {
        self.handled.was_rejected(offset)
    }

    /// The generation that a record is made anew as, if it was handled before and is to be done again.
    pub(crate) fn again(self, offset: i64) -> Option<Uuid> {
        self.again.filter(|_| self.handled.contains(offset))
    }
}
