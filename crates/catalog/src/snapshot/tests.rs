//! The snapshot: order, compaction, what cannot be read.

use bytes::Bytes;
use proptest::prelude::*;
use schemas::control::{
    Application, Auth, BodyForm, ControlObject, HurriedRetry, KeptAnswer, Organization, RetiredApplication, Sealed,
    SigningScheme, SigningSecret, SkippedDelivery, Target, TokenRole,
};
use schemas::event_type::{EventTypeName, EventTypePattern};
use schemas::header;
use schemas::ids::DeliveryId;
use schemas::record::{Headers, Record};
use vault::{EncryptionKey, Vault};

use super::weights::WeightOwner;
use super::*;
use crate::rehearsal::Rehearsal;
use crate::sealed::seal_text;

const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(10));
const ORGANIZATION: OrganizationId = OrganizationId(Uuid::from_u128(1));

fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap())
}

fn application(uid: Option<&str>) -> ControlObject {
    ControlObject::Application(Application {
        uid: uid.map(str::to_owned),
        ..Application::new(APPLICATION, ORGANIZATION, "one", 1)
    })
}

fn secret(vault: &Vault, id: u128, token: &str) -> ControlObject {
    let secret_id = SecretId(Uuid::from_u128(id));
    let context = ControlKey::ApplicationSecret(APPLICATION, secret_id).to_string();
    ControlObject::ApplicationSecret(ApplicationSecret {
        secret_id,
        application_id: APPLICATION,
        name: None,
        lookup: vault.lookup(token).to_string(),
        token: seal_text(vault, &context, token).unwrap(),
        role: TokenRole::Editor,
        created_ms: 1,
        expires_ms: None,
    })
}

fn subscription(id: u128, uid: Option<&str>, pattern: &str, enabled: bool) -> schemas::control::Subscription {
    let subscription_id = SubscriptionId(Uuid::from_u128(id));
    let context = ControlKey::Subscription(APPLICATION, subscription_id).to_string();
    let sealed: Sealed = seal_text(&vault(), &context, "a secret").unwrap();
    schemas::control::Subscription {
        uid: uid.map(str::to_owned),
        is_enabled: enabled,
        event_types: vec![EventTypePattern::parse(pattern).unwrap()],
        target: Target { method: "POST".into(), url: "https://example.com/".into(), ..Target::default() },
        secrets: vec![SigningSecret { sealed, expires_ms: None }],
        signing: vec![SigningScheme::Standard],
        ..schemas::control::Subscription::new(subscription_id, APPLICATION, 1)
    }
}

fn boxed(subscription: schemas::control::Subscription) -> ControlObject {
    ControlObject::Subscription(Box::new(subscription))
}

fn put(object: &ControlObject) -> (String, Option<Bytes>) {
    (object.key().to_string(), Some(Bytes::from(object.encode().unwrap())))
}

fn gone(object: &ControlObject) -> (String, Option<Bytes>) {
    (object.key().to_string(), None)
}

fn record(offset: i64, (key, value): (String, Option<Bytes>)) -> Record {
    let write_id = Uuid::from_u128(offset.unsigned_abs().into()).to_string();
    let headers: Headers = [(header::WRITE_ID, write_id.as_str())].into_iter().collect();
    Record { offset, timestamp_ms: 0, key: Some(Bytes::from(key)), value, headers }
}

fn apply(records: impl IntoIterator<Item = (String, Option<Bytes>)>) -> Snapshot {
    let (mut snapshot, vault) = (Snapshot::default(), vault());
    for (offset, it) in (0..).zip(records) {
        snapshot.apply(Change::decode(&record(offset, it), &vault));
    }
    snapshot
}

fn matched(snapshot: &Snapshot, event_type: &str) -> Vec<u128> {
    let mut out = Vec::new();
    snapshot.matches(APPLICATION, event_type, &StringMap::new(), &mut out);
    out.iter().map(|it| it.id().0.as_u128()).collect()
}

#[test]
fn position_is_the_next_offset_and_applied_the_last_record() {
    let mut snapshot = apply([]);
    assert_eq!((snapshot.position(), snapshot.applied()), (0, -1));
    snapshot.apply(Change::decode(&record(4, put(&application(None))), &vault()));
    assert_eq!((snapshot.position(), snapshot.applied()), (5, 4));
    snapshot.pass(9);
    snapshot.pass(7);
    assert_eq!((snapshot.position(), snapshot.applied()), (9, 4));
    assert!(snapshot.transaction_seen(Uuid::from_u128(4)));
    assert!(!snapshot.transaction_seen(Uuid::from_u128(5)));
}

#[test]
fn a_child_may_stand_before_its_parent() {
    let vault = vault();
    let children = [put(&secret(&vault, 1, "token")), put(&boxed(subscription(2, Some("mine"), "a.*", true)))];
    let snapshot = apply(children.clone());
    assert!(snapshot.token(&vault.lookup("token")).is_none());
    assert!(matched(&snapshot, "a.b").is_empty());
    let snapshot = apply(children.into_iter().chain([put(&application(Some("app")))]));
    assert_eq!(snapshot.token(&vault.lookup("token")).unwrap().scope, TokenScope::Application(APPLICATION));
    assert_eq!(matched(&snapshot, "a.b"), [2]);
    assert!(snapshot.subscription_by_uid(APPLICATION, "mine").is_some());
    assert_eq!(snapshot.application_in(ORGANIZATION, "app").unwrap().application_id, APPLICATION);
}

#[test]
fn what_belongs_to_a_deleted_application_is_not_found() {
    let (vault, parent) = (vault(), application(Some("app")));
    let snapshot = apply([
        put(&parent),
        put(&secret(&vault, 1, "token")),
        put(&boxed(subscription(2, None, "**", true))),
        gone(&parent),
    ]);
    assert!(snapshot.application_in(ORGANIZATION, "app").is_none());
    assert!(snapshot.token(&vault.lookup("token")).is_none());
    assert!(snapshot.subscription(SubscriptionId(Uuid::from_u128(2))).is_none());
    assert!(matched(&snapshot, "a.b").is_empty());
    assert_eq!(snapshot.subscriptions(APPLICATION).count(), 0);
}

#[test]
fn what_a_deleted_application_leaves_behind_is_known_until_it_is_gone() {
    let (vault, parent) = (vault(), application(None));
    let declared = ControlObject::EventType(schemas::control::EventType::new(
        APPLICATION,
        EventTypeName::parse("a.b").unwrap(),
        1,
    ));
    let children = [secret(&vault, 1, "token"), declared, boxed(subscription(2, None, "**", true))];
    let retired = ControlObject::RetiredApplication(RetiredApplication {
        application_id: APPLICATION,
        organization_id: ORGANIZATION,
        retired_ms: 1,
    });
    let mut records: Vec<_> = std::iter::once(&parent).chain(&children).map(put).collect();
    assert!(apply(records.clone()).orphans(9).is_empty());
    records.extend([put(&retired), gone(&parent)]);
    let snapshot = apply(records.clone());
    let mut keys: Vec<_> = children.iter().map(ControlObject::key).collect();
    assert_eq!(
        (snapshot.orphans(9), snapshot.orphans(2).len(), snapshot.orphaned_subscriptions()),
        (keys.clone(), 2, 1)
    );
    // The application comes again before all is gone: it has what is left.
    let again = records.iter().cloned().chain([put(&parent)]);
    assert!(!apply(again).is_orphaned(APPLICATION));
    records.extend(children[..2].iter().map(gone));
    keys.drain(..2);
    assert_eq!(apply(records.clone()).orphans(9), keys);
    records.extend(children[2..].iter().map(gone));
    let snapshot = apply(records);
    assert!(!snapshot.is_orphaned(APPLICATION) && snapshot.orphans(9).is_empty());
    // Compaction may have taken the application's own records altogether: what it was is told by its retired id.
    let left: Vec<_> = children.iter().chain([&retired]).map(put).collect();
    assert_eq!(apply(left.clone()).orphans(9).len(), 3);
    assert_eq!(apply(left.into_iter().rev()).orphans(9).len(), 3);
    // Without that it may be one that this build cannot read.
    assert!(apply(children.iter().map(put)).orphans(9).is_empty());
}

#[test]
fn uids_follow_their_objects_and_an_organization_finds_its_own() {
    let organization = |id: u128, uid: Option<&str>| {
        let new = Organization::new(OrganizationId(Uuid::from_u128(id)), "one", 1);
        ControlObject::Organization(Organization { uid: uid.map(str::to_owned), ..new })
    };
    let shop = |id: u128, owner: u128, uid: Option<&str>| {
        let (id, owner) = (ApplicationId(Uuid::from_u128(id)), OrganizationId(Uuid::from_u128(owner)));
        let new = Application::new(id, owner, "shop", 1);
        ControlObject::Application(Application { uid: uid.map(str::to_owned), ..new })
    };
    let (one, other) = (OrganizationId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2)));
    let mut records = vec![put(&organization(1, Some("a"))), put(&organization(2, None))];
    records.extend([put(&shop(11, 1, Some("shop"))), put(&shop(12, 2, Some("shop"))), put(&shop(13, 2, None))]);
    let snapshot = apply(records.clone());
    let found = |snapshot: &Snapshot, owner, called: &str| {
        snapshot.application_in(owner, called).map(|it| it.application_id.0.as_u128())
    };
    assert_eq!((found(&snapshot, one, "shop"), found(&snapshot, other, "shop")), (Some(11), Some(12)));
    let id = Uuid::from_u128(11).to_string();
    assert_eq!((found(&snapshot, one, &id), found(&snapshot, other, &id)), (Some(11), None));
    assert_eq!((snapshot.applications_called("shop").count(), snapshot.applications_called(&id).count()), (2, 1));
    assert_eq!((snapshot.application_count(one), snapshot.applications_of(other).count()), (1, 2));
    assert_eq!(snapshot.organization_called("a").map(|it| it.organization_id), Some(one));
    // The uid goes over to another one, whichever record comes first.
    records.extend([put(&organization(2, Some("a"))), put(&organization(1, None)), put(&shop(11, 1, None))]);
    let snapshot = apply(records);
    assert_eq!(snapshot.organization_called("a").map(|it| it.organization_id), Some(other));
    assert_eq!((found(&snapshot, one, "shop"), snapshot.applications_called("shop").count()), (None, 1));
}

#[test]
fn disabled_ones_do_not_match_and_paused_ones_do() {
    let mut paused = subscription(2, None, "a.b", true);
    paused.is_paused = true;
    let snapshot =
        apply([put(&application(None)), put(&boxed(subscription(1, None, "a.b", false))), put(&boxed(paused))]);
    assert_eq!(matched(&snapshot, "a.b"), [2]);
}

#[test]
fn damage_keeps_the_former_object_and_is_counted() {
    let good = boxed(subscription(1, None, "a.b", true));
    let other = boxed(subscription(2, None, "a.b", true));
    let mut odd = subscription(1, None, "a.b", false);
    odd.retry = Some(serde_json::json!({"lunar": true}));
    let snapshot = apply([
        put(&application(None)),
        put(&good),
        (good.key().to_string(), Some(Bytes::from_static(b"{"))),
        (good.key().to_string(), Some(Bytes::from(other.encode().unwrap()))),
        put(&boxed(odd)),
        ("subscription/nonsense".into(), None),
        ("lunar_phase/1/2".into(), Some(Bytes::from_static(b"{}"))),
    ]);
    assert_eq!(snapshot.undecodable(), 4);
    assert_eq!(matched(&snapshot, "a.b"), [1]);
    assert_eq!(snapshot.position(), 7);
}

#[test]
fn what_a_newer_release_wrote_is_known_until_it_is_written_otherwise_and_is_no_damage() {
    let object = boxed(subscription(1, None, "a.b", true));
    let (key, value) = put(&object);
    let mut more: serde_json::Value = serde_json::from_slice(&value.unwrap()).unwrap();
    more["target"]["window"] = serde_json::json!("mornings");
    let more = || (key.clone(), Some(Bytes::from(more.to_string())));
    let of = |records: Vec<(String, Option<Bytes>)>| {
        let snapshot = apply(records);
        assert_eq!(snapshot.undecodable(), 0);
        (snapshot.newer(&object.key()).is_some(), snapshot.has_subscription(SubscriptionId(Uuid::from_u128(1))))
    };
    assert_eq!(of(vec![more()]), (true, true), "it is used as far as it is known");
    assert_eq!(of(vec![more(), put(&object)]), (false, true));
    assert_eq!(of(vec![more(), gone(&object)]), (false, false));
    // Of a shape that is not known here, and nothing that could be read.
    let mut record = record(1, (key.clone(), Some(Bytes::from_static(b"{}"))));
    let shape = (schemas::control::shape::READS + 1).to_string();
    record.headers = [(header::VERSION, shape.as_str())].into_iter().collect();
    let change = Change::decode(&record, &vault());
    assert_eq!(change.newer.as_ref().map(|it| (it.key.as_ref(), &*it.text)), Some((Some(&object.key()), &*key)));
    let mut snapshot = apply([put(&object)]);
    snapshot.apply(change);
    assert!(snapshot.newer(&object.key()).is_some());
    assert!(snapshot.has_subscription(SubscriptionId(Uuid::from_u128(1))), "the former one stays");
    assert_eq!(snapshot.undecodable(), 0);
    let unknown = Change::decode(&self::record(2, ("lunar/1/2".into(), Some(Bytes::from_static(b"{}")))), &vault());
    assert_eq!(unknown.newer.map(|it| it.key), Some(None), "a type that is not known here");
}

#[test]
fn a_token_that_moved_to_another_object_survives_the_end_of_the_first() {
    let vault = vault();
    let (one, other) = (secret(&vault, 1, "token"), secret(&vault, 2, "token"));
    let snapshot = apply([put(&application(None)), put(&one), put(&other), gone(&one)]);
    assert_eq!(snapshot.token(&vault.lookup("token")).unwrap().token, Uuid::from_u128(2));
}

#[test]
fn a_rotated_secret_stops_signing_when_it_expires() {
    let mut object = subscription(1, None, "a.b", true);
    let mut old = object.secrets[0].clone();
    old.expires_ms = Some(1_000);
    object.secrets.push(old);
    let compiled = Subscription::new(object, 0, vault()).unwrap();
    let signatures = |now_ms| {
        let signer = compiled.signer(now_ms).unwrap();
        signer.standard("id", 1, signing::Body::from(&[b"x".as_slice()])).unwrap().split(' ').count()
    };
    assert_eq!((signatures(0), signatures(999), signatures(1_000)), (2, 2, 1));
}

proptest! {
    /// Whatever was written in whatever order, compaction changes nothing about the result.
    #[test]
    fn a_compacted_log_gives_the_same_snapshot(
        writes in proptest::collection::vec((0..5_u128, 0..4_u8, prop_oneof![Just("a.b"), Just("a.*"), Just("**")]), 0..40),
    ) {
        let write = |(id, kind, pattern): (u128, u8, &str)| match kind {
            0 => gone(&boxed(subscription(id, None, pattern, true))),
            1 => put(&boxed(subscription(id, None, pattern, false))),
            2 => put(&ControlObject::EventType(schemas::control::EventType {
                description: Some(pattern.to_owned()),
                ..schemas::control::EventType::new(APPLICATION, EventTypeName::parse(&format!("a.t{id}")).unwrap(), 1)
            })),
            _ => put(&boxed(subscription(id, Some(&format!("uid{id}")), pattern, true))),
        };
        let full: Vec<_> = std::iter::once(put(&application(None))).chain(writes.into_iter().map(write)).collect();
        let kept = |at: usize| !full[at + 1..].iter().any(|(key, _)| *key == full[at].0);
        let compacted: Vec<_> = (0..full.len()).filter(|at| kept(*at)).map(|at| full[at].clone()).collect();
        let (one, other) = (apply(full.clone()), apply(compacted));
        let face = |snapshot: &Snapshot| {
            let mut hits = matched(snapshot, "a.b");
            hits.sort_unstable();
            let ids: Vec<_> = snapshot.subscriptions(APPLICATION).map(|it| (it.id(), it.is_enabled())).collect();
            let types: Vec<_> = snapshot.event_types(APPLICATION).map(|it| it.description.clone()).collect();
            let uid = (0..5).map(|id| snapshot.subscription_by_uid(APPLICATION, &format!("uid{id}")).map(|it| it.id()));
            (hits, ids, types, uid.collect::<Vec<_>>(), snapshot.digest())
        };
        prop_assert_eq!(face(&one), face(&other));
    }
}

#[test]
fn equal_snapshots_have_equal_digests_however_they_came_about() {
    let (one, other) = (boxed(subscription(1, Some("a"), "a.b", true)), boxed(subscription(2, None, "a.*", false)));
    let straight = apply([put(&application(None)), put(&one), put(&other)]);
    let detour =
        apply([put(&other), put(&one), gone(&one), put(&application(Some("x"))), put(&application(None)), put(&one)]);
    assert_eq!(straight.digest(), detour.digest());
    assert_ne!(straight.digest(), apply([put(&application(None)), put(&one)]).digest());
    assert_eq!(apply([put(&one), gone(&one)]).digest(), apply([]).digest());
}

#[test]
fn a_packed_subscription_is_what_it_was() {
    let mut full = subscription(1, Some("mine"), "a.b", true);
    full.labels = [("tenant", "one"), ("region", "eu")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    full.metadata = full.labels.clone();
    full.description = Some("\u{1f980} \" \u{0}".to_owned());
    full.rate_per_second = Some(0.1 + 0.2);
    full.retry = Some(serde_json::json!({"kind": "exponential", "attempts": 7}));
    full.cancel_before = Some(17);
    let sealed = full.secrets[0].sealed.clone();
    full.secrets.push(SigningSecret { sealed: sealed.clone(), expires_ms: Some(0) });
    full.target.headers = [("x-key".to_owned(), sealed.clone())].into();
    full.target.secret_headers = vec!["x-key".into()];
    full.target.ca_certificates = Some("-----BEGIN CERTIFICATE-----\n".into());
    full.skipped = vec![SkippedDelivery { delivery: DeliveryId(Uuid::from_u128(8)), until_ms: 9 }];
    full.hurried = vec![HurriedRetry { delivery: DeliveryId(Uuid::from_u128(8)), due_ms: 9 }];
    full.auth = Some(Auth::Mtls { certificate: "-----BEGIN CERTIFICATE-----".into(), private_key: sealed });
    full.filter = Some("data.a == 1".into());
    full.body = BodyForm::Cloudevents;
    full.signing = vec![SigningScheme::Ed25519];
    full.is_paused = true;
    (full.disabled_reason, full.disabled_detail) = (Some("gone".into()), Some(String::new()));
    full.disabled_ms = Some(0);
    full.api_version = Some("2026-01-01".into());
    (full.timeout_ms, full.max_age_ms, full.disable_after_ms) = (Some(0), Some(u64::MAX), Some(0));
    full.concurrency = Some(3);
    full.dedicated_workers = vec!["w".into()];
    full.updated_ms = -1;
    full.retry = Some(serde_json::json!("quick"));
    let compiled = Subscription::new(full.clone(), 3, vault()).unwrap();
    assert_eq!(compiled.object(), full);
    let skips = [8, 9].map(|number| compiled.skips(DeliveryId(Uuid::from_u128(number))));
    assert_eq!(skips, [true, false]);
    let hurries =
        [(8, 9), (8, 10), (9, 9)].map(|(of, due_ms)| compiled.hurries(DeliveryId(Uuid::from_u128(of)), due_ms));
    assert_eq!(hurries, [true, false, false]);
    assert_eq!((compiled.rate_per_second(), compiled.uid()), (full.rate_per_second, Some("mine")));
}

/// A million of them have to fit into 1 GiB with everything else: `bench snapshot` measures it, this keeps it from creeping.
#[test]
fn a_usual_subscription_is_small() {
    let subscription_id = SubscriptionId(Uuid::now_v7());
    let context = ControlKey::Subscription(APPLICATION, subscription_id).to_string();
    let secret = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let sealed: Sealed = seal_text(&vault(), &context, secret).unwrap();
    let map = |key: &str, value: &str| StringMap::from([(key.to_owned(), value.to_owned())]);
    let object = schemas::control::Subscription {
        uid: Some("customer-000123".into()),
        event_types: ["order.created", "order.shipped"].map(|it| EventTypePattern::parse(it).unwrap()).into(),
        labels: map("tenant", "customer-000123"),
        description: Some("Webhook of customer 000123".into()),
        metadata: map("plan", "standard"),
        target: Target {
            method: "POST".into(),
            url: "https://hooks.customer-000123.example/webhooks/orders".into(),
            ..Target::default()
        },
        secrets: vec![SigningSecret { sealed, expires_ms: None }],
        ..schemas::control::Subscription::new(subscription_id, APPLICATION, 1_795_000_000_000)
    };
    let text = boxed(object.clone()).encode().unwrap().len();
    let packed = crate::packed::Packed::pack(object).unwrap().len();
    assert!(packed <= 224, "{packed} bytes of {text}");
    assert!(size_of::<Subscription>() <= 208, "{} bytes", size_of::<Subscription>());
}

#[test]
fn bytes_are_weighed_by_owner_and_come_back() {
    use crate::weights::WeightOwner;
    let (vault, parent) = (vault(), application(None));
    let mut wide = subscription(2, None, "*.b.c.d.**", true);
    wide.event_types =
        (0..100).map(|number| EventTypePattern::parse(&format!("a{number}.*.b.c.**")).unwrap()).collect();
    let objects = [secret(&vault, 1, "token"), boxed(wide), boxed(subscription(3, None, "a.b", true))];
    let of = |snapshot: &Snapshot| {
        let (application, organization) =
            (WeightOwner::Application(APPLICATION), WeightOwner::Organization(ORGANIZATION));
        (snapshot.weight_of(application), snapshot.weight_of(organization), snapshot.weight())
    };
    let mut records: Vec<_> = objects.iter().map(put).collect();
    let alone = of(&apply(records.clone()));
    assert_eq!((alone.0, alone.1), (alone.2, 0), "whose the application is, is not known yet");
    assert!(alone.0 > 400_000, "a wide subscription takes what it takes: {}", alone.0);
    records.push(put(&parent));
    let whole = of(&apply(records.clone()));
    assert!(whole.0 == whole.1 && whole.1 == whole.2 && whole.2 > alone.2, "{whole:?}");
    // Written again, it weighs the same; gone, nothing.
    assert_eq!(of(&apply(records.iter().chain(&records).cloned())), whole);
    records.push(gone(&parent));
    assert_eq!(of(&apply(records.clone())), alone);
    records.extend(objects.iter().map(gone));
    assert_eq!(of(&apply(records)), (0, 0, 0));
}

/// What can be asked of a snapshot with the objects of the tests.
fn seen(snapshot: &Snapshot) -> String {
    let of = |owner| snapshot.weight_of(owner);
    format!(
        "{:?}",
        (
            (snapshot.digest(), snapshot.weight(), snapshot.position(), snapshot.applied(), snapshot.undecodable()),
            (of(WeightOwner::Application(APPLICATION)), of(WeightOwner::Organization(ORGANIZATION))),
            (matched(snapshot, "a.b"), matched(snapshot, "a.c"), snapshot.orphans(10)),
            ["mine", "yours"].map(|uid| snapshot.subscription_by_uid(APPLICATION, uid).map(|it| it.id())),
            ["t1", "t2"].map(|token| snapshot.token(&vault().lookup(token)).is_some()),
            (snapshot.application_in(ORGANIZATION, "shop").is_some(), snapshot.application_count(ORGANIZATION)),
            (snapshot.subscription_count(APPLICATION), snapshot.subscriptions_total()),
        )
    )
}

#[test]
fn what_was_tried_is_seen_by_what_is_tried_next_and_leaves_nothing_behind() {
    let vault = vault();
    let retired = ControlObject::RetiredApplication(RetiredApplication {
        application_id: APPLICATION,
        organization_id: ORGANIZATION,
        retired_ms: 1,
    });
    let organization = ControlObject::Organization(Organization::new(ORGANIZATION, "one", 1));
    let mut snapshot = apply([
        put(&organization),
        put(&application(Some("shop"))),
        put(&secret(&vault, 1, "t1")),
        put(&boxed(subscription(20, Some("mine"), "a.b", true))),
    ]);
    let before = seen(&snapshot);
    {
        let mut rehearsal = Rehearsal::new(&mut snapshot, &vault);
        rehearsal.put(&boxed(subscription(21, Some("yours"), "a.*", true))).unwrap();
        assert_eq!(matched(rehearsal.snapshot(), "a.c"), [21]);
        rehearsal.put(&boxed(subscription(20, None, "a.c", true))).unwrap();
        rehearsal.put(&secret(&vault, 2, "t2")).unwrap();
        assert!(rehearsal.snapshot().token(&vault.lookup("t2")).is_some());
        rehearsal.remove(&secret(&vault, 1, "t1").key());
        rehearsal.put(&application(None)).unwrap();
        rehearsal.put(&retired).unwrap();
        rehearsal.remove(&application(None).key());
        assert_eq!(rehearsal.snapshot().subscription_count(APPLICATION), 0);
        // Twice the same, and something that is not there.
        rehearsal.put(&application(Some("shop"))).unwrap();
        rehearsal.remove(&boxed(subscription(20, None, "a.c", true)).key());
        rehearsal.remove(&boxed(subscription(99, None, "a.c", true)).key());
        assert_eq!(rehearsal.snapshot().position(), 4);
        assert_ne!(seen(rehearsal.snapshot()), before);
    }
    assert_eq!(seen(&snapshot), before);
}

#[test]
fn a_transaction_of_many_writes_is_remembered_as_one() {
    let mut snapshot = Snapshot::default();
    let mut offset = 0;
    let (groups, writes_of_one) = (100, 256);
    for transaction in 0..groups {
        for write in 0..writes_of_one {
            let id = Uuid::from_u128(1_000_000 + transaction * writes_of_one + write);
            let write = Some(crate::change::Write { id, size: 1, transaction: Uuid::from_u128(transaction) });
            snapshot.apply(Change { offset, write, kind: ChangeKind::Unknown, newer: None });
            offset += 1;
        }
    }
    assert!((0..groups).all(|transaction| snapshot.transaction_seen(Uuid::from_u128(transaction))));
}

#[test]
fn answers_are_in_no_digest_and_a_process_that_gives_none_holds_none() {
    let answer = ControlObject::KeptAnswer(KeptAnswer {
        answer_id: schemas::ids::AnswerId(Uuid::from_u128(5)),
        organization_id: Some(ORGANIZATION),
        request: "00".to_owned(),
        at_ms: 1,
        answer: "{}".to_owned(),
    });
    let organization = ControlObject::Organization(Organization::new(ORGANIZATION, "one", 1));
    let without = apply([put(&organization)]);
    let mut holds = apply([put(&organization), put(&answer)]);
    let mut passes = Snapshot::without_answers();
    passes.apply(Change::of(organization, 0, &vault()));
    passes.apply(Change::of(answer.clone(), 1, &vault()));
    let counts = [&holds, &passes].map(|it| it.kept_amount().count);
    assert_eq!(counts, [1, 0]);
    let same = |it: &Snapshot| (it.digest(), it.weight(), it.weight_of(WeightOwner::Organization(ORGANIZATION)));
    assert_eq!((same(&holds), same(&passes)), (same(&without), same(&without)));
    assert_eq!((holds.position(), passes.position()), (2, 2), "both have passed it");
    // Tried, it is seen by what is tried next, and taken back.
    let vault = vault();
    {
        let mut rehearsal = Rehearsal::new(&mut holds, &vault);
        rehearsal.remove(&answer.key());
        assert_eq!(rehearsal.snapshot().kept_amount().count, 0);
    }
    assert_eq!(holds.kept_amount().count, 1);
}
