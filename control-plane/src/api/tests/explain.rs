//! Why an event went to its subscriptions, and why not to others, over HTTP.

use super::log::Traffic;
use super::*;

#[tokio::test]
async fn each_subscription_is_told_with_its_reason_a_page_at_a_time() {
    let (api, store) = Api::with_log();
    let tenant = api.tenant("billing").await;
    let make = async |change: &dyn Fn(&mut Value)| {
        let mut body = tenant.subscription();
        (body["labels"], body["description"]) = (value!({}), value!("somebody"));
        change(&mut body);
        let (status, made) = api.post(&tenant.token, "/subscriptions", body).await;
        assert_eq!(status, 201, "{made}");
        made["subscription_id"].as_str().unwrap().to_owned()
    };
    let delivered = make(&|_| {}).await;
    let disabled = make(&|body| body["is_enabled"] = value!(false)).await;
    let labelled = make(&|body| body["labels"] = value!({"color": "blue"})).await;
    let filtered = make(&|body| body["filter"] = value!("data.amount > 10")).await;
    let mut traffic = Traffic::new(&tenant.id, &delivered);
    traffic.matched("evt_a", (api.catalog.position(), &[&delivered]));
    traffic.attempt("evt_a", 0, (1, delivery_log::FactKind::Delivered, 204), 30);
    traffic.write(store.as_ref()).await;

    let (status, told) = api.get(&tenant.token, "/events/evt_a/explain").await;
    assert_eq!((status, &told["fate"]), (200, &value!("matched")), "{told}");
    let of = |id: &str| {
        let rows = told["subscriptions"].as_array().unwrap();
        rows.iter().find(|row| row["subscription_id"] == id).unwrap_or_else(|| panic!("no {id}: {told}"))
    };
    let said = |id: &str| [of(id)["result"].clone(), of(id)["reason"].clone(), of(id)["is_certain"].clone()];
    assert_eq!(said(&delivered), [value!("delivered"), Value::Null, value!(true)]);
    assert_eq!((&of(&delivered)["attempts"], &of(&delivered)["description"]), (&value!(1), &value!("somebody")));
    assert_eq!(said(&disabled), [value!("not_matched"), value!("disabled"), value!(true)]);
    assert_eq!(said(&labelled), [value!("not_matched"), value!("label"), value!(true)]);
    assert_eq!(of(&labelled)["detail"], "`color` is `red`, and it asks for `blue`");
    assert_eq!(said(&filtered), [value!("not_matched"), value!("filter"), value!(false)], "its payload is gone");

    let (_, one) = api.get(&tenant.token, &format!("/events/evt_a/explain?subscription_id={labelled}")).await;
    assert_eq!(one["subscriptions"], value!([of(&labelled)]));
    let (mut seen, mut path) = (0, Some(format!("/events/evt_a/explain?application_id={}&limit=3", tenant.id)));
    while let Some(next) = path {
        let (status, headers, page) = api.exchange(Method::GET, &next, &[], None).await;
        assert_eq!(status, 200, "{page}");
        seen += page["subscriptions"].as_array().unwrap().len();
        let link = headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        path = link.map(|it| it.strip_prefix("</api/v1").unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned());
    }
    assert_eq!(seen, 4);
    let (status, unknown) = api.get(&tenant.token, "/events/evt_nobody/explain").await;
    assert_eq!((status, &unknown["fate"], &unknown["subscriptions"]), (200, &value!("unknown"), &value!([])));
    assert_eq!(api.get(&tenant.token, "/events/evt_a/explain?limit=251").await.0, 422);
}

#[tokio::test]
async fn one_that_was_deleted_or_made_since_is_told_as_such() {
    let (api, store) = Api::with_log();
    let tenant = api.tenant("billing").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let gone = made["subscription_id"].as_str().unwrap().to_owned();
    let mut traffic = Traffic::new(&tenant.id, &gone);
    traffic.matched("evt_a", (api.catalog.position(), &[&gone]));
    traffic.write(store.as_ref()).await;
    let path = format!("/subscriptions/{gone}?application_id={}", tenant.id);
    assert_eq!(api.delete(&tenant.token, &path).await, 204);
    let (_, later) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let (_, told) = api.get(&tenant.token, "/events/evt_a/explain").await;
    let rows = told["subscriptions"].as_array().unwrap();
    let of = |id: &Value| rows.iter().find(|row| row["subscription_id"] == *id).unwrap();
    assert_eq!((&of(&value!(gone))["result"], &of(&value!(gone))["description"]), (&value!("waiting"), &Value::Null));
    assert_eq!(of(&later["subscription_id"])["result"], "not_matched", "{told}");
}
