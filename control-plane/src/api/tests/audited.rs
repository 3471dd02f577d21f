//! What is done with an object beside changing it has a name of its own in the audit.

use super::*;
use crate::store;

#[tokio::test]
async fn an_action_is_audited_by_its_own_name_and_a_change_by_what_it_is() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let subscription = format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap());
    skip::hold(&api, made["subscription_id"].as_str().unwrap(), &[5, 6]);
    let organization = Uuid::from_u128(ORGANIZATION);
    let (_, token) = api.post(ADMIN, "/service_token", value!({"organization_id": organization, "name": "ci"})).await;
    let service_token = format!("/service_token/{}", token["token_id"].as_str().unwrap());
    let before = store::audited(api.app.store()).len();

    let secret = format!("/application_secrets/{}", tenant.token);
    for (path, body) in [
        (format!("{subscription}/pause"), value!({})),
        (format!("{subscription}/resume"), value!({})),
        (format!("{subscription}/rotate_secret"), value!({})),
        (format!("{subscription}/ping"), value!({})),
        (format!("{subscription}/skip"), value!({"delivery_id": Uuid::from_u128(5)})),
        (format!("{subscription}/retry_now"), value!({"delivery_id": Uuid::from_u128(6)})),
        (format!("{secret}/rotate"), value!({"application_id": tenant.id})),
        (format!("{service_token}/rotate"), value!({"organization_id": organization})),
    ] {
        let (status, answer) = api.post(ADMIN, &path, body).await;
        assert!(status < 300, "{path}: {answer}");
    }
    assert_eq!(api.put(ADMIN, &secret, value!({"application_id": tenant.id, "name": "other"})).await.0, 200);
    assert_eq!(api.delete(ADMIN, &format!("{service_token}?organization_id={organization}")).await, 204);

    let audited = store::audited(api.app.store());
    let actions: Vec<&str> = audited[before..].iter().map(|it| it.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "subscription.pause",
            "subscription.resume",
            "subscription.rotate_secret",
            "subscription.ping",
            "subscription.skip",
            "subscription.retry_now",
            "application_secret.rotate",
            "application_secret.rotate",
            "service_token.rotate",
            "service_token.rotate",
            "application_secret.update",
            "service_token.delete",
        ]
    );
}
