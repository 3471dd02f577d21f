//! Whose the records of a topic are: applications are looked for nowhere else.
//!
//! A uid is unique in its organization only, and whoever wins or loses one changes whom it means. So a record names its
//! application within the organization of its topic. `events` is the installation's: the gateway writes there for everybody,
//! by id, and an id is never another organization's again; uids are those of the one organization that is there from the start.
//! A source is its organization's, whatever its records say.

use std::sync::Arc;

use catalog::{Snapshot, acceptance};
use schemas::control::Application;
use schemas::ids::{ApplicationId, OrganizationId};
use schemas::rejected::RejectReason;
use sources::Rejection;
use uuid::Uuid;

/// Whose the topics are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owners {
    /// Whose uids records of `events` name.
    installation: OrganizationId,
}

// === impl Owners ===

impl Owners {
    pub(crate) fn new(installation: OrganizationId) -> Self {
        Self { installation }
    }

    /// The application that a rejected record of a topic means; `source`: the organization of the source that it is of. An id that is
    /// nobody's is taken for it on `events`, where a snapshot may be behind the gateway; on an organization's own topic it may be
    /// another's.
    pub(crate) fn named(
        self,
        snapshot: &Snapshot,
        (topic, source): (&str, Option<OrganizationId>),
        id_or_uid: &str,
    ) -> Option<ApplicationId> {
        if let Ok(found) = self.application(snapshot, (topic, source), id_or_uid) {
            return Some(found.application_id);
        }
        id_or_uid.parse().ok().filter(|_| source.is_none())
    }

    /// The application that a record of a topic names; `source`: the organization of the source that it is of.
    pub(crate) fn application<'a>(
        self,
        snapshot: &'a Snapshot,
        (topic, source): (&str, Option<OrganizationId>),
        id_or_uid: &str,
    ) -> Result<&'a Arc<Application>, Rejection> {
        let is_id = || Uuid::parse_str(id_or_uid).is_ok();
        let found = acceptance::application(snapshot, (self.installation, source), id_or_uid);
        found.ok_or_else(|| match source {
            None if !is_id() && snapshot.applications_called(id_or_uid).next().is_some() => Rejection::new(
                RejectReason::AmbiguousApplication,
                format!(
                    "`{id_or_uid}` is a uid of another organization than {}, whose uids records of {topic} may name: name \
                     the application by its id",
                    self.installation
                ),
            ),
            Some(organization) => Rejection::new(
                RejectReason::UnknownApplication,
                format!("organization {organization}, which {topic} belongs to, has no application `{id_or_uid}`"),
            ),
            None => Rejection::new(
                RejectReason::UnknownApplication,
                format!("no application has the id or uid `{id_or_uid}`"),
            ),
        })
    }
}
