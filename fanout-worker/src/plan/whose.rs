//! Whose a record is that becomes no event.

use catalog::Catalog;
use schemas::ids::ApplicationId;

use super::Planner;
use crate::expand::{Place, RejectedOf};
use crate::intake::SourceRoute;
use crate::retried::RetriedTurn;

impl Planner {
    /// Whose a record is, for its rejection.
    pub(crate) fn whose(
        &self,
        catalog: &Catalog,
        place: Place<'_>,
        source: Option<&SourceRoute>,
        retried: Option<&RetriedTurn>,
    ) -> RejectedOf {
        let is_refused = retried.is_some_and(RetriedTurn::is_refused);
        RejectedOf {
            source: source.map(SourceRoute::source_id),
            organization: source.map(SourceRoute::organization).or_else(|| retried.and_then(RetriedTurn::organization)),
            // What it says by the rules of `events` is nothing where it is none of these.
            application: if is_refused { None } else { self.named(catalog, place, source) },
            written: None,
        }
    }

    /// The application that a record means, for its rejection: whoever looks for it finds it there, also where the record names
    /// it by uid.
    pub(super) fn named(
        &self,
        catalog: &Catalog,
        place: Place<'_>,
        source: Option<&SourceRoute>,
    ) -> Option<ApplicationId> {
        let name = match source {
            Some(route) => route.application_of(place.record, place.partition)?,
            None => sources::named_application(place.record)?,
        };
        let of_topic = (&*place.partition.topic, source.map(SourceRoute::organization));
        self.owners.named(&catalog.read(), of_topic, &name)
    }
}
