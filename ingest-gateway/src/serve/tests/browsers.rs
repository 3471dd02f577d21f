//! Pages in browsers that send events.

use super::*;

const CONSOLE: &str = "https://console.example.com";

async fn of(origins: &[&str]) -> Fixture {
    let origins = origins.iter().map(|&it| it.to_owned()).collect();
    Fixture::with(|config| config.cors_origins = origins, None).await
}

async fn preflight(fixture: &Fixture, path: &str, origin: &str) -> Reply {
    let head = format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: authorization,content-type,ce-id\r\n\r\n"
    );
    fixture.raw(head.as_bytes()).await
}

async fn sent(fixture: &Fixture, token: &str, origin: &str) -> Reply {
    let body = event("");
    let head = format!(
        "POST /api/v1/event HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    fixture.raw(head.as_bytes()).await
}

#[tokio::test]
async fn pages_of_configured_origins_may_send() {
    let fixture = of(&[CONSOLE]).await;
    for path in ["/api/v1/event", "/api/v1/events:batch"] {
        let reply = preflight(&fixture, path, CONSOLE).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(CONSOLE)), "{path}");
        assert_eq!(reply.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("authorization,content-type,ce-id"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    for (token, status) in [(SECRET, 201), ("nobody", 403)] {
        let reply = sent(&fixture, token, CONSOLE).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (status, Some(CONSOLE)));
        assert!(reply.header("access-control-expose-headers").unwrap().contains("retry-after"));
        assert!(reply.header("vary").unwrap().contains("origin"));
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_not() {
    let (listed, none) = (of(&[CONSOLE]).await, of(&[]).await);
    for origin in ["https://evil.example.com", "null"] {
        let reply = preflight(&listed, "/api/v1/event", origin).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None), "{origin}");
        assert_eq!(sent(&listed, SECRET, origin).await.header("access-control-allow-origin"), None);
    }
    let reply = preflight(&none, "/api/v1/event", CONSOLE).await;
    assert_eq!((reply.status, reply.code(), reply.header("allow")), (405, "method_not_allowed", Some("POST")));
    assert_eq!(sent(&none, SECRET, CONSOLE).await.header("access-control-allow-origin"), None);
    let anybody = of(&["*"]).await;
    assert_eq!(preflight(&anybody, "/api/v1/event", CONSOLE).await.header("access-control-allow-origin"), Some("*"));
    let lost = preflight(&anybody, "/api/v1/nowhere", CONSOLE).await;
    assert_eq!(lost.status, 404, "other routes are not ours to answer for");
}
