//! Who asks: the admin key, or an application's secret. Everything inside its application is open to the latter, nothing outside.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use catalog::{Role, Snapshot, Subscription, TokenEntry};
use http::header;
use http::request::Parts;
use schemas::control::Application;
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::problem::ProblemId;
use uuid::Uuid;

use crate::problem::{Problem, forbidden, not_found, unavailable};
use crate::state::App;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Principal {
    /// The operator's key: everything.
    Admin,
    /// A token of one application.
    Application(TokenEntry),
}

impl Principal {
    /// For the `hookbus-actor` header and the audit.
    pub(crate) fn actor(&self) -> String {
        match self {
            Self::Admin => "admin".to_owned(),
            Self::Application(entry) => format!("application_secret/{}", entry.secret),
        }
    }

    /// Only the operator.
    pub(crate) fn admin(&self) -> Result<(), Problem> {
        match self {
            Self::Admin => Ok(()),
            Self::Application(_) => Err(forbidden()),
        }
    }

    /// Whether it may change what it sees.
    pub(crate) fn editor(&self) -> Result<(), Problem> {
        match self {
            Self::Application(entry) if entry.role < Role::Editor => Err(forbidden()),
            Self::Admin | Self::Application(_) => Ok(()),
        }
    }

    /// An application it may see, by id or uid.
    pub(crate) fn application(&self, snapshot: &Snapshot, id_or_uid: &str) -> Result<Arc<Application>, Problem> {
        let found = snapshot.application(id_or_uid);
        match self {
            Self::Admin => found.cloned().ok_or_else(|| not_found("application")),
            Self::Application(entry) => {
                found.filter(|it| it.application_id == entry.application).cloned().ok_or_else(forbidden)
            }
        }
    }

    /// A subscription it may see, by id, or by uid inside `application` (its own for an application's token).
    pub(crate) fn subscription(
        &self,
        snapshot: &Snapshot,
        id_or_uid: &str,
        application: Option<&str>,
    ) -> Result<Arc<Subscription>, Problem> {
        let scope = self.scope(snapshot, application)?;
        let by_id = Uuid::parse_str(id_or_uid).ok().and_then(|id| snapshot.subscription(SubscriptionId(id)));
        let found = by_id.or_else(|| snapshot.subscription_by_uid(scope?, id_or_uid));
        let found = found.filter(|it| scope.is_none_or(|scope| it.application() == scope));
        found.cloned().ok_or_else(|| match self {
            Self::Admin => not_found("subscription"),
            Self::Application(_) => forbidden(),
        })
    }

    /// The application that is looked into, if it is said or implied.
    fn scope(&self, snapshot: &Snapshot, application: Option<&str>) -> Result<Option<ApplicationId>, Problem> {
        match (self, application) {
            (_, Some(given)) => Ok(Some(self.application(snapshot, given)?.application_id)),
            (Self::Application(entry), None) => Ok(Some(entry.application)),
            (Self::Admin, None) => Ok(None),
        }
    }
}

impl FromRequestParts<Arc<App>> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            return Err(Problem::new(ProblemId::AuthNoAuthorizationHeader, "send `Authorization: Bearer <token>`"));
        };
        let token = value.to_str().ok().and_then(bearer).ok_or_else(|| {
            Problem::new(ProblemId::AuthInvalidAuthorizationHeader, "send `Authorization: Bearer <token>`")
        })?;
        authenticate(app, token).await
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

async fn authenticate(app: &App, token: &str) -> Result<Principal, Problem> {
    // Hashes are compared, and they are keyed: how long a comparison takes says nothing about the admin key.
    let lookup = app.catalog().vault().lookup(token);
    if app.admin() == Some(lookup) {
        return Ok(Principal::Admin);
    }
    let find = || app.catalog().read().token(&lookup).map(|entry| Principal::Application((**entry).clone()));
    if let Some(found) = find() {
        return Ok(found);
    }
    // Perhaps it was made on another replica a moment ago.
    let current = app.catalog().read_index().await;
    current.map_err(|error| unavailable(format!("the catalog is not current: {error}")))?;
    find().ok_or_else(|| {
        let id = if Uuid::parse_str(token).is_ok() {
            ProblemId::AuthInvalidApplicationSecret
        } else {
            ProblemId::AuthInvalidBiscuit
        };
        Problem::new(id, "the token is unknown")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer", "Bearer  "] {
            assert_eq!(bearer(bad), None, "{bad}");
        }
    }
}
