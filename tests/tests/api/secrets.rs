//! Outcome 5: no secret lies about, keys are rotated while serving.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::Method;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::http::Http;
use testkit::ledger::collect::read_topic;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, report};
use testkit::wait::eventually;

pub(crate) const SOON: Duration = Duration::from_secs(60);
const ORGANIZATION: &str = "0b5e55ed-0000-7000-8000-000000000001";
pub(crate) const ADMIN_KEY: &str = "testkit-admin-key-0123456789";
/// The delay topics of the testkit.
const TIERS: [&str; 5] = ["1s", "5s", "20s", "2m", "10m"];
/// Must not be found anywhere; each is unlike anything else.
const HEADER: &str = "header-value-4f1e0c7a9b";
const PASSWORD: &str = "basic-password-91c2aa07de";
const BEARER: &str = "bearer-token-77ab31f0c4";
const CLIENT: &str = "oauth-client-secret-5e0d9b";
const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const GIVEN: &str = "whsec_Z2l2ZW4tYnktYS1jbGllbnQtMDEyMzQ1Njc4OWFi";
const IMPORTED: &str = "sk_live_imported_2b7d90e1";
/// Settings of the keys, as the testkit writes them and as they become.
const OLD: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// A call of the management API as somebody, to one of the control planes (from 1).
pub(crate) async fn call(
    urls: &[String],
    control: usize,
    token: &str,
    (method, path): (Method, &str),
    body: Option<&Value>,
) -> (u16, Value) {
    let url = format!("{}/api/v1{path}", urls[control - 1]);
    let answer = Http::default().json(method, &url, token, body).await.unwrap();
    (answer.status.as_u16(), if answer.body.is_empty() { Value::Null } else { answer.json().unwrap() })
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// Everything that must not lie about, by what it is.
async fn secrets(pipeline: &mut Pipeline, application: &Application) -> BTreeMap<String, String> {
    let of = json!({ "application_id": application.id });
    let mut found = BTreeMap::from([
        ("the admin key".to_owned(), ADMIN_KEY.to_owned()),
        ("an application secret".to_owned(), application.token.clone()),
    ]);
    let known = [
        ("a header", HEADER),
        ("a password", PASSWORD),
        ("a bearer", BEARER),
        ("a client secret", CLIENT),
        ("a given secret", GIVEN),
        ("a private key", PRIVATE),
    ];
    found.extend(known.map(|(what, secret)| (what.to_owned(), secret.to_owned())));
    let imported = json!({ "application_id": application.id, "token": IMPORTED });
    pipeline.managed(Method::POST, "/application_secrets", Some(&imported), 201).await.unwrap();
    found.insert("an imported token".into(), IMPORTED.into());
    let rotate = format!("/application_secrets/{IMPORTED}/rotate");
    let next = pipeline.managed(Method::POST, &rotate, Some(&of), 201).await.unwrap();
    found.insert("a rotated token".into(), text(&next, "token"));
    let service = json!({ "organization_id": ORGANIZATION, "name": "ci" });
    let service = pipeline.managed(Method::POST, "/service_token", Some(&service), 201).await.unwrap();
    found.insert("a service token".into(), text(&service, "biscuit"));
    found
}

/// Subscriptions with everything that is secret in one, and how their endpoints behave.
async fn subscribe(pipeline: &mut Pipeline, application: &Application) -> Vec<String> {
    let target = |pipeline: &Pipeline, path: &str| {
        let headers = json!({ "X-Api-Key": HEADER });
        json!({ "type": "http", "method": "POST", "url": pipeline.endpoint().url(path), "headers": headers })
    };
    let basic = json!({ "type": "basic", "username": "shop", "password": PASSWORD });
    let bearer = json!({ "type": "bearer", "token": BEARER });
    // Nobody gives tokens at that address: what is sent there fails for ever.
    let oauth2 = json!({
        "type": "oauth2", "token_url": "http://127.0.0.1:1/token", "client_id": "shop", "client_secret": CLIENT,
    });
    let mut made = Vec::new();
    for (path, auth, script) in [("/s/1", basic, "204"), ("/s/2", bearer, "500x2 204"), ("/s/3", oauth2, "204")] {
        let fields = json!({ "retry": "quick", "auth": auth, "target": target(pipeline, path) });
        let subscription = pipeline.subscribe(application, &["a.b"], fields).await.unwrap();
        assert_eq!(subscription.path, path, "the testkit numbers them");
        pipeline.endpoint().script(path, script).unwrap();
        let shown = format!("/subscriptions/{}?application_id={}", subscription.id, application.id);
        let shown = pipeline.managed(Method::GET, &shown, None, 200).await.unwrap();
        made.push(text(&shown, "signing_secret"));
        made.push(text(&shown, "secret"));
    }
    let given = json!({
        "application_id": application.id, "is_enabled": true, "event_types": ["never.sent"], "labels": {},
        "secret": GIVEN, "signing": ["standard", "ed25519"], "signing_private_key": PRIVATE,
        "target": target(pipeline, "/s/9"),
    });
    let given = pipeline.managed(Method::POST, "/subscriptions", Some(&given), 201).await.unwrap();
    let id = text(&given, "subscription_id");
    let rotate = format!("/subscriptions/{id}/rotate_secret?application_id={}", application.id);
    let rotated = pipeline.managed(Method::POST, &rotate, Some(&json!({})), 200).await.unwrap();
    made.push(text(&rotated, "signing_secret"));
    made
}

/// Requests that go wrong with a secret in them: in a path, in a header, in a body. What they were answered, all of it.
async fn mistakes(
    pipeline: &mut Pipeline,
    application: &Application,
    secrets: &BTreeMap<String, String>,
) -> Vec<(u16, Value)> {
    let (controls, gateways) = (pipeline.roles().urls(Role::Control), pipeline.roles().urls(Role::Gateway));
    let other = "00000000-0000-4000-8000-00000000dead";
    let own = &application.token;
    let event = json!({ "application_id": other, "event_type": "a.b", "payload": {} });
    let mut answers = Vec::new();
    // A slash of base64 would be another path.
    for secret in secrets.values().filter(|secret| !secret.contains('/')) {
        let delete = format!("/application_secrets/{secret}?application_id={other}");
        let put = format!("/application_secrets/{secret}");
        let nonsense = json!({ "nonsense": secret });
        let wrong = format!("{secret}x");
        answers.push(call(&controls, 1, own, (Method::DELETE, &delete), None).await);
        answers.push(call(&controls, 1, own, (Method::PUT, &put), Some(&nonsense)).await);
        answers.push(call(&controls, 1, own, (Method::GET, &format!("/{secret}/nowhere?token={secret}")), None).await);
        answers.push(call(&controls, 1, &wrong, (Method::GET, "/organizations"), None).await);
        answers.push(call(&gateways, 1, secret, (Method::POST, "/event"), Some(&event)).await);
        answers.push(call(&gateways, 1, &wrong, (Method::POST, &format!("/event/{secret}")), Some(&event)).await);
    }
    answers
}

/// The forms in which a secret would still be one.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec(), hex::encode(secret).into_bytes()];
    let encoded = secret.strip_prefix("whsec_").or_else(|| secret.strip_prefix("whsk_"));
    let raw = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    for bytes in [Some(secret.as_bytes().to_vec()), raw].into_iter().flatten() {
        // In base64 a text looks different at each of three offsets; what its neighbours decide is cut off.
        for offset in 0..3 {
            let padded = [vec![0; offset], bytes.clone()].concat();
            for encoded in [STANDARD.encode(&padded), URL_SAFE.encode(&padded)] {
                let inner = &encoded.as_bytes()[if offset == 0 { 0 } else { 4 }..];
                let whole = inner.len() / 4 * 4;
                forms.push(inner[..whole.saturating_sub(4)].to_vec());
            }
        }
        forms.push(bytes);
    }
    forms.retain(|form| form.len() >= 8);
    forms
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Everything the system keeps or says, by where.
async fn dump(pipeline: &mut Pipeline) -> BTreeMap<String, Vec<u8>> {
    let mut places = BTreeMap::new();
    let names: Vec<String> = topics(pipeline);
    for name in names {
        let records = read_topic(pipeline.connection(), &name).await.unwrap();
        let mut bytes = Vec::new();
        for (_, record) in &records {
            bytes.extend_from_slice(record.key.as_deref().unwrap_or_default());
            bytes.push(b'\n');
            bytes.extend_from_slice(record.value.as_deref().unwrap_or_default());
            for (name, value) in record.headers.iter() {
                bytes.extend([b"\n", name, b"=", value].concat());
            }
            bytes.push(b'\n');
        }
        places.insert(format!("topic {name} ({} records)", records.len()), bytes);
    }
    for role in Role::ALL {
        let process = pipeline.roles().process(role, 1).unwrap();
        let metrics = process.admin_url("/metrics");
        places.insert(format!("log of {}", role.command()), process.log().into_bytes());
        let metrics = Http::default().get(&metrics).await.unwrap();
        places.insert(format!("metrics of {}", role.command()), metrics.body.to_vec());
    }
    places
}

fn topics(pipeline: &Pipeline) -> Vec<String> {
    let topics = pipeline.topics();
    let named = [
        &topics.events,
        &topics.deliveries,
        &topics.dead_letters,
        &topics.attempts,
        &topics.rejected,
        &topics.seen,
        &topics.control,
        &topics.audit,
        &topics.status,
    ];
    let tiers = TIERS.map(|tier| format!("{}{tier}", topics.retry_prefix));
    named.into_iter().map(ToString::to_string).chain(tiers).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_topics_nor_logs_nor_metrics_hold_a_plain_secret() {
    let setup = Setup::new("secrets").set("log.level", "debug,hookbus=trace");
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b", "never.sent"]).await.unwrap();
    let mut secrets = secrets(&mut pipeline, &application).await;
    let made = subscribe(&mut pipeline, &application).await;
    secrets.extend(made.into_iter().enumerate().map(|(number, secret)| (format!("signing secret {number}"), secret)));
    let answers = mistakes(&mut pipeline, &application, &secrets).await;
    assert!(answers.iter().all(|(status, _)| (400..500).contains(status)), "{answers:#?}");
    let client = pipeline.client();
    for number in 0..3 {
        let event = Event::new(format!("evt_{number}"), "a.b");
        assert_eq!(client.send(1, &application, &event).await.unwrap().status, 201);
    }
    pipeline.settled(SOON).await.unwrap();
    let seen = pipeline.endpoint().wait_for("/s/1", 1, SOON).await.unwrap();
    assert_eq!(seen[0].header("x-api-key"), Some(HEADER), "the endpoint gets what nobody else sees");
    assert!(seen[0].header("authorization").is_some_and(|value| value.starts_with("Basic ")));

    let mut places = dump(&mut pipeline).await;
    places.insert("answers".into(), format!("{answers:?}").into_bytes());
    let mut found = Vec::new();
    for (what, secret) in &secrets {
        for (place, bytes) in &places {
            found.extend(
                forms(secret).iter().filter(|form| contains(bytes, form)).map(|_| format!("{what} in {place}")),
            );
        }
    }
    let bytes: usize = places.values().map(Vec::len).sum();
    report(&format!("secrets: {} of them looked for in {bytes} bytes of {} places", secrets.len(), places.len()));
    assert!(found.is_empty(), "{found:#?}");
    // That it can be found at all: the events are there, and the names of what was made.
    let named = |name: &str| places.iter().find(|(place, _)| place.contains(&format!("{name} ("))).unwrap().1;
    let control = named("control");
    assert!(!named("audit").is_empty() && !named("status").is_empty() && !named("dead-letters").is_empty());
    assert!(contains(control, application.id.to_string().as_bytes()));
    pipeline.finish(Expect { dead: 3, ..Expect::default() }).await.unwrap();
}

/// Writes other keys into the configuration and restarts every process, one after the other.
async fn roll(pipeline: &mut Pipeline, from: &str, to: &str) {
    let file = pipeline.folder().join("hookbus.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    assert!(settings.contains(from), "{settings}");
    std::fs::write(&file, settings.replace(from, to)).unwrap();
    for (role, count) in [(Role::Control, 2), (Role::Gateway, 2), (Role::Fanout, 1), (Role::Delivery, 2)] {
        for number in 1..=count {
            pipeline.roles().stop(role, number).await.unwrap();
            pipeline.roles().start(role, number).await.unwrap();
        }
    }
}

/// Sends one event through each gateway.
async fn send(pipeline: &Pipeline, application: &Application, name: &str) {
    for gateway in [1, 2] {
        let event = Event::new(format!("{name}-{gateway}"), "a.b");
        let answer = pipeline.client().send(gateway, application, &event).await.unwrap();
        assert_eq!(answer.status, 201, "{name}: {:?}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_serving() {
    let setup = Setup::new("key-rotation").roles(Role::Control, 2).roles(Role::Gateway, 2).roles(Role::Delivery, 2);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let service = json!({ "organization_id": ORGANIZATION, "name": "ci" });
    let service = pipeline.managed(Method::POST, "/service_token", Some(&service), 201).await.unwrap();
    for _ in 0..5 {
        pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
    }
    send(&pipeline, &application, "before").await;

    // The new key is known everywhere before anybody seals with it.
    roll(&mut pipeline, &format!("\"{OLD}\""), &format!("\"{OLD}\", \"{NEW}\"")).await;
    send(&pipeline, &application, "known").await;
    roll(&mut pipeline, &format!("\"{OLD}\", \"{NEW}\""), &format!("\"{NEW}\", \"{OLD}\"")).await;
    send(&pipeline, &application, "both").await;
    let metrics = pipeline.roles().process(Role::Control, 2).unwrap().admin_url("/metrics");
    eventually("everything is sealed with the new key", SOON, || async {
        let answer = Http::default().get(&metrics).await.ok()?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let line =
            |key: &str, count: &str| text.contains(&format!("hookbus_control_sealed_objects{{key=\"{key}\"}}{count}"));
        (line("k1", " 0\n") && line("k2", " ") && !line("k2", " 0\n")).then_some(())
    })
    .await
    .unwrap();

    roll(&mut pipeline, &format!("\"{NEW}\", \"{OLD}\""), &format!("\"{NEW}\"")).await;
    send(&pipeline, &application, "after").await;
    let urls = pipeline.roles().urls(Role::Control);
    let path = format!("/applications/{}", application.id);
    for token in [application.token.clone(), text(&service, "biscuit")] {
        for control in [1, 2] {
            assert_eq!(call(&urls, control, &token, (Method::GET, &path), None).await.0, 200);
        }
    }
    let list = format!("/application_secrets?application_id={}", application.id);
    let (status, listed) = call(&urls, 1, &application.token, (Method::GET, &list), None).await;
    assert_eq!(status, 200);
    assert!(listed.as_array().unwrap().iter().any(|it| it["token"] == application.token.as_str()), "they still open");
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.requests, 40, "8 events to 5 subscriptions, each signed as its verifier expects");
}
