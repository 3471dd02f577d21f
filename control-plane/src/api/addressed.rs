//! One object that a request's path names: changing it and deleting it.
//!
//! Inside the store's decision, over the very snapshot that the write builds on: find it, check that it is the version the
//! request names, decide what becomes of it. Handlers say how it is found, what it is to be, and how it is shown.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use catalog::Snapshot;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::no_content;
use crate::auth::Principal;
use crate::etag::Preconditions;
use crate::problem::{Answer, Problem, not_found};
use crate::state::App;
use crate::store::{Change, Decision, Moment};
use crate::stored::Stored;

/// What a request names. `None`: there is no such object, and deleting it has nothing left to do.
pub(super) type FoundObject<T> = Result<Option<T>, Problem>;

/// Which object a request is about, and who asks.
#[derive(Clone, Debug)]
pub(super) struct Addressed {
    /// Who asks.
    pub(super) principal: Principal,
    /// Which version of the object it may be.
    pub(super) preconditions: Preconditions,
    /// What the path says.
    pub(super) id: String,
    /// Names what is done in the audit, where it is more than a change.
    action: Option<&'static str>,
}

// === impl Addressed ===

impl Addressed {
    /// Names what is done in the audit.
    pub(super) fn doing(self, action: &'static str) -> Self {
        Self { action: Some(action), ..self }
    }

    /// Changes what `find` finds into what `decide` says, and answers what it says.
    pub(super) async fn change<T: Stored, A: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        app: &App,
        find: impl Fn(&Self, &Snapshot) -> FoundObject<T> + Send + 'static,
        decide: impl Fn(&Snapshot, &T, Moment) -> Result<Decision<A>, Problem> + Send + 'static,
    ) -> Result<A, Problem> {
        let decide =
            move |snapshot: &Snapshot, found: Option<T>, moment: Moment| decide(snapshot, &there(found)?, moment);
        self.write(app, find, decide).await
    }

    /// Deletes what `find` finds.
    pub(super) async fn delete<T: Stored>(
        &self,
        app: &App,
        find: impl Fn(&Self, &Snapshot) -> FoundObject<T> + Send + 'static,
    ) -> Answer {
        self.delete_with(app, find, |_, _, _| Ok(Vec::new())).await
    }

    /// Deletes what `find` finds, and makes with it the changes that `inside` says.
    pub(super) async fn delete_with<T: Stored>(
        &self,
        app: &App,
        find: impl Fn(&Self, &Snapshot) -> FoundObject<T> + Send + 'static,
        inside: impl Fn(&Snapshot, &T, Moment) -> Result<Vec<Change>, Problem> + Send + 'static,
    ) -> Answer {
        let decide = move |snapshot: &Snapshot, found: Option<T>, moment: Moment| {
            let Some(found) = found else { return Ok(Decision::nothing(())) };
            let mut changes = inside(snapshot, &found, moment)?;
            changes.push(Change::Remove(found.into_object().key()));
            Ok(Decision::of(changes, ()))
        };
        self.write(app, find, decide).await?;
        no_content()
    }

    async fn write<T: Stored, A: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        app: &App,
        find: impl Fn(&Self, &Snapshot) -> FoundObject<T> + Send + 'static,
        decide: impl Fn(&Snapshot, Option<T>, Moment) -> Result<Decision<A>, Problem> + Send + 'static,
    ) -> Result<A, Problem> {
        let mut actor = self.principal.actor();
        actor.action = self.action;
        let asked = self.clone();
        let decide = move |snapshot: &Snapshot, moment: Moment| {
            let found = find(&asked, snapshot)?;
            if let Some(former) = &found {
                asked.preconditions.check(former)?;
            }
            decide(snapshot, found, moment)
        };
        app.store().write(actor, decide).await
    }
}

impl FromRequestParts<Arc<App>> for Addressed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let refused = |problem: Problem| problem.into_response();
        let principal = Principal::from_request_parts(parts, app).await.map_err(refused)?;
        let preconditions = Preconditions::from_request_parts(parts, app).await.map_err(refused)?;
        let path = Path::from_request_parts(parts, app).await;
        let Path(id) = path.map_err(IntoResponse::into_response)?;
        Ok(Self { principal, preconditions, id, action: None })
    }
}

/// The object, or a 404.
pub(super) fn there<T: Stored>(found: Option<T>) -> Result<T, Problem> {
    found.ok_or_else(|| not_found(T::WHAT))
}
