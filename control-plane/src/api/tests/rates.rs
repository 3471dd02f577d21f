//! Who asks too often.

use chassis::config::ControlRates;

use super::*;

#[tokio::test]
async fn a_token_that_asks_too_often_is_told_when_to_come_back_and_nobody_else_is() {
    let rates = ControlRates { reads: None, writes: Some(1), unknown: Some(1) };
    let api = Api::configured(ControlConfig { rates, ..config(1_000) });
    let (one, other) = (api.tenant("one").await, api.tenant("other").await);
    let path = format!("/applications/{}", one.id);
    let mut passed = 0;
    let refused = loop {
        let (status, problem) = api.put(&one.token, &path, value!({"name": "again"})).await;
        if status != 200 {
            break (status, problem);
        }
        passed += 1;
        assert!(passed < 10_000, "nothing ends it");
    };
    assert_eq!((refused.0, refused.1["id"].as_str()), (429, Some("RateLimited")), "{}", refused.1);
    assert!(passed >= 5, "a burst passes");
    assert_eq!(api.get(&one.token, &path).await.0, 200, "reads are counted for themselves");
    let (status, _) = api.put(&other.token, &format!("/applications/{}", other.id), value!({"name": "fine"})).await;
    assert_eq!(status, 200);
    assert_eq!(api.put(ADMIN, &path, value!({"name": "fine"})).await.0, 200);
    let mut unknown = 0;
    while api.get("a-token-of-nobody", &path).await.0 != 429 {
        unknown += 1;
        assert!(unknown < 10_000, "nothing ends it");
    }
    assert_eq!(api.get(&one.token, &path).await.0, 200, "a known token of that address asks nobody");
}
