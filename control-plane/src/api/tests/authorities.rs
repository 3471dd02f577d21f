//! The authorities that a target's certificate may come from.

use super::*;

#[tokio::test]
async fn authorities_of_a_target_are_shown_and_kept_until_they_are_cleared_and_must_be_certificates() {
    let api = Api::new();
    let tenant = api.tenant("private").await;
    let pem = rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]).unwrap().cert.pem();
    let mut body = tenant.subscription();
    body["target"]["ca_certificates"] = value!(pem);
    let (status, made) = api.post(&tenant.token, "/subscriptions", body.clone()).await;
    assert_eq!((status, &made["target"]["ca_certificates"]), (201, &value!(pem)), "{made}");
    let path = format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap());

    let elsewhere = value!({"target": {"url": "https://example.com/elsewhere"}});
    let (_, patched) = api.patch(&tenant.token, &path, elsewhere).await;
    assert_eq!(patched["target"]["ca_certificates"], value!(pem), "what a patch leaves out stays");
    let (_, put) = api.put(&tenant.token, &path, tenant.subscription()).await;
    assert_eq!(put["target"]["ca_certificates"], value!(pem), "and so does what a PUT leaves out");
    let (_, cleared) = api.patch(&tenant.token, &path, value!({"target": {"ca_certificates": null}})).await;
    assert_eq!(cleared["target"].get("ca_certificates"), None, "{cleared}");

    // What is given is shown to everybody who sees the subscription.
    let beside = format!("{}{pem}", rcgen::KeyPair::generate().unwrap().serialize_pem());
    let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for bad in ["", "no PEM", none, &pem.repeat(11), &beside] {
        body["target"]["ca_certificates"] = value!(bad);
        let (status, problem) = api.post(&tenant.token, "/subscriptions", body.clone()).await;
        assert_eq!(status, 422, "{bad}: {problem}");
        assert!(problem["validation"]["target.ca_certificates"].is_array(), "{problem}");
    }
}
