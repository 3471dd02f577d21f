//! Which secrets sign when.

use schemas::ids::{ApplicationId, SubscriptionId};
use serde_json::json;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::*;

const DAY_MS: i64 = 86_400_000;

struct Scene {
    vault: Vault,
    object: Subscription,
}

impl Scene {
    fn new(signing: Vec<SigningScheme>) -> Self {
        let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
        let mut object = Subscription::new(SubscriptionId(Uuid::from_u128(1)), ApplicationId(Uuid::from_u128(2)), 0);
        object.signing = signing;
        let context = keys::context(&object);
        let sealed = |text: &str| keys::seal(&vault, &context, text).unwrap();
        let pair = Ed25519Key::generate().unwrap();
        let secrets = vec![Held::current(Secret::parse("secret s0").unwrap(), sealed("secret s0"))];
        let pairs = vec![Held { stored: Held::current((), sealed(pair.expose())).stored, key: pair }];
        object.secrets = Keys { secrets, pairs }.into_stored();
        Self { vault, object }
    }

    fn rotate(&mut self, now_ms: i64, request: Value) -> Result<(), Problem> {
        let Value::Object(map) = request else { panic!("an object") };
        let former = self.object.clone();
        let facts = Facts {
            application: former.application_id,
            id: former.subscription_id,
            former: Some(&former),
            end: 0,
            now_ms,
            vault: &self.vault,
        };
        self.object = Rotation::read(map)?.apply(facts)?;
        Ok(())
    }

    /// Shared secrets and when they end.
    fn secrets(&self) -> Vec<(String, Option<i64>)> {
        let keys = Keys::open(&self.object, &self.vault).unwrap();
        keys.secrets.iter().map(|held| (held.key.expose().to_owned(), held.stored.expires_ms)).collect()
    }

    fn pairs(&self) -> usize {
        Keys::open(&self.object, &self.vault).unwrap().pairs.len()
    }
}

fn both() -> Vec<SigningScheme> {
    vec![SigningScheme::Standard, SigningScheme::Hook0]
}

#[test]
fn the_former_secret_signs_until_the_overlap_ends() {
    let mut scene = Scene::new(both());
    scene.rotate(1_000, json!({"secret": "secret s1"})).unwrap();
    assert_eq!(scene.secrets(), [("secret s1".into(), None), ("secret s0".into(), Some(1_000 + DAY_MS))]);
    assert_eq!(scene.object.updated_ms, 1_000);
    assert_eq!(scene.pairs(), 1, "a given secret leaves the pair alone");
}

#[test]
fn a_second_rotation_ends_everything_before_it_at_its_own_overlap_at_the_latest() {
    let mut scene = Scene::new(both());
    scene.rotate(0, json!({"secret": "secret s1", "overlap_ms": 100_000})).unwrap();
    scene.rotate(50_000, json!({"secret": "secret s2", "overlap_ms": 1_000_000})).unwrap();
    let expected =
        [("secret s2".into(), None), ("secret s1".into(), Some(1_050_000)), ("secret s0".into(), Some(100_000))];
    assert_eq!(scene.secrets(), expected);
    scene.rotate(60_000, json!({"secret": "secret s3", "overlap_ms": 10_000})).unwrap();
    let ends: Vec<Option<i64>> = scene.secrets().into_iter().map(|(_, end)| end).collect();
    assert_eq!(ends, [None, Some(70_000), Some(70_000), Some(70_000)]);
    scene.rotate(80_000, json!({"secret": "secret s4"})).unwrap();
    let names: Vec<String> = scene.secrets().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["secret s4", "secret s3"], "what has ended is forgotten");
}

#[test]
fn no_overlap_leaves_the_new_one_alone() {
    let mut scene = Scene::new(both());
    scene.rotate(0, json!({"secret": "secret s1"})).unwrap();
    scene.rotate(1, json!({"secret": "secret s2", "overlap_ms": 0})).unwrap();
    assert_eq!(scene.secrets(), [("secret s2".into(), None)]);
}

#[test]
fn a_former_secret_may_be_taken_back_and_the_current_one_not_again() {
    let mut scene = Scene::new(both());
    scene.rotate(0, json!({"secret": "secret s1"})).unwrap();
    assert_eq!(scene.rotate(1, json!({"secret": "secret s1"})).unwrap_err().status, 422);
    scene.rotate(2, json!({"secret": "secret s0"})).unwrap();
    assert_eq!(scene.secrets(), [("secret s0".into(), None), ("secret s1".into(), Some(2 + DAY_MS))]);
}

#[test]
fn so_many_secrets_sign_at_once_and_no_more() {
    let mut scene = Scene::new(both());
    for number in 1..MAX_LIVE {
        scene.rotate(0, json!({"secret": format!("secret s{number}")})).unwrap();
    }
    let problem = scene.rotate(0, json!({"secret": "one more"})).unwrap_err();
    assert_eq!(problem.code, Some(Code::LimitReached));
    scene.rotate(0, json!({"secret": "one more", "overlap_ms": 0})).unwrap();
    assert_eq!(scene.secrets(), [("one more".into(), None)]);
}

#[test]
fn without_a_secret_everything_that_signs_gets_a_new_one() {
    let mut scene = Scene::new(both());
    scene.rotate(0, json!({})).unwrap();
    assert_eq!((scene.secrets().len(), scene.pairs()), (2, 1));
    let mut scene = Scene::new(vec![SigningScheme::Standard, SigningScheme::Ed25519]);
    scene.rotate(0, json!({})).unwrap();
    assert_eq!((scene.secrets().len(), scene.pairs()), (2, 2));
    let mut scene = Scene::new(vec![SigningScheme::Ed25519]);
    scene.rotate(0, json!({})).unwrap();
    assert_eq!((scene.secrets().len(), scene.pairs()), (1, 2));
    let given = Ed25519Key::generate().unwrap();
    scene.rotate(0, json!({"signing_private_key": given.expose()})).unwrap();
    assert_eq!((scene.secrets().len(), scene.pairs()), (1, 3));
}

#[test]
fn requests_are_checked() {
    let mut scene = Scene::new(both());
    for wrong in [
        json!({"secret": "whsec_short"}),
        json!({"secret": "whsk_AAAA"}),
        json!({"signing_private_key": "whsec_x"}),
        json!({"overlap_ms": -1}),
        json!({"overlap_ms": MAX_OVERLAP_MS + 1}),
        json!({"overlap": 1}),
    ] {
        assert_eq!(scene.rotate(0, wrong.clone()).unwrap_err().status, 422, "{wrong}");
    }
}
