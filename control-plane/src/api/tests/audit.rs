//! Who changed what, as the API tells it.

use schemas::control::ControlObject;

use super::*;
use crate::actor::{Actor, Caller};
use crate::store::{Decision, Moment};

/// A page, and the path of the next one.
async fn page(api: &Api, token: &str, path: &str) -> (Vec<Value>, Option<String>) {
    let request = Request::builder().uri(path).header("authorization", format!("Bearer {token}"));
    let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let link = response.headers().get("link").map(|it| it.to_str().unwrap().to_owned());
    let next = link.map(|it| it.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (serde_json::from_slice(&bytes).unwrap(), next)
}

async fn all(api: &Api, token: &str, query: &str) -> Vec<Value> {
    let (mut rows, mut next) = page(api, token, &format!("/api/v1/audit{query}")).await;
    while let Some(path) = next {
        let (more, after) = page(api, token, &path).await;
        rows.extend(more);
        next = after;
    }
    rows
}

fn texts<'a>(rows: &'a [Value], name: &str) -> Vec<&'a str> {
    rows.iter().map(|it| it[name].as_str().unwrap()).collect()
}

#[tokio::test]
async fn changes_are_listed_newest_first_with_the_names_of_what_was_changed() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let id = made["subscription_id"].as_str().unwrap();
    let path = format!("/subscriptions/{id}");
    let change = value!({"description": "told", "target": {"url": "https://example.com/b", "headers": {"authorization": "Bearer s3cret"}}});
    assert_eq!(api.patch(&tenant.token, &path, change).await.0, 200);
    assert_eq!(api.delete(ADMIN, &path).await, 204);
    let rows = all(&api, &tenant.token, &format!("?object={id}")).await;
    assert_eq!(texts(&rows, "action"), ["subscription.delete", "subscription.update", "subscription.create"]);
    assert_eq!(rows[1]["changed"], value!(["description", "target.headers", "target.url"]));
    assert_eq!((&rows[0]["changed"], &rows[2]["changed"]), (&value!([]), &value!([])));
    assert_eq!(rows[0]["actor"], "admin");
    assert!(rows[1]["actor"].as_str().unwrap().starts_with("application_secret/"));
    let text = Value::Array(rows.clone()).to_string();
    assert!(!text.contains("s3cret") && !text.contains("told"), "no value is told: {text}");
    // In pages it is the same list.
    let whole = all(&api, ADMIN, "").await;
    assert_eq!(all(&api, ADMIN, "?limit=1").await, whole);
    assert_eq!(all(&api, ADMIN, "?limit=2&action=subscription.update").await, [rows[1].clone()]);
    assert_eq!(all(&api, ADMIN, "?actor=admin&action=subscription.delete").await, [rows[0].clone()]);
    for bad in ["?pagination_cursor=x", "?pagination_cursor=-1", "?limit=0", "?limit=1001"] {
        assert_eq!(api.get(ADMIN, &format!("/audit{bad}")).await.0, 422, "{bad}");
    }
}

#[tokio::test]
async fn a_token_sees_the_changes_of_what_it_sees_also_of_what_is_gone() {
    let api = Api::new();
    let (tenant, other) = (api.tenant("one").await, api.tenant("other").await);
    let organization = Uuid::from_u128(ORGANIZATION);
    let token = async |organization: &str, role: &str| {
        let body = value!({"organization_id": organization, "name": role, "role": role});
        api.post(ADMIN, "/service_token", body).await.1["biscuit"].as_str().unwrap().to_owned()
    };
    let viewer = token(&organization.to_string(), "viewer").await;
    let (_, foreign) = api.post(ADMIN, "/organizations", value!({"name": "foreign"})).await;
    let foreign = foreign["organization_id"].as_str().unwrap();
    let stranger = token(foreign, "editor").await;
    let own = all(&api, &tenant.token, "").await;
    assert!(!own.is_empty() && own.iter().all(|it| it["object"].as_str().unwrap().contains(&tenant.id)), "{own:?}");
    let strange = all(&api, &stranger, "").await;
    assert!(strange.iter().all(|it| it["object"].as_str().unwrap().contains(foreign)), "{strange:?}");
    assert_eq!(api.get(&stranger, &format!("/audit?application_id={}", tenant.id)).await.0, 404);
    assert_eq!(api.get(&other.token, &format!("/audit?application_id={}", tenant.id)).await.0, 403);
    assert_eq!(api.delete(ADMIN, &format!("/applications/{}", tenant.id)).await, 204);
    let seen = all(&api, &viewer, "").await;
    let gone = seen.iter().filter(|it| it["object"].as_str().unwrap().contains(&tenant.id)).count();
    assert!(gone > own.len(), "with its deletion: {seen:?}");
    assert!(seen.iter().all(|it| it.get("address").is_none()), "addresses are for editors");
    assert!(all(&api, &stranger, "").await.len() == strange.len());
}

/// A change of an application, asked from an address.
async fn changed_from(api: &Api, application: &str, (actor, address): (&str, &str)) {
    let caller = Caller { address: Some(address.parse().unwrap()), ..Caller::default() };
    let id = application.parse().unwrap();
    let rename = move |snapshot: &catalog::Snapshot, _moment: Moment| {
        let mut application = (**snapshot.application_by_id(id).unwrap()).clone();
        application.name.push('x');
        Ok(Decision::put(ControlObject::Application(application), ()))
    };
    api.app.store().write(Actor::new(actor, caller), rename).await.unwrap();
}

#[tokio::test]
async fn an_address_is_shown_to_editors_of_the_scope_it_asked_from_and_to_the_operator() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let organization = Uuid::from_u128(ORGANIZATION);
    let token = async |role: &str| {
        let body = value!({"organization_id": organization, "name": role, "role": role});
        api.post(ADMIN, "/service_token", body).await.1["biscuit"].as_str().unwrap().to_owned()
    };
    let (editor, viewer) = (token("editor").await, token("viewer").await);
    let (own, wider) =
        (format!("application_secret/{}", Uuid::from_u128(7)), format!("service_token/{}", Uuid::from_u128(8)));
    for from in [(own.as_str(), "192.0.2.1"), (wider.as_str(), "192.0.2.2"), ("admin", "192.0.2.3")] {
        changed_from(&api, &tenant.id, from).await;
    }
    let seen = async |token: &str| {
        let rows = all(&api, token, &format!("?application_id={}", tenant.id)).await;
        let addresses = rows.iter().filter_map(|it| it["address"].as_str().map(str::to_owned));
        addresses.collect::<Vec<_>>()
    };
    assert_eq!(seen(&tenant.token).await, ["192.0.2.1"], "its organization's address and the operator's are theirs");
    assert_eq!(seen(&editor).await, ["192.0.2.2", "192.0.2.1"], "the operator's address is the operator's");
    assert_eq!(seen(&viewer).await, Vec::<String>::new(), "addresses are for editors");
    assert_eq!(seen(ADMIN).await, ["192.0.2.3", "192.0.2.2", "192.0.2.1"]);
}

#[tokio::test]
async fn an_organization_that_reads_already_is_told_to_come_back_and_nobody_else_is() {
    let (api, _log) = Api::with_log();
    let tenant = api.tenant("one").await;
    let (_, foreign) = api.post(ADMIN, "/organizations", value!({"name": "foreign"})).await;
    let body = value!({"organization_id": foreign["organization_id"], "name": "theirs", "role": "viewer"});
    let foreign = api.post(ADMIN, "/service_token", body).await.1["biscuit"].as_str().unwrap().to_owned();
    let events = format!("/events?application_id={}", tenant.id);
    let turns = api.app.turns();
    for (turns, path) in [(&turns.audit, "/audit"), (&turns.log, events.as_str())] {
        let organization = OrganizationId(Uuid::from_u128(ORGANIZATION));
        // As many as may ask at once.
        let asking: Vec<_> = std::iter::from_fn(|| turns.enter(organization).ok()).collect();
        let (status, problem) = api.get(&tenant.token, path).await;
        assert_eq!((status, problem["id"].as_str()), (429, Some("RateLimited")), "{path}: {problem}");
        assert_eq!(api.get(ADMIN, path).await.0, 200, "{path}: the operator takes no turns");
        assert_ne!(api.get(&foreign, path).await.0, 429, "{path}: these are another organization's turns");
        drop(asking);
        assert_eq!(api.get(&tenant.token, path).await.0, 200, "{path}");
    }
}
