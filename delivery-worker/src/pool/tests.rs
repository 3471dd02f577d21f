//! The pool against endpoints that do what endpoints do, over real sockets.

mod egress;
mod room;

use std::time::Duration;

use bytes::Bytes;
use chassis::tasks;
use http::{HeaderMap, Request};
use http_body_util::Full;
use testkit::endpoint::{Endpoint, EndpointOptions, Flaw, Secure, TestAuthority};
use testkit::hostile::{Cruelty, Hostile};
use testkit::swallow::Swallow;
use testkit::wait::eventually;

use super::*;
use crate::classify::AttemptVerdict;
use crate::client::{Answer, Client, ClientLimits, Tls};
use crate::testing;

/// Long enough for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);
/// Of a connect in these tests.
const CONNECT: Duration = Duration::from_millis(300);

/// A client that trusts an authority, with a deadline for connects.
fn client(authority: &TestAuthority, connect: Duration) -> Client {
    client_with(authority, PoolLimits::new(connect, Duration::from_secs(60), 256))
}

/// The same with all limits.
fn client_with(authority: &TestAuthority, limits: PoolLimits) -> Client {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let tls = Tls::new(Some(file.path())).unwrap();
    let limits = ClientLimits::new(4_096, 64, limits);
    Client::new(testing::resolver(true, &["127.0.0.0/8"]), limits, tls.plain().unwrap())
}

fn endpoint(authority: &TestAuthority, protocols: &[&str], change: impl FnOnce(&mut Secure)) -> (Endpoint, Secure) {
    let mut secure = authority.secure(protocols, Flaw::None).unwrap();
    change(&mut secure);
    (Endpoint::start_secure(EndpointOptions::default(), secure.clone()).unwrap(), secure)
}

async fn send(client: &Client, url: &str, body: &Bytes, timeout: Duration) -> Answer {
    let request = || Request::post(url).body(Full::new(body.clone())).unwrap();
    client.send(request(), || Ok(request()), None, timeout, 0).await
}

async fn post(client: &Client, url: &str, timeout: Duration) -> Answer {
    send(client, url, &Bytes::from_static(b"{}"), timeout).await
}

/// So many at once: those that were not delivered.
async fn failed(client: &Client, url: &str, count: usize, timeout: Duration) -> Vec<Answer> {
    let begin = |_| {
        let (client, url) = (client.clone(), url.to_owned());
        tasks::spawn("test request", async move { post(&client, &url, timeout).await })
    };
    let running: Vec<_> = (0..count).map(begin).collect();
    let mut failed = Vec::new();
    for request in running {
        failed.extend(Some(request.await.unwrap()).filter(|answer| answer.verdict != AttemptVerdict::Delivered));
    }
    failed
}

/// The detail of an answer that is none.
fn detail(answer: &Answer) -> &str {
    answer.detail.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn http2_is_shared_and_http1_is_kept_as_often_as_it_was_used() {
    let authority = TestAuthority::new().unwrap();
    let (shared, secure) = endpoint(&authority, &["h2", "http/1.1"], |_| {});
    let client = client(&authority, LIMIT);
    for _ in 0..3 {
        assert_eq!(failed(&client, &shared.url("/"), 60, LIMIT).await.len(), 0);
    }
    assert!(secure.handshakes_begun() <= 2, "{} handshakes for 180 requests", secure.handshakes_begun());

    let (single, secure) = endpoint(&authority, &["http/1.1"], |_| {});
    single.script("/", "204+delay=20ms").unwrap();
    for _ in 0..3 {
        assert_eq!(failed(&client, &single.url("/"), 40, LIMIT).await.len(), 0);
    }
    assert!(secure.handshakes_begun() <= 45, "{} handshakes for 40 at once", secure.handshakes_begun());
}

/// What the log shows of a request's way: the times of a connection stand with the first request that it carries.
#[tokio::test]
async fn an_answer_says_what_it_came_over_and_how_long_a_new_connection_took() {
    let authority = TestAuthority::new().unwrap();
    for (protocols, version) in [(&["h2"], "2"), (&["http/1.1"], "1.1")] {
        let (endpoint, _) = endpoint(&authority, protocols, |_| {});
        let client = client(&authority, LIMIT);
        for is_kept in [false, true, true] {
            let answer = post(&client, &endpoint.url("/"), LIMIT).await;
            let way = answer.way.unwrap();
            assert_eq!((way.to, way.protocol.map(Protocol::version)), (endpoint.address(), Some(version)));
            let ConnectTimes { dns_ms, connect_ms, tls_ms } = way.own_times();
            let times = [dns_ms, connect_ms, tls_ms].map(|time| time.is_some());
            assert_eq!((way.is_kept, times), (is_kept, [!is_kept; 3]), "{version}: {way:?}");
            assert!(answer.head_at.is_some());
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_one_stream_gets_one_stream() {
    let authority = TestAuthority::new().unwrap();
    let (endpoint, _) = endpoint(&authority, &["h2"], |secure| secure.max_streams = Some(1));
    let client = client(&authority, LIMIT);
    let failed = failed(&client, &endpoint.url("/"), 60, LIMIT).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert!(client.connections() <= 16, "{}", client.connections());
}

#[tokio::test]
async fn what_a_goaway_leaves_behind_is_sent_once_more_and_is_no_failure() {
    let authority = TestAuthority::new().unwrap();
    let (endpoint, secure) = endpoint(&authority, &["h2"], |secure| secure.goaway_after = Some(10));
    let client = client(&authority, LIMIT);
    for _ in 0..10 {
        let failed = failed(&client, &endpoint.url("/"), 20, LIMIT).await;
        assert!(failed.is_empty(), "{failed:?}");
    }
    assert!(secure.handshakes_begun() >= 10, "each connection took 10 requests or so");
    eventually("what the server ended is gone", LIMIT, || async { (client.connections() <= 2).then_some(()) })
        .await
        .unwrap();
}

/// Everything that is under way is swallowed, new connections work: one timeout, and the next attempt arrives.
#[tokio::test]
async fn a_connection_that_goes_silent_costs_one_timeout() {
    let authority = TestAuthority::new().unwrap();
    for protocols in [&["h2"], &["http/1.1"]] {
        let (endpoint, _) = endpoint(&authority, protocols, |_| {});
        let path = Swallow::start(endpoint.address()).unwrap();
        let client = client(&authority, LIMIT);
        let url = format!("https://{}/", path.address());
        for _ in 0..3 {
            assert_eq!(post(&client, &url, LIMIT).await.verdict, AttemptVerdict::Delivered);
        }
        // Several are kept, and all of them are lost: still one timeout.
        assert_eq!(failed(&client, &url, 5, LIMIT).await.len(), 0);
        path.swallow();
        let silent = post(&client, &url, Duration::from_millis(200)).await;
        assert_eq!(silent.error, Some(NoAnswer::Timeout), "{silent:?}");
        assert!(detail(&silent).starts_with("head: timed out after 200 ms (127.0.0.1:"), "{}", detail(&silent));
        assert!(detail(&silent).ends_with("kept connection)"), "{}", detail(&silent));
        let next = post(&client, &url, LIMIT).await;
        assert_eq!(next.verdict, AttemptVerdict::Delivered, "{protocols:?}: {next:?}");
    }
}

/// One connection is served, the handshakes of all others stall: what is tried is bounded, and given up.
#[tokio::test]
async fn handshakes_that_stall_leak_nothing() {
    let authority = TestAuthority::new().unwrap();
    let (endpoint, secure) = endpoint(&authority, &["http/1.1"], |secure| secure.handshakes = Some(1));
    endpoint.script("/", "204+delay=5ms").unwrap();
    // Enough for the one handshake that is served, beside 49 others on a busy machine.
    let client = client(&authority, Duration::from_secs(1));
    for _ in 0..5 {
        failed(&client, &endpoint.url("/"), 50, Duration::from_secs(3)).await;
        assert!(client.connections() <= 33, "{} connections", client.connections());
    }
    assert!(secure.handshakes_begun() > 5, "others were tried");
    eventually("the stalled handshakes are given up", LIMIT, || async { (client.connections() <= 1).then_some(()) })
        .await
        .unwrap();
    assert_eq!(
        post(&client, &endpoint.url("/"), LIMIT).await.verdict,
        AttemptVerdict::Delivered,
        "the one that works is kept"
    );
}

#[tokio::test]
async fn a_handshake_that_stalls_says_so() {
    let authority = TestAuthority::new().unwrap();
    let (endpoint, _) = endpoint(&authority, &["h2"], |secure| secure.handshakes = Some(0));
    let expected = format!("TLS: timed out after 300 ms ({})", endpoint.address());
    let to = |answer: &Answer| answer.way.map(|way| (way.to, way.protocol));
    let stalled = post(&client(&authority, CONNECT), &endpoint.url("/"), LIMIT).await;
    assert_eq!((stalled.error, detail(&stalled)), (Some(NoAnswer::Tls), &*expected));
    assert_eq!(to(&stalled), Some((endpoint.address(), None)));
    let impatient = post(&client(&authority, LIMIT), &endpoint.url("/"), CONNECT).await;
    assert_eq!((impatient.error, detail(&impatient)), (Some(NoAnswer::Timeout), &*expected));
    assert_eq!(to(&impatient), Some((endpoint.address(), None)));
}

#[tokio::test]
async fn an_early_answer_counts_and_its_unread_body_keeps_no_connection() {
    let endpoint = Hostile::start(Cruelty::AnswersEarly).unwrap();
    let client = client(&TestAuthority::new().unwrap(), LIMIT);
    let large = Bytes::from(vec![b'x'; 8 << 20]);
    for _ in 0..5 {
        let answer = send(&client, &endpoint.url("http"), &large, LIMIT).await;
        assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{answer:?}");
    }
    eventually("every connection is closed", LIMIT, || async { (client.connections() == 0).then_some(()) })
        .await
        .unwrap();
}

#[tokio::test]
async fn interim_answers_without_end_are_a_flood() {
    let endpoint = Hostile::start(Cruelty::InterimWithoutEnd).unwrap();
    let client = client(&TestAuthority::new().unwrap(), LIMIT);
    let answer = post(&client, &endpoint.url("http"), LIMIT).await;
    assert_eq!(answer.error, Some(NoAnswer::Protocol), "{answer:?}");
    assert!(detail(&answer).starts_with("head: the endpoint sends more than an answer may have"), "{answer:?}");
    assert_eq!(client.connections(), 0);
}

#[tokio::test]
async fn frames_without_end_are_a_flood_too() {
    let authority = TestAuthority::new().unwrap();
    let secure = authority.secure(&["h2"], Flaw::None).unwrap();
    let endpoint = Hostile::start_secure(Cruelty::FloodsWithPings, &secure).unwrap();
    let client = client(&authority, LIMIT);
    let answer = post(&client, &endpoint.url("https"), LIMIT).await;
    assert!(detail(&answer).contains("the endpoint sends more than an answer may have"), "{answer:?}");
    eventually("its connection is closed", LIMIT, || async { (client.connections() == 0).then_some(()) })
        .await
        .unwrap();
}

/// What an endpoint with a full table does: it worked, and now nothing comes back. Each attempt has its time, and no connection
/// outlives it.
#[tokio::test]
async fn an_endpoint_that_says_nothing_any_more_holds_nothing_beyond_its_attempts() {
    let endpoint = Hostile::start(Cruelty::BlackHoleAfter(100)).unwrap();
    let client = client(&TestAuthority::new().unwrap(), LIMIT);
    for _ in 0..10 {
        assert_eq!(failed(&client, &endpoint.url("http"), 10, LIMIT).await.len(), 0);
    }
    for _ in 0..3 {
        let silent = failed(&client, &endpoint.url("http"), 20, Duration::from_millis(100)).await;
        assert!(
            silent.len() == 20 && silent.iter().all(|answer| answer.error == Some(NoAnswer::Timeout)),
            "{silent:?}"
        );
        assert!(client.connections() <= 20, "{}", client.connections());
    }
    eventually("nothing is kept", LIMIT, || async { (client.connections() == 0).then_some(()) }).await.unwrap();
}

#[tokio::test]
async fn a_head_that_drips_ends_with_the_attempt() {
    let endpoint = Hostile::start(Cruelty::Drips).unwrap();
    let client = client(&TestAuthority::new().unwrap(), LIMIT);
    let answer = post(&client, &endpoint.url("http"), Duration::from_millis(300)).await;
    assert_eq!((answer.status, answer.error), (None, Some(NoAnswer::Timeout)));
    assert_eq!(client.connections(), 0);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_attempt_and_a_new_one_does() {
    let client = client(&TestAuthority::new().unwrap(), LIMIT);
    let closes = Hostile::start(Cruelty::ClosesOnTheSecond).unwrap();
    for _ in 0..4 {
        let answer = post(&client, &closes.url("http"), LIMIT).await;
        assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{answer:?}");
    }
    assert_eq!(closes.connections(), 4);
    let never = Hostile::start(Cruelty::ClosesOnTheFirst).unwrap();
    let answer = post(&client, &never.url("http"), LIMIT).await;
    assert_eq!(answer.error, Some(NoAnswer::Reset));
    assert!(detail(&answer).starts_with("head: connection "), "{answer:?}");
    assert_eq!(never.connections(), 1, "not sent twice");
}

#[tokio::test]
async fn a_connection_is_not_used_when_its_server_is_about_to_close_it() {
    let client = client(&TestAuthority::new().unwrap(), LIMIT);
    let endpoint = Hostile::start(Cruelty::KeepsForASecond).unwrap();
    for _ in 0..3 {
        assert_eq!(post(&client, &endpoint.url("http"), LIMIT).await.verdict, AttemptVerdict::Delivered);
    }
    assert_eq!((endpoint.connections(), client.connections()), (3, 0));
}

#[tokio::test]
async fn a_failed_handshake_says_why_in_words_people_search_for() {
    let (ours, theirs) = (TestAuthority::new().unwrap(), TestAuthority::new().unwrap());
    let client = client(&ours, LIMIT);
    for (authority, flaw, words) in [
        (&ours, Flaw::Expired, "certificate expired"),
        (&ours, Flaw::OtherName, "name mismatch"),
        (&theirs, Flaw::None, "unknown issuer"),
    ] {
        let secure = authority.secure(&["h2"], flaw).unwrap();
        let endpoint = Endpoint::start_secure(EndpointOptions::default(), secure).unwrap();
        let answer = post(&client, &endpoint.url("/"), LIMIT).await;
        assert_eq!(answer.error, Some(NoAnswer::Tls), "{answer:?}");
        assert!(detail(&answer).starts_with(&format!("TLS: {words}")), "{answer:?}");
        assert!(detail(&answer).ends_with(&format!("({})", endpoint.address())), "{answer:?}");
    }
    for (alert, words) in [(70, "protocol version"), (116, "client certificate required"), (40, "handshake failure")] {
        let endpoint = Hostile::start(Cruelty::Alert(alert)).unwrap();
        let answer = post(&client, &endpoint.url("https"), LIMIT).await;
        assert!(detail(&answer).starts_with(&format!("TLS: {words}")), "{answer:?}");
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_is_this_workers_lack() {
    let authority = TestAuthority::new().unwrap();
    let endpoint = Endpoint::start().unwrap();
    endpoint.script("/", "hang").unwrap();
    let limits = PoolLimits { total: 2, ..PoolLimits::new(LIMIT, LIMIT, 2) };
    let resolver = testing::resolver(true, &["127.0.0.0/8"]);
    let client = Client::new(resolver, ClientLimits::new(64, 64, limits), Tls::new(None).unwrap().plain().unwrap());
    let (other, _) = self::endpoint(&authority, &["h2"], |_| {});
    let (full, url) = (client.clone(), endpoint.url("/"));
    let hanging = tasks::spawn("test requests", async move { failed(&full, &url, 2, Duration::from_secs(5)).await });
    endpoint.wait_for("/", 2, LIMIT).await.unwrap();
    let answer = post(&client, &other.url("/"), Duration::from_millis(100)).await;
    assert_eq!(answer.error, Some(NoAnswer::Local), "{answer:?}");
    assert!(answer.verdict.is_unsent());
    assert_eq!(hanging.await.unwrap().len(), 2);
    let after = Endpoint::start().unwrap();
    assert_eq!(post(&client, &after.url("/"), LIMIT).await.verdict, AttemptVerdict::Delivered, "there is room again");
}

#[test]
fn an_answer_says_how_long_its_connection_is_kept() {
    let mut headers = HeaderMap::new();
    headers.insert("keep-alive", "timeout=5".parse().unwrap());
    assert_eq!(http1::promised(&headers), Some(Duration::from_secs(5)));
}

/// What hangs is one path, where others are answered beside it: nobody pays for its timeout with a handshake.
#[tokio::test]
async fn one_stream_that_hangs_beside_others_that_are_answered_costs_no_connection() {
    let authority = TestAuthority::new().unwrap();
    let (endpoint, secure) = endpoint(&authority, &["h2"], |_| {});
    endpoint.script("/hang", "hang").unwrap();
    let client = client(&authority, LIMIT);
    assert_eq!(post(&client, &endpoint.url("/"), LIMIT).await.verdict, AttemptVerdict::Delivered);
    let (hanging, url) = (client.clone(), endpoint.url("/hang"));
    let hanging = tasks::spawn("test request", async move { post(&hanging, &url, Duration::from_secs(2)).await });
    while !hanging.is_finished() {
        assert_eq!(post(&client, &endpoint.url("/"), LIMIT).await.verdict, AttemptVerdict::Delivered);
    }
    assert_eq!(hanging.await.unwrap().error, Some(NoAnswer::Timeout));
    assert_eq!(post(&client, &endpoint.url("/"), LIMIT).await.verdict, AttemptVerdict::Delivered);
    assert_eq!(secure.handshakes_begun(), 1);
    // Where nobody is answered meanwhile, the connection may be what hangs.
    assert_eq!(post(&client, &endpoint.url("/hang"), Duration::from_millis(100)).await.error, Some(NoAnswer::Timeout));
    assert_eq!(post(&client, &endpoint.url("/"), LIMIT).await.verdict, AttemptVerdict::Delivered);
    assert_eq!(secure.handshakes_begun(), 2);
}
