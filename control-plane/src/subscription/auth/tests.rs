//! What may be given, and that a secret is never shown, lost or sent elsewhere.

use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
use serde_json::json;
use vault::EncryptionKey;

use super::*;

const CONTEXT: &str = "subscription/a/b";

fn vault() -> Vault {
    Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap()
}

fn read(value: Value) -> Result<Option<AuthInput>, Problem> {
    let Value::Object(map) = value else { panic!("an object") };
    AuthInput::read(map, &TargetPolicy::default())
}

fn sealed(value: Value, former: Option<&Auth>) -> Result<Auth, Problem> {
    read(value).unwrap().unwrap().seal(former, &vault(), CONTEXT)
}

fn field(problem: &Problem) -> String {
    problem.validation.as_ref().unwrap().as_object().unwrap().keys().next().unwrap().clone()
}

fn generated() -> (String, String) {
    let Generated { cert, signing_key } = generate_simple_self_signed(vec!["client.example".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

#[test]
fn every_type_has_its_fields_and_no_others() {
    assert_eq!(read(json!({"type": "none"})).unwrap(), None);
    for (given, wrong) in [
        (json!({"type": "digest"}), "auth.type"),
        (json!({}), "auth.type"),
        (json!({"type": "basic"}), "auth.username"),
        (json!({"type": "basic", "username": "a:b", "password": "c"}), "auth.username"),
        (json!({"type": "basic", "username": "a", "password": "c\nd"}), "auth.password"),
        (json!({"type": "basic", "username": "a", "password": "c", "token": "t"}), "auth.token"),
        (json!({"type": "none", "token": "t"}), "auth.token"),
        (json!({"type": "bearer", "token": "two words"}), "auth.token"),
        (json!({"type": "bearer", "tokken": "t"}), "auth.tokken"),
        (json!({"type": "oauth2", "token_url": "https://10.0.0.1/", "client_id": "c"}), "auth.token_url"),
        (json!({"type": "oauth2", "token_url": "http://a.example/", "client_id": "c"}), "auth.token_url"),
        (
            json!({"type": "oauth2", "token_url": "https://a.example/", "client_id": "c", "client_secret": "s", "scopes": ["a b"]}),
            "auth.scopes",
        ),
        (json!({"type": "mtls", "certificate": "none"}), "auth.certificate"),
    ] {
        let problem = read(given.clone()).unwrap_err();
        assert_eq!((problem.status, field(&problem).as_str()), (422, wrong), "{given}");
    }
}

#[test]
fn a_secret_is_kept_while_its_type_stays() {
    let basic = sealed(json!({"type": "basic", "username": "a", "password": "one"}), None).unwrap();
    for kept in [
        json!({"type": "basic", "username": "a"}),
        json!({"type": "basic", "username": "a", "password": MASK}),
        json!({"type": "basic", "username": "a", "password": "one"}),
    ] {
        assert_eq!(sealed(kept.clone(), Some(&basic)).unwrap(), basic, "{kept}: the envelope stays too");
    }
    assert_ne!(sealed(json!({"type": "basic", "username": "a", "password": "two"}), Some(&basic)).unwrap(), basic);
    let problem = sealed(json!({"type": "bearer", "token": MASK}), Some(&basic)).unwrap_err();
    assert_eq!(field(&problem), "auth.token");
}

#[test]
fn a_client_certificate_must_be_usable() {
    let ((certificate, key), (other, _)) = (generated(), generated());
    let given =
        |certificate: &str, key: Option<&str>| json!({"type": "mtls", "certificate": certificate, "private_key": key});
    let made = sealed(given(&certificate, Some(&key)), None).unwrap();
    assert_eq!(sealed(given(&certificate, None), Some(&made)).unwrap(), made);
    let problem = sealed(given(&other, Some(&key)), None).unwrap_err();
    assert_eq!(field(&problem), "auth.private_key");
    let problem = sealed(given(&other, None), Some(&made)).unwrap_err();
    assert_eq!(field(&problem), "auth.private_key", "a new certificate needs its own key");
    let problem = read(given(&certificate, Some("-----BEGIN PRIVATE KEY-----\nsecret"))).unwrap_err();
    assert_eq!(field(&problem), "auth.private_key");
    assert!(!problem.detail.contains("secret"), "{}", problem.detail);
    for bad in [key.clone(), format!("{certificate}{key}"), format!("{key}{certificate}")] {
        let problem = read(given(&bad, Some(&key))).unwrap_err();
        assert_eq!(field(&problem), "auth.certificate", "the certificate is shown as it stands");
        assert!(!problem.detail.contains("BEGIN"), "{}", problem.detail);
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", read(json!({"type": "bearer", "token": "very-secret"})).unwrap());
    assert!(!shown.contains("very-secret"), "{shown}");
}
