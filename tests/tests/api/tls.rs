//! TLS as the world's own tools see it: `openssl s_client` and `curl`, with a certificate of their own, at the listeners of gateway,
//! control plane and admin port, while the servers' certificate is replaced.

mod clients;
mod server;
mod tools;

use std::time::Duration;

use chassis::tasks;
use testkit::ledger::Expect;
use testkit::pipeline::{Application, Pipeline, Role};
use testkit::wait::eventually;
use tokio_util::sync::CancellationToken;

use self::server::{Certificates, Secured};
use self::tools::{Curl, Session, Shake};

/// A process on two busy cores; the files are looked at every 10 s.
const SOON: Duration = Duration::from_secs(90);
/// Events of one connection.
const EVENTS: usize = 5;
/// Connections under way at once, each of a process of its own.
const SENDERS: usize = 3;
/// What is said when a listener has taken the new files.
const REPLACED: &str = "the certificate was replaced";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_and_curl_with_a_certificate_are_served_and_a_renewal_loses_no_request() {
    let mut pipeline = Pipeline::start("tls").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let certificates = Certificates::new(pipeline.folder()).unwrap();
    let mut gateway = Secured::start(&pipeline, &certificates, Role::Gateway).await.unwrap();
    let mut control = Secured::start(&pipeline, &certificates, Role::Control).await.unwrap();
    for server in [&gateway, &control] {
        server.ready(&certificates).await;
    }
    let places =
        [(gateway.listen, "h2"), (control.listen, "h2"), (gateway.admin, "http/1.1"), (control.admin, "http/1.1")];
    for (port, protocol) in places {
        handshakes(&certificates, port, protocol).await;
        refusals(&certificates, port).await;
    }
    let accepted = renewal(&certificates, [&gateway, &control], &application).await;
    for server in [&mut gateway, &mut control] {
        server.stop().await.unwrap();
    }
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.accepted, accepted, "what was answered 201 is in Kafka, and nothing else is");
}

/// Both versions that are spoken, with the protocols that both sides can.
async fn handshakes(certificates: &Certificates, port: u16, protocol: &str) {
    for version in ["-tls1_3", "-tls1_2"] {
        let shake = Shake::with(certificates, port, &[version, "-alpn", "h2,http/1.1"]).await.unwrap();
        assert!(shake.succeeded && shake.said.contains("Verify return code: 0 (ok)"), "{version} {}", shake.said);
        assert!(shake.said.contains(&format!("ALPN protocol: {protocol}")), "{version} {}", shake.said);
        assert_eq!(shake.shown, certificates.current(), "the certificate of the file");
    }
    let old = Shake::with(certificates, port, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]).await.unwrap();
    assert!(!old.succeeded, "{}", old.said);
}

/// Whoever shows no certificate, or one of another authority, gets nothing; nor does who speaks no TLS.
async fn refusals(certificates: &Certificates, port: u16) {
    let url = format!("https://127.0.0.1:{port}/livez");
    for curl in [Curl::trusting(certificates), Curl::trusting(certificates).showing(&certificates.strangers())] {
        let answers = curl.get(&url).await.unwrap();
        assert!(!answers.succeeded && answers.all("000"), "{answers:?}");
    }
    let plain = certificates.curl().get(&format!("http://127.0.0.1:{port}/livez")).await.unwrap();
    assert!(!plain.succeeded && plain.all("000"), "{plain:?}");
    // A server of another authority than the one that is trusted is not talked to.
    let distrusting = Curl::distrusting(certificates).get(&url).await.unwrap();
    assert!(!distrusting.succeeded && distrusting.all("000"), "{distrusting:?}");
}

/// Events and questions all the while the files change: how many events were taken.
async fn renewal(certificates: &Certificates, servers: [&Secured; 2], application: &Application) -> usize {
    let [gateway, control] = servers;
    let mut kept = Vec::new();
    for port in [gateway.listen, control.listen] {
        kept.push(Session::open(certificates, port).unwrap());
    }
    for session in &mut kept {
        // Nobody's path: a problem is an answer too.
        assert!(session.ask("/api/v1/nowhere").await.unwrap().starts_with("HTTP/1.1 4"));
    }
    let stop = CancellationToken::new();
    let event = r#"{"event_type":"a.b","payload":{"a":1}}"#;
    let senders: Vec<_> = (0..SENDERS)
        .map(|number| {
            let version = if number == 0 { "--http1.1" } else { "--http2" };
            let curl = certificates.curl().with(&[version, "--data", event, "-H", "content-type: application/json"]);
            let curl = curl.with(&["-H", &format!("authorization: Bearer {}", application.token)]);
            let (url, stop) = (gateway.url("/api/v1/event"), stop.clone());
            tasks::spawn("sender", async move {
                let mut taken = 0;
                while !stop.is_cancelled() {
                    let answers = curl.ask(&[url.as_str(); EVENTS]).await.unwrap();
                    assert!(answers.succeeded && answers.all("201"), "{answers:?}");
                    taken += EVENTS;
                }
                taken
            })
        })
        .collect();
    let former = certificates.current();
    certificates.renew().unwrap();
    assert_ne!(certificates.current(), former);
    for server in servers {
        // Its own listener and its admin port.
        let replaced = || async { (server.log().matches(REPLACED).count() >= 2).then_some(()) };
        eventually("the new certificate is used", SOON, replaced).await.unwrap();
        for port in [server.listen, server.admin] {
            assert_eq!(Shake::with(certificates, port, &[]).await.unwrap().shown, certificates.current());
        }
    }
    for session in &mut kept {
        let answer = session.ask("/api/v1/nowhere").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "a session of the former certificate goes on: {answer}");
    }
    stop.cancel();
    let mut accepted = 0;
    for sender in senders {
        let taken = sender.await.unwrap();
        assert!(taken > 0);
        accepted += taken;
    }
    accepted
}
