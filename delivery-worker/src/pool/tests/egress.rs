//! Through a proxy of the operator's.

use chassis::config::EgressProxy;
use parking_lot::Mutex;
use testkit::dns::{NameServer, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::room::BlackHole;
use super::*;
use crate::pool::egress::HEAD_LIMIT;

/// `None`: the client went away.
async fn read_head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A proxy that answers every `CONNECT` with this status, and connects after a 200. What it was asked is kept.
async fn proxy(status: &'static str) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&asked);
    drop(tasks::spawn("test proxy", async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            drop(tasks::spawn("test tunnel", async move {
                let Some(head) = read_head(&mut client).await else { return };
                let to = head.split(' ').nth(1).unwrap().to_owned();
                kept.lock().push(head);
                client.write_all(format!("HTTP/1.1 {status}\r\nvia: test\r\n\r\n").as_bytes()).await.unwrap();
                if status.starts_with("200") {
                    let mut target = TcpStream::connect(to).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut target).await;
                }
            }));
        }
    }));
    (address, asked)
}

/// A proxy that answers one `CONNECT` after the other with these statuses, and connects there after a 200, whatever it was asked for.
async fn proxy_in_turn(statuses: [&'static str; 2], target: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tasks::spawn("test proxy", async move {
        for status in statuses {
            let (mut client, _) = listener.accept().await.unwrap();
            read_head(&mut client).await.unwrap();
            client.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
            if status.starts_with("200") {
                let mut target = TcpStream::connect(target).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut client, &mut target).await;
            }
        }
    }));
    address
}

fn client_through(authority: &TestAuthority, proxy: EgressProxy, allow: &[&str]) -> Client {
    let resolver = testing::resolver(true, allow).through(Some(proxy));
    client_of(authority, resolver, Duration::from_secs(20))
}

/// With this deadline for connects.
fn client_of(authority: &TestAuthority, resolver: TargetResolver, connect: Duration) -> Client {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let tls = Tls::new(Some(file.path())).unwrap();
    let limits = PoolLimits::new(connect, Duration::from_secs(60), 256);
    Client::new(resolver, ClientLimits::new(4_096, 64, limits), tls.plain().unwrap())
}

fn at(address: std::net::SocketAddr, credentials: &str) -> EgressProxy {
    format!("http://{credentials}{address}").parse().unwrap()
}

#[tokio::test]
async fn what_a_proxy_connects_to_is_resolved_here_and_its_tls_is_the_targets() {
    let authority = TestAuthority::new().unwrap();
    let (secure, _) = endpoint(&authority, &["h2", "http/1.1"], |_| {});
    let plain = Endpoint::start().unwrap();
    let (address, asked) = proxy("200 Connection established").await;
    let client = client_through(&authority, at(address, "user:secret@"), &["127.0.0.0/8"]);
    let named = secure.url("/").replace("127.0.0.1", "localhost");
    for url in [&named, &plain.url("/")] {
        let answer = post(&client, url, LIMIT).await;
        assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{url}: {answer:?}");
    }
    assert_eq!((secure.count("/"), plain.count("/")), (1, 1));
    let asked = asked.lock().clone();
    let first = |head: &String| head.lines().next().unwrap().to_owned();
    let port = |url: &str| url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let connects: Vec<String> = asked.iter().map(first).collect();
    let expected = [&named, &plain.url("/")].map(|url| format!("CONNECT 127.0.0.1:{} HTTP/1.1", port(url)));
    assert_eq!(connects, expected, "addresses, and no names");
    assert!(asked.iter().all(|head| head.contains("\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n")), "{asked:?}");
}

#[tokio::test]
async fn what_the_policy_refuses_reaches_no_proxy() {
    let authority = TestAuthority::new().unwrap();
    let plain = Endpoint::start().unwrap();
    let (open, asked) = proxy("200 OK").await;
    let refused = post(&client_through(&authority, at(open, ""), &[]), &plain.url("/"), LIMIT).await;
    assert!(matches!(refused.verdict, AttemptVerdict::Refused(_)), "{refused:?}");
    assert_eq!((asked.lock().len(), plain.count("/")), (0, 0));
}

/// Whatever is only about us, or about the proxy, is nobody's attempt. What may be about the target is one, unless it is so for all of
/// them: that is seen where lanes are watched, and so all of it has to be of the class that is watched.
#[tokio::test]
async fn a_proxy_that_does_not_serve_us_is_our_own_lack_and_one_that_does_not_get_there_is_no_connection() {
    let authority = TestAuthority::new().unwrap();
    let plain = Endpoint::start().unwrap();
    let endless: &str = format!("200 OK\r\nx: {}", "y".repeat(HEAD_LIMIT)).leak();
    for (status, expected) in [
        (endless, NoAnswer::Local),
        ("407 Who are you\r\nProxy-Authenticate: Basic", NoAnswer::Local),
        ("407 Who are you\r\nPROXY-AUTHENTICATE:Basic", NoAnswer::Local),
        ("400 Bad Request", NoAnswer::Local),
        ("401 Unauthorized", NoAnswer::Local),
        ("404 Not Found", NoAnswer::Local),
        ("405 Method Not Allowed", NoAnswer::Local),
        ("429 Too Many Requests", NoAnswer::Local),
        ("501 Not Implemented", NoAnswer::Local),
        ("302 Found", NoAnswer::Local),
        ("20 OK", NoAnswer::Local),
        ("OK", NoAnswer::Local),
        // As some refuse a target: who wants credentials says which.
        ("407 Request rejected by proxy", NoAnswer::Connect),
        ("403 Forbidden", NoAnswer::Connect),
        ("500 Unable to connect", NoAnswer::Connect),
        ("502 Bad Gateway", NoAnswer::Connect),
        ("503 Service Unavailable", NoAnswer::Connect),
        ("504 Gateway Timeout", NoAnswer::Connect),
    ] {
        let (address, asked) = proxy(status).await;
        let client = client_through(&authority, at(address, ""), &["127.0.0.0/8"]);
        let answer = post(&client, &plain.url("/"), LIMIT).await;
        assert_eq!(answer.error, Some(expected), "{status}: {answer:?}");
        assert!(detail(&answer).contains("the egress proxy "), "{answer:?}");
        assert_eq!(asked.lock().len(), 1, "{status}");
    }
    assert_eq!(plain.count("/"), 0);
}

#[tokio::test]
async fn nothing_that_a_proxy_says_and_no_name_of_it_is_shown_to_whom_the_target_belongs() {
    let authority = TestAuthority::new().unwrap();
    let names = NameServer::start().unwrap();
    names.answers("endpoint.example", Reply::addresses(&["127.0.0.1"]));
    names.answers("proxy.internal", Reply::no_such_name());
    let (echo, _) = proxy("403 Basic dXNlcjpzZWNyZXQ=").await;
    let gone: EgressProxy = "http://user:secret@proxy.internal:3128".parse().unwrap();
    for (egress, expected) in [(at(echo, "user:secret@"), NoAnswer::Connect), (gone, NoAnswer::Local)] {
        let resolver = testing::resolver_at(&names, true, &["127.0.0.0/8"]).through(Some(egress));
        let client = client_of(&authority, resolver, Duration::from_secs(20));
        let answer = post(&client, "http://endpoint.example:1/", LIMIT).await;
        assert_eq!(answer.error, Some(expected));
        let shown = detail(&answer);
        assert!(!shown.contains("Basic") && !shown.contains("internal") && !shown.contains("3128"), "{shown}");
    }
}

/// Nobody knows whose silence it is where the proxy was asked. Where it cannot be reached it is its own.
#[tokio::test]
async fn silence_before_the_proxy_is_reached_is_our_own_lack_and_afterwards_no_connection() {
    let authority = TestAuthority::new().unwrap();
    let hole = BlackHole::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (egress, expected) in [(hole.address(1), NoAnswer::Local), (silent.local_addr().unwrap(), NoAnswer::Connect)] {
        let through = || testing::resolver(true, &["127.0.0.0/8"]).through(Some(at(egress, "")));
        // The time of the connect ends, or that of the attempt.
        for (connect, attempt) in [(CONNECT, LIMIT), (LIMIT, CONNECT)] {
            let answer = post(&client_of(&authority, through(), connect), "http://127.0.0.1:1/", attempt).await;
            let expected =
                if attempt == CONNECT && expected == NoAnswer::Connect { NoAnswer::Timeout } else { expected };
            assert_eq!(answer.error, Some(expected), "{egress}: {answer:?}");
            assert!(detail(&answer).contains("egress proxy"), "{answer:?}");
        }
    }
}

/// A proxy waits for an address that does not answer for as long as it likes: the next one is asked for meanwhile.
#[tokio::test]
async fn an_address_that_the_proxy_does_not_reach_keeps_nobody_from_the_next() {
    let authority = TestAuthority::new().unwrap();
    let plain = Endpoint::start().unwrap();
    let names = NameServer::start().unwrap();
    names.answers("endpoint.example", Reply::addresses(&["127.0.0.2", "127.0.0.1"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let egress = at(listener.local_addr().unwrap(), "");
    let target = plain.address();
    drop(tasks::spawn("test proxy", async move {
        // The first is never answered, whichever it is.
        let (_silent, _) = listener.accept().await.unwrap();
        let (mut client, _) = listener.accept().await.unwrap();
        read_head(&mut client).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut target = TcpStream::connect(target).await.unwrap();
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut target).await;
    }));
    let resolver = testing::resolver_at(&names, true, &["127.0.0.0/8"]).through(Some(egress));
    let answer = post(&client_of(&authority, resolver, LIMIT / 2), "http://endpoint.example:1/", LIMIT).await;
    assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{answer:?}");
}

/// As one that knows no IPv6 answers what it does not understand: the other address of the target is asked for all the same.
#[tokio::test]
async fn what_a_proxy_says_of_one_address_keeps_nobody_from_the_next() {
    let authority = TestAuthority::new().unwrap();
    let plain = Endpoint::start().unwrap();
    let names = NameServer::start().unwrap();
    names.answers("endpoint.example", Reply::addresses(&["127.0.0.2", "127.0.0.1"]));
    for (statuses, expected) in [
        (["400 Bad Request", "200 OK"], None),
        (["OK", "200 OK"], None),
        (["400 Bad Request", "405 Method Not Allowed"], Some(NoAnswer::Local)),
        // It serves us, and does not get there.
        (["400 Bad Request", "502 Bad Gateway"], Some(NoAnswer::Connect)),
        (["502 Bad Gateway", "400 Bad Request"], Some(NoAnswer::Connect)),
    ] {
        let egress = at(proxy_in_turn(statuses, plain.address()).await, "");
        let resolver = testing::resolver_at(&names, true, &["127.0.0.0/8"]).through(Some(egress));
        let answer = post(&client_of(&authority, resolver, LIMIT / 2), "http://endpoint.example:1/", LIMIT).await;
        assert_eq!(answer.error, expected, "{statuses:?}: {answer:?}");
        assert_eq!(answer.verdict == AttemptVerdict::Delivered, expected.is_none(), "{statuses:?}: {answer:?}");
    }
}
