//! Through a proxy of the operator's.

use chassis::config::EgressProxy;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

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

fn client_through(authority: &TestAuthority, proxy: EgressProxy, allow: &[&str]) -> Client {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let tls = Tls::new(Some(file.path())).unwrap();
    let limits = PoolLimits::new(Duration::from_secs(20), Duration::from_secs(60), 256);
    let resolver = testing::resolver(true, allow).through(Some(proxy));
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
async fn what_the_policy_refuses_reaches_no_proxy_and_a_proxy_that_refuses_us_is_our_own_lack() {
    let authority = TestAuthority::new().unwrap();
    let plain = Endpoint::start().unwrap();
    let (open, asked) = proxy("200 OK").await;
    let refused = post(&client_through(&authority, at(open, ""), &[]), &plain.url("/"), LIMIT).await;
    assert!(matches!(refused.verdict, AttemptVerdict::Refused(_)), "{refused:?}");
    assert_eq!((asked.lock().len(), plain.count("/")), (0, 0));

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut told = Vec::new();
    for address in
        [proxy("407 Who are you").await.0, gone, proxy("403 Forbidden").await.0, proxy("502 Bad Gateway").await.0]
    {
        let answer = post(&client_through(&authority, at(address, ""), &["127.0.0.0/8"]), &plain.url("/"), LIMIT).await;
        assert!(answer.detail.unwrap().contains("the egress proxy "));
        told.push(answer.error.unwrap());
    }
    assert_eq!(told, [NoAnswer::Local, NoAnswer::Local, NoAnswer::Refused, NoAnswer::Connect]);
    assert_eq!(plain.count("/"), 0);
}
