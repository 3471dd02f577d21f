//! What connections are shared by: the origin, and who shows a certificate there.
//!
//! A connection that was made with one subscription's certificate must never carry another's request, and one that was made
//! without a certificate none of a subscription that has one. The same holds of the authorities that one trusts. Whatever else connections
//! are made with one day per subscription or application (a target policy) belongs into the key as well.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::Equivalent;
use http::Uri;
use rustls::ClientConfig;
use schemas::ids::SubscriptionId;

/// A subscription as it stood at an offset of `control`.
pub(crate) type Holder = (SubscriptionId, i64);

/// A subscription's own TLS.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    /// Whose it is.
    pub(crate) holder: Holder,
    /// Shows its certificate, if it has one, and trusts whom it trusts.
    pub(crate) tls: Arc<ClientConfig>,
}

/// Connections of one key may carry each other's requests.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionKey {
    pub(super) is_tls: bool,
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) holder: Option<Holder>,
}

/// The same, borrowed of a request: nothing is copied where the key is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OriginRef<'a> {
    is_tls: bool,
    host: &'a str,
    port: u16,
    holder: Option<Holder>,
}

impl<'a> OriginRef<'a> {
    /// Of a request to this URI; `None` where it has no host or another scheme than http and https.
    pub(crate) fn of(uri: &'a Uri, identity: Option<&ClientIdentity>) -> Option<Self> {
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _other => return None,
        };
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        // Without TLS nobody shows anything.
        let holder = identity.filter(|_| is_tls).map(|identity| identity.holder);
        Some(Self { is_tls, host: uri.host()?, port, holder })
    }

    /// To be kept.
    pub(super) fn to_key(self) -> ConnectionKey {
        let Self { is_tls, host, port, holder } = self;
        ConnectionKey { is_tls, host: host.into(), port, holder }
    }
}

impl Equivalent<Arc<ConnectionKey>> for OriginRef<'_> {
    fn equivalent(&self, key: &Arc<ConnectionKey>) -> bool {
        let ConnectionKey { is_tls, host, port, holder } = &**key;
        self.is_tls == *is_tls && self.port == *port && self.host == &**host && self.holder == *holder
    }
}

#[cfg(test)]
mod tests {
    use hashbrown::HashMap;
    use uuid::Uuid;

    use super::*;

    fn of(uri: &str, holder: Option<Holder>) -> ConnectionKey {
        let uri: Uri = uri.parse().unwrap();
        OriginRef { holder, ..OriginRef::of(&uri, None).unwrap() }.to_key()
    }

    #[test]
    fn a_borrowed_key_finds_its_own_and_nobody_elses() {
        let holder = |offset| Some((SubscriptionId(Uuid::from_u128(1)), offset));
        let keys = [
            of("https://a.example/x", None),
            of("https://a.example:444/", None),
            of("http://a.example/", None),
            of("https://b.example/", None),
            of("https://a.example/", holder(1)),
            of("https://a.example/", holder(2)),
        ];
        let kept: HashMap<Arc<ConnectionKey>, usize> =
            keys.into_iter().enumerate().map(|(at, key)| (Arc::new(key), at)).collect();
        assert_eq!(kept.len(), 6);
        for (key, at) in &kept {
            let ConnectionKey { is_tls, host, port, holder } = &**key;
            let borrowed = OriginRef { is_tls: *is_tls, host, port: *port, holder: *holder };
            assert_eq!(kept.get(&borrowed), Some(at));
        }
        let spelled: Uri = "https://a.example:443/other?x=1".parse().unwrap();
        assert_eq!(kept.get(&OriginRef::of(&spelled, None).unwrap()), Some(&0), "the usual port is the same origin");
        let ftp: Uri = "ftp://a.example/".parse().unwrap();
        assert!(OriginRef::of(&ftp, None).is_none());
    }
}
