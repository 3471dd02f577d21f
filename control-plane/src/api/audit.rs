//! Who changed what, newest first. A token sees the changes of what it sees, also of what is gone since.

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use schemas::audit::Audit;
use schemas::control::ControlKey;
use schemas::ids::{ApplicationId, OrganizationId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{rows, time};
use crate::audits::no_cursor;
use crate::auth::{Principal, Who};
use crate::page::{Page, Rows};
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;

/// Rows of a page, unless the request says how many.
const USUAL: usize = 100;

/// A change of one object.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditRecord, example = json!({
    "at": "2026-11-22T10:30:00Z",
    "actor": "service_token/01940000-0000-7000-8000-000000000003",
    "action": "subscription.update",
    "object": "subscription/c0ea6ffa-1972-4435-b434-ec9e93d38f42/01a20186-21cb-7749-81d0-b27446f73332",
    "changed": ["description", "target.url"],
    "address": "192.0.2.7",
    "request_id": "01a20186-21cb-7749-81d0-b27446f73340",
    "write_id": "01a20186-21cb-7749-81d0-b27446f73341",
}))]
pub(super) struct AuditShown {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Who: `admin`, `application_secret/<id>`, `service_token/<id>`, `system/<part>`.
    actor: String,
    /// What: `<kind>.<create|update|delete>`, or an action with a name of its own (`subscription.rotate_secret`).
    action: String,
    /// The object: `<kind>/<whose>/<id>`.
    object: String,
    /// Names of the fields that a change has changed, never what stood in them. Empty where it was made or deleted.
    changed: Vec<String>,
    /// Where the request came from: shown to the operator, and to an editor of whose own scope the token was.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The request's `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Changes with the same one were made together.
    write_id: Uuid,
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, Default)]
struct AuditScope {
    organization: Option<OrganizationId>,
    application: Option<ApplicationId>,
}

/// What a request asks for.
#[derive(Debug)]
struct ChangesAsked<'a> {
    scope: AuditScope,
    actor: Option<&'a str>,
    action: Option<&'a str>,
    object: Option<&'a str>,
}

/// List changes
///
/// Who changed what, newest first: a token sees the changes of what it sees. A page looks at a bounded number of changes, so it may
/// have few rows, or none, while `Link` names a next one.
#[utoipa::path(
    get, path = "/api/v1/audit", operation_id = "audit.list", tag = "audit",
    params(
        ("organization_id" = Option<String>, Query, description = "Only those in this organization: id or uid", nullable = false),
        ("application_id" = Option<String>, Query, description = "Only those in this application: id or uid", nullable = false),
        ("actor" = Option<String>, Query, description = "Only those of this actor", nullable = false),
        ("action" = Option<String>, Query, description = "Only these, `subscription.update`", nullable = false),
        ("object" = Option<String>, Query, description = "Only those of this object: `object`, or the last part of it", nullable = false),
        ("limit" = Option<u16>, Query, description = "Rows of a page, 100 unless said", minimum = 1, maximum = 1000, nullable = false),
        ("pagination_cursor" = Option<i64>, Query, description = "Where the page begins: as the `Link` of the page before says", minimum = 0, nullable = false),
    ),
    responses((status = 200, description = "Changes, newest first", body = Vec<AuditShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let end = page.after_name().map(|text| text.parse().ok().filter(|end| *end >= 0_i64).ok_or_else(no_cursor));
    let wanted = page.limit().unwrap_or(USUAL);
    let filter = ChangesAsked {
        scope: asked(&principal, &app.catalog().read(), &query)?,
        actor: query.get("actor"),
        action: query.get("action"),
        object: query.get("object"),
    };
    let organization = principal.who.organization(&app.catalog().read());
    let _turn = app.turns().audit.take(organization).await?;
    let piece = app.audits().before(end.transpose()?).await?;
    let (mut found, mut next) = (Vec::new(), piece.next);
    let snapshot = app.catalog().read();
    for (offset, audit) in piece.records {
        if !filter.fits(&audit, AuditScope::of(&snapshot, &audit.key), &principal) {
            continue;
        }
        // One more than is wanted: there is a next page.
        if found.len() == wanted {
            next = Some(offset + 1);
            break;
        }
        let shows_address = principal.sees_address_of(&audit.actor);
        found.push(AuditShown::of(audit, shows_address));
    }
    drop(snapshot);
    rows(&query, &Rows::of(found, next.map(|end| end.to_string())))
}

/// The part of the log that is asked for, of which the token must see the owner.
fn asked(principal: &Principal, snapshot: &Snapshot, query: &Query) -> Result<AuditScope, Problem> {
    let organization = query.get("organization_id").map(|given| principal.organization(snapshot, given)).transpose()?;
    let application = query.get("application_id").map(|given| principal.application(snapshot, given)).transpose()?;
    Ok(AuditScope {
        organization: organization.map(|it| it.organization_id),
        application: application.map(|it| it.application_id),
    })
}

// === impl AuditScope ===

impl AuditScope {
    fn of(snapshot: &Snapshot, key: &str) -> Self {
        let application = |id: ApplicationId| {
            let there = snapshot.application_by_id(id).map(|it| it.organization_id);
            let organization = there.or_else(|| snapshot.retired_application(id).map(|it| it.organization_id));
            Self { organization, application: Some(id) }
        };
        match ControlKey::parse(key) {
            Some(ControlKey::Organization(id) | ControlKey::ServiceToken(id, _) | ControlKey::Source(id, _)) => {
                Self { organization: Some(id), application: None }
            }
            Some(ControlKey::Application(organization, id)) => {
                Self { organization: Some(organization), application: Some(id) }
            }
            Some(
                ControlKey::ApplicationSecret(id, _)
                | ControlKey::RetiredApplication(id)
                | ControlKey::EventType(id, _)
                | ControlKey::Subscription(id, _)
                | ControlKey::CancelledJob(id, _),
            ) => application(id),
            Some(ControlKey::KeptAnswer(organization, _)) => Self { organization, application: None },
            // The operator's own.
            Some(ControlKey::SchemaRegistry(_)) => Self::default(),
            // A job or an event is no object of the control topic.
            None => other_owner(key).map_or_else(Self::default, |id| {
                let organization = OrganizationId(id.0);
                match snapshot.organization(organization) {
                    Some(_) => Self { organization: Some(organization), application: None },
                    None => application(id),
                }
            }),
        }
    }
}

/// Whose a job is, or an event that was erased: `job/<application>/<job>`, also with an organization in place of the
/// application, and `event/<application>/<UUID>`.
fn other_owner(key: &str) -> Option<ApplicationId> {
    let of = key.strip_prefix("job/").or_else(|| key.strip_prefix("event/"))?;
    of.split('/').next()?.parse().ok()
}

// === impl ChangesAsked ===

impl ChangesAsked<'_> {
    fn fits(&self, audit: &Audit, of: AuditScope, principal: &Principal) -> bool {
        let seen = match &principal.who {
            Who::Admin => true,
            Who::Service(entry) => of.organization == Some(entry.organization),
            Who::Application(entry) => of.application == Some(entry.application),
        };
        let is_asked = |asked: Option<&str>, text: &str| asked.is_none_or(|asked| asked == text);
        let is_object = self
            .object
            .is_none_or(|object| audit.key == object || audit.key.splitn(3, '/').nth(2).is_some_and(|id| id == object));
        seen && is_object
            && is_asked(self.actor, &audit.actor)
            && is_asked(self.action, &audit.action)
            && (self.scope.organization.is_none() || self.scope.organization == of.organization)
            && (self.scope.application.is_none() || self.scope.application == of.application)
    }
}

// === impl AuditShown ===

impl AuditShown {
    fn of(audit: Audit, shows_address: bool) -> Self {
        Self {
            at: time(audit.at_ms),
            actor: audit.actor,
            action: audit.action,
            object: audit.key,
            changed: audit.changed,
            address: audit.address.filter(|_| shows_address),
            request_id: audit.request_id,
            write_id: audit.write_id,
        }
    }
}
