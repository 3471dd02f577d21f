//! Organizations and applications of a snapshot, by everything they are called and by whose they are. Each question costs the
//! same however many there are.
//!
//! A uid of an application is unique in its organization only, so it means nothing without one: whoever looks by uid says among
//! whose. An id that an application had stays its organization's after the application is gone ([`RetiredApplication`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use schemas::control::{Application, Organization, RetiredApplication};
use schemas::ids::{ApplicationId, OrganizationId};
use uuid::Uuid;

use super::Snapshot;

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    organizations: BTreeMap<OrganizationId, Arc<Organization>>,
    organization_uids: HashMap<String, OrganizationId>,
    applications: BTreeMap<ApplicationId, Arc<Application>>,
    /// Applications by uid, each with its organization; more than one in different organizations is possible.
    application_uids: HashMap<String, BTreeSet<(OrganizationId, ApplicationId)>>,
    of_organization: HashMap<OrganizationId, BTreeSet<ApplicationId>>,
    retired: HashMap<ApplicationId, Arc<RetiredApplication>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// An organization.
    #[must_use]
    pub fn organization(&self, id: OrganizationId) -> Option<&Arc<Organization>> {
        self.tenants.organizations.get(&id)
    }

    /// An organization by its id or uid.
    #[must_use]
    pub fn organization_called(&self, id_or_uid: &str) -> Option<&Arc<Organization>> {
        let id = match Uuid::parse_str(id_or_uid) {
            Ok(id) => OrganizationId(id),
            Err(_no_id) => *self.tenants.organization_uids.get(id_or_uid)?,
        };
        self.organization(id)
    }

    /// All organizations, oldest id first.
    pub fn organizations(&self) -> impl Iterator<Item = &Arc<Organization>> {
        self.tenants.organizations.values()
    }

    /// An application by its id.
    #[must_use]
    pub fn application_by_id(&self, id: ApplicationId) -> Option<&Arc<Application>> {
        self.tenants.applications.get(&id)
    }

    /// An application of an organization, by its id or uid. What others call theirs hides nothing.
    #[must_use]
    pub fn application_in(&self, organization: OrganizationId, id_or_uid: &str) -> Option<&Arc<Application>> {
        let tenants = &self.tenants;
        if let Ok(id) = Uuid::parse_str(id_or_uid) {
            return self.application_by_id(ApplicationId(id)).filter(|found| found.organization_id == organization);
        }
        let first = (organization, ApplicationId(Uuid::nil()));
        let (owner, id) = tenants.application_uids.get(id_or_uid)?.range(first..).next()?;
        if *owner == organization { tenants.applications.get(id) } else { None }
    }

    /// All applications that are called so: the one with this id, or one of each organization that has given this uid.
    pub fn applications_called(&self, id_or_uid: &str) -> impl Iterator<Item = &Arc<Application>> {
        let tenants = &self.tenants;
        let id = Uuid::parse_str(id_or_uid).ok().map(ApplicationId);
        let by_uid = if id.is_some() { None } else { tenants.application_uids.get(id_or_uid) };
        let by_uid = by_uid.into_iter().flatten().map(|(_, id)| *id);
        id.into_iter().chain(by_uid).filter_map(|id| tenants.applications.get(&id))
    }

    /// All applications, oldest id first.
    pub fn applications(&self) -> impl Iterator<Item = &Arc<Application>> {
        self.tenants.applications.values()
    }

    /// The applications of an organization, oldest id first.
    pub fn applications_of(&self, organization: OrganizationId) -> impl Iterator<Item = &Arc<Application>> {
        let ids = self.tenants.of_organization.get(&organization).into_iter().flatten();
        ids.filter_map(|id| self.tenants.applications.get(id))
    }

    /// Number of applications of an organization.
    #[must_use]
    pub fn application_count(&self, organization: OrganizationId) -> usize {
        self.tenants.of_organization.get(&organization).map_or(0, BTreeSet::len)
    }

    /// What is remembered of an application that was deleted, also while another one of its organization has its id again.
    #[must_use]
    pub fn retired_application(&self, id: ApplicationId) -> Option<&Arc<RetiredApplication>> {
        self.tenants.retired.get(&id)
    }
}

// === impl Tenants ===

impl Tenants {
    pub(super) fn organizations_from(
        &self,
        range: (Bound<OrganizationId>, Bound<OrganizationId>),
    ) -> impl Iterator<Item = &Arc<Organization>> {
        self.organizations.range(range).map(|(_, it)| it)
    }

    pub(super) fn applications_from(
        &self,
        range: (Bound<ApplicationId>, Bound<ApplicationId>),
    ) -> impl Iterator<Item = &Arc<Application>> {
        self.applications.range(range).map(|(_, it)| it)
    }

    pub(super) fn applications_of_from(
        &self,
        organization: OrganizationId,
        range: (Bound<ApplicationId>, Bound<ApplicationId>),
    ) -> impl Iterator<Item = &Arc<Application>> {
        let ids = self.of_organization.get(&organization).into_iter().flat_map(move |ids| ids.range(range));
        ids.filter_map(|id| self.applications.get(id))
    }

    pub(super) fn put_organization(&mut self, organization: Arc<Organization>) {
        self.remove_organization(organization.organization_id);
        if let Some(uid) = &organization.uid {
            self.organization_uids.insert(uid.clone(), organization.organization_id);
        }
        self.organizations.insert(organization.organization_id, organization);
    }

    pub(super) fn remove_organization(&mut self, id: OrganizationId) {
        let Some(former) = self.organizations.remove(&id) else { return };
        let Some(uid) = &former.uid else { return };
        // Another one may have taken the uid meanwhile.
        if self.organization_uids.get(uid) == Some(&id) {
            self.organization_uids.remove(uid);
        }
    }

    pub(super) fn has_application(&self, id: ApplicationId) -> bool {
        self.applications.contains_key(&id)
    }

    pub(super) fn put_application(&mut self, application: Arc<Application>) {
        let (organization, id) = (application.organization_id, application.application_id);
        self.remove_application(id);
        if let Some(uid) = &application.uid {
            self.application_uids.entry(uid.clone()).or_default().insert((organization, id));
        }
        self.of_organization.entry(organization).or_default().insert(id);
        self.applications.insert(id, application);
    }

    pub(super) fn remove_application(&mut self, id: ApplicationId) {
        let Some(former) = self.applications.remove(&id) else { return };
        let organization = former.organization_id;
        if let Some(ids) = self.of_organization.get_mut(&organization) {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_organization.remove(&organization);
            }
        }
        let Some(uid) = &former.uid else { return };
        if let Some(ids) = self.application_uids.get_mut(uid) {
            ids.remove(&(organization, id));
            if ids.is_empty() {
                self.application_uids.remove(uid);
            }
        }
    }

    pub(super) fn is_retired(&self, id: ApplicationId) -> bool {
        self.retired.contains_key(&id)
    }

    pub(super) fn put_retired(&mut self, retired: Arc<RetiredApplication>) {
        self.retired.insert(retired.application_id, retired);
    }

    pub(super) fn remove_retired(&mut self, id: ApplicationId) {
        self.retired.remove(&id);
    }
}
