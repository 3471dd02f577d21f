//! Who makes a change, from where, and by which request: what the audit says of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use catalog::Snapshot;
use schemas::control::TokenRole;
use schemas::ids::{ApplicationId, SecretId, ServiceTokenId};

use crate::idempotency::KeyedRequest;
use crate::in_flight::RequestBytes;

/// Where a request comes from; the layers put it into the extensions of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// The client's address, where it is known.
    pub(crate) address: Option<IpAddr>,
    /// `X-Request-Id`: the client's own or ours.
    pub(crate) request_id: Option<Arc<str>>,
    /// `?dry_run=true`: everything is checked and answered as if, and nothing is written.
    pub(crate) dry_run: bool,
    /// When its answer is of no use any more.
    pub(crate) deadline: Option<Instant>,
    /// What its body holds in memory, as long as anything of the request is there.
    pub(crate) bytes: Arc<RequestBytes>,
    /// The request may be sent again: its answer is kept. Known once it is known who asks.
    pub(crate) keyed: Option<Arc<KeyedRequest>>,
}

/// Who changes something. A `String` is an actor that no request stands behind.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    /// `admin`, `application_secret/<id>`, `service_token/<id>`, `system/<part>`.
    pub(crate) name: Arc<str>,
    /// What is done, where it is more than creating, updating or deleting an object (`subscription.rotate_secret`).
    pub(crate) action: Option<&'static str>,
    /// Where the request came from.
    pub(crate) caller: Caller,
    /// The token it was asked with, which must still be one when the write is decided.
    pub(crate) token: Option<ActorToken>,
}

/// A token that may change things.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ActorToken {
    /// Of an organization.
    Service(ServiceTokenId),
    /// Of an application.
    Application(ApplicationId, SecretId),
}

// === impl Actor ===

impl Actor {
    /// Somebody who asked.
    pub(crate) fn new(name: impl Into<Arc<str>>, caller: Caller) -> Self {
        Self { name: name.into(), action: None, caller, token: None }
    }

    /// With the token it was asked with.
    #[must_use]
    pub(crate) fn with_token(mut self, token: Option<ActorToken>) -> Self {
        self.token = token;
        self
    }

    /// Whether its token still opens what it did when the request came: a write may have waited for its turn.
    pub(crate) fn may_still_write(&self, snapshot: &Snapshot, now_ms: i64) -> bool {
        let standing = match self.token {
            None => return true,
            Some(ActorToken::Service(id)) => snapshot.service_token(id).map(|it| (it.role, it.expires_ms)),
            Some(ActorToken::Application(application, id)) => {
                snapshot.application_secret(application, id).map(|it| (it.role, it.expires_ms))
            }
        };
        standing.is_some_and(|(role, end)| role >= TokenRole::Editor && end.is_none_or(|end| now_ms < end))
    }

    /// The control plane itself.
    pub(crate) fn system(part: &str) -> Self {
        Self::new(format!("system/{part}"), Caller::default())
    }

    /// Whether no request stands behind it.
    pub(crate) fn is_system(&self) -> bool {
        self.name.starts_with("system/")
    }

    /// The operator, with the admin key.
    pub(crate) fn is_operator(&self) -> bool {
        self.token.is_none() && !self.is_system()
    }

    /// Names the action in the audit, in place of the one that follows from the change.
    #[must_use]
    pub(crate) fn doing(mut self, action: &'static str) -> Self {
        self.action = Some(action);
        self
    }
}

impl From<String> for Actor {
    fn from(name: String) -> Self {
        Self::new(name, Caller::default())
    }
}
