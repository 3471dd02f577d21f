//! What is no event route, passed on to a control plane that is another process; and who called, where proxies stand in between.

use std::time::Duration;

use chassis::config::ForwardConfig;
use chassis::proxies::{ProxyHeader, TrustedProxies};
use tokio::net::TcpListener;

use super::*;
use crate::config::GatewayConfig;

/// A control plane whose part the test plays.
struct PlayedControl(TcpListener);

/// A request that came there, and the connection to answer it on.
struct Passed {
    head: String,
    socket: TcpStream,
    /// What came of the body with the head.
    begun: Vec<u8>,
}

// === impl PlayedControl ===

impl PlayedControl {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    async fn passed(&self) -> Passed {
        let (mut socket, _) = self.0.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            assert!(socket.read_buf(&mut bytes).await.unwrap() > 0, "closed after {bytes:?}");
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
                return Passed { head, socket, begun: bytes[end + 4..].to_vec() };
            }
        }
    }
}

// === impl Passed ===

impl Passed {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    async fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the body that came so far ends like this.
    async fn body_ends(&mut self, end: &str) {
        while !self.begun.ends_with(end.as_bytes()) {
            let read = self.socket.read_buf(&mut self.begun).await.unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&self.begun));
        }
    }
}

/// Passes on to this address.
fn to(url: &str, change: impl FnOnce(&mut ForwardConfig)) -> impl FnOnce(&mut GatewayConfig) {
    let to = url.parse().unwrap();
    let mut forward = ForwardConfig { to, timeout: Duration::from_secs(60), at_once: 8, ca_file: None };
    change(&mut forward);
    move |config| config.forward = Some(forward)
}

#[tokio::test]
async fn a_request_and_its_answer_go_through_as_they_are_but_for_what_is_of_a_connection() {
    let control = PlayedControl::start().await;
    let fixture = Fixture::with(to(&control.url(), |_| {}), None).await;
    let mut client = fixture.connect().await;
    let request = "PUT /api/v1/subscriptions/7?dry_run=true HTTP/1.1\r\nhost: hooks.example\r\nauthorization: Bearer t\r\n\
                   connection: keep-alive, x-private\r\nx-private: 1\r\nte: trailers\r\nx-forwarded-for: 203.0.113.9\r\n\
                   forwarded: for=203.0.113.9\r\ncontent-length: 4\r\n\r\nbody";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut passed = control.passed().await;
    passed.body_ends("body").await;
    assert!(passed.head.starts_with("put /api/v1/subscriptions/7?dry_run=true http/1.1"), "{}", passed.head);
    let told = |name| passed.header(name);
    assert_eq!((told("host"), told("authorization")), (Some("hooks.example"), Some("bearer t")));
    assert_eq!(
        (told("x-private"), told("te"), told("forwarded")),
        (None, None, Some("for=\"127.0.0.1\"")),
        "{}",
        passed.head
    );
    assert_eq!(told("x-forwarded-for"), Some("127.0.0.1"), "what the client says of itself does not get through");
    let answer = "HTTP/1.1 422 Unprocessable Entity\r\ncontent-type: application/problem+json\r\nx-request-id: r\r\n\
                  connection: x-own\r\nx-own: 1\r\ncontent-length: 8\r\n\r\n{\"id\":1}";
    passed.write(answer).await;
    let reply = Reply::read(&mut client).await;
    assert_eq!((reply.status, &reply.body), (422, &json!({"id": 1})));
    assert_eq!(reply.header("x-request-id"), Some("r"));
    assert_eq!(reply.header("x-own"), None);
    assert_eq!(fixture.send(&event("")).await.status, 201, "events stay here");
}

#[tokio::test]
async fn bodies_stream_in_both_directions() {
    let control = PlayedControl::start().await;
    let fixture = Fixture::with(to(&control.url(), |_| {}), None).await;
    let mut client = fixture.connect().await;
    let head = "POST /api/v1/replays HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut passed = control.passed().await;
    passed.body_ends("3\r\none\r\n").await;
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    passed.body_ends("3\r\ntwo\r\n0\r\n\r\n").await;
    passed.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    let mut answer = Vec::new();
    let until = async |answer: &mut Vec<u8>, client: &mut TcpStream, end: &str| {
        while !answer.ends_with(end.as_bytes()) {
            assert!(client.read_buf(answer).await.unwrap() > 0, "{:?}", String::from_utf8_lossy(answer));
        }
    };
    until(&mut answer, &mut client, "5\r\nfirst\r\n").await;
    passed.write("6\r\nsecond\r\n0\r\n\r\n").await;
    until(&mut answer, &mut client, "6\r\nsecond\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn where_nobody_answers_the_client_is_told_to_come_again() {
    let control = PlayedControl::start().await;
    let url = control.url();
    drop(control);
    let fixture = Fixture::with(to(&url, |_| {}), None).await;
    let reply = fixture.ask("GET", "/api/v1/instance", Some(SECRET), "application/json", b"").await;
    assert_eq!((reply.status, reply.id(), reply.header("retry-after")), (503, "ServiceUnavailable", Some("1")));
    assert!(reply.header("x-request-id").is_some());
    assert_eq!(fixture.send(&event("")).await.status, 201, "events need no control plane");
}

#[tokio::test]
async fn a_refusal_is_seen_by_a_client_that_sends_a_large_body_first() {
    let control = PlayedControl::start().await;
    let url = control.url();
    drop(control);
    let body = vec![b' '; 1 << 20];
    for at_once in [8, 0] {
        let fixture = Fixture::with(to(&url, |forward| forward.at_once = at_once), None).await;
        let path = "/api/v1/subscriptions:batch";
        let reply = fixture.ask("POST", path, Some(SECRET), "application/json", &body).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{at_once} at once");
    }
}

#[tokio::test]
async fn a_write_that_may_have_been_done_is_not_asked_for_again() {
    let control = PlayedControl::start().await;
    let fixture = Fixture::with(to(&control.url(), |_| {}), None).await;
    for (method, key, told) in [
        ("POST", "", (Some("outcome_unknown"), None)),
        ("DELETE", "", (Some("outcome_unknown"), None)),
        ("POST", "idempotency-key: k\r\n", (Some("outcome_unknown"), Some("1"))),
        ("DELETE", "idempotency-key: k\r\n", (Some("outcome_unknown"), None)),
        ("PATCH", "idempotency-key: k\r\n", (Some("outcome_unknown"), None)),
        ("GET", "", (None, Some("1"))),
    ] {
        let head = format!(
            "{method} /api/v1/applications HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {SECRET}\r\n{key}content-length: 2\r\n\r\n{{}}"
        );
        // The control plane dies when it has the request.
        let (reply, _gone) = tokio::join!(fixture.raw(head.as_bytes()), async { drop(control.passed().await) });
        assert_eq!(reply.status, 503, "{method}");
        let code = reply.body["code"].as_str();
        assert_eq!((code, reply.header("retry-after")), told, "{method} {key}");
    }
}

#[tokio::test]
async fn one_address_without_a_token_leaves_places_for_others() {
    let control = PlayedControl::start().await;
    let fixture = Fixture::with(to(&control.url(), |forward| forward.at_once = 3), None).await;
    let mut stuck = fixture.connect().await;
    let bare = b"GET /api/v1/swagger.json HTTP/1.1\r\nhost: h\r\n\r\n";
    stuck.write_all(bare).await.unwrap();
    let mut held = control.passed().await;
    held.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{").await;
    assert_eq!(fixture.raw(bare).await.code(), "overloaded");
    for token in [SECRET, "viewer"] {
        let asked = fixture.ask("GET", "/api/v1/instance", Some(token), "application/json", b"");
        let answered = async {
            control.passed().await.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").await;
        };
        let (reply, ()) = tokio::join!(asked, answered);
        assert_eq!(reply.status, 200, "{token}");
    }
}

#[tokio::test]
async fn who_takes_too_long_is_given_up_before_and_in_the_midst_of_an_answer() {
    let control = PlayedControl::start().await;
    let brief = |forward: &mut ForwardConfig| forward.timeout = Duration::from_millis(500);
    let fixture = Fixture::with(to(&control.url(), brief), None).await;
    let asked = fixture.ask("GET", "/api/v1/instance", None, "application/json", b"");
    let (reply, _silent) = tokio::join!(asked, control.passed());
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let mut client = fixture.connect().await;
    client.write_all(&request("GET", "/api/v1/instance", SECRET, "")).await.unwrap();
    let mut passed = control.passed().await;
    passed.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let mut answer = Vec::new();
    // The connection ends: what is missing cannot be told from a whole answer otherwise.
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"half"), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn beyond_so_many_at_once_others_are_refused_until_one_has_ended() {
    let control = PlayedControl::start().await;
    let fixture = Fixture::with(to(&control.url(), |forward| forward.at_once = 1), None).await;
    let mut first = fixture.connect().await;
    first.write_all(&request("GET", "/api/v1/instance", SECRET, "")).await.unwrap();
    let mut passed = control.passed().await;
    // Its answer has begun and has not ended: it is under way.
    passed.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{").await;
    let reply = fixture.ask("GET", "/api/v1/instance", None, "application/json", b"").await;
    assert_eq!((reply.status, reply.code(), reply.header("retry-after")), (503, "overloaded", Some("1")));
    passed.write("}").await;
    assert_eq!(Reply::read(&mut first).await.status, 200);
    let asked = async {
        // The place is free a moment after the last byte was read.
        loop {
            let reply = fixture.ask("GET", "/api/v1/instance", None, "application/json", b"").await;
            if reply.status != 503 {
                return reply;
            }
        }
    };
    let answered = async {
        control.passed().await.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    };
    let (reply, ()) = tokio::join!(asked, answered);
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn what_was_passed_on_is_not_passed_on_again() {
    let control = PlayedControl::start().await;
    let fixture = Fixture::with(to(&control.url(), |_| {}), None).await;
    let reply = fixture.raw(b"GET /api/v1/instance HTTP/1.1\r\nhost: h\r\nx-hookbus-forwarded: 1\r\n\r\n").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn the_caller_is_who_trusted_proxies_say_and_nobody_else() {
    for (trusted, ip) in [("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")] {
        let networks = [trusted.parse().unwrap()];
        let fixture = Fixture::with(
            |config| config.trusted_proxies = TrustedProxies::new(&networks, ProxyHeader::XForwardedFor),
            None,
        )
        .await;
        let body = event("");
        let head = format!(
            "POST /api/v1/event HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {SECRET}\r\ncontent-type: application/json\r\n\
             x-forwarded-for: 198.51.100.1, 203.0.113.7\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(fixture.raw(head.as_bytes()).await.status, 201);
        assert_eq!(fixture.publisher.taken(1).await[0].headers.text("hookbus-ip"), Some(ip), "{trusted}");
    }
}
