//! Who asks, and what they may touch.
//!
//! | who | sees | what it does not see answers |
//! |---|---|---|
//! | the admin key | everything | 404, it does not exist |
//! | a service token | its organization and all in it | 404, as if it did not exist |
//! | an application secret | its application and all in it | 403, whether it exists or not |
//!
//! On top of that stands the role: `ingest` may not manage at all, `viewer` may read, `editor` may change. A token that has
//! expired is as unknown as one that never was.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use catalog::{Snapshot, Subscription, TokenEntry, TokenScope};
use chassis::clock;
use chassis::server::ConnectionState;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method};
use schemas::control::{Application, Organization, TokenRole};
use schemas::ids::{ApplicationId, OrganizationId, SecretId, ServiceTokenId, SubscriptionId};
use schemas::problem::{Code, ProblemId};
use uuid::Uuid;

use crate::actor::{Actor, ActorToken, Caller};
use crate::idempotency::KeyedRequest;
use crate::problem::{Problem, forbidden, not_found, unavailable};
use crate::rates::Asker;
use crate::state::App;

/// Longest token that is looked for.
pub(crate) const TOKEN_BYTES: usize = 512;
/// How to do it right.
const HINT: &str = "send `Authorization: Bearer <token>`";

/// Who asks, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// Who it is.
    pub(crate) who: Who,
    /// Where the request comes from.
    caller: Caller,
}

/// Who asks, also with a token that may only send events: what a token is it may be told.
#[derive(Clone, Debug)]
pub(crate) struct AnyRole(pub(crate) Principal);

/// Who it is.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// The operator, with an admin key: everything.
    Admin,
    /// A token of an organization.
    Service(ServiceEntry),
    /// A token of one application.
    Application(ApplicationToken),
}

/// A token of an organization.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceEntry {
    /// The organization it opens.
    pub(crate) organization: OrganizationId,
    /// The object it belongs to.
    pub(crate) token: ServiceTokenId,
    /// What it may do there.
    pub(crate) role: TokenRole,
}

/// A token of one application.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApplicationToken {
    /// The application it opens.
    pub(crate) application: ApplicationId,
    /// The object it belongs to.
    pub(crate) secret: SecretId,
    /// What it may do there.
    pub(crate) role: TokenRole,
}

// === impl Who ===

impl Who {
    /// As the audit calls it.
    fn name(&self) -> String {
        match self {
            Self::Admin => "admin".to_owned(),
            Self::Service(entry) => format!("service_token/{}", entry.token),
            Self::Application(entry) => format!("application_secret/{}", entry.secret),
        }
    }

    /// Whose token it is; `None`: the operator's, or that of an application that is gone.
    pub(crate) fn organization(&self, snapshot: &Snapshot) -> Option<OrganizationId> {
        match self {
            Self::Admin => None,
            Self::Service(entry) => Some(entry.organization),
            Self::Application(entry) => snapshot.application_by_id(entry.application).map(|it| it.organization_id),
        }
    }
}

// === impl Principal ===

impl Principal {
    /// For the `hookbus-actor` header and the audit.
    pub(crate) fn actor(&self) -> Actor {
        let token = match &self.who {
            Who::Admin => None,
            Who::Service(entry) => Some(ActorToken::Service(entry.token)),
            Who::Application(entry) => Some(ActorToken::Application(entry.application, entry.secret)),
        };
        Actor::new(self.who.name(), self.caller.clone()).with_token(token)
    }

    /// When its token ends: what it makes ends no later.
    pub(crate) fn end(&self, snapshot: &Snapshot) -> Option<i64> {
        match &self.who {
            Who::Admin => None,
            Who::Service(entry) => snapshot.service_token(entry.token)?.expires_ms,
            Who::Application(entry) => snapshot.application_secret(entry.application, entry.secret)?.expires_ms,
        }
    }

    /// Whether everything is to be checked and answered as if, and nothing done. The store sees to its writes itself.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.caller.dry_run
    }

    /// Whether the request may be sent again, and is to be done once all the same.
    pub(crate) fn is_keyed(&self) -> bool {
        self.caller.keyed.is_some()
    }

    /// Bytes of the request's body.
    pub(crate) fn body_bytes(&self) -> usize {
        self.caller.bytes.body()
    }

    /// Only the operator.
    pub(crate) fn admin(&self) -> Result<(), Problem> {
        match &self.who {
            Who::Admin => Ok(()),
            Who::Service(_) | Who::Application(_) => Err(forbidden()),
        }
    }

    /// Whether it may change what it sees.
    pub(crate) fn editor(&self) -> Result<(), Problem> {
        if self.is_editor() { Ok(()) } else { Err(forbidden()) }
    }

    /// Ids are made here. Another system's are the operator's to bring: whether an id is free would tell a tenant what others
    /// have.
    pub(crate) fn may_give_id(&self, field: &str, is_given: bool) -> Result<(), Problem> {
        let refused = |_forbidden| {
            let message = "only the admin key may give an id: leave it out, or use `uid` where there is one";
            Problem::field(field, Code::InvalidField, message).with_status(403)
        };
        if is_given { self.admin().map_err(refused) } else { Ok(()) }
    }

    /// Whether it may change what it sees, and see the tokens of others.
    pub(crate) fn is_editor(&self) -> bool {
        match &self.who {
            Who::Admin => true,
            Who::Service(ServiceEntry { role, .. }) | Who::Application(ApplicationToken { role, .. }) => {
                *role >= TokenRole::Editor
            }
        }
    }

    /// Whether it may see where a change of something it sees was asked from: an editor may, where the token was one of its own
    /// scope. From where the operator works, or for an application its organization, is theirs. No look-up is needed, so it holds
    /// also for a token that is gone: what an application has, its own secrets change, its organization's tokens or the operator.
    pub(crate) fn sees_address_of(&self, actor: &str) -> bool {
        let is_own = match &self.who {
            Who::Admin => true,
            Who::Service(_) => actor.starts_with("service_token/") || actor.starts_with("application_secret/"),
            Who::Application(_) => actor.starts_with("application_secret/"),
        };
        is_own && self.is_editor()
    }

    /// The application of an application's token: what it means where it names none.
    pub(crate) fn own_application(&self) -> Option<ApplicationId> {
        match &self.who {
            Who::Application(entry) => Some(entry.application),
            Who::Admin | Who::Service(_) => None,
        }
    }

    /// The organization of a service token: what it means where it names none.
    pub(crate) fn own_organization(&self) -> Option<OrganizationId> {
        match &self.who {
            Who::Service(entry) => Some(entry.organization),
            Who::Admin | Who::Application(_) => None,
        }
    }

    /// Whether it sees an application.
    pub(crate) fn sees(&self, application: &Application) -> bool {
        match &self.who {
            Who::Admin => true,
            Who::Service(entry) => entry.organization == application.organization_id,
            Who::Application(entry) => entry.application == application.application_id,
        }
    }

    /// Whether it sees an organization as a whole.
    pub(crate) fn sees_organization(&self, id: OrganizationId) -> bool {
        match &self.who {
            Who::Admin => true,
            Who::Service(entry) => entry.organization == id,
            Who::Application(_) => false,
        }
    }

    /// What is answered about what it does not see, there or not.
    pub(crate) fn absent(&self, what: &str) -> Problem {
        match &self.who {
            Who::Admin | Who::Service(_) => not_found(what),
            Who::Application(_) => forbidden(),
        }
    }

    /// An organization it may see, by id or uid.
    pub(crate) fn organization(&self, snapshot: &Snapshot, id_or_uid: &str) -> Result<Arc<Organization>, Problem> {
        let found = snapshot.organization_called(id_or_uid).filter(|it| self.sees_organization(it.organization_id));
        found.cloned().ok_or_else(|| self.absent("organization"))
    }

    /// An application it may see, by id or uid.
    pub(crate) fn application(&self, snapshot: &Snapshot, id_or_uid: &str) -> Result<Arc<Application>, Problem> {
        let found = match &self.who {
            Who::Admin => {
                let mut called = snapshot.applications_called(id_or_uid);
                let found = called.next();
                // "There is none" would let a deletion succeed without one.
                if called.next().is_some() {
                    let message = "applications of several organizations have this uid: name one by its id";
                    return Err(Problem::field("application_id", Code::InvalidField, message));
                }
                found
            }
            Who::Service(entry) => snapshot.application_in(entry.organization, id_or_uid),
            Who::Application(entry) => {
                snapshot.application_by_id(entry.application).filter(|it| it.is_called(id_or_uid))
            }
        };
        found.cloned().ok_or_else(|| self.absent("application"))
    }

    /// A subscription it may see, by id, or by uid inside `application` (its own for an application's token).
    pub(crate) fn subscription(
        &self,
        snapshot: &Snapshot,
        id_or_uid: &str,
        application: Option<&str>,
    ) -> Result<Arc<Subscription>, Problem> {
        let named = application.map(|given| self.application(snapshot, given)).transpose()?;
        let scope = named.map(|it| it.application_id).or_else(|| self.own_application());
        let by_id = Uuid::parse_str(id_or_uid).ok().and_then(|id| snapshot.subscription(SubscriptionId(id)));
        let found = by_id.or_else(|| snapshot.subscription_by_uid(scope?, id_or_uid));
        let seen = |id: ApplicationId| match scope {
            Some(scope) => scope == id,
            None => snapshot.application_by_id(id).is_some_and(|it| self.sees(it)),
        };
        found.filter(|it| seen(it.application())).cloned().ok_or_else(|| self.absent("subscription"))
    }
}

impl FromRequestParts<Arc<App>> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let AnyRole(principal) = AnyRole::from_request_parts(parts, app).await?;
        let role = match &principal.who {
            Who::Admin => TokenRole::Editor,
            Who::Service(entry) => entry.role,
            Who::Application(entry) => entry.role,
        };
        if role == TokenRole::Ingest {
            return Err(Problem::new(ProblemId::Forbidden, "this token may send events, nothing else"));
        }
        Ok(principal)
    }
}

impl FromRequestParts<Arc<App>> for AnyRole {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let mut caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
        let who = authenticate(app, bearer(&parts.headers)?, caller.address).await?;
        if let Some(connection) = parts.extensions.get::<Arc<ConnectionState>>() {
            let organization = who.organization(&app.catalog().read());
            // That of an application which is being removed stays with its address.
            if organization.is_some() || matches!(who, Who::Admin) {
                connection.trust(organization);
            }
        }
        paced(app, &who, &parts.method)?;
        let organization = who.organization(&app.catalog().read());
        caller.bytes.begin(app.in_flight(), organization);
        if let Some(keyed) = KeyedRequest::read(parts, &who.name())? {
            // Whoever reads the body adds it.
            parts.extensions.insert(Arc::clone(&keyed));
            caller.keyed = Some(keyed);
        }
        Ok(Self(Principal { who, caller }))
    }
}

/// The token of `Authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let malformed = || Problem::new(ProblemId::AuthInvalidAuthorizationHeader, HINT);
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else {
        return Err(Problem::new(ProblemId::AuthNoAuthorizationHeader, HINT));
    };
    // With two of them, which one counts would be for proxies to guess.
    let text = if given.next().is_none() { value.to_str().ok() } else { None };
    let (scheme, token) = text.and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let token = token.trim();
    let fits = (1..=TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && fits { Ok(token) } else { Err(malformed()) }
}

/// Whether a request's token is known as things stand here; a new one may not be yet.
pub(crate) fn is_known(app: &App, headers: &HeaderMap) -> bool {
    let Ok(token) = bearer(headers) else { return false };
    let lookup = app.catalog().vault().lookup(token);
    let now_ms = clock::now_ms();
    app.admin().contains(&lookup) || app.catalog().read().token(&lookup).is_some_and(|entry| entry.is_live(now_ms))
}

/// Refuses who asks too often.
fn paced(app: &App, who: &Who, method: &Method) -> Result<(), Problem> {
    let writes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    charge(app, who, writes, 1)
}

/// Counts so many writes more for a request that asks for many at once, or refuses it.
pub(crate) fn pay(app: &App, who: &Who, writes: usize) -> Result<(), Problem> {
    let count = u32::try_from(writes).unwrap_or(u32::MAX);
    if count == 0 { Ok(()) } else { charge(app, who, true, count) }
}

fn charge(app: &App, who: &Who, writes: bool, count: u32) -> Result<(), Problem> {
    let token = match who {
        Who::Admin => return Ok(()),
        Who::Service(entry) => entry.token.0,
        Who::Application(entry) => entry.secret.0,
    };
    let organization = who.organization(&app.catalog().read());
    app.rates().known(Asker { token, organization }, writes, count, clock::now_ms())
}

async fn authenticate(app: &App, token: &str, address: Option<IpAddr>) -> Result<Who, Problem> {
    // Hashes are compared, and they are keyed: how long a comparison takes says nothing about an admin key.
    let lookup = app.catalog().vault().lookup(token);
    if app.admin().contains(&lookup) {
        return Ok(Who::Admin);
    }
    let now_ms = clock::now_ms();
    let find = || app.catalog().read().token(&lookup).filter(|entry| entry.is_live(now_ms)).cloned();
    if let Some(found) = find() {
        return Ok(who(app, &found, now_ms));
    }
    app.rates().unknown(address, now_ms)?;
    // Perhaps it was made on another replica a moment ago.
    let current = app.catalog().read_index().await;
    current.map_err(|error| unavailable(format!("the catalog is not current: {error}")))?;
    if let Some(found) = find() {
        return Ok(who(app, &found, now_ms));
    }
    let uuid = Uuid::parse_str(token).is_ok();
    let id = if uuid { ProblemId::AuthInvalidApplicationSecret } else { ProblemId::AuthInvalidBiscuit };
    Err(Problem::new(id, "the token is unknown"))
}

fn who(app: &App, entry: &TokenEntry, now_ms: i64) -> Who {
    app.catalog().used().touch(entry.token, now_ms);
    let role = entry.role;
    match entry.scope {
        TokenScope::Application(application) => {
            Who::Application(ApplicationToken { application, secret: SecretId(entry.token), role })
        }
        TokenScope::Organization(organization) => {
            Who::Service(ServiceEntry { organization, token: ServiceTokenId(entry.token), role })
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_one_bearer_token_is_read() {
        for good in ["Bearer abc", "bearer  abc ", "BEARER abc"] {
            assert_eq!(bearer(&headers(&[good])).unwrap(), "abc");
        }
        assert_eq!(bearer(&headers(&[])).unwrap_err().status, 401);
        for bad in
            [&["abc"][..], &["Basic abc"], &["Bearer"], &["Bearer  "], &["Bearer a b"], &["Bearer a", "Bearer a"]]
        {
            assert_eq!(bearer(&headers(bad)).unwrap_err().status, 400, "{bad:?}");
        }
        let long: &'static str = Box::leak(format!("Bearer {}", "x".repeat(TOKEN_BYTES + 1)).into_boxed_str());
        assert_eq!(bearer(&headers(&[long])).unwrap_err().status, 400);
    }
}
