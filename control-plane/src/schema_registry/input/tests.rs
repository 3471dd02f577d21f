//! What may be given, and that a secret is never shown, lost or sent elsewhere.

use rcgen::generate_simple_self_signed;
use schemas::control::RegistryAuth;
use serde_json::json;
use uuid::Uuid;
use vault::EncryptionKey;

use super::*;
use crate::custom_headers::MASK;

fn vault() -> Vault {
    Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap()
}

fn read(body: Value) -> Result<RegistryInput, Problem> {
    let Value::Object(map) = body else { panic!("a body is an object") };
    RegistryInput::read(map)
}

fn new() -> SchemaRegistry {
    SchemaRegistry::new(SchemaRegistryId(Uuid::from_u128(1)), "main", 0)
}

fn made(body: Value) -> Result<SchemaRegistry, Problem> {
    read(body)?.apply(new(), &vault())
}

fn changed(former: &SchemaRegistry, body: Value) -> Result<SchemaRegistry, Problem> {
    read(body)?.apply(former.clone(), &vault())
}

fn password(registry: &SchemaRegistry) -> String {
    let context = ControlKey::SchemaRegistry(registry.schema_registry_id).to_string();
    let sealed = registry.auth.as_ref().unwrap().sealed();
    catalog::sealed::open_text(&vault(), &context, sealed).unwrap().to_string()
}

fn field(problem: &Problem) -> String {
    problem.validation.as_ref().unwrap().as_object().unwrap().keys().next().unwrap().clone()
}

#[test]
fn urls_are_kept_without_what_is_only_spelling() {
    let given = json!({"urls": ["HTTP://Registry:8081/", "https://a.internal/apis/ccompat/v7/", "http://10.0.0.1"]});
    let registry = made(given).unwrap();
    assert_eq!(registry.urls, ["http://registry:8081", "https://a.internal/apis/ccompat/v7", "http://10.0.0.1"]);
    assert_eq!((registry.timeout_ms, &registry.auth, &registry.ca_pem), (5_000, &None, &None));
}

#[test]
fn every_slip_is_answered_with_its_field() {
    let nine: Vec<String> = (0..9).map(|at| format!("http://r{at}")).collect();
    for (more, named) in [
        (json!({"urls": []}), "urls"),
        (json!({"urls": null}), "urls"),
        (json!({"urls": "http://r"}), "urls"),
        (json!({"urls": nine}), "urls"),
        (json!({"urls": ["ftp://r"]}), "urls"),
        (json!({"urls": ["registry:8081"]}), "urls"),
        (json!({"urls": ["http://"]}), "urls"),
        (json!({"urls": ["http://r?a=b"]}), "urls"),
        (json!({"urls": ["http://r#a"]}), "urls"),
        (json!({"urls": ["http://u:geheim@r"]}), "urls"),
        (json!({"urls": ["http://r", "http://r/"]}), "urls"),
        (json!({"urls": [format!("http://r/{}", "x".repeat(2_048))]}), "urls"),
        (json!({"url": "http://r"}), "url"),
        (json!({"auth": {"type": "oauth2"}}), "auth.type"),
        (json!({"auth": {"type": "basic", "username": "a"}}), "auth.password"),
        (json!({"auth": {"type": "basic", "username": "a:b", "password": "c"}}), "auth.username"),
        (json!({"auth": {"type": "bearer", "token": "a b"}}), "auth.token"),
        (json!({"auth": {"type": "bearer", "token": MASK}}), "auth.token"),
        (json!({"auth": {"type": "none", "token": "a"}}), "auth.token"),
        (json!({"auth": "basic"}), "auth"),
        (json!({"ca_pem": "no certificate"}), "ca_pem"),
        (json!({"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}), "ca_pem"),
        (json!({"timeout_ms": 99}), "timeout_ms"),
        (json!({"timeout_ms": 60_001}), "timeout_ms"),
        (json!({"name": null}), "name"),
    ] {
        let mut body = json!({"name": "main", "urls": ["http://r"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let problem = made(body).unwrap_err();
        assert_eq!((problem.status, field(&problem)), (422, named.to_owned()), "{more}: {}", problem.detail);
        assert!(!problem.detail.contains("geheim"), "{}", problem.detail);
    }
    assert!(made(json!({"url": "http://r"})).unwrap_err().detail.contains("`urls`"));
}

#[test]
fn a_certificate_that_can_be_trusted_is_kept_and_can_be_taken_away() {
    let generated = generate_simple_self_signed(vec!["registry.internal".to_owned()]).unwrap();
    let pem = generated.cert.pem();
    let beside = format!("{pem}{}", generated.signing_key.serialize_pem());
    let problem = made(json!({"urls": ["https://r"], "ca_pem": beside})).unwrap_err();
    assert_eq!(field(&problem), "ca_pem", "it is shown as it stands");
    let registry = made(json!({"urls": ["https://r"], "ca_pem": pem, "timeout_ms": 900})).unwrap();
    assert_eq!((registry.ca_pem.as_deref(), registry.timeout_ms), (Some(pem.as_str()), 900));
    let bare = changed(&registry, json!({"ca_pem": null, "timeout_ms": null})).unwrap();
    assert_eq!((bare.ca_pem, bare.timeout_ms), (None, 5_000));
}

#[test]
fn a_secret_that_is_not_given_again_is_kept_with_its_envelope() {
    let auth = |password: Value| json!({"auth": {"type": "basic", "username": "hookbus", "password": password}});
    let mut body = auth(json!("geheim"));
    body["urls"] = json!(["https://r"]);
    let registry = made(body).unwrap();
    assert_eq!(password(&registry), "geheim");
    for same in
        [json!({}), auth(json!(MASK)), auth(Value::Null), auth(json!("geheim")), json!({"urls": ["https://r/v7"]})]
    {
        let again = changed(&registry, same.clone()).unwrap();
        assert_eq!(again.auth, registry.auth, "{same}");
    }
    let renamed = json!({"auth": {"type": "basic", "username": "other"}});
    assert_eq!(password(&changed(&registry, renamed).unwrap()), "geheim");
    assert_eq!(password(&changed(&registry, auth(json!("new"))).unwrap()), "new");
    for none in [json!({"auth": null}), json!({"auth": {"type": "none"}})] {
        assert_eq!(changed(&registry, none).unwrap().auth, None);
    }
    let other_type = changed(&registry, json!({"auth": {"type": "bearer", "token": MASK}})).unwrap_err();
    assert_eq!(field(&other_type), "auth.token");
    let bearer = changed(&registry, json!({"auth": {"type": "bearer", "token": "t"}})).unwrap();
    assert!(matches!(bearer.auth, Some(RegistryAuth::Bearer { .. })));
    assert!(!format!("{:?}", read(auth(json!("geheim"))).unwrap()).contains("geheim"));
}

#[test]
fn a_stored_secret_goes_to_no_url_it_was_not_given_for() {
    let given = json!({"urls": ["https://r", "https://s"], "auth": {"type": "bearer", "token": "t"}});
    let registry = made(given).unwrap();
    for elsewhere in ["http://r", "https://r:8443", "https://evil.example"] {
        let urls = json!(["https://s", elsewhere]);
        for auth in [json!({"type": "bearer", "token": MASK}), json!({"type": "bearer"})] {
            let problem = changed(&registry, json!({"urls": urls, "auth": auth})).unwrap_err();
            assert_eq!(field(&problem), "auth.token", "{elsewhere}");
        }
        assert_eq!(field(&changed(&registry, json!({"urls": urls})).unwrap_err()), "auth.token");
        for auth in [json!({"type": "bearer", "token": "u"}), Value::Null] {
            assert!(changed(&registry, json!({"urls": urls, "auth": auth})).is_ok());
        }
    }
    assert!(changed(&registry, json!({"urls": ["https://s/v7"]})).is_ok(), "a path is the same receiver");
}
