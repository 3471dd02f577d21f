//! A rotation over objects in memory.

use std::sync::Arc;

use chassis::metrics::Registry;
use schemas::control::{Application, ApplicationSecret, Organization, Sealed, ServiceToken, SigningSecret, TokenRole};
use schemas::control::{Auth, RegistryAuth, SchemaRegistry, Subscription};
use schemas::ids::{SchemaRegistryId, SecretId, ServiceTokenId, SubscriptionId};
use uuid::Uuid;
use vault::EncryptionKey;

use super::*;

const ORGANIZATION: OrganizationId = OrganizationId(Uuid::from_u128(1));
const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(2));

fn vault(ids: &[(&str, u8)]) -> Arc<Vault> {
    let keys: Vec<EncryptionKey> = ids.iter().map(|(id, byte)| EncryptionKey::new(*id, [*byte; 32])).collect();
    Arc::new(Vault::new(&keys, &[9; 32]).unwrap())
}

fn seal(vault: &Vault, key: &ControlKey, text: &str) -> Sealed {
    sealed::seal_text(vault, &key.to_string(), text).unwrap()
}

fn secret(vault: &Vault, number: u128) -> ControlObject {
    let secret_id = SecretId(Uuid::from_u128(number));
    let text = format!("secret {number}");
    ControlObject::ApplicationSecret(ApplicationSecret {
        secret_id,
        application_id: APPLICATION,
        name: None,
        lookup: vault.lookup(&text).to_string(),
        token: seal(vault, &ControlKey::ApplicationSecret(APPLICATION, secret_id), &text),
        role: TokenRole::Editor,
        created_ms: 1,
        expires_ms: None,
    })
}

fn subscription(vault: &Vault, number: u128) -> ControlObject {
    let id = SubscriptionId(Uuid::from_u128(number));
    let key = ControlKey::Subscription(APPLICATION, id);
    let mut it = Subscription::new(id, APPLICATION, 1);
    it.target.method = "POST".into();
    it.target.url = "https://example.com/".into();
    it.target.headers.insert("x-key".into(), seal(vault, &key, "header"));
    it.auth = Some(Auth::Bearer { token: seal(vault, &key, "bearer") });
    it.secrets = vec![SigningSecret { sealed: seal(vault, &key, "signing"), expires_ms: None }];
    ControlObject::Subscription(Box::new(it))
}

fn registry(vault: &Vault) -> ControlObject {
    let id = SchemaRegistryId(Uuid::from_u128(4));
    let password = seal(vault, &ControlKey::SchemaRegistry(id), "registry");
    let auth = Some(RegistryAuth::Basic { username: "hookbus".into(), password });
    ControlObject::SchemaRegistry(Box::new(SchemaRegistry { auth, ..SchemaRegistry::new(id, "main", 1) }))
}

fn objects(vault: &Vault) -> Vec<ControlObject> {
    let token_id = ServiceTokenId(Uuid::from_u128(3));
    let token = ControlObject::ServiceToken(ServiceToken {
        token_id,
        organization_id: ORGANIZATION,
        name: "ci".into(),
        role: TokenRole::Editor,
        lookup: vault.lookup("service").to_string(),
        token: seal(vault, &ControlKey::ServiceToken(ORGANIZATION, token_id), "service"),
        created_ms: 1,
        expires_ms: None,
    });
    let parents = [
        ControlObject::Organization(Organization::new(ORGANIZATION, "one", 1)),
        ControlObject::Application(Application::new(APPLICATION, ORGANIZATION, "one", 1)),
    ];
    let secrets = (100..350).map(|number| secret(vault, number));
    let subscriptions = (1_000..1_010).map(|number| subscription(vault, number));
    parents.into_iter().chain([token, registry(vault)]).chain(secrets).chain(subscriptions).collect()
}

fn resealer(objects: Vec<ControlObject>, vault: Arc<Vault>) -> Resealer {
    let catalog = Catalog::of(objects, vault);
    let metrics = ControlMetrics::new(&Registry::new()).unwrap();
    let store = Store::in_memory(catalog.clone(), chassis::config::ByteLimits::default(), metrics.clone());
    Resealer { catalog, store, metrics, pause: Duration::ZERO, start: 77, stuck: BTreeSet::new() }
}

#[tokio::test]
async fn everything_is_sealed_with_the_current_key_and_says_the_same() {
    let old = vault(&[("old", 1)]);
    let mut resealer = resealer(objects(&old), vault(&[("new", 2), ("old", 1)]));
    let before = resealer.survey().await;
    assert_eq!(before.counts, BTreeMap::from([("new".into(), 0), ("old".into(), 262)]));
    resealer.round().await;

    let after = resealer.survey().await;
    assert_eq!(after.counts, BTreeMap::from([("new".into(), 262), ("old".into(), 0)]));
    assert!(after.left.is_empty());
    let gauge = |key: &str| resealer.metrics.sealed.with_label_values(&[key]).get();
    assert_eq!((gauge("new"), gauge("old")), (262, 0));

    // The old key is gone now: everything opens without it, and tokens are still found.
    let new = vault(&[("new", 2)]);
    let snapshot = resealer.catalog.read();
    for scope in scopes(&snapshot) {
        for key in keys_in(&snapshot, scope) {
            let object = find(&snapshot, &key).unwrap();
            let texts = object.sealed().into_iter().map(|it| sealed::open_text(&new, &key.to_string(), it).unwrap());
            let texts: Vec<String> = texts.map(|text| text.to_string()).collect();
            match &object {
                ControlObject::Subscription(_) => assert_eq!(texts, ["header", "bearer", "signing"]),
                ControlObject::ServiceToken(_) => assert_eq!(texts, ["service"]),
                ControlObject::ApplicationSecret(_) => assert!(texts[0].starts_with("secret "), "{texts:?}"),
                ControlObject::SchemaRegistry(_) => assert_eq!(texts, ["registry"]),
                ControlObject::Organization(_)
                | ControlObject::Application(_)
                | ControlObject::RetiredApplication(_)
                | ControlObject::KeptAnswer(_)
                | ControlObject::CancelledJob(_)
                | ControlObject::Source(_)
                | ControlObject::EventType(_) => {
                    assert!(texts.is_empty());
                }
            }
        }
    }
    assert!(snapshot.token(&new.lookup("service")).is_some());
    assert!(snapshot.token(&new.lookup("secret 349")).is_some());
}

#[tokio::test]
async fn what_does_not_open_stays_and_holds_nothing_up() {
    let (lost, old) = (vault(&[("lost", 3)]), vault(&[("old", 1)]));
    let mut all = objects(&old);
    all.push(secret(&lost, 500));
    let mut resealer = resealer(all, vault(&[("new", 2), ("old", 1)]));
    resealer.round().await;
    let after = resealer.survey().await;
    assert_eq!(after.counts, BTreeMap::from([("lost".into(), 1), ("new".into(), 262), ("old".into(), 0)]));
    assert_eq!(resealer.metrics.resealed.with_label_values(&["failed"]).get(), 1);
    assert_eq!(resealer.stuck.len(), 1);
}

#[tokio::test]
async fn with_nothing_to_do_nothing_is_written() {
    let current = vault(&[("new", 2)]);
    let mut resealer = resealer(objects(&current), current);
    let position = resealer.catalog.position();
    resealer.round().await;
    assert_eq!(resealer.catalog.position(), position);
}
