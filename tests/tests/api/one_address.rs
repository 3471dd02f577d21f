//! One address in production, where every role is a process: gateways pass on what is no event route, and the audit names who called.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use kafka_dev::ports;
use kafka_dev::tether::Exit;
use schemas::audit::Audit;
use serde_json::json;
use testkit::environment;
use testkit::http::{Answer, Http};
use testkit::pipeline::{ADMIN_KEY, Role, Setup};
use testkit::supervisor::{Process, ProcessOptions};
use testkit::{Expect, Pipeline};

/// A process on two busy cores.
const SOON: Duration = Duration::from_secs(90);
/// Who called, as a balancer says.
const CALLER: &str = "203.0.113.7";

/// A gateway that passes on to the control plane of a pipeline; where it listens.
async fn gateway(pipeline: &mut Pipeline) -> (Process, String) {
    let control = pipeline.roles().urls(Role::Control).remove(0);
    let (listen, admin) = (ports::choose().unwrap(), ports::choose().unwrap());
    let settings = pipeline.folder().join("hookbus.toml").display().to_string();
    let variable = |name: &str, value: String| (format!("HOOKBUS__{name}"), value);
    let options = ProcessOptions {
        name: "gateway-forwarding".to_owned(),
        binary: environment::hookbus_binary().unwrap(),
        arguments: vec!["--config".to_owned(), settings, "gateway".to_owned()],
        environment: vec![
            variable("GATEWAY__LISTEN", format!("127.0.0.1:{listen}")),
            variable("GATEWAY__FORWARD_TO", control),
            variable("ADMIN__LISTEN", format!("127.0.0.1:{admin}")),
            variable("KAFKA__SLOT", "forwarding".to_owned()),
        ],
        folder: pipeline.folder().to_owned(),
        admin_port: admin,
    };
    let mut process = Process::start(options).await.unwrap();
    process.ready(SOON).await.unwrap();
    (process, format!("http://127.0.0.1:{listen}"))
}

async fn make_application(base: &str, organization: &str) -> Answer {
    let body = json!({ "organization_id": organization, "name": "through the gateway" });
    let request = Request::post(format!("{base}/api/v1/applications"))
        .header("authorization", format!("Bearer {ADMIN_KEY}"))
        .header("content-type", "application/json")
        .header("x-forwarded-for", format!("198.51.100.1, {CALLER}"));
    Http::default().send(request.body(Full::new(Bytes::from(body.to_string()))).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_passes_on_what_is_no_event_and_the_audit_names_who_called_it() {
    let idle = [Role::Gateway, Role::Fanout, Role::Delivery, Role::Retry];
    let setup = idle.into_iter().fold(Setup::new("one-address"), |setup, role| setup.roles(role, 0));
    let local = vec!["127.0.0.0/8"];
    let setup = setup.set("gateway.trusted_proxies", local.clone()).set("control.trusted_proxies", local);
    let mut pipeline = setup.start().await.unwrap();
    let (mut gateway, base) = gateway(&mut pipeline).await;
    let organizations = pipeline.managed(Method::GET, "/organizations", None, 200).await.unwrap();
    let organization = organizations[0]["organization_id"].as_str().unwrap();
    let made = make_application(&base, organization).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let printed = pipeline.command(&["audit", "--output", "json"]).await.unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let records: Vec<Audit> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ours = records.iter().find(|it| it.action == "application.create").expect("it was audited");
    assert_eq!(ours.address.as_deref(), Some(CALLER), "neither the gateway's address nor what the caller says itself");
    assert!(gateway.metric("hookbus_gateway_forwarded_total").await.unwrap() >= 1.0);

    pipeline.roles().kill(Role::Control, 1).await.unwrap();
    let refused = make_application(&base, organization).await;
    assert_eq!((refused.status.as_u16(), refused.headers["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(gateway.stop(SOON).await.unwrap(), Exit::Code(0));
    pipeline.verdict(Expect::default(), Duration::from_secs(1)).await.unwrap();
}
