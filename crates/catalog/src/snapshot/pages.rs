//! Tables from a place on, so that a page of a long list costs no more than a page of a short one.

use std::ops::Bound;
use std::sync::Arc;

use schemas::control::{Application, Organization};
use schemas::ids::{ApplicationId, OrganizationId, SubscriptionId};

use super::Snapshot;
use crate::event_type::EventType;
use crate::handles::ById;
use crate::subscription::Subscription;

fn from<T>(after: Option<T>) -> (Bound<T>, Bound<T>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Snapshot {
    /// The organizations whose ids come after this one.
    pub fn organizations_after(&self, after: Option<OrganizationId>) -> impl Iterator<Item = &Arc<Organization>> {
        self.tenants.organizations_from(from(after))
    }

    /// The applications whose ids come after this one.
    pub fn applications_after(&self, after: Option<ApplicationId>) -> impl Iterator<Item = &Arc<Application>> {
        self.tenants.applications_from(from(after))
    }

    /// The same of an organization.
    pub fn applications_of_after(
        &self,
        organization: OrganizationId,
        after: Option<ApplicationId>,
    ) -> impl Iterator<Item = &Arc<Application>> {
        self.tenants.applications_of_from(organization, from(after))
    }

    /// The event types of an application whose names come after this one.
    pub fn event_types_after(
        &self,
        application: ApplicationId,
        after: Option<&str>,
    ) -> impl Iterator<Item = &Arc<EventType>> {
        let range = from(after);
        self.scope(application).into_iter().flat_map(move |it| it.event_types.range::<str, _>(range).map(|(_, it)| it))
    }

    /// The subscriptions of an application whose ids come after this one.
    pub fn subscriptions_after(
        &self,
        application: ApplicationId,
        after: Option<SubscriptionId>,
    ) -> impl Iterator<Item = &Arc<Subscription>> {
        let range = from(after);
        let scope = self.scope(application).into_iter();
        scope.flat_map(move |it| it.subscriptions.range::<SubscriptionId, _>(range).map(|ById(found)| found))
    }
}
