//! Who makes a change, from where, and by which request: what the audit says of it.

use std::net::IpAddr;
use std::sync::Arc;

/// Where a request comes from; the layers put it into the extensions of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// The client's address, where it is known.
    pub(crate) address: Option<IpAddr>,
    /// `X-Request-Id`: the client's own or ours.
    pub(crate) request_id: Option<Arc<str>>,
    /// `?dry_run=true`: everything is checked and answered as if, and nothing is written.
    pub(crate) dry_run: bool,
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
}

// === impl Actor ===

impl Actor {
    /// Somebody who asked.
    pub(crate) fn new(name: impl Into<Arc<str>>, caller: Caller) -> Self {
        Self { name: name.into(), action: None, caller }
    }

    /// The control plane itself.
    pub(crate) fn system(part: &str) -> Self {
        Self::new(format!("system/{part}"), Caller::default())
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
