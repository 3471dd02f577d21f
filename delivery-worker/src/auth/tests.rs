//! Auth kinds against servers on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chassis::tasks;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use schemas::control;
use testkit::dns::{NameServer, Reply};
use testkit::endpoint::{Endpoint, EndpointOptions, Flaw, TestAuthority};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::*;
use crate::client::ClientLimits;
use crate::pool::PoolLimits;
use crate::resolve::TargetResolver;
use crate::testing;

const LIMIT: Duration = Duration::from_secs(60);

type Handler = dyn Fn(&str, Option<&str>, &str) -> (u16, String) + Send + Sync;

fn policy() -> TargetPolicy {
    testing::policy(true, &["127.0.0.0/8"])
}

fn client(tls: &Tls) -> Client {
    let pool = PoolLimits::new(Duration::from_secs(5), Duration::from_secs(60), 64);
    let limits = ClientLimits::new(4_096, 64, pool);
    Client::new(TargetResolver::new(policy(), &[]), limits, tls.plain().unwrap())
}

fn holder() -> Holder {
    (testing::subscription_id(1), 1)
}

/// An attempt to POST to a URL.
async fn attempted(auth: &Auth, client: &Client, url: &str) -> Answer {
    attempted_as(auth, None, client, url).await
}

/// The same over a subscription's own connections.
async fn attempted_as(auth: &Auth, identity: Option<&ClientIdentity>, client: &Client, url: &str) -> Answer {
    let request = || auth.authorize(post(url));
    auth.send((client, identity), request(), || Ok(request()), LIMIT, 0).await
}

fn post(url: &str) -> Request<Full<Bytes>> {
    Request::post(url).body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}

/// A server that answers by path, `Authorization` and body.
async fn server(handler: Arc<Handler>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tasks::spawn("test server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = Arc::clone(&handler);
            let service = service_fn(move |request| answer(Arc::clone(&handler), request));
            let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(tasks::spawn("test connection", async move {
                let _closed_by_the_client = serve.await;
            }));
        }
    }));
    address
}

async fn answer(handler: Arc<Handler>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    assert!(head.headers.contains_key(http::header::HOST), "HTTP/1.1 wants it");
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap());
    let (status, body) = handler(head.uri.path(), authorization, &body);
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
}

fn oauth2(address: SocketAddr) -> catalog::Auth {
    catalog::Auth::Oauth2(catalog::Oauth2 {
        token_url: Url::parse(&format!("http://{address}/token")).unwrap(),
        client_id: "us er".to_owned(),
        client_secret: Zeroizing::new("p:w".to_owned()),
        scopes: vec!["send".to_owned(), "more".to_owned()],
    })
}

fn prepared(auth: &catalog::Auth) -> Auth {
    Auth::new(Some(auth), None, &policy()).unwrap()
}

/// A token server and target in one: counts fetches; token number `n` is `token-n`.
struct Tokens {
    fetches: AtomicUsize,
    /// The target takes tokens from this number on.
    accepts_from: AtomicUsize,
    takes_form_only: bool,
}

impl Tokens {
    fn new(takes_form_only: bool) -> Arc<Self> {
        Arc::new(Self { fetches: AtomicUsize::new(0), accepts_from: AtomicUsize::new(0), takes_form_only })
    }

    fn answer(&self, path: &str, authorization: Option<&str>, body: &str) -> (u16, String) {
        if path != "/token" {
            let number = authorization.and_then(|value| value.strip_prefix("Bearer token-")).unwrap().parse();
            let is_taken = number.is_ok_and(|number: usize| number >= self.accepts_from.load(Ordering::SeqCst));
            return (if is_taken { 204 } else { 401 }, String::new());
        }
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(body.starts_with("grant_type=client_credentials&scope=send+more"), "{body}");
        let in_header = authorization == Some(&format!("Basic {}", STANDARD.encode("us+er:p%3Aw")));
        let in_form = body.ends_with("&client_id=us+er&client_secret=p%3Aw");
        if if self.takes_form_only { in_form } else { in_header } {
            (200, format!(r#"{{"access_token":"token-{number}","token_type":"bearer","expires_in":3600}}"#))
        } else {
            (401, r#"{"error":"invalid_client"}"#.to_owned())
        }
    }

    async fn serve(self: &Arc<Self>) -> SocketAddr {
        let tokens = Arc::clone(self);
        server(Arc::new(move |path: &str, authorization: Option<&str>, body: &str| {
            tokens.answer(path, authorization, body)
        }))
        .await
    }

    fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

/// So many attempts at once: their verdicts.
async fn attempts(auth: &Arc<Auth>, client: &Client, url: &str, count: usize) -> Vec<Answer> {
    let attempt = |_| {
        let (auth, client, url) = (Arc::clone(auth), client.clone(), url.to_owned());
        tasks::spawn("test attempt", async move { attempted(&auth, &client, &url).await })
    };
    let running: Vec<_> = (0..count).map(attempt).collect();
    let mut answers = Vec::new();
    for attempt in running {
        answers.push(attempt.await.unwrap());
    }
    answers
}

fn all_delivered(answers: &[Answer]) -> bool {
    answers.iter().all(|answer| answer.verdict == AttemptVerdict::Delivered)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_until_it_ends() {
    let tokens = Tokens::new(false);
    let address = tokens.serve().await;
    let (auth, client) = (Arc::new(prepared(&oauth2(address))), client(&Tls::new(None).unwrap()));
    for _ in 0..2 {
        assert!(all_delivered(&attempts(&auth, &client, &format!("http://{address}/hook"), 8).await));
    }
    assert_eq!(tokens.fetched(), 1);
}

#[tokio::test]
async fn a_token_the_target_no_longer_takes_is_fetched_anew_once() {
    let tokens = Tokens::new(false);
    let address = tokens.serve().await;
    let (auth, client) = (Arc::new(prepared(&oauth2(address))), client(&Tls::new(None).unwrap()));
    let url = format!("http://{address}/hook");
    assert!(all_delivered(&attempts(&auth, &client, &url, 1).await));
    tokens.accepts_from.store(2, Ordering::SeqCst);
    assert!(all_delivered(&attempts(&auth, &client, &url, 8).await), "revoked, and replaced within the attempt");
    assert_eq!(tokens.fetched(), 2);
    tokens.accepts_from.store(usize::MAX, Ordering::SeqCst);
    let refused = attempts(&auth, &client, &url, 1).await;
    assert_eq!((refused[0].status, tokens.fetched()), (Some(StatusCode::UNAUTHORIZED), 3), "once, not for ever");
    assert!(matches!(refused[0].verdict, AttemptVerdict::Failed(_)));
}

#[tokio::test]
async fn a_server_that_takes_credentials_in_the_form_only_is_remembered() {
    let tokens = Tokens::new(true);
    let address = tokens.serve().await;
    let (auth, client) = (Arc::new(prepared(&oauth2(address))), client(&Tls::new(None).unwrap()));
    let url = format!("http://{address}/hook");
    assert!(all_delivered(&attempts(&auth, &client, &url, 1).await));
    assert_eq!(tokens.fetched(), 2);
    tokens.accepts_from.store(3, Ordering::SeqCst);
    assert!(all_delivered(&attempts(&auth, &client, &url, 1).await));
    assert_eq!(tokens.fetched(), 3, "the first form it is asked in is the one that worked");
}

#[tokio::test]
async fn a_failed_fetch_is_a_failed_attempt_that_says_why() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetches);
    let address = server(Arc::new(move |path: &str, _: Option<&str>, _: &str| {
        assert_eq!(path, "/token", "without a token nothing is sent");
        counted.fetch_add(1, Ordering::SeqCst);
        (503, r#"{"error":"overloaded"}"#.to_owned())
    }))
    .await;
    let (auth, client) = (Arc::new(prepared(&oauth2(address))), client(&Tls::new(None).unwrap()));
    let answers = attempts(&auth, &client, &format!("http://{address}/hook"), 8).await;
    for answer in &answers {
        assert!(matches!(answer.verdict, AttemptVerdict::Failed(_)), "{:?}", answer.verdict);
        assert_eq!((answer.status, answer.error), (None, Some(NoAnswer::Token)));
        assert_eq!(answer.detail.as_deref(), Some("the token endpoint answered 503: overloaded"));
    }
    assert!(fetches.load(Ordering::SeqCst) <= 8, "who waited for the failed one shares its failure");
}

/// As with targets: a literal dies at once, what a name server says now is a failed attempt.
#[tokio::test]
async fn a_token_endpoint_inside_our_own_network_is_refused() {
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let strict = testing::policy(true, &[]);
    let refused = Auth::new(Some(&oauth2(address)), None, &strict);
    assert!(matches!(refused, Err(AttemptVerdict::Refused(why)) if why.starts_with("the token endpoint: ")));
    let mut by_name = oauth2(address);
    if let catalog::Auth::Oauth2(oauth2) = &mut by_name {
        oauth2.token_url = Url::parse("http://tokens.example:1/token").unwrap();
    }
    let auth = Auth::new(Some(&by_name), None, &strict).unwrap();
    let names = NameServer::start().unwrap();
    names.answers("tokens.example", Reply::addresses(&["127.0.0.1"]));
    let resolver = testing::resolver_at(&names, true, &[]);
    let limits = client(&Tls::new(None).unwrap()).limits();
    let client = Client::new(resolver, limits, Tls::new(None).unwrap().plain().unwrap());
    let answer = attempted(&auth, &client, "http://example.com/").await;
    assert!(matches!(answer.verdict, AttemptVerdict::Failed(_)), "{:?}", answer.verdict);
    assert_eq!(answer.error, Some(NoAnswer::Token));
    let detail = answer.detail.unwrap();
    assert!(detail.starts_with("the token endpoint did not answer: refused"), "{detail}");
    assert!(detail.contains("127.0.0.1 is a loopback address"), "{detail}");
}

#[tokio::test]
async fn basic_and_bearer_are_what_the_receiver_gets() {
    let address = server(Arc::new(|_: &str, authorization: Option<&str>, _: &str| {
        (200, authorization.unwrap_or_default().to_owned())
    }))
    .await;
    let client = client(&Tls::new(None).unwrap());
    let basic = catalog::Auth::Basic { username: "käthe".into(), password: Zeroizing::new("a:b".into()) };
    let bearer = catalog::Auth::Bearer { token: Zeroizing::new("t0ken".into()) };
    for (auth, expected) in
        [(basic, format!("Basic {}", STANDARD.encode("käthe:a:b"))), (bearer, "Bearer t0ken".into())]
    {
        let auth = prepared(&auth);
        let answer = attempted(&auth, &client, &format!("http://{address}/")).await;
        assert_eq!(answer.body, expected);
        assert!(!format!("{auth:?}").contains(&expected), "a header with a secret is not printed");
    }
    let unwritable = catalog::Auth::Bearer { token: Zeroizing::new("q\nz".into()) };
    let refused = Auth::new(Some(&unwritable), None, &policy());
    assert!(matches!(refused, Err(AttemptVerdict::Unwritable(why)) if !why.contains('q')));
}

/// An authority, a server that wants certificates of it, and a way to make them.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn trusted(&self) -> (tempfile::NamedTempFile, Tls) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self.0.pem()).unwrap();
        let tls = Tls::new(Some(file.path())).unwrap();
        (file, tls)
    }

    /// Answers with the number of the connection.
    async fn serve(&self) -> SocketAddr {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let (certificate, key) = self.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        drop(tasks::spawn("test TLS server", async move {
            let mut connections = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                connections += 1;
                let number = connections;
                let handler: Arc<Handler> =
                    Arc::new(move |_: &str, _: Option<&str>, _: &str| (200, number.to_string()));
                let service = service_fn(move |request| answer(Arc::clone(&handler), request));
                let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                drop(tasks::spawn("test connection", async move {
                    let _closed_by_the_client = serve.await;
                }));
            }
        }));
        address
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_connections_are_its_subscriptions_own() {
    let authority = Authority::new();
    let address = authority.serve().await;
    let (_file, tls) = authority.trusted();
    let url = format!("https://localhost:{}/", address.port());
    let shared = client(&tls);
    let none = attempted(&Auth::None, &shared, &url).await;
    assert_eq!(none.error, Some(NoAnswer::Tls), "without one the server ends it: {none:?}");
    assert!(none.detail.unwrap().starts_with("TLS: client certificate required ("));

    let mtls = |name, holder| {
        let (certificate, key) = authority.issue(name, ExtendedKeyUsagePurpose::ClientAuth);
        let private_key = Zeroizing::new(key.serialize_pem());
        let auth = catalog::Auth::Mtls { certificate: certificate.pem(), private_key };
        own_tls(Some(&auth), None, holder, &tls).unwrap()
    };
    let (a, b) = (testing::subscription_id(1), testing::subscription_id(2));
    let (one, other, changed) = (mtls("one", (a, 1)), mtls("other", (b, 1)), mtls("one", (a, 2)));
    // The same subscription, prepared once more.
    let again = mtls("one", (a, 1));
    let mut connections = Vec::new();
    for identity in [&one, &one, &other, &again, &changed, &changed] {
        let answer = attempted_as(&Auth::None, identity.as_ref(), &shared, &url).await;
        assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{answer:?}");
        connections.push(String::from_utf8(answer.body.to_vec()).unwrap());
    }
    assert_eq!(connections, ["1", "1", "2", "1", "3", "3"], "kept per subscription, made anew when it is changed");
    assert_eq!(shared.connections(), 3);
    shared.keep_current(|holder| holder == (b, 1));
    assert_eq!(shared.connections(), 1, "what is gone is dropped");
}

/// A server whose certificate comes from an authority that nobody else trusts, and one of the operator's authority.
#[tokio::test]
async fn the_authorities_of_a_subscription_are_its_own_and_take_the_place_of_all_others() {
    let (private, everybodys) = (TestAuthority::new().unwrap(), TestAuthority::new().unwrap());
    let started = |authority: &TestAuthority| {
        Endpoint::start_secure(EndpointOptions::default(), authority.secure(&["http/1.1"], Flaw::None).unwrap())
            .unwrap()
    };
    let (own, other) = (started(&private), started(&everybodys));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), everybodys.pem()).unwrap();
    let tls = Tls::new(Some(file.path())).unwrap();
    let (shared, pem) = (client(&tls), private.pem());
    let identity = own_tls(None, Some(&pem), holder(), &tls).unwrap();
    let bearer = Auth::Header(HeaderValue::from_static("Bearer t"));
    let told = async |identity: Option<&ClientIdentity>, at: &Endpoint| {
        let answer = attempted_as(&bearer, identity, &shared, &at.url("/")).await;
        (answer.verdict == AttemptVerdict::Delivered, answer.error)
    };
    assert_eq!(told(identity.as_ref(), &own).await, (true, None));
    assert_eq!(own.requests("/")[0].header("authorization"), Some("Bearer t"));
    // The connection that is kept now is not for others.
    assert_eq!(told(None, &own).await, (false, Some(NoAnswer::Tls)));
    assert_eq!(told(None, &other).await, (true, None));
    assert_eq!(told(identity.as_ref(), &other).await, (false, Some(NoAnswer::Tls)));
    for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(own_tls(None, Some(bad), holder(), &tls).err(), Some(unanswered(NoAnswer::Unsigned)), "{bad}");
    }
    assert!(
        own_tls(None, None, holder(), &tls).unwrap().is_none(),
        "without anything of its own it shares connections"
    );
}

#[test]
fn a_certificate_that_is_none_can_be_mended() {
    let tls = Tls::new(None).unwrap();
    let of = |certificate: &str, key: &str| {
        let auth = catalog::Auth::Mtls { certificate: certificate.into(), private_key: Zeroizing::new(key.into()) };
        own_tls(Some(&auth), None, holder(), &tls)
    };
    let authority = Authority::new();
    let (certificate, _) = authority.issue("one", ExtendedKeyUsagePurpose::ClientAuth);
    let (_, key) = authority.issue("other", ExtendedKeyUsagePurpose::ClientAuth);
    for (certificate, key) in [("", ""), ("x", "y"), (certificate.pem().as_str(), key.serialize_pem().as_str())] {
        assert_eq!(of(certificate, key).err(), Some(unanswered(NoAnswer::Unsigned)));
    }
}

#[test]
fn auth_stands_in_the_control_object_sealed_and_opens_for_its_subscription() {
    let vault = testing::vault();
    let id = testing::subscription_id(1);
    let object = control::Subscription {
        auth: Some(control::Auth::Bearer { token: testing::seal(&vault, id, "t0ken") }),
        ..testing::object(1, "https://example.com/", &vault)
    };
    let subscription = testing::subscription(object.clone(), 1, &vault);
    let target = subscription.target().unwrap();
    assert!(matches!(&target.auth, Some(catalog::Auth::Bearer { token }) if **token == "t0ken"));
    assert!(!format!("{target:?}").contains("t0ken"));
    let foreign = control::Auth::Bearer { token: testing::seal(&vault, testing::subscription_id(2), "t0ken") };
    let stolen = testing::subscription(control::Subscription { auth: Some(foreign), ..object }, 1, &vault);
    assert!(stolen.target().is_err(), "an envelope of another subscription does not open");
}
