//! What is said while Kafka says nothing.

use super::*;
use crate::store;

#[tokio::test]
async fn who_has_a_write_on_its_way_is_not_told_that_nothing_was_done() {
    // The store's own patience is longer: what has gone by of the request's time is counted.
    let mut config = config(1_000);
    config.request_timeout = Duration::from_secs(3);
    let api = Api::configured(config);
    let tenant = api.tenant("one").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let subscription = format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap());
    let _silent = store::silent(api.app.store()).await;
    let ping = format!("{subscription}/ping");
    let (made, pinged) = tokio::join!(
        api.exchange(Method::POST, "/subscriptions", &[], Some(tenant.subscription())),
        api.exchange(Method::POST, &ping, &[], None),
    );
    for (status, headers, problem) in [made, pinged] {
        assert_eq!((status, problem["code"].as_str()), (503, Some("outcome_unknown")), "{problem}");
        assert!(!headers.contains_key("retry-after"), "sent again as it is, it may be done twice: {problem}");
    }
}
