//! Whose a job is: of an application, of an organization, or of the operator.

use uuid::Uuid;

use crate::ids::{ApplicationId, OrganizationId};
#[cfg(doc)]
use crate::jobs::JobDefinition;

/// Whose a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOwner {
    /// An application's.
    Application(ApplicationId),
    /// An organization's, and of none of its applications alone.
    Organization(OrganizationId),
    /// The operator's.
    Operator,
}

// === impl JobOwner ===

impl JobOwner {
    /// The id that its jobs are filed under: those of one owner are in one partition, and take turns.
    #[must_use]
    pub fn filed_under(self) -> ApplicationId {
        match self {
            Self::Application(id) => id,
            Self::Organization(id) => ApplicationId(id.0),
            Self::Operator => ApplicationId(Uuid::nil()),
        }
    }

    /// The organization, for [`JobDefinition::organization_id`].
    #[must_use]
    pub fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Organization(id) => Some(id),
            Self::Application(_) | Self::Operator => None,
        }
    }
}
