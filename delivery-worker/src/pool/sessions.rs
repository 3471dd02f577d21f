//! TLS sessions: what makes the next handshake with the same origin a short one. Bounded in origins and, for each of them, in
//! bytes.
//!
//! A session carries the whole certificate chain of its server and a ticket of up to 64 KiB, and rustls says the size of neither.
//! So each is weighed by what its connection has read by then, below TLS: it cannot hold more, but for the chain of the session
//! that its handshake resumed. All origins have the same room, so one with large certificates takes none from others, and what
//! does not fit is not kept: its next handshake is a whole one.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lru::LruCache;
use parking_lot::Mutex;
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};

use super::key::ConnectionKey;

/// Origins whose sessions are kept; the one that connected longest ago goes first. With [`ROOM`] these are 64 MiB.
const ORIGINS: NonZeroUsize = NonZeroUsize::new(4_096).expect("it is not 0");
/// Bytes of an origin's sessions: three or four with an ordinary chain.
const ROOM: usize = 16 * 1024;
/// Sessions of an origin, and tickets that one connection may bring: servers send two or so.
const SESSIONS: usize = 8;
/// What a session takes beside its chain and ticket.
const OVERHEAD: usize = 512;

/// Sessions of all origins.
#[derive(Debug)]
pub(super) struct TlsSessions {
    kept: Mutex<LruCache<Arc<ConnectionKey>, OriginSessions<TlsSession>>>,
}

/// Sessions of one origin.
#[derive(Debug)]
struct OriginSessions<S> {
    /// The group of the last key exchange.
    hint: Option<NamedGroup>,
    /// The oldest first.
    kept: VecDeque<Weighed<S>>,
    bytes: usize,
}

#[derive(Debug)]
struct Weighed<S> {
    session: S,
    bytes: usize,
    /// Most bytes of the certificate chain in it.
    chain: usize,
}

#[derive(Debug)]
enum TlsSession {
    Tls12(Box<Tls12ClientSessionValue>),
    Tls13(Box<Tls13ClientSessionValue>),
}

/// What one connection takes and brings. rustls asks by the name of the server; a connection has but one.
#[derive(Debug)]
struct ConnectionSessions {
    all: Arc<TlsSessions>,
    key: Arc<ConnectionKey>,
    read: Arc<AtomicU64>,
    chain: Mutex<ChainWeight>,
}

/// What is known of the chain that a connection's sessions carry.
#[derive(Debug, Default)]
struct ChainWeight {
    /// Of the session that its handshake was begun with.
    resumed: usize,
    /// What was read when it brought its first session: its own chain is in there, if it has sent one.
    own: Option<usize>,
    brought: usize,
}

// === impl TlsSessions ===

impl TlsSessions {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::new(LruCache::unbounded()) }
    }

    /// A configuration for one connection, which counts in `read` what it reads below TLS.
    pub(super) fn config(
        self: &Arc<Self>,
        tls: &ClientConfig,
        key: &Arc<ConnectionKey>,
        read: &Arc<AtomicU64>,
    ) -> Arc<ClientConfig> {
        let store = ConnectionSessions {
            all: Arc::clone(self),
            key: Arc::clone(key),
            read: Arc::clone(read),
            chain: Mutex::default(),
        };
        let mut config = tls.clone();
        config.resumption = Resumption::store(Arc::new(store));
        Arc::new(config)
    }

    /// Changes what is kept of an origin.
    fn edit(&self, key: &Arc<ConnectionKey>, change: impl FnOnce(&mut OriginSessions<TlsSession>)) {
        let mut kept = self.kept.lock();
        change(kept.get_or_insert_mut(Arc::clone(key), OriginSessions::default));
        if kept.len() > ORIGINS.get() {
            kept.pop_lru();
        }
    }
}

// === impl OriginSessions ===

impl<S> OriginSessions<S> {
    fn keep(&mut self, session: Weighed<S>) {
        if session.bytes > ROOM {
            return;
        }
        self.bytes += session.bytes;
        self.kept.push_back(session);
        while self.bytes > ROOM || self.kept.len() > SESSIONS {
            self.take(0);
        }
    }

    fn take(&mut self, at: usize) -> Option<Weighed<S>> {
        let taken = self.kept.remove(at)?;
        self.bytes -= taken.bytes;
        Some(taken)
    }

    /// The place of the newest of a kind.
    fn newest(&self, is_kind: impl Fn(&S) -> bool) -> Option<usize> {
        self.kept.iter().rposition(|kept| is_kind(&kept.session))
    }
}

impl<S> Default for OriginSessions<S> {
    fn default() -> Self {
        Self { hint: None, kept: VecDeque::new(), bytes: 0 }
    }
}

// === impl ChainWeight ===

impl ChainWeight {
    /// Bytes that one more session can hold at most, and of its chain alone. `None`: the connection has brought enough.
    fn weigh(&mut self, read: usize) -> Option<(usize, usize)> {
        self.brought += 1;
        let own = *self.own.get_or_insert(read);
        (self.brought <= SESSIONS).then_some((self.resumed + read + OVERHEAD, self.resumed.max(own)))
    }
}

// === impl ConnectionSessions ===

impl ConnectionSessions {
    fn bring(&self, session: TlsSession) {
        let read = usize::try_from(self.read.load(Ordering::Relaxed)).unwrap_or(usize::MAX - ROOM);
        let Some((bytes, chain)) = self.chain.lock().weigh(read) else { return };
        self.all.edit(&self.key, |origin| origin.keep(Weighed { session, bytes, chain }));
    }
}

impl ClientSessionStore for ConnectionSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.all.edit(&self.key, |origin| origin.hint = Some(group));
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.all.kept.lock().get(&self.key)?.hint
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        // The newest is all that is ever asked for.
        self.remove_tls12_session(&name);
        self.bring(TlsSession::Tls12(Box::new(value)));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let mut kept = self.all.kept.lock();
        let origin = kept.get(&self.key)?;
        let at = origin.newest(|session| matches!(session, TlsSession::Tls12(_)))?;
        let Weighed { session: TlsSession::Tls12(session), chain, .. } = &origin.kept[at] else { return None };
        self.chain.lock().resumed = *chain;
        Some((**session).clone())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        let mut kept = self.all.kept.lock();
        let Some(origin) = kept.get_mut(&self.key) else { return };
        if let Some(at) = origin.newest(|session| matches!(session, TlsSession::Tls12(_))) {
            origin.take(at);
        }
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.bring(TlsSession::Tls13(Box::new(value)));
    }

    /// Each is used once.
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut kept = self.all.kept.lock();
        let origin = kept.get_mut(&self.key)?;
        let at = origin.newest(|session| matches!(session, TlsSession::Tls13(_)))?;
        let Weighed { session: TlsSession::Tls13(session), chain, .. } = origin.take(at)? else { return None };
        self.chain.lock().resumed = chain;
        Some(*session)
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
    use testkit::endpoint::TestAuthority;

    use super::*;
    use crate::client::Tls;
    use crate::pool::OriginRef;

    fn key(number: usize) -> Arc<ConnectionKey> {
        let uri = format!("https://{number}.example/").parse().unwrap();
        Arc::new(OriginRef::of(&uri, None).unwrap().to_key())
    }

    /// A server whose certificate is for so many names.
    fn server(authority: &TestAuthority, names: usize) -> Arc<ServerConfig> {
        let names: Vec<String> = (0..names).map(|number| format!("{number}.example")).collect();
        let (certificate, key) = authority.issue(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        Arc::new(config.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap())
    }

    /// Makes a connection to an origin and reads what its server sends behind the handshake.
    fn connect(
        sessions: &Arc<TlsSessions>,
        tls: &ClientConfig,
        number: usize,
        server: &Arc<ServerConfig>,
    ) -> HandshakeKind {
        let read = Arc::new(AtomicU64::new(0));
        let config = sessions.config(tls, &key(number), &read);
        let name = ServerName::try_from(format!("{number}.example")).unwrap();
        let mut client = ClientConnection::new(config, name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut to_server).unwrap();
            }
            let mut left = &to_server[..];
            while !left.is_empty() {
                server.read_tls(&mut left).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut to_client).unwrap();
            }
            let mut left = &to_client[..];
            while !left.is_empty() {
                let came = client.read_tls(&mut left).unwrap();
                read.fetch_add(came as u64, Ordering::Relaxed);
                client.process_new_packets().unwrap();
            }
        }
        client.handshake_kind().unwrap()
    }

    #[test]
    fn a_session_that_is_too_large_is_not_kept_and_takes_none_from_others() {
        let authority = TestAuthority::new().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.pem()).unwrap();
        let tls = Tls::new(Some(file.path())).unwrap().plain().unwrap();
        let (ordinary, large) = (server(&authority, 8), server(&authority, 1_200));
        let sessions = Arc::new(TlsSessions::new());
        let kind = |number, server| connect(&sessions, &tls, number, server);
        assert_eq!(kind(1, &ordinary), HandshakeKind::Full);
        for _ in 0..5 {
            assert_eq!(kind(1, &ordinary), HandshakeKind::Resumed);
            assert_eq!(kind(2, &large), HandshakeKind::Full);
        }
        assert_eq!(kind(3, &ordinary), HandshakeKind::Full, "each origin has its own");
        let kept = sessions.kept.lock();
        assert!(kept.iter().all(|(_, origin)| origin.bytes <= ROOM && origin.kept.len() <= SESSIONS));
        assert!(kept.peek(&key(1)).is_some_and(|origin| origin.kept.len() > 1));
        assert!(kept.peek(&key(2)).is_some_and(|origin| origin.kept.is_empty()));
    }

    #[test]
    fn so_many_origins_are_remembered() {
        let sessions = TlsSessions::new();
        for number in 0..ORIGINS.get() + 10 {
            sessions.edit(&key(number), |origin| origin.hint = Some(NamedGroup::X25519));
        }
        let kept = sessions.kept.lock();
        assert_eq!(kept.len(), ORIGINS.get());
        assert!(kept.peek(&key(9)).is_none() && kept.peek(&key(10)).is_some());
    }

    fn kept(origin: &OriginSessions<u32>) -> Vec<u32> {
        origin.kept.iter().map(|kept| kept.session).collect()
    }

    #[test]
    fn an_origin_keeps_its_newest_sessions_within_its_room() {
        let mut origin = OriginSessions::default();
        let mut keep = |session, bytes| {
            origin.keep(Weighed { session, bytes, chain: 0 });
            assert!(origin.bytes <= ROOM);
            assert_eq!(origin.bytes, origin.kept.iter().map(|kept| kept.bytes).sum::<usize>());
            kept(&origin)
        };
        assert_eq!(keep(1, 6_000), [1]);
        assert_eq!(keep(2, 6_000), [1, 2]);
        assert_eq!(keep(3, 6_000), [2, 3]);
        assert_eq!(keep(4, ROOM + 1), [2, 3], "one that is too large takes nothing from others");
        assert_eq!(keep(5, ROOM), [5]);
        for small in 10..30 {
            keep(small, 100);
        }
        assert_eq!(kept(&origin), (22..30).collect::<Vec<u32>>());
        assert_eq!(origin.newest(|session| session % 2 == 0), Some(6));
    }

    #[test]
    fn a_session_weighs_what_its_connection_has_read_and_the_chain_that_it_goes_on_with() {
        let mut whole = ChainWeight::default();
        assert_eq!(whole.weigh(5_000), Some((5_000 + OVERHEAD, 5_000)));
        assert_eq!(whole.weigh(5_300), Some((5_300 + OVERHEAD, 5_000)));
        let mut resumed = ChainWeight { resumed: 5_000, ..ChainWeight::default() };
        assert_eq!(resumed.weigh(600), Some((5_600 + OVERHEAD, 5_000)), "it does not grow from one to the next");
        let mut refused = ChainWeight { resumed: 5_000, ..ChainWeight::default() };
        assert_eq!(refused.weigh(9_000), Some((14_000 + OVERHEAD, 9_000)), "another chain came");
        let mut flood = ChainWeight::default();
        assert_eq!((0..20).filter(|_| flood.weigh(1_000).is_some()).count(), SESSIONS);
    }
}
