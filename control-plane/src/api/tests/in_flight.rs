//! What requests may hold while they are not answered.

use super::*;
use crate::in_flight::parsed;
use crate::store;

#[tokio::test]
async fn an_organization_that_holds_its_share_waits_and_others_do_not() {
    let one = |tenant: &Tenant| {
        let mut body = tenant.subscription();
        body["description"] = value!("x".repeat(1_000));
        body
    };
    let held = {
        let body = one(&Tenant { id: Uuid::nil().to_string(), token: String::new() }).to_string();
        body.len() + parsed(body.as_bytes())
    };
    let mut config = config(1_000);
    // Two fit, three do not.
    config.max_in_flight = 2 * (2 * held + held / 2);
    let api = Api::configured(config);
    let tenant = api.tenant("one").await;
    let (_, other) = api.post(ADMIN, "/organizations", value!({"name": "other"})).await;
    let (_, token) = api
        .post(
            ADMIN,
            "/service_token",
            value!({"organization_id": other["organization_id"], "name": "a", "role": "editor"}),
        )
        .await;
    let stranger = token["biscuit"].as_str().unwrap();

    let silent = store::silent(api.app.store()).await;
    let answers = {
        let first = async {
            tokio::join!(
                api.post(&tenant.token, "/subscriptions", one(&tenant)),
                api.post(&tenant.token, "/subscriptions", one(&tenant))
            )
        };
        let meanwhile = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let (status, headers, problem) = {
                let path = "/subscriptions?dry_run=true";
                api.exchange_as(&tenant.token, (Method::POST, path), &[], Some(one(&tenant))).await
            };
            assert_eq!((status, problem["id"].as_str()), (429, Some("RateLimited")), "{problem}");
            assert_eq!(headers["retry-after"], "1");
            let new = value!({"name": "new", "organization_id": other["organization_id"]});
            let (status, made) = api.post(stranger, "/applications?dry_run=true", new).await;
            assert_eq!(status, 201, "another organization has a share of its own: {made}");
            drop(silent);
        };
        tokio::join!(first, meanwhile).0
    };
    assert_eq!((answers.0.0, answers.1.0), (201, 201));
    let (status, made) = api.post(&tenant.token, "/subscriptions", one(&tenant)).await;
    assert_eq!(status, 201, "what is answered is given back: {made}");
    let mut large = one(&tenant);
    large["metadata"] = value!(vec![0; 2_000]);
    assert_eq!(api.post(&tenant.token, "/subscriptions", large).await.0, 413);
}
