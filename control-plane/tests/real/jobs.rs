//! Jobs over real topics: what is written once, whoever runs it and however often it is asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kafka::{From, Producer, ProducerOptions, Tail, TailEvent, TailOptions};
use schemas::attempt::{EventFacts, Exchange, Kind, Lifecycle};
use schemas::dead_letter::{Death, DeathReason};
use schemas::delivery::{self, Delivery, NewDelivery, Origin, RecordPlace};
use schemas::event::EventHeaders;
use schemas::identity::{delivery_id, gateway_source};
use schemas::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};
use schemas::record::{Headers, OutRecord, Record};
use serde_json::{Value, json};

use super::support::{Replica, World, soon};

/// Between two looks at what comes by itself.
const LOOK: Duration = Duration::from_millis(20);

/// An application with a subscription, and what a gateway, a fan-out and a worker would have written.
struct Shop {
    producer: Producer,
    application: ApplicationId,
    subscription: SubscriptionId,
}

impl Shop {
    async fn new(world: &World, replica: &Replica) -> Self {
        let (application, _token) = super::tenant(replica, "shop").await;
        let (_, made) = replica.post("/subscriptions", super::subscription(&application, "mine")).await;
        Self {
            producer: Producer::start(&world.connection, ProducerOptions::new("test")).unwrap(),
            application: application.parse().unwrap(),
            subscription: made["subscription_id"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// An event that was accepted, delivered in vain and is dead. Its delivery.
    async fn dead(&self, world: &World, id: &str) -> DeliveryId {
        self.died(world, id, true).await
    }

    /// The same; where its delivery is not held any more, its dead letter is.
    async fn died(&self, world: &World, id: &str, is_held: bool) -> DeliveryId {
        let (source, application, now_ms) =
            (gateway_source(self.application), self.application.to_string(), kafka::clock::now_ms());
        let headers = EventHeaders {
            id,
            is_id_made: false,
            event_type: "invoice.paid",
            source: &source,
            time: "2026-11-29T10:00:00Z",
            content_type: "application/json",
            application: &application,
            labels: None,
            metadata: None,
            ip: None,
        };
        let headers = headers.encode().unwrap();
        let accepted = self.write(&world.topics.events, format!("\"{id}\""), headers.clone()).await;
        let origin = Origin { topic: world.topics.events.to_string(), partition: accepted.0, offset: accepted.1 };
        let delivery = delivery_id(self.application, &source, id, self.subscription, Generation::default());
        let new = NewDelivery {
            id: delivery,
            subscription: self.subscription,
            generation: Generation::default(),
            made_by: None,
            accepted_ms: now_ms,
            // Beyond the end of the slowest test.
            deadline_ms: now_ms + 3_600_000,
            control_offset: 0,
            ordering_key: None,
            deprecation: None,
        };
        let headers = new.encode(&headers, self.application, &origin.to_string());
        let written = if is_held {
            self.write(&world.topics.deliveries, format!("\"{id}\""), headers).await
        } else {
            let value = Some(format!("\"{id}\"").into());
            let delivery = Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key: None, value, headers }).unwrap();
            let (reason, detail) = (DeathReason::Schedule, "the schedule has ended");
            let death = Death { reason, detail, attempts: 1, last: None, at_ms: now_ms };
            let letter = death.to_record(Arc::clone(&world.topics.dead_letters), &delivery, 1 << 20);
            self.producer.send(&letter).unwrap().await.unwrap();
            // Nothing stands there.
            (0, 1_000_000)
        };
        let about = |kind| Lifecycle {
            application_id: Some(self.application),
            event_id: Some(id.into()),
            event_type: Some("invoice.paid".into()),
            origin: Some(origin.to_string().into()),
            accepted_ms: Some(now_ms),
            ..Lifecycle::new(kind, now_ms)
        };
        let facts = EventFacts { matched: 1, payload_bytes: 9, ..EventFacts::default() };
        let dead = Lifecycle {
            subscription_id: Some(self.subscription),
            delivery_id: Some(delivery),
            record: Some(RecordPlace { partition: written.0, offset: written.1 }),
            attempt: Some(1),
            exchange: Some(Exchange { started_ms: now_ms, status: Some(500), ..Exchange::default() }),
            reason: Some("schedule".into()),
            ..about(Kind::DeadLettered)
        };
        for lifecycle in [Lifecycle { event: Some(facts), ..about(Kind::Matched) }, dead] {
            let value = String::from_utf8(lifecycle.encode().unwrap()).unwrap();
            self.write(&world.topics.attempts, value, Headers::default()).await;
        }
        delivery
    }

    async fn write(&self, topic: &Arc<str>, value: String, headers: Headers) -> (i32, i64) {
        let is_delivery = topic.ends_with("deliveries");
        let record = OutRecord {
            topic: Arc::clone(topic),
            partition: None,
            key: is_delivery.then(|| delivery::key(self.subscription)),
            value: Some(value.into()),
            headers,
        };
        let written = self.producer.send(&record).unwrap().await.unwrap();
        (written.partition, written.offset)
    }

    /// Waits until so many dead letters are open, and the log has all that was written: who sends again has to know what was erased.
    async fn open(&self, replica: &Replica, count: usize) {
        let path = format!("/dead_letters?limit=250&application_id={}", self.application);
        soon("the dead letters are in the log", async {
            loop {
                let (status, rows) = replica.get(&path).await;
                let (_, log) = replica.get("/log").await;
                let is_whole = log["whole_from"].is_null() && log["behind_ms"] == 0;
                if status == 200 && rows.as_array().unwrap().len() == count && is_whole {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// Waits until a job has ended; how it is then.
    async fn ended(&self, replica: &Replica, job: &Value) -> Value {
        let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
        soon("the job has ended", async {
            loop {
                let (status, job) = replica.get(&path).await;
                assert!(status == 200 || status == 503, "{job}");
                if status == 200 && !job["ended_at"].is_null() {
                    return job;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await
    }

    fn body(&self, fields: Value) -> Value {
        let mut body = json!({"application_id": self.application});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    }
}

/// All committed records of a topic, those of transactions that were answered and are not shown yet included.
async fn all(world: &World, topic: &Arc<str>) -> Vec<Record> {
    let offsets = kafka::Offsets::start(&world.connection).unwrap();
    let mut ends: BTreeMap<i32, i64> = offsets.ends(topic).await.unwrap();
    ends.retain(|_, end| *end > 0);
    let options = TailOptions {
        topic: topic.to_string(),
        partitions: None,
        from: From::Beginning,
        committed: true,
        eof: true,
        fetch_wait_ms: 20,
    };
    let mut tail = Tail::start(&world.connection, options).unwrap();
    let mut records = Vec::new();
    while !ends.is_empty() {
        let (partition, position) = match tail.next().await.unwrap() {
            TailEvent::Record { partition, record } => {
                let position = record.offset + 1;
                records.push(record);
                (partition, position)
            }
            TailEvent::Eof { partition, position } => (partition, position),
        };
        if ends.get(&partition).is_some_and(|end| position >= *end) {
            ends.remove(&partition);
        }
    }
    records
}

/// Deliveries of later generations, by the event.
async fn again(world: &World) -> BTreeMap<String, Vec<Delivery>> {
    let mut again: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    for record in all(world, &world.topics.deliveries).await {
        let delivery = Delivery::decode(&record).unwrap();
        if delivery.generation.0.is_some() {
            again.entry(delivery.event_id().to_owned()).or_default().push(delivery);
        }
    }
    again
}

/// Dead letters, several written at once.
async fn many_dead(world: &World, shop: &Shop, count: usize) {
    let names: Vec<String> = (0..count).map(|number| format!("evt_{number}")).collect();
    for some in names.chunks(50) {
        futures_util::future::join_all(some.iter().map(|name| shop.dead(world, name))).await;
    }
}

/// What a worker says at the end of deliveries.
async fn delivered(world: &World, shop: &Shop, all: impl Iterator<Item = &Delivery>) {
    for delivery in all {
        let lifecycle = Lifecycle::of_delivery(Kind::Delivered, kafka::clock::now_ms(), delivery);
        let value = String::from_utf8(lifecycle.encode().unwrap()).unwrap();
        shop.write(&world.topics.attempts, value, Headers::default()).await;
    }
}

/// Waits until a job is so.
async fn becomes(one: &Replica, path: &str, is_so: impl Fn(&Value) -> bool + Send + Sync) -> Value {
    soon("the job is so", async {
        loop {
            let (status, job) = one.get(path).await;
            if status == 200 && is_so(&job) {
                return job;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

async fn replica(world: &World, slot: &str, folder: &Path) -> Replica {
    world.replica_with(slot, super::log::at(&folder.join(slot))).await
}

/// Waits until the first of a job is written.
async fn begun(one: &Replica, path: &str) {
    soon("the first is written", async {
        while one.get(path).await.1["counts"]["written"] == 0 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_known_at_every_replica_as_soon_as_it_was_asked_for_at_one() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let (one, other) = (replica(&world, "one", folder.path()).await, replica(&world, "other", folder.path()).await);
    let shop = Shop::new(&world, &one).await;
    shop.open(&one, 0).await;
    for _ in 0..10 {
        let (status, job) = one.post("/dead_letters:redrive", shop.body(json!({"filter": {}}))).await;
        assert_eq!(status, 202, "{job}");
        let (status, found) = other.get(&format!("/jobs/{}", job["job_id"].as_str().unwrap())).await;
        assert_eq!((status, &found["job_id"]), (200, &job["job_id"]), "{found}");
        // It waits for no partition of `attempts` that was never written.
        assert_eq!(shop.ended(&one, &job).await["counts"]["written"], 0);
    }
    let ends = kafka::Offsets::start(&world.connection).unwrap().ends(&world.topics.attempts).await.unwrap();
    assert!(ends.values().any(|end| *end == 0), "{ends:?}");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_sent_again_itself_once_its_delivery_is_gone() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    let mut gone = Vec::new();
    for number in 0..3 {
        gone.push(shop.died(&world, &format!("evt_{number}"), false).await.to_string());
    }
    shop.dead(&world, "evt_3").await;
    shop.open(&one, 4).await;
    let attempt = delivery_log::attempt_id(gone[0].parse().unwrap(), 1);
    let (status, retry) = one.post(&format!("/request_attempts/{attempt}/retry"), shop.body(json!({}))).await;
    assert_eq!(status, 202, "{retry}");
    let asked = shop.body(json!({"dead_letter_ids": gone}));
    let (status, redrive) = one.post("/dead_letters:redrive", asked).await;
    assert_eq!(status, 202, "{redrive}");
    for (job, count) in [(&retry, 1), (&redrive, 3)] {
        let ended = shop.ended(&one, job).await;
        let counts = &ended["counts"];
        assert_eq!((&counts["written"], &counts["skipped"]), (&json!(count), &json!({})), "{ended}");
    }
    let again = again(&world).await;
    assert_eq!(again.keys().collect::<Vec<_>>(), ["evt_0", "evt_1", "evt_2"]);
    assert_eq!(again["evt_0"].len(), 2);
    assert!(again.iter().all(|(id, all)| all.iter().all(|it| it.payload == format!("\"{id}\""))));
    let redriven = &again["evt_1"][0];
    assert_eq!((redriven.made_by(), redriven.redrives()), (Some("redrive"), Some(1)));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_sent_again_once_each_through_hand_overs_and_overlapping_jobs() {
    const COUNT: usize = 120;
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    let mut ids = Vec::new();
    for number in 0..COUNT {
        ids.push(shop.dead(&world, &format!("evt_{number}")).await.to_string());
    }
    shop.open(&one, COUNT).await;
    // Three parts a second; another runner takes over in the middle, and goes on where the first one was.
    let asked = shop.body(json!({"filter": {}, "rate_per_second": 20}));
    let (status, first) = one.post("/dead_letters:redrive", asked).await;
    assert_eq!(status, 202, "{first}");
    let asked = shop.body(json!({"dead_letter_ids": ids, "rate_per_second": 1_000}));
    let (status, second) = one.post("/dead_letters:redrive", asked).await;
    assert_eq!(status, 202, "{second}");
    let path = format!("/jobs/{}", first["job_id"].as_str().unwrap());
    soon("the first part is written", async {
        while one.get(&path).await.1["counts"]["written"].as_u64().unwrap() < 20 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    one.stop().await;
    let two = replica(&world, "two", folder.path()).await;
    let first = shop.ended(&two, &first).await;
    let second = shop.ended(&two, &second).await;
    assert_eq!((&first["state"], &first["counts"]["written"]), (&json!("done"), &json!(COUNT)), "{first}");
    let left_out = (&second["counts"]["written"], &second["counts"]["skipped"]["not_open"]);
    assert_eq!(left_out, (&json!(0), &json!(COUNT)), "{second}");
    let sent = again(&world).await;
    assert_eq!(sent.len(), COUNT);
    for (event, deliveries) in &sent {
        let [delivery] = &deliveries[..] else { panic!("{event} was sent {} times", deliveries.len()) };
        assert_eq!((delivery.made_by(), delivery.redrives(), delivery.hop.attempt), (Some("redrive"), Some(1), 1));
        assert_eq!(delivery.payload, format!("\"{event}\""));
    }
    shop.open(&two, 0).await;
    let (_, redriven) = two.get(&format!("/dead_letters?state=redriven&application_id={}", shop.application)).await;
    assert!(!redriven.as_array().unwrap().is_empty());
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_is_sent_again_as_often_as_it_is_asked_for_and_no_more() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    shop.dead(&world, "evt_1").await;
    shop.open(&one, 1).await;
    let query = format!("application_id={}", shop.application);
    let (_, attempts) = one.get(&format!("/request_attempts?{query}")).await;
    let attempt = attempts[0]["request_attempt_id"].as_str().unwrap();
    let (status, retry) = one.post(&format!("/request_attempts/{attempt}/retry"), shop.body(json!({}))).await;
    assert_eq!(status, 202, "{retry}");
    assert_eq!(shop.ended(&one, &retry).await["counts"]["written"], 1);
    let replay = "/events/evt_1/replay";
    for body in
        [json!({}), json!({"replay_id": "mine"}), json!({"replay_id": "mine"}), json!({"subscription_id": "mine"})]
    {
        let (status, problem) = one.post(replay, shop.body(body)).await;
        assert_eq!(status, 204, "{problem}");
    }
    let refused = one.post(replay, shop.body(json!({"subscription_id": "yours"}))).await;
    assert_eq!(refused.0, 404, "{}", refused.1);
    let reused = one.post(replay, shop.body(json!({"replay_id": "mine", "subscription_id": "mine"}))).await;
    assert_eq!(reused.0, 409, "{}", reused.1);
    let (_, jobs) = one.get(&format!("/jobs?{query}")).await;
    assert_eq!(jobs.as_array().unwrap().len(), 4, "{jobs}");
    for job in jobs.as_array().unwrap() {
        assert_eq!(shop.ended(&one, job).await["counts"]["written"], 1);
    }
    let sent = again(&world).await.remove("evt_1").unwrap();
    let mut made: Vec<(&str, bool)> = sent.iter().map(|it| (it.made_by().unwrap(), it.is_once())).collect();
    made.sort_unstable();
    assert_eq!(made, [("replay", false), ("replay", false), ("replay", false), ("retry", true)]);
    one.stop().await;
    // Whoever comes later knows them all, and the same name is still the same replay.
    let two = replica(&world, "one", folder.path()).await;
    let jobs = format!("/jobs?{query}");
    soon("the later one has read them", async { while two.get(&jobs).await.0 == 503 {} }).await;
    let (status, later) = two.get(&jobs).await;
    assert_eq!((status, later.as_array().unwrap().len()), (200, 4), "{later}");
    shop.open(&two, 1).await;
    assert_eq!(two.post(replay, shop.body(json!({"replay_id": "mine"}))).await.0, 204);
    assert_eq!(two.get(&jobs).await.1.as_array().unwrap().len(), 4);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_not_sent_and_what_is_cancelled_goes_no_further() {
    /// At one a second far more than a busy machine lets through before it cancels.
    const LEFT: usize = 60;
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    for number in 0..3 + LEFT {
        shop.dead(&world, &format!("evt_{number}")).await;
    }
    shop.open(&one, 3 + LEFT).await;
    let (_, rows) = one.get(&format!("/dead_letters?limit=3&application_id={}", shop.application)).await;
    let ids: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["dead_letter_id"]).collect();
    let discard = shop.body(json!({"dead_letter_ids": ids, "reason": "nobody wants them"}));
    let (status, job) = one.post("/dead_letters:discard", discard).await;
    assert_eq!(status, 202, "{job}");
    assert_eq!(shop.ended(&one, &job).await["counts"]["written"], 3);
    shop.open(&one, LEFT).await;
    // One a second: cancelled after the first.
    let (status, job) = one.post("/dead_letters:redrive", shop.body(json!({"filter": {}, "rate_per_second": 1}))).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    begun(&one, &path).await;
    let (status, cancelled) = one.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    let ended = shop.ended(&one, &job).await;
    assert_eq!(ended["state"], "cancelled");
    assert_eq!(one.post(&format!("{path}/cancel"), json!({})).await.1["code"], "already_ended");
    let sent = again(&world).await.len() as u64;
    assert!((1..LEFT as u64).contains(&sent), "{sent} of {LEFT} were sent");
    let told = all(&world, &world.topics.attempts).await;
    let told: Vec<Kind> =
        told.iter().filter_map(|record| Kind::peek(record.value.as_deref().unwrap_or_default())).collect();
    let count = |kind| told.iter().filter(|it| **it == kind).count() as u64;
    assert_eq!((count(Kind::Discarded), count(Kind::Redriven)), (3, sent));
    let (_, audit) = one.get("/audit?limit=3").await;
    let actions: Vec<&str> = audit.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["job.cancel", "job.redrive", "job.discard"]);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_goes_on_where_it_was_when_another_runner_has_it() {
    /// At one a second more than a busy machine lets through before it pauses.
    const COUNT: u64 = 15;
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    for number in 0..COUNT {
        shop.dead(&world, &format!("evt_{number}")).await;
    }
    shop.open(&one, usize::try_from(COUNT).unwrap()).await;
    let (status, job) = one.post("/dead_letters:redrive", shop.body(json!({"filter": {}, "rate_per_second": 1}))).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    begun(&one, &path).await;
    let (status, paused) = one.post(&format!("{path}/pause"), json!({})).await;
    assert_eq!((status, &paused["state"]), (200, &json!("paused")), "{paused}");
    // A job that comes meanwhile does not wait for it.
    let ids = json!([shop.body(json!({}))["application_id"]]);
    let refused = one.post("/dead_letters:redrive", shop.body(json!({"dead_letter_ids": ids}))).await;
    assert_eq!(refused.1["code"], "not_open", "it is no dead letter");
    let (status, replay) = one.post("/replays", shop.body(json!({"filter": {"event_ids": ["evt_5"]}}))).await;
    assert_eq!(status, 202, "{replay}");
    assert_eq!(shop.ended(&one, &replay).await["counts"]["written"], 1);
    one.stop().await;
    let two = replica(&world, "two", folder.path()).await;
    soon("the second knows it", async {
        while two.get(&path).await.0 != 200 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let (_, still) = two.get(&path).await;
    assert_eq!(still["state"], "paused", "{still}");
    assert!(still["counts"]["written"].as_u64().unwrap() < COUNT, "{still}");
    let (status, resumed) = two.post(&format!("{path}/resume"), json!({})).await;
    assert_eq!((status, &resumed["state"]), (200, &json!("running")), "{resumed}");
    assert_eq!(shop.ended(&two, &job).await["counts"]["written"], COUNT);
    let mut made: Vec<(String, String)> = Vec::new();
    for (event, deliveries) in again(&world).await {
        made.extend(deliveries.iter().map(|it| (event.clone(), it.made_by().unwrap().to_owned())));
    }
    made.sort();
    let mut expected: Vec<(String, String)> =
        (0..COUNT).map(|number| (format!("evt_{number}"), "redrive".to_owned())).collect();
    expected.push(("evt_5".to_owned(), "replay".to_owned()));
    expected.sort();
    assert_eq!(made, expected);
    assert_eq!(two.post(&format!("{path}/pause"), json!({})).await.1["code"], "already_ended");
    two.stop().await;
}

/// Each change is asked of another replica than the one before it, which may not have read that yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_pauses_another_one_resumes() {
    /// At one a second more than the test takes.
    const COUNT: usize = 60;
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let (one, other) = (replica(&world, "one", folder.path()).await, replica(&world, "other", folder.path()).await);
    let shop = Shop::new(&world, &one).await;
    for number in 0..COUNT {
        shop.dead(&world, &format!("evt_{number}")).await;
    }
    shop.open(&one, COUNT).await;
    let (status, job) = one.post("/dead_letters:redrive", shop.body(json!({"filter": {}, "rate_per_second": 1}))).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    soon("the other one knows it", async {
        while other.get(&path).await.0 != 200 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    begun(&other, &path).await;
    for round in 0..20 {
        let (status, paused) = one.post(&format!("{path}/pause"), json!({})).await;
        assert_eq!((status, &paused["state"]), (200, &json!("paused")), "{round}: {paused}");
        let (status, resumed) = other.post(&format!("{path}/resume"), json!({})).await;
        assert_eq!((status, &resumed["state"]), (200, &json!("running")), "{round}: {resumed}");
        soon("it goes on", async {
            while one.get(&path).await.1["state"] != "running" {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }
    assert_eq!(other.post(&format!("{path}/cancel"), json!({})).await.0, 200);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_a_filter_is_sent_again_once_as_it_was_said_before() {
    const COUNT: u64 = 30;
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    for number in 0..COUNT {
        shop.dead(&world, &format!("evt_{number}")).await;
    }
    shop.open(&one, usize::try_from(COUNT).unwrap()).await;
    // To the same subscription, out of `deliveries`; to those that match, out of `events`.
    for filter in [json!({"outcome": ["failed"]}), json!({"from": "2020-01-01T00:00:00Z"})] {
        let body = shop.body(json!({"filter": filter, "rate_per_second": 20}));
        let (status, estimate) = one.post("/replays?dry_run=true", body.clone()).await;
        assert_eq!(status, 200, "{estimate}");
        let told = ["events", "deliveries", "bytes", "expired"].map(|name| estimate[name].as_u64().unwrap());
        assert_eq!((told, &estimate["is_estimate"]), ([COUNT, COUNT, 9 * COUNT, 0], &json!(false)));
        let (status, job) = one.post("/replays", body).await;
        assert_eq!(status, 202, "{job}");
        let ended = shop.ended(&one, &job).await;
        assert_eq!((&ended["state"], &ended["counts"]["written"]), (&json!("done"), &json!(COUNT)), "{ended}");
    }
    let sent = again(&world).await;
    assert_eq!(sent.len() as u64, COUNT);
    for (event, deliveries) in &sent {
        let generations: std::collections::BTreeSet<_> = deliveries.iter().map(|it| it.generation.0).collect();
        assert_eq!((deliveries.len(), generations.len()), (2, 2), "{event}");
        assert!(deliveries.iter().all(|it| it.made_by() == Some("replay") && it.payload == format!("\"{event}\"")));
    }
    let nothing = shop.body(json!({"filter": {"outcome": ["unmatched"]}}));
    let (_, job) = one.post("/replays", nothing).await;
    let ended = shop.ended(&one, &job).await;
    assert_eq!((&ended["state"], &ended["counts"]["found"]), (&json!("done"), &json!(0)), "nothing fits");
    let letter =
        json!([one.get(&format!("/dead_letters?application_id={}", shop.application)).await.1[0]["dead_letter_id"]]);
    let redrive = shop.body(json!({"dead_letter_ids": letter}));
    let (status, estimate) = one.post("/dead_letters:redrive?dry_run=true", redrive).await;
    assert_eq!((status, &estimate["deliveries"], &estimate["expired"]), (200, &json!(1), &json!(0)), "{estimate}");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_topic_that_is_gone_is_expired_and_holds_up_no_other() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    let origin = Origin { topic: format!("{}.gone", world.topics.events), partition: 0, offset: 4 };
    let facts = EventFacts { matched: 1, payload_bytes: 9, ..EventFacts::default() };
    let now_ms = kafka::clock::now_ms();
    let gone = Lifecycle {
        application_id: Some(shop.application),
        event_id: Some("evt_gone".into()),
        event_type: Some("invoice.paid".into()),
        origin: Some(origin.to_string().into()),
        accepted_ms: Some(now_ms),
        event: Some(facts),
        ..Lifecycle::new(Kind::Matched, now_ms)
    };
    let value = String::from_utf8(gone.encode().unwrap()).unwrap();
    shop.write(&world.topics.attempts, value, Headers::default()).await;
    shop.dead(&world, "evt_here").await;
    shop.open(&one, 1).await;
    let body = shop.body(json!({"filter": {"from": "2020-01-01T00:00:00Z"}}));
    let (status, job) = one.post("/replays", body).await;
    assert_eq!(status, 202, "{job}");
    let ended = shop.ended(&one, &job).await;
    assert_eq!((&ended["state"], &ended["counts"]["skipped"]), (&json!("done"), &json!({"expired": 1})), "{ended}");
    assert_eq!(again(&world).await.into_keys().collect::<Vec<_>>(), ["evt_here"]);
    one.stop().await;
}

/// No worker ends what is written, until one does.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_deliveries_do_not_end_stops_at_the_bound_and_goes_on_as_they_do() {
    const BOUND: usize = 500;
    const COUNT: usize = 540;
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    many_dead(&world, &shop, COUNT).await;
    // As many as a page has, and the log is whole.
    shop.open(&one, 250).await;
    let asked = shop.body(json!({"filter": {"subscription_id": shop.subscription}, "rate_per_second": 125}));
    let (status, job) = one.post("/dead_letters:redrive", asked).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    let waits = becomes(&one, &path, |job| job["state"] == "waiting").await;
    let why = format!(
        "{BOUND} of its deliveries to subscription {} are under way: it goes on as they end",
        shop.subscription
    );
    assert_eq!((&waits["waiting_for"], &waits["counts"]["written"]), (&json!(why), &json!(BOUND)), "{waits}");
    let sent = again(&world).await;
    assert_eq!(sent.len(), BOUND);
    let first: Vec<&Delivery> = sent.values().flatten().take(30).collect();
    delivered(&world, &shop, first.iter().copied()).await;
    becomes(&one, &path, |job| job["counts"]["written"] == BOUND + 30).await;
    // Another runner, with a log that it makes anew, counts the same.
    one.stop().await;
    let two = replica(&world, "two", folder.path()).await;
    delivered(&world, &shop, sent.values().flatten().skip(30).take(5)).await;
    becomes(&two, &path, |job| job["counts"]["written"] == BOUND + 35).await;
    delivered(&world, &shop, sent.values().flatten().skip(35)).await;
    let ended = shop.ended(&two, &job).await;
    assert_eq!((&ended["state"], &ended["counts"]["written"]), (&json!("done"), &json!(COUNT)), "{ended}");
    assert_eq!(again(&world).await.len(), COUNT);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_told_of_a_job_that_is_cancelled_once_something_of_it_was_written() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let one = replica(&world, "one", folder.path()).await;
    let shop = Shop::new(&world, &one).await;
    many_dead(&world, &shop, 60).await;
    shop.open(&one, 60).await;
    let asked = shop.body(json!({"filter": {"outcome": ["failed"]}, "rate_per_second": 1}));
    let (status, begun_one) = one.post("/replays", asked.clone()).await;
    assert_eq!(status, 202, "{begun_one}");
    begun(&one, &format!("/jobs/{}", begun_one["job_id"].as_str().unwrap())).await;
    // It waits for the first, and has written nothing.
    let (status, queued) = one.post("/replays", asked).await;
    assert_eq!(status, 202, "{queued}");
    for job in [&queued, &begun_one] {
        let cancel = format!("/jobs/{}/cancel", job["job_id"].as_str().unwrap());
        assert_eq!(one.post(&cancel, json!({})).await.0, 200);
        assert_eq!(shop.ended(&one, job).await["state"], "cancelled");
    }
    // What is queued of a redrive is sent: its letters are redriven, and would not be open again.
    let letters = shop.body(json!({"filter": {}, "rate_per_second": 1}));
    let (status, redrive) = one.post("/dead_letters:redrive", letters).await;
    assert_eq!(status, 202, "{redrive}");
    let path = format!("/jobs/{}", redrive["job_id"].as_str().unwrap());
    begun(&one, &path).await;
    assert_eq!(one.post(&format!("{path}/cancel"), json!({})).await.0, 200);
    assert_eq!(shop.ended(&one, &redrive).await["state"], "cancelled");
    let key = format!("cancelled_job/{}/{}", shop.application, begun_one["job_id"].as_str().unwrap());
    let control = all(&world, &world.topics.control).await;
    let keys = control.iter().filter_map(|record| String::from_utf8(record.key.as_deref()?.to_vec()).ok());
    let told: Vec<String> = keys.filter(|key| key.starts_with("cancelled_job/")).collect();
    assert_eq!(told, [key]);
    let job = begun_one["job_id"].as_str().unwrap().parse().unwrap();
    assert!(one.catalog.read().cancelled_job(shop.application, job).is_some());
    one.stop().await;
}
