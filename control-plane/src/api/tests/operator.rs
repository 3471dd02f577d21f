//! What the operator is told of the installation.

use catalog::usage::HearsStatus as _;
use schemas::status::{RetryHealth, Status};

use super::*;

#[tokio::test]
async fn processes_are_listed_by_role_and_name_with_what_they_said_last() {
    let api = Api::new();
    let now_ms = chassis::clock::now_ms();
    let hears = |status: Status| api.app.health().hears(&Status::key(&status.role, &status.instance), Some(&status));
    hears(Status { version: Some("1.0.0".into()), partitions: 3, ..Status::new("delivery", "2", now_ms) });
    hears(Status { retry: Some(RetryHealth::default()), ..Status::new("retry", "1", now_ms - 600_000) });
    hears(Status::new("delivery", "1", now_ms));
    let (status, listed) = api.get(ADMIN, "/instances").await;
    assert_eq!(status, 200, "{listed}");
    let rows: Vec<_> =
        listed.as_array().unwrap().iter().map(|it| (&it["role"], &it["instance"], &it["is_silent"])).collect();
    let [delivery, retry, one, two] = ["delivery", "retry", "1", "2"].map(|text| value!(text));
    assert_eq!(
        rows,
        [(&delivery, &one, &value!(false)), (&delivery, &two, &value!(false)), (&retry, &one, &value!(true))]
    );
    assert_eq!((&listed[1]["version"], &listed[1]["partitions"]), (&value!("1.0.0"), &value!(3)));
    assert_eq!(listed[2]["health"], value!({"waiting": {}, "overdue_ms": 0}));
    let (_, headers, first) = api.exchange(Method::GET, "/instances?limit=2", &[], None).await;
    assert_eq!(first.as_array().map(Vec::len), Some(2));
    let link = headers["link"].to_str().unwrap();
    let next = link.trim_start_matches("</api/v1").split('>').next().unwrap();
    assert_eq!(api.get(ADMIN, next).await.1, value!([listed[2]]));
}

#[tokio::test]
async fn topics_are_listed_with_those_that_are_missing() {
    let api = Api::new();
    api.topic("hookbus.events", &[(0, 1), (0, 1)]);
    api.topic("hookbus.retry.5s", &[(0, 1)]);
    api.topic("crm.orders", &[(0, 1)]);
    let (status, listed) = api.get(ADMIN, "/topics").await;
    assert_eq!(status, 200, "{listed}");
    let of = |name: &str| {
        let found = listed.as_array().unwrap().iter().find(|it| it["name"] == name);
        found.map(|it| (it["is_there"] == true, it["partitions"].as_u64()))
    };
    assert_eq!(of("hookbus.events"), Some((true, Some(2))));
    assert_eq!(of("hookbus.retry.5s"), Some((true, Some(1))));
    assert_eq!((of("hookbus.control"), of("crm.orders")), (Some((false, None)), None));
}
