//! Outcome 6: what files say becomes so, once; what is there comes out as files that change nothing.

use std::fs;
use std::path::Path;
use std::process::Output;

use http::Method;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{ADMIN_KEY, Pipeline, Role, Setup};

/// The example folder of the documentation.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/apply");
/// What the example's references stand for.
const REFERENCES: [(&str, &str); 2] =
    [("SHOP_TOKEN", "b7c6cc9e-0e0b-4c4e-9d39-6cb9f2d1a001"), ("WAREHOUSE_TOKEN", "Bearer of-the-warehouse-4711")];
/// Wrong usage, as `sysexits.h` numbers it.
const USAGE: i32 = 64;

struct Scene {
    pipeline: Pipeline,
    url: String,
}

impl Scene {
    /// The management API and a gateway; nothing here is delivered.
    async fn start(name: &str) -> Self {
        let idle = [Role::Fanout, Role::Delivery, Role::Retry];
        let setup = idle.into_iter().fold(Setup::new(name), |setup, role| setup.roles(role, 0));
        let mut pipeline = setup.start().await.unwrap();
        let url = pipeline.roles().urls(Role::Control).remove(0);
        Self { pipeline, url }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_as(ADMIN_KEY, arguments).await
    }

    async fn run_as(&self, token: &str, arguments: &[&str]) -> Output {
        let mut environment = vec![("HOOKBUS_URL", self.url.as_str()), ("HOOKBUS_TOKEN", token)];
        environment.extend(REFERENCES);
        self.pipeline.command_with(&environment, arguments).await.unwrap()
    }

    /// What a command that succeeds prints.
    async fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "hookbus {}: {}", arguments.join(" "), told(&output));
        let said = String::from_utf8(output.stdout).unwrap();
        for (_name, secret) in REFERENCES {
            assert!(arguments.contains(&"--with-secrets") || !said.contains(secret), "a secret is printed: {said}");
        }
        said
    }

    async fn apply(&self, folder: &Path) -> String {
        self.says(&["apply", "-f", &folder.display().to_string()]).await
    }

    /// What a command answers to a program.
    async fn json(&self, arguments: &[&str]) -> Value {
        let said = self.says(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said}"))
    }

    /// What a command that is used wrongly says.
    async fn wrong(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(USAGE), "hookbus {}: {}", arguments.join(" "), told(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    async fn shown(&self, path: &str) -> Value {
        self.pipeline.managed(Method::GET, path, None, 200).await.unwrap()
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_applied_twice_changes_nothing_and_neither_does_what_is_exported() {
    let scene = Scene::start("apply").await;
    let example = Path::new(EXAMPLE);
    let plan = scene.says(&["apply", "-f", EXAMPLE, "--dry-run"]).await;
    assert!(plan.contains("+ subscription warehouse of shop") && plan.contains("8 to create"), "{plan}");
    assert!(plan.contains("target.headers.authorization: (hidden)"), "{plan}");
    assert_eq!(scene.shown("/applications").await, json!([]), "a dry run changes nothing");

    let applied = scene.apply(example).await;
    assert!(applied.contains("created subscription warehouse of shop") && applied.contains("Applied: 8"), "{applied}");
    let again = scene.apply(example).await;
    assert!(again.contains("Nothing to do: 8 unchanged."), "{again}");
    let warehouse = scene.shown("/subscriptions/warehouse?application_id=shop").await;
    assert_eq!(warehouse["filter"], "type.startsWith(\"order.shipped\") && data.country == \"DE\"");
    assert_eq!(scene.shown("/subscriptions/analytics?application_id=shop").await["is_paused"], true);

    exported_and_applied(&scene).await;
    changed_and_pruned(&scene).await;
    scene.pipeline.finish(Expect::default()).await.unwrap();
}

async fn exported_and_applied(scene: &Scene) {
    for secrets in [&[][..], &["--with-secrets"]] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().display().to_string();
        scene.says(&[&["export", "--output", &output], secrets].concat()).await;
        let shop = fs::read_to_string(folder.path().join("shop.yaml")).unwrap();
        assert!(shop.contains("uid: warehouse") && shop.contains("********"), "{shop}");
        assert_eq!(shop.contains("\nsecret: "), !secrets.is_empty(), "{shop}");
        assert!(!shop.contains("of-the-warehouse"), "what is never shown is never exported");
        let applied = scene.apply(folder.path()).await;
        assert!(applied.contains("Nothing to do"), "{applied}{shop}");
    }
    let printed = scene.says(&["export", "--application", "shop"]).await;
    assert!(printed.starts_with("---\nkind: application\n"), "{printed}");
}

async fn changed_and_pruned(scene: &Scene) {
    let folder = tempfile::tempdir().unwrap();
    let document = |url: &str, token: &str| {
        format!(
            "kind: application\nuid: shop\n---\nkind: event_type\nname: order.placed\n---\nkind: subscription\nuid: warehouse\n\
             labels: {{}}\ndescription: null\ntarget:\n  url: {url}\n  headers: {{authorization: '{token}'}}\n"
        )
    };
    let secret = REFERENCES[1].1;
    write(folder.path(), "shop.yaml", &document("https://warehouse.example.com/v2", secret));
    let path = folder.path().display().to_string();
    let plan = scene.says(&["apply", "-f", &path, "--dry-run"]).await;
    for line in [
        "~ subscription warehouse of shop",
        "    description: \"The warehouse's own system\" -> (none)",
        "    labels.environment: \"production\" -> (none)",
        "    target.url: \"https://warehouse.example.com/hooks\" -> \"https://warehouse.example.com/v2\"",
        "Plan: 0 to create, 1 to change, 0 to delete, 2 unchanged.",
        "(3 that no document names are left alone; --prune deletes them)",
    ] {
        assert!(plan.lines().any(|it| it == line), "{line} in\n{plan}");
    }
    assert!(!plan.contains("authorization"), "it is the same: {plan}");
    scene.apply(folder.path()).await;
    assert!(scene.apply(folder.path()).await.contains("Nothing to do"));

    write(folder.path(), "shop.yaml", &document("https://warehouse.example.com/v2", "another"));
    let plan = scene.says(&["apply", "-f", &path, "--dry-run"]).await;
    assert!(plan.contains("a value that is not shown") && !plan.contains("another"), "{plan}");

    let pruned = scene.says(&["apply", "-f", &path, "--prune"]).await;
    assert!(pruned.contains("deleted subscription analytics of shop"), "{pruned}");
    assert!(pruned.contains("deleted event type order.shipped.v1 of shop"), "{pruned}");
    let left = scene.shown("/subscriptions?application_id=shop").await;
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert!(scene.says(&["apply", "-f", &path, "--prune"]).await.contains("Nothing to do"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_another_system_keep_their_ids_tokens_and_secrets_and_mistakes_are_told_with_their_line() {
    let scene = Scene::start("import").await;
    imported(&scene).await;
    mistaken(&scene).await;
    moved_away(&scene).await;
    commanded(&scene).await;
    let expect = Expect::default();
    scene.pipeline.verdict(expect, std::time::Duration::ZERO).await.unwrap();
}

async fn imported(scene: &Scene) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    let (organization, application, subscription) = (
        "7d1f2a3b-0000-4000-8000-000000000001",
        "7d1f2a3b-0000-4000-8000-000000000002",
        "7d1f2a3b-0000-4000-8000-000000000003",
    );
    write(
        folder.path(),
        "all.yaml",
        &format!(
            "kind: organization\nid: {organization}\nname: Imported\n---\nkind: application\nid: {application}\nuid: billing\n\
             name: Billing\nsecrets:\n- {{name: old, token: {{env: SHOP_TOKEN}}}}\n---\nkind: event_type\nname: invoice.paid\n\
             ---\nkind: subscription\nid: {subscription}\nevent_types: [invoice.paid]\nsecret: {{file: secret}}\n\
             target: {{url: 'https://example.com/hooks'}}\n"
        ),
    );
    let applied = scene.apply(folder.path()).await;
    assert!(applied.contains("Applied: 5"), "{applied}");
    assert!(scene.apply(folder.path()).await.contains("Nothing to do: 5"));
    let found = scene.shown(&format!("/subscriptions/{subscription}")).await;
    assert_eq!(found["signing_secret"], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert_eq!(scene.shown("/applications/billing").await["organization_id"], organization);
    // The token of the other system sends events.
    let body = json!({ "event_type": "invoice.paid", "payload": {} }).to_string();
    let sent = scene.pipeline.client().post(1, "/api/v1/event", REFERENCES[0].1, body.into()).await.unwrap();
    assert_eq!(sent.status, 201, "{:?}", sent.body);

    let moved =
        format!("kind: application\nid: {application}\nuid: invoices\nname: Billing\norganization: {organization}\n");
    write(folder.path(), "all.yaml", &moved);
    let applied = scene.apply(folder.path()).await;
    assert!(applied.contains("uid: \"billing\" -> \"invoices\""), "{applied}");
}

async fn mistaken(scene: &Scene) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let mut told = Vec::new();
    for text in [
        "kind: aplication\nuid: x\n",
        "kind: subscription\napplication: invoices\nuid: x\nevent_typs: [a.b]\n",
        "kind: subscription\napplication: invoices\nuid: x\nsecret: {env: NOT_SET_ANYWHERE}\n",
        "kind: subscription\napplication: invoices\nuid: x\nevent_types: [invoice.paid]\ntarget:\n  url: ftp://example.com\n",
        "kind: subscription\napplication: invoices\nuid: x\nevent_types: [invoice.paid]\nfilter: data.(\ntarget: {url: 'https://a.b'}\n",
        "kind: application\nuid: [\n",
    ] {
        write(folder.path(), "f.yaml", text);
        told.push(scene.wrong(&["apply", "-f", &path]).await);
    }
    let expected = [
        ("f.yaml:1: ", "did you mean `application`?"),
        ("f.yaml:4: ", "did you mean `event_types`?"),
        ("f.yaml:4: ", "NOT_SET_ANYWHERE is not set"),
        ("f.yaml:6: ", "`target.url`"),
        ("f.yaml:5: ", "`filter`"),
        ("f.yaml:", ""),
    ];
    for ((place, says), told) in expected.into_iter().zip(&told) {
        assert!(told.contains(place) && told.contains(says), "{place}{says} in {told}");
    }
    let unknown = scene.run(&["apply", "-f", &path, "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(unknown.status.code(), Some(USAGE), "the file is wrong before anybody is asked");
    write(folder.path(), "f.yaml", "kind: application\nuid: x\nname: x\n");
    let output = scene.run(&["apply", "-f", &path]).await;
    assert_eq!(output.status.code(), Some(1), "{}", self::told(&output));
    assert!(self::told(&output).contains("0 of 1 steps were done"), "{}", self::told(&output));
}

/// What a file leaves out is kept, but not for another receiver: the file's line and what has to be written there.
async fn moved_away(scene: &Scene) {
    let body = json!({
        "application_id": "invoices", "uid": "shy", "is_enabled": true, "event_types": ["invoice.paid"],
        "target": { "url": "https://example.com/shy", "headers": { "X-Api-Key": "of-the-receiver" } },
        "auth": { "type": "bearer", "token": "of-the-receiver" },
    });
    scene.pipeline.managed(Method::POST, "/subscriptions", Some(&body), 201).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let text = "kind: subscription\napplication: invoices\nuid: shy\ntarget:\n  url: https://elsewhere.example/\n";
    write(folder.path(), "f.yaml", text);
    let told = scene.wrong(&["apply", "-f", &path]).await;
    let why = "was given for the target https://example.com, and the target is now https://elsewhere.example";
    for line in [
        format!("f.yaml:1: `auth.token` {why}: give it again, or remove `auth`"),
        format!("f.yaml:4: `target.headers.x-api-key` {why}: give its value again, or remove the header"),
    ] {
        assert!(told.contains(&line), "{line}: {told}");
    }
    write(folder.path(), "f.yaml", &format!("{text}  headers: {{}}\nauth: ~\n"));
    assert!(scene.apply(folder.path()).await.contains("Applied: 1"));
    scene.says(&of(&["subscription", "delete", "shy"])).await;
}

async fn commanded(scene: &Scene) {
    subscriptions_by_hand(scene).await;
    tokens_by_hand(scene).await;
    let gateway = scene.pipeline.client().url(1, "").unwrap();
    let sent = ["event", "send", "invoice.paid", "--payload", "[1]", "--id", "evt_1", "--gateway-url", &gateway];
    assert_eq!(scene.json(&of(&sent)).await["event_id"], "evt_1");
    let declared = scene.json(&of(&["event-type", "create", "order.new", "--deprecated"])).await;
    assert_eq!(declared["deprecated"], true);
    assert!(declared["deprecated_at"].is_string() && declared["sunset_at"].is_string(), "{declared}");
    let announced = ["event-type", "create", "order.new", "--deprecated-at", "2027-01-31T00:00:00Z"];
    assert_eq!(scene.json(&of(&announced)).await["sunset_at"], "2027-07-31T00:00:00Z");
    assert!(scene.says(&of(&["event-type", "list"])).await.contains("order.new"));
    assert!(scene.says(&["organization", "list"]).await.contains("Imported"));
}

/// Of the imported application.
fn of<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--application", "invoices"]].concat()
}

async fn subscriptions_by_hand(scene: &Scene) {
    let make =
        ["subscription", "create", "https://example.com/new", "-e", "invoice.*", "--uid", "new", "--label", "a=b"];
    let made = scene.json(&of(&make)).await;
    assert_eq!((&made["labels"], &made["is_enabled"]), (&json!({"a": "b"}), &json!(true)));
    for (command, field, value) in [
        ("pause", "is_paused", json!(true)),
        ("resume", "is_paused", json!(false)),
        ("disable", "is_enabled", json!(false)),
        ("enable", "is_enabled", json!(true)),
    ] {
        assert_eq!(scene.json(&of(&["subscription", command, "new"])).await[field], value, "{command}");
    }
    let update = ["subscription", "update", "new", "--timeout-ms", "700", "--target", "https://example.com/u"];
    let updated = scene.json(&of(&update)).await;
    assert_eq!((&updated["timeout_ms"], &updated["target"]["url"]), (&json!(700), &json!("https://example.com/u")));
    let rotated = scene.json(&of(&["subscription", "rotate-secret", "new", "--overlap-seconds", "0"])).await;
    assert_ne!(rotated["secret"], made["secret"]);
    let table = scene.says(&of(&["subscription", "list"])).await;
    assert!(table.starts_with("ID ") && table.contains("https://example.com/u"), "{table}");
    scene.says(&of(&["subscription", "delete", "new"])).await;
    assert_eq!(scene.run(&of(&["subscription", "get", "new"])).await.status.code(), Some(1));
    assert_eq!(scene.run(&["subscription", "nonsense"]).await.status.code(), Some(USAGE));
}

async fn tokens_by_hand(scene: &Scene) {
    let token = scene.json(&of(&["token", "create", "reader", "--role", "viewer"])).await;
    let token = token["token"].as_str().unwrap();
    assert!(scene.run_as(token, &of(&["subscription", "list"])).await.status.success());
    let refused = scene.run_as(token, &of(&["event-type", "delete", "invoice.paid"])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("Forbidden"), "{}", told(&refused));
    let exported = scene.run_as(token, &of(&["export", "--with-secrets"])).await;
    assert!(told(&exported).contains("may not see secrets"), "{}", told(&exported));
    scene.says(&of(&["token", "revoke", token])).await;
    assert!(!scene.run_as(token, &of(&["subscription", "list"])).await.status.success());
}
