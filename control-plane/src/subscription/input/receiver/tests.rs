//! Each kind of secret, each way of keeping it, to the same receiver and to another one.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use schemas::ids::{ApplicationId, SubscriptionId};
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::super::Facts;
use super::*;
use crate::custom_headers::MASK;
use target::TargetPolicy;

const HERE: &str = "https://here.example/hooks";
const THERE: &str = "https://there.example/hooks";

struct Scene {
    vault: Vault,
    former: Option<Subscription>,
}

impl Scene {
    /// A subscription with these fields.
    fn new(auth: Value, headers: Value) -> Self {
        let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
        let mut scene = Self { vault, former: None };
        let target =
            json!({"url": HERE, "headers": headers, "secret_headers": headers.get("x-key").map(|_| ["x-key"])});
        let made = scene.change(json!({"event_types": ["a.b"], "target": target, "auth": auth})).unwrap();
        scene.former = Some(made);
        scene
    }

    fn change(&self, body: Value) -> Result<Subscription, Problem> {
        let Value::Object(map) = body else { panic!("an object") };
        let facts = Facts {
            application: ApplicationId(Uuid::from_u128(1)),
            id: SubscriptionId(Uuid::from_u128(2)),
            former: self.former.as_ref(),
            end: 0,
            now_ms: 1,
            vault: &self.vault,
        };
        Input::read(map, &TargetPolicy::default())?.apply(facts)
    }

    /// A new target, and what else is given.
    fn moved(&self, url: &str, more: Value) -> Result<Subscription, Problem> {
        let mut body = json!({"target": {"url": url}});
        for (name, value) in more.as_object().unwrap() {
            if name == "headers" { body["target"]["headers"] = value.clone() } else { body[name] = value.clone() }
        }
        self.change(body)
    }

    /// The fields that a change is refused for.
    fn asked(&self, url: &str, more: Value) -> Vec<String> {
        let Err(problem) = self.moved(url, more) else { return Vec::new() };
        assert_eq!((problem.status, problem.code), (422, Some(Code::InvalidField)), "{}", problem.detail);
        let fields: Vec<String> = problem.validation.as_ref().unwrap().as_object().unwrap().keys().cloned().collect();
        assert!(fields.iter().all(|field| problem.detail.contains(field.as_str())), "{}", problem.detail);
        fields
    }
}

fn with(mut auth: Value, field: &str, secret: Value) -> Value {
    auth[field] = secret;
    auth
}

/// Every type: its fields, the secret one, and another value of it.
fn kinds() -> Vec<(Value, &'static str, Value)> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["client.example".to_owned()]).unwrap();
    let key = json!(signing_key.serialize_pem());
    let oauth2 = json!({"type": "oauth2", "token_url": "https://id.example/t", "client_id": "c", "client_secret": "s"});
    vec![
        (json!({"type": "basic", "username": "u", "password": "s"}), "password", json!("new")),
        (json!({"type": "bearer", "token": "s"}), "token", json!("new")),
        (oauth2, "client_secret", json!("new")),
        // The same one again: there is one key per certificate.
        (json!({"type": "mtls", "certificate": cert.pem(), "private_key": key}), "private_key", key),
    ]
}

#[test]
fn a_credential_is_asked_for_again_by_another_receiver() {
    for (auth, field, new) in kinds() {
        let scene = Scene::new(auth.clone(), json!({}));
        let asked = [format!("auth.{field}")];
        let masked = json!({"auth": with(auth.clone(), field, json!(MASK))});
        let absent = json!({"auth": with(auth.clone(), field, Value::Null)});
        for kept in [json!({}), masked, absent] {
            assert_eq!(scene.asked(THERE, kept.clone()), asked, "{kept}");
            assert_eq!(scene.moved("https://here.example/other?a=1", kept.clone()).unwrap().auth, {
                scene.former.as_ref().unwrap().auth.clone()
            });
        }
        let given = scene.moved(THERE, json!({"auth": with(auth.clone(), field, new)})).unwrap();
        assert_eq!((given.target.url.as_str(), given.auth.is_some()), (THERE, true), "{field}");
        let same = scene.moved(THERE, json!({"auth": auth})).unwrap();
        assert_eq!(same.auth, scene.former.as_ref().unwrap().auth, "{field}: who gives it knows it");
        for none in [Value::Null, json!({"type": "none"})] {
            assert_eq!(scene.moved(THERE, json!({"auth": none})).unwrap().auth, None);
        }
    }
}

#[test]
fn a_scheme_a_host_and_a_port_are_the_receiver() {
    let scene = Scene::new(json!({"type": "bearer", "token": "s"}), json!({}));
    for same in [HERE, "https://HERE.example:443/", "https://here.example/hooks?to=there#x"] {
        assert!(scene.asked(same, json!({})).is_empty(), "{same}");
    }
    for other in ["https://here.example:8443/hooks", "https://a.here.example/hooks", "https://here.example.evil/hooks"]
    {
        assert_eq!(scene.asked(other, json!({})), ["auth.token"], "{other}");
    }
    assert_eq!(moved("http://a.example/", "https://a.example/").map(|_| ()), Some(()), "what was sent in the clear");
    assert_eq!(moved("no URL", "no URL").map(|_| ()), Some(()), "what is not known to be the same is another");
}

#[test]
fn secret_headers_are_asked_for_again_and_plain_ones_are_kept() {
    let scene = Scene::new(Value::Null, json!({"authorization": "s", "x-key": "s", "x-tenant": "a"}));
    let both = ["target.headers.authorization", "target.headers.x-key"];
    assert_eq!(scene.asked(THERE, json!({})), both);
    let masked = json!({"Authorization": MASK, "X-Key": MASK, "x-tenant": "a"});
    assert_eq!(scene.asked(THERE, json!({"headers": masked})), both);
    assert!(scene.asked("https://here.example/", json!({"headers": masked})).is_empty());
    assert_eq!(scene.asked(THERE, json!({"headers": {"authorization": "new", "x-key": MASK}})), both[1..]);
    let given = json!({"headers": {"authorization": "new", "x-key": "s"}});
    assert_eq!(scene.moved(THERE, given).unwrap().target.headers.len(), 2);
    assert!(scene.moved(THERE, json!({"headers": {}})).unwrap().target.headers.is_empty());
    let plain = Scene::new(Value::Null, json!({"x-tenant": "a"}));
    let kept = plain.moved(THERE, json!({})).unwrap().target.headers;
    assert_eq!(kept, plain.former.unwrap().target.headers);
}

#[test]
fn one_answer_names_everything_and_says_what_to_do() {
    let scene = Scene::new(json!({"type": "basic", "username": "u", "password": "s"}), json!({"x-key": "s"}));
    let problem = scene.moved("https://there.example:8443/", json!({})).unwrap_err();
    let tree = problem.validation.as_ref().unwrap();
    let why = "was given for the target https://here.example, and the target is now https://there.example:8443";
    let message = |field: &str| tree[field][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(message("auth.password"), format!("{why}: give it again, or remove `auth`"));
    assert_eq!(message("target.headers.x-key"), format!("{why}: give its value again, or remove the header"));
}

#[test]
fn a_client_secret_is_asked_for_again_by_another_token_endpoint() {
    let auth = |url: &str, secret: Value| json!({"type": "oauth2", "token_url": url, "client_id": "c", "client_secret": secret});
    let scene = Scene::new(auth("https://id.example/t", json!("s")), json!({}));
    let change = |url: &str, secret: Value| scene.change(json!({"auth": auth(url, secret)}));
    let problem = change("https://other.example/t", json!(MASK)).unwrap_err();
    assert!(problem.detail.contains("auth.client_secret: was given for another `token_url`"), "{}", problem.detail);
    assert_eq!(change("https://id.example/other", Value::Null).unwrap_err().status, 422, "of another tenant, maybe");
    assert!(change("https://other.example/t", json!("new")).is_ok());
    assert!(change("https://id.example/t", json!(MASK)).is_ok());
}

#[test]
fn who_keeps_no_secret_goes_where_he_wants() {
    let scene = Scene::new(Value::Null, json!({"x-tenant": "a"}));
    let moved = scene.moved(THERE, json!({"headers": {"x-tenant": "a"}})).unwrap();
    let former = scene.former.unwrap();
    assert_eq!((moved.target.url.as_str(), &moved.secrets), (THERE, &former.secrets), "it signs as before");
}
