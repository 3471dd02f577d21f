//! Reading the delivery log over HTTP.

use delivery_log::{
    Coordinates, DeliveryStore, Fact, FactKind, LogChunk, LogRow, LoggedEvent, LoggedExchange, RowContent, attempt_id,
};
use schemas::identity::{delivery_id, event_uuid, gateway_source};
use schemas::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};

use super::*;

/// When the first event was accepted: 2026-11-29, 12:00.
const NOON: i64 = 1_795_953_600_000;

/// Some traffic of one subscription, written as it is made.
pub(super) struct Traffic {
    application: ApplicationId,
    subscription: SubscriptionId,
    rows: Vec<LogRow>,
}

impl Traffic {
    pub(super) fn new(application: &str, subscription: &str) -> Self {
        Self {
            application: application.parse().unwrap(),
            subscription: subscription.parse().unwrap(),
            rows: Vec::new(),
        }
    }

    fn push(&mut self, ms: i64, content: impl Fn(Coordinates) -> RowContent) {
        let offset = i64::try_from(self.rows.len()).unwrap();
        let content = content(Coordinates { partition: 0, offset });
        self.rows.push(LogRow { offset, stored_ms: NOON + ms, content });
    }

    fn uuid(&self, id: &str) -> Uuid {
        event_uuid(self.application, &gateway_source(self.application), id)
    }

    pub(super) fn delivery(&self, id: &str) -> DeliveryId {
        let source = gateway_source(self.application);
        delivery_id(self.application, &source, id, self.subscription, Generation::default())
    }

    pub(super) fn event(&mut self, id: &str, ms: i64) {
        self.named(id, ms, None);
    }

    /// An event at noon that was matched behind this offset of `control`, with these subscriptions.
    pub(super) fn matched(&mut self, id: &str, (control_offset, whom): (i64, &[&str])) {
        let ids = whom.iter().flat_map(|id| *id.parse::<Uuid>().unwrap().as_bytes()).collect();
        self.named(id, 0, Some((control_offset, ids)));
    }

    fn named(&mut self, id: &str, ms: i64, named: Option<(i64, Vec<u8>)>) {
        let (application, uuid) = (self.application, self.uuid(id));
        self.push(ms + 5, |coordinates| {
            RowContent::Event(Box::new(LoggedEvent {
                coordinates,
                stored_ms: NOON + ms + 5,
                at_ms: NOON + ms + 4,
                application,
                uuid,
                id: id.to_owned(),
                source: None,
                event_type: "invoice.paid".to_owned(),
                accepted_ms: NOON + ms,
                origin: None,
                matched: 1,
                payload_bytes: 7,
                content_type: Some("application/json".to_owned()),
                occurred_at: None,
                labels: Some(r#"{"color":"red"}"#.to_owned()),
                metadata: None,
                ip: None,
                detail: None,
                subscriptions: named.as_ref().map(|(_, ids)| ids.clone()),
                control_offset: named.as_ref().map(|(offset, _)| *offset),
            }))
        });
    }

    pub(super) fn attempt(&mut self, id: &str, accepted: i64, (number, kind, status): (u32, FactKind, u16), ms: i64) {
        let (application, subscription) = (self.application, self.subscription);
        let (uuid, delivery) = (self.uuid(id), self.delivery(id));
        self.push(ms, |coordinates| {
            RowContent::Fact(Box::new(Fact {
                coordinates,
                stored_ms: NOON + ms,
                kind,
                at_ms: NOON + ms,
                application: Some(application),
                event: Some(uuid),
                event_type: Some("invoice.paid".to_owned()),
                accepted_ms: Some(NOON + accepted),
                subscription: Some(subscription),
                delivery: Some(delivery),
                generation: None,
                made_by: None,
                attempt: Some(number),
                due_ms: (kind == FactKind::Attempted).then_some(NOON + ms + 5_000),
                reason: (kind == FactKind::DeadLettered).then(|| "schedule".to_owned()),
                detail: None,
                exchange: Some(LoggedExchange {
                    started_ms: NOON + ms - 9,
                    elapsed_ms: 9,
                    status: Some(status),
                    ..LoggedExchange::default()
                }),
                record: None,
            }))
        });
    }

    pub(super) async fn write(self, store: &dyn DeliveryStore) {
        let end = i64::try_from(self.rows.len()).unwrap();
        store.project(vec![LogChunk { partition: 0, offsets: 0..end, rows: self.rows }]).await.unwrap();
    }
}

/// One event that was delivered; its id, and its attempt's.
pub(super) async fn one_event(store: &dyn DeliveryStore, application: &str, subscription: &str) -> (String, String) {
    let mut traffic = Traffic::new(application, subscription);
    traffic.event("evt_1", 0);
    traffic.attempt("evt_1", 0, (1, FactKind::Delivered, 204), 30);
    let attempt = attempt_id(traffic.delivery("evt_1"), 1);
    traffic.write(store).await;
    ("evt_1".to_owned(), attempt.to_string())
}

/// An application with a subscription, and five events: delivered, delivered at the second try, waiting, dead.
pub(super) async fn written() -> (Api, Tenant, String) {
    let (api, store) = Api::with_log();
    let tenant = api.tenant("billing").await;
    let (status, subscription) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    assert_eq!(status, 201);
    let subscription = subscription["subscription_id"].as_str().unwrap().to_owned();
    let mut traffic = Traffic::new(&tenant.id, &subscription);
    for (index, id) in ["evt_a", "evt_b", "evt_c", "evt_d"].into_iter().enumerate() {
        traffic.event(id, i64::try_from(index).unwrap() * 1_000);
    }
    traffic.attempt("evt_a", 0, (1, FactKind::Delivered, 204), 5_000);
    traffic.attempt("evt_b", 1_000, (1, FactKind::Attempted, 500), 5_100);
    traffic.attempt("evt_c", 2_000, (1, FactKind::Attempted, 503), 5_200);
    traffic.attempt("evt_d", 3_000, (1, FactKind::DeadLettered, 400), 5_300);
    traffic.attempt("evt_b", 1_000, (2, FactKind::Delivered, 200), 11_000);
    traffic.write(store.as_ref()).await;
    (api, tenant, subscription)
}

fn column<'a>(rows: &'a Value, pointer: &str) -> Vec<&'a str> {
    rows.as_array().unwrap().iter().map(|row| row.pointer(pointer).and_then(Value::as_str).unwrap_or("")).collect()
}

#[tokio::test]
async fn attempts_are_listed_newest_first_and_what_waits_stands_above_what_failed() {
    let (api, tenant, subscription) = written().await;
    let (status, rows) = api.get(&tenant.token, "/request_attempts").await;
    assert_eq!(status, 200, "{rows}");
    let stand: Vec<(&str, &str)> = column(&rows, "/event_id").into_iter().zip(column(&rows, "/status/type")).collect();
    let expected = [
        ("evt_b", "successful"),
        ("evt_d", "failed"),
        ("evt_c", "waiting"),
        ("evt_c", "failed"),
        ("evt_b", "failed"),
        ("evt_a", "successful"),
    ];
    assert_eq!(stand, expected);
    assert_eq!(rows[0]["retry_count"], 1);
    assert_eq!(rows[0]["created_at"], "2026-11-29T12:00:05.1Z", "it began to wait when the first one failed");
    assert_eq!(rows[0]["status"]["full_processing_ms"], 5_900);
    assert_eq!(rows[2]["delay_until"], "2026-11-29T12:00:10.2Z");
    assert_eq!((&rows[2]["picked_at"], &rows[2]["response_id"]), (&Value::Null, &Value::Null));
    assert_eq!(rows[3]["http_response_status"], 503);
    assert_eq!(rows[3]["subscription"]["subscription_id"], subscription);
    for row in rows.as_array().unwrap() {
        let id = row["request_attempt_id"].as_str().unwrap();
        let (status, one) = api.get(&tenant.token, &format!("/request_attempts/{id}")).await;
        assert_eq!((status, &one), (200, row));
    }
}

#[tokio::test]
async fn attempts_are_left_out_by_what_is_asked() {
    let (api, tenant, subscription) = written().await;
    let of = async |query: &str| {
        let (status, rows) = api.get(&tenant.token, &format!("/request_attempts?{query}")).await;
        assert_eq!(status, 200, "{query}: {rows}");
        column(&rows, "/event_id").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("status=successful").await, ["evt_b", "evt_a"]);
    assert_eq!(of("status=waiting").await, ["evt_c"]);
    assert_eq!(of("status=failed&is_last=true").await, ["evt_d"]);
    assert_eq!(of("http_status=5xx&status=failed").await, ["evt_c", "evt_b"]);
    assert_eq!(of("http_status=404").await, [""; 0]);
    assert_eq!(of("event_id=evt_b&order=asc").await, ["evt_b", "evt_b"]);
    assert_eq!(of(&format!("subscription_id={subscription}&status=failed&is_last=true")).await, ["evt_d"]);
    assert_eq!(of(&format!("subscription_id={}", Uuid::nil())).await, [""; 0]);
    assert_eq!(of("event.event_type_names=invoice.*&status=successful").await, ["evt_b", "evt_a"]);
    assert_eq!(of("min_created_at=2026-11-29T12:00:05.3Z").await, ["evt_b", "evt_d"]);
    assert_eq!(of("max_created_at=2020-01-01T00:00:00Z").await, [""; 0]);
}

#[tokio::test]
async fn pages_follow_each_other_and_a_cursor_goes_with_its_list_alone() {
    let (api, tenant, _) = written().await;
    let mut seen = Vec::new();
    let mut path = format!("/events?application_id={}&limit=2", tenant.id);
    loop {
        let (status, headers, rows) = api.exchange(Method::GET, &path, &[], None).await;
        assert_eq!(status, 200, "{rows}");
        assert_eq!(headers["hookbus-log-behind-ms"], "0");
        seen.extend(column(&rows, "/event_id").into_iter().map(str::to_owned));
        let Some(link) = headers.get("link") else { break };
        let link = link.to_str().unwrap();
        let next = link.strip_prefix("</api/v1").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        let (status, problem) = api.get(ADMIN, &format!("{next}&source=other")).await;
        assert_eq!((status, &problem["code"]), (422, &value!("invalid_field")));
        path = next.to_owned();
    }
    assert_eq!(seen, ["evt_d", "evt_c", "evt_b", "evt_a"]);
    for bad in ["limit=0", "limit=251", "order=up", "pagination_cursor=x", "min_created_at=today"] {
        let (status, _) = api.get(&tenant.token, &format!("/events?{bad}")).await;
        assert_eq!(status, 422, "{bad}");
    }
    let range = "min_created_at=2026-11-29T00:00:00Z&max_created_at=2026-11-28T00:00:00Z";
    let (status, problem) = api.get(&tenant.token, &format!("/events?{range}")).await;
    assert_eq!((status, &problem["id"]), (400, &value!("InvalidDateRange")));
}

#[tokio::test]
async fn an_event_is_found_by_each_of_its_names_and_shown_as_the_client_reads_ids() {
    let (api, tenant, _) = written().await;
    let uuid = Traffic::new(&tenant.id, &Uuid::nil().to_string()).uuid("evt_a");
    for name in ["evt_a".to_owned(), uuid.to_string()] {
        let path = format!("/events/{name}?payload=false");
        let (status, event) = api.get(&tenant.token, &path).await;
        assert_eq!(status, 200, "{event}");
        assert_eq!((&event["event_id"], &event["webhook_id"]), (&value!("evt_a"), &value!("evt_a")));
        assert_eq!(event["payload_state"], "expired");
        assert_eq!(event["labels"], value!({"color": "red"}));
    }
    let (status, problem) = api.get(&tenant.token, "/events/evt_a").await;
    assert_eq!((status, &problem["code"]), (404, &value!("expired")));
    let path = format!("/events?application_id={}", tenant.id);
    let (_, _, rows) = api.exchange(Method::GET, &path, &[("hook0-client-options", "x")], None).await;
    assert!(column(&rows, "/event_id").iter().all(|id| Uuid::parse_str(id).is_ok()), "{rows}");
    let (status, _) = api.get(&tenant.token, "/events/evt_unknown?payload=false").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_timeline_tells_everything_of_an_event_in_order() {
    let (api, tenant, _) = written().await;
    let (status, timeline) = api.get(&tenant.token, "/events/evt_b/timeline").await;
    assert_eq!(status, 200, "{timeline}");
    assert_eq!(column(&timeline["entries"], "/kind"), ["accepted", "matched", "attempted", "delivered"]);
    assert_eq!(timeline["fates"], value!(["matched"]));
    let times = column(&timeline["entries"], "/at").into_iter().map(|at| at.parse::<Timestamp>().unwrap());
    assert!(times.collect::<Vec<_>>().is_sorted(), "{timeline}");
    let (status, _) = api.get(&tenant.token, "/events/evt_unknown/timeline").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn dead_letters_are_listed_with_why_they_died() {
    let (api, tenant, subscription) = written().await;
    let (status, rows) = api.get(&tenant.token, "/dead_letters").await;
    assert_eq!((status, rows.as_array().map(Vec::len)), (200, Some(1)), "{rows}");
    let dead = &rows[0];
    assert_eq!((&dead["event"]["event_id"], &dead["reason"]), (&value!("evt_d"), &value!("schedule")));
    assert_eq!(
        (&dead["last_status"], &dead["attempts"], &dead["payload_bytes"]),
        (&value!(400), &value!(1), &value!(7))
    );
    assert_eq!(dead["subscription"]["subscription_id"], subscription);
    assert_eq!(dead["died_at"], "2026-11-29T12:00:05.3Z");
    for (query, count) in [("reason=schedule", 1), ("reason=gone", 0), ("event.event_type_names=order.*", 0)] {
        let (_, rows) = api.get(&tenant.token, &format!("/dead_letters?{query}")).await;
        assert_eq!(rows.as_array().map(Vec::len), Some(count), "{query}");
    }
    assert_eq!(api.get(&tenant.token, "/dead_letters?reason=boredom").await.0, 422);
    let (status, one) =
        api.get(&tenant.token, &format!("/dead_letters/{}", dead["dead_letter_id"].as_str().unwrap())).await;
    assert_eq!((status, &one["state"], &one["attempts"]), (200, &value!("open"), &value!(1)), "{one}");
    let attempts = one["request_attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["http_response_status"]), (1, &value!(400)));
    let (_, delivered) = api.get(&tenant.token, "/request_attempts?status=successful").await;
    for none in ["nobody", delivered[0]["delivery_id"].as_str().unwrap()] {
        assert_eq!(api.get(&tenant.token, &format!("/dead_letters/{none}")).await.0, 404, "it is none");
    }
    api.app.log().holds(crate::log::held::HeldLetters { deliveries: [(0, 5)].into(), ..Default::default() });
    assert_eq!(api.get(&tenant.token, "/dead_letters").await, (200, value!([])), "nothing can be sent of it");
    let (_, rows) = api.get(&tenant.token, "/dead_letters?state=expired").await;
    assert_eq!((&rows[0]["event"]["event_id"], &rows[0]["state"]), (&value!("evt_d"), &value!("expired")), "{rows}");
}

#[tokio::test]
async fn deliveries_are_counted_by_time_for_a_subscription_and_for_all_of_an_application() {
    let (api, tenant, subscription) = written().await;
    let range = "from=2026-11-29T11:30:00Z&to=2026-11-29T14:00:00Z";
    let of = async |query: String| {
        let (status, rows) = api.get(&tenant.token, &format!("/delivery_stats?{query}")).await;
        assert_eq!(status, 200, "{query}: {rows}");
        rows
    };
    let rows = of(range.to_owned()).await;
    assert_eq!(column(&rows, "/from"), ["2026-11-29T11:00:00Z", "2026-11-29T12:00:00Z", "2026-11-29T13:00:00Z"]);
    assert_eq!((&rows[0]["attempts"], &rows[0]["latency_p50_ms"]), (&value!(0), &Value::Null));
    let counts = ["attempts", "delivered", "failed", "retried", "dead_lettered", "cancelled"];
    assert_eq!(counts.map(|name| rows[1][name].as_u64().unwrap()), [5, 2, 3, 2, 1, 0]);
    assert_eq!((&rows[1]["success_rate"], &rows[1]["retry_rate"]), (&value!(0.4), &value!(0.4)));
    assert_eq!((&rows[1]["latency_p95_ms"], rows[1].get("subscription_id")), (&value!(9), None));
    let own = of(format!("{range}&subscription_id={subscription}&bucket=1d")).await;
    assert_eq!((own.as_array().unwrap().len(), &own[0]["attempts"]), (1, &value!(5)));
    assert_eq!(own[0]["subscription_id"], subscription);
    assert_eq!(of(format!("{range}&subscription_id={}", Uuid::nil())).await[1]["attempts"], 0);
    assert_eq!(of(String::new()).await.as_array().unwrap().len() / 24, 1, "a day by default");
    let many = "from=2026-11-01T00:00:00Z&to=2026-11-29T00:00:00Z&bucket=1m";
    for (query, status) in [(many, 400), ("bucket=2h", 422), ("from=2026-11-29", 422), ("subscription_id=x", 422)] {
        assert_eq!(api.get(&tenant.token, &format!("/delivery_stats?{query}")).await.0, status, "{query}");
    }
}

#[tokio::test]
async fn every_day_of_a_range_has_a_row() {
    let (api, tenant, _) = written().await;
    let path = format!("/events_per_day/application?application_id={}&from=2026-11-28&to=2026-11-30", tenant.id);
    let (status, rows) = api.get(&tenant.token, &path).await;
    assert_eq!(status, 200, "{rows}");
    assert_eq!(column(&rows, "/date"), ["2026-11-28", "2026-11-29", "2026-11-30"]);
    let amounts: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["amount"]).collect();
    assert_eq!(amounts, [0, 4, 0]);
    let organization = Uuid::from_u128(ORGANIZATION);
    let path = format!("/events_per_day/organization?organization_id={organization}&from=2026-11-29&to=2026-11-29");
    let (status, rows) = api.get(ADMIN, &path).await;
    assert_eq!((status, &rows[0]["amount"]), (200, &value!(4)));
    for bad in ["from=2026-11-30&to=2026-11-29", "from=2020-01-01&to=2026-11-29"] {
        let path = format!("/events_per_day/application?application_id={}&{bad}", tenant.id);
        assert_eq!(api.get(ADMIN, &path).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn how_a_subscription_did_is_told_beside_how_its_lane_is_doing() {
    let (api, store) = Api::with_log();
    let tenant = api.tenant("billing").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let subscription = made["subscription_id"].as_str().unwrap().to_owned();
    let mut traffic = Traffic::new(&tenant.id, &subscription);
    // Ten minutes ago; the traffic's times are relative to a noon.
    let ago = chassis::clock::now_ms() - NOON - 600_000;
    traffic.attempt("evt_old", ago, (1, FactKind::Delivered, 204), ago - 7_200_000);
    traffic.attempt("evt_a", ago, (1, FactKind::Delivered, 204), ago);
    traffic.attempt("evt_b", ago, (1, FactKind::Attempted, 503), ago + 1);
    traffic.attempt("evt_c", ago, (1, FactKind::DeadLettered, 410), ago + 2);
    traffic.write(store.as_ref()).await;
    let path = format!("/subscriptions/{subscription}/health");
    let (status, shown) = api.get(&tenant.token, &path).await;
    assert_eq!((status, &shown["window"]["attempts"]), (200, &value!(3)), "{shown}");
    assert_eq!((&shown["last_error"], &shown["dead_letters_open"]), (&value!("410"), &value!(1)), "{shown}");
    assert_eq!(shown["last_success_at"], time(NOON + ago));
    assert_eq!(shown["last_failure_at"], time(NOON + ago + 2));
    assert_eq!((&shown["window"]["latency_p50_ms"], &shown["circuit"]), (&value!(9), &value!("unknown")));
    let (_, longer) = api.get(&tenant.token, &format!("{path}?window=1d")).await;
    assert_eq!((&longer["window"]["attempts"], &longer["window"]["success_rate"]), (&value!(4), &value!(0.5)));
    assert_eq!(api.get(&tenant.token, &format!("{path}?window=8d")).await.0, 422);
}

#[tokio::test]
async fn the_operator_is_told_how_the_log_is_doing() {
    let (api, tenant, _) = written().await;
    let (status, log) = api.get(ADMIN, "/log").await;
    assert_eq!(status, 200, "{log}");
    assert_eq!((&log["store"], &log["behind_ms"], &log["lost_records"]), (&value!("sqlite"), &value!(0), &value!(0)));
    let day = &log["days"][0];
    assert_eq!((&day["day"], &day["rows"], &day["whole"]), (&value!("2026-11-29"), &value!(9), &value!(true)));
    assert_eq!((&day["from"], day["bytes"].as_u64().unwrap() > 0), (&value!("2026-11-29T00:00:00Z"), true));
    let partition = value!({"partition": 0, "covered_to": 9, "end": null, "at_end": true});
    assert_eq!((&log["partitions"][0], &log["behind_records"]), (&partition, &value!(0)));
    assert_eq!(api.get(&tenant.token, "/log").await.0, 403);
}

#[tokio::test]
async fn without_a_log_its_routes_say_so_and_all_others_work() {
    let api = Api::new();
    let tenant = api.tenant("billing").await;
    for path in [
        "/events",
        "/events/x",
        "/events/x/timeline",
        "/request_attempts",
        "/delivery_stats",
        "/events_per_day/application",
    ] {
        let (status, problem) = api.get(&tenant.token, path).await;
        assert_eq!((status, &problem["code"]), (503, &value!("log_unavailable")), "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("it was not started"), "{problem}");
    }
    assert_eq!(api.get(&tenant.token, "/subscriptions?application_id=").await.0, 403);
    let path = format!("/subscriptions?application_id={}", tenant.id);
    assert_eq!(api.get(&tenant.token, &path).await.0, 200);
}
