//! The tokens of a snapshot: found by their hash, listed by what they open.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::control::{ApplicationSecret, ServiceToken, TokenRole};
use schemas::ids::{ApplicationId, OrganizationId, SecretId, ServiceTokenId};
use uuid::Uuid;
use vault::LookupHash;

use super::Snapshot;

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// One application.
    Application(ApplicationId),
    /// All applications of an organization.
    Organization(OrganizationId),
}

/// A token, found by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// What it opens.
    pub scope: TokenScope,
    /// The object it belongs to: a [`SecretId`] or a [`ServiceTokenId`].
    pub token: Uuid,
    /// What it may do there.
    pub role: TokenRole,
    /// It opens nothing from then on, Unix ms.
    pub expires_ms: Option<i64>,
}

// === impl Snapshot ===

impl Snapshot {
    /// What a token opens, if that is there. Whether it has expired is for the caller: [`TokenEntry::is_live`].
    #[must_use]
    pub fn token(&self, lookup: &LookupHash) -> Option<&Arc<TokenEntry>> {
        self.tokens.get(lookup).filter(|entry| match entry.scope {
            TokenScope::Application(id) => self.tenants.has_application(id),
            TokenScope::Organization(id) => self.organization(id).is_some(),
        })
    }

    /// A service token by its id.
    #[must_use]
    pub fn service_token(&self, id: ServiceTokenId) -> Option<&Arc<ServiceToken>> {
        self.service_tokens.get(&id).map(|(_, token)| token)
    }

    /// The service tokens of an organization, oldest id first.
    pub fn service_tokens(&self, organization: OrganizationId) -> impl Iterator<Item = &Arc<ServiceToken>> {
        let ids = self.service_tokens_of.get(&organization).into_iter().flatten();
        ids.filter_map(|id| self.service_token(*id))
    }

    /// Number of service tokens of an organization.
    #[must_use]
    pub fn service_token_count(&self, organization: OrganizationId) -> usize {
        self.service_tokens_of.get(&organization).map_or(0, BTreeSet::len)
    }

    /// The tokens of an application, oldest id first.
    pub fn application_secrets(&self, application: ApplicationId) -> impl Iterator<Item = &Arc<ApplicationSecret>> {
        self.scope(application).into_iter().flat_map(|scope| scope.secrets.values().map(|(_, secret)| secret))
    }

    /// A token of an application by its id.
    #[must_use]
    pub fn application_secret(&self, application: ApplicationId, id: SecretId) -> Option<&Arc<ApplicationSecret>> {
        self.scope(application)?.secrets.get(&id).map(|(_, secret)| secret)
    }

    /// Number of tokens of an application.
    #[must_use]
    pub fn application_secret_count(&self, application: ApplicationId) -> usize {
        self.scope(application).map_or(0, |scope| scope.secrets.len())
    }

    /// Whether any application has a token with this id.
    #[must_use]
    pub fn has_application_secret(&self, id: SecretId) -> bool {
        self.secrets.contains_key(&id)
    }
}

impl Snapshot {
    pub(super) fn put_service_token(&mut self, lookup: LookupHash, token: Arc<ServiceToken>) {
        let id = token.token_id;
        self.remove_service_token(id);
        self.service_tokens_of.entry(token.organization_id).or_default().insert(id);
        let entry = TokenEntry {
            scope: TokenScope::Organization(token.organization_id),
            token: id.0,
            role: token.role,
            expires_ms: token.expires_ms,
        };
        self.service_tokens.insert(id, (lookup, token));
        self.tokens.insert(lookup, Arc::new(entry));
    }

    pub(super) fn remove_service_token(&mut self, id: ServiceTokenId) {
        let Some((lookup, former)) = self.service_tokens.remove(&id) else { return };
        if let Some(ids) = self.service_tokens_of.get_mut(&former.organization_id) {
            ids.remove(&id);
            if ids.is_empty() {
                self.service_tokens_of.remove(&former.organization_id);
            }
        }
        self.forget_token(lookup, id.0);
    }

    pub(super) fn put_secret(&mut self, lookup: LookupHash, secret: Arc<ApplicationSecret>) {
        let (application, id) = (secret.application_id, secret.secret_id);
        let entry = TokenEntry {
            scope: TokenScope::Application(application),
            token: id.0,
            role: secret.role,
            expires_ms: secret.expires_ms,
        };
        let former = self.scopes.entry(application).or_default().secrets.insert(id, (lookup, secret));
        if let Some((former, _)) = former {
            self.forget_token(former, id.0);
        }
        self.tokens.insert(lookup, Arc::new(entry));
        self.secrets.insert(id, application);
        self.settle(application);
    }

    pub(super) fn remove_secret(&mut self, application: ApplicationId, id: SecretId) {
        let former = self.scopes.get_mut(&application).and_then(|scope| scope.secrets.remove(&id));
        if let Some((former, _)) = former {
            self.forget_token(former, id.0);
        }
        // Another application may have taken the id meanwhile.
        if self.secrets.get(&id) == Some(&application) {
            self.secrets.remove(&id);
        }
        self.settle(application);
    }

    pub(super) fn forget_token(&mut self, lookup: LookupHash, token: Uuid) {
        // Another object may have taken the same token meanwhile.
        if self.tokens.get(&lookup).is_some_and(|entry| entry.token == token) {
            self.tokens.remove(&lookup);
        }
    }
}

// === impl TokenEntry ===

impl TokenEntry {
    /// Whether it opens anything at this time.
    #[must_use]
    pub fn is_live(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}
