#![allow(warnings, clippy::all)]
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use catalog::Catalog;
use chassis::health::Health;
use chassis::shutdown::Shutdown;
use kafka::*;
use schemas::control::*;
use schemas::event_type::EventTypePattern;
use schemas::ids::*;
use schemas::record::*;
use schemas::topics::{TopicSettings, Topics};
use schemas::header;
use uuid::Uuid;

fn objects() -> Vec<ControlObject> {
    let app = ApplicationId(Uuid::from_u128(1));
    vec![
        ControlObject::Application(Application { application_id: app, organization_id: OrganizationId(Uuid::from_u128(9)), name: "shop".into(), created_ms: 0, uid: Some("shop".into()), unknown_event_types: UnknownEventTypes::Accept }),
        ControlObject::Subscription(Box::new(Subscription {
            subscription_id: SubscriptionId(Uuid::from_u128(11)), application_id: app, uid: None, is_enabled: true, disabled_reason: None, is_paused: false,
            event_types: vec![EventTypePattern::parse("invoice.paid").unwrap()], labels: BTreeMap::new(), description: None, metadata: BTreeMap::new(),
            target: Target { method: "POST".into(), url: "https://example.com/".into(), headers: BTreeMap::new() }, secrets: vec![], signing: vec![], body: BodyForm::Raw,
            api_version: None, retry: None, timeout_ms: None, concurrency: None, rate_per_second: None, max_age_ms: None, dedicated_workers: vec![], cancel_before: None, created_ms: 0, updated_ms: 0 })),
    ]
}

fn event(topics: &Topics, n: usize) -> OutRecord {
    let id = format!("evt_{n}");
    let headers: Headers = [(header::CE_SPECVERSION, "1.0"), (header::CE_ID, id.as_str()), (header::CE_TYPE, "invoice.paid"), (header::CE_SOURCE, "/billing"), (header::CE_TIME, "2026-11-22T00:00:00Z"), (header::CONTENT_TYPE, "application/json"), (header::APPLICATION, "shop")].into_iter().collect();
    OutRecord { topic: Arc::clone(&topics.events), partition: None, key: Some(id.into()), value: Some(vec![b'x'; 1000].into()), headers }
}

async fn produce(connection: &Connection, topics: &Topics, range: std::ops::Range<usize>) -> Result<()> {
    let producer = Producer::start(connection, ProducerOptions { message_timeout: Duration::from_secs(60), ..ProducerOptions::new("smoke") })?;
    let mut acks = Vec::new();
    for n in range {
        loop {
            match producer.send(&event(topics, n)) { Ok(ack) => { acks.push(ack); break } Err(e) => { tokio::time::sleep(Duration::from_millis(5)).await; } }
        }
    }
    for ack in acks { ack.await?; }
    Ok(())
}

struct Count { counts: HashMap<String, usize>, kinds: HashMap<String, usize>, promoted: Vec<(i64, i64)> }

async fn count(connection: &Connection, topic: &Arc<str>) -> Result<(usize, HashMap<String, usize>)> {
    let mut tail = Tail::start(connection, TailOptions { topic: topic.to_string(), partitions: None, from: From::Beginning, committed: true, eof: true, fetch_wait_ms: 20 })?;
    let offsets = Offsets::start(connection)?;
    let n = offsets.partitions(topic).await?.unwrap();
    let mut ends = BTreeMap::new();
    for p in 0..n { let e = offsets.end(&TopicPartition::new(Arc::clone(topic), p)).await?; if e > 0 { ends.insert(p, e); } }
    let mut total = 0; let mut kinds = HashMap::new();
    while !ends.is_empty() {
        let (p, pos) = match tail.next().await? {
            TailEvent::Record { partition, record } => {
                total += 1;
                if &**topic == "hookbus.attempts" {
                    let l = schemas::attempt::Lifecycle::decode(record.value.as_ref().unwrap())?;
                    *kinds.entry(l.kind.as_str().to_owned()).or_default() += 1;
                }
                (partition, record.offset + 1)
            }
            TailEvent::Eof { partition, position } => (partition, position),
        };
        if ends.get(&p).is_some_and(|e| pos >= *e) { ends.remove(&p); }
    }
    Ok((total, kinds))
}

fn start(connection: &Connection, topics: &Topics, config: &chassis::config::Config, registry: &chassis::metrics::Registry, shutdown: &Shutdown) -> tokio::task::JoinHandle<Result<(), fanout_worker::Error>> {
    let vault = Arc::new(vault::Vault::new(&[vault::EncryptionKey::new("k1", [1; 32])], &[2; 32]).unwrap());
    let deps = fanout_worker::Deps { connection: connection.clone(), kafka: config.kafka.clone(), topics: topics.clone(), sources: vec![], catalog: Catalog::of(objects(), vault), registry: registry.clone(), health: Health::new(), canary: None };
    tokio::spawn(fanout_worker::run(config.fanout.clone(), deps, shutdown.clone()))
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let dir = Path::new("/tmp/smoke");
    let _ = std::fs::remove_dir_all(dir.join("data"));
    std::fs::create_dir_all(dir)?;
    let jars = kafka_dev::prepare(&dir.join("jars"), |line| eprintln!("{line}")).await?;
    let broker = kafka_dev::Broker::start(kafka_dev::BrokerOptions::new(jars, dir.join("data"), dir.join("broker.log"))).await?;
    let connection = Connection::new(&broker.bootstrap(), &BTreeMap::new())?;
    let mut settings = TopicSettings::default();
    settings.tiers.insert(0, ("1s".into(), Duration::from_secs(1)));
    let topics = settings.topics();
    println!("{}", kafka::topics::ensure(&connection, &settings.specs()).await?);
    let env = vec![("HOOKBUS__KAFKA__SLOT".to_owned(), "smoke".to_owned()), ("HOOKBUS__KAFKA__BROKERS".to_owned(), broker.bootstrap()), ("HOOKBUS__RETRY__TIERS".to_owned(), "1s 5s 20s 2m 10m 1h 4h 12h".to_owned())];
    let config = chassis::config::load(None, env.into_iter())?.config;
    let total: usize = std::env::args().nth(1).map_or(50_000, |n| n.parse().unwrap());

    let t = Instant::now();
    produce(&connection, &topics, 0..total).await?;
    println!("produced {total} in {:?}", t.elapsed());
    let shutdown = Shutdown::new();
    let registry = chassis::metrics::Registry::new();
    let t = Instant::now();
    let run = start(&connection, &topics, &config, &registry, &shutdown);
    let done = |registry: &chassis::metrics::Registry, name: &str| registry.gather().iter().find(|f| f.get_name() == name).map_or(0.0, |f| f.get_metric()[0].get_counter().get_value()) as usize;
    let mut first = None;
    loop {
        let n = done(&registry, "hookbus_fanout_accepted_total");
        if n > 0 && first.is_none() { first = Some((Instant::now(), n)); }
        if n >= total { break }
        if run.is_finished() { println!("{:?}", run.await); return Ok(()); }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (at, n) = first.unwrap();
    println!("fan-out: all {total} after {:?}; {:.0} events/s once running", t.elapsed(), (total - n) as f64 / at.elapsed().as_secs_f64());
    println!("deliveries {:?} attempts {:?}", count(&connection, &topics.deliveries).await?, count(&connection, &topics.attempts).await?);
    // repeats
    produce(&connection, &topics, 0..1000).await?;
    while done(&registry, "hookbus_fanout_repeats_total") < 1000 { tokio::time::sleep(Duration::from_millis(5)).await; }
    println!("1000 repeats dropped");
    // kill and restart
    run.abort();
    produce(&connection, &topics, 500..1500).await?;
    let registry2 = chassis::metrics::Registry::new();
    let t = Instant::now();
    let run2 = start(&connection, &topics, &config, &registry2, &shutdown);
    while done(&registry2, "hookbus_fanout_repeats_total") < 1000 { tokio::time::sleep(Duration::from_millis(50)).await; if run2.is_finished() { println!("{:?}", run2.await); return Ok(()); } }
    println!("after an abort 1000 repeats known from `seen`, {:?}; accepted {}", t.elapsed(), done(&registry2, "hookbus_fanout_accepted_total"));
    // latency
    let mut lat = Vec::new();
    let mut tail = Tail::start(&connection, TailOptions { topic: topics.deliveries.to_string(), partitions: None, from: From::End, committed: true, eof: false, fetch_wait_ms: 500 })?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let producer = Producer::start(&connection, ProducerOptions { linger: Duration::ZERO, ..ProducerOptions::new("lat") })?;
    for n in 0..200 { let t = Instant::now(); producer.send(&event(&topics, 1_000_000 + n))?.await?; loop { if let TailEvent::Record { .. } = tail.next().await? { break } } lat.push(t.elapsed()); tokio::time::sleep(Duration::from_millis(10)).await; }
    lat.sort();
    println!("event -> deliveries one by one: p50 {:?} p99 {:?}", lat[100], lat[197]);
    // text of metrics
    for f in registry2.gather() { if f.get_name().contains("lag") || f.get_name().contains("transactions") || f.get_name().contains("partitions") { println!("{} {:?}", f.get_name(), f.get_metric().iter().map(|m| (m.get_gauge().get_value(), m.get_counter().get_value())).collect::<Vec<_>>()); } }
    // retry scheduler
    let registry3 = chassis::metrics::Registry::new();
    let deps = retry_scheduler::Deps { connection: connection.clone(), kafka: config.kafka.clone(), topics: topics.clone(), registry: registry3.clone(), health: Health::new(), canary: None };
    let run3 = tokio::spawn(retry_scheduler::run(config.retry.clone(), deps, shutdown.clone()));
    let now = kafka::clock::now_ms();
    let mut sent = 0;
    let mut acks = vec![];
    for n in 0..2000_i64 {
        let wait = 1_000 + (n * 7) % 14_000;
        let tier = if wait >= 5_000 { "5s" } else { "1s" };
        let mut h = Headers::builder(4, 100);
        h.push_display(header::SUBSCRIPTION, Uuid::from_u128(n as u128 % 7)).push_i64(header::DUE, now + wait).push_i64("n", n);
        acks.push(producer.send(&OutRecord { topic: topics.retry(tier), partition: None, key: None, value: Some("x".into()), headers: h.build() })?);
        sent += 1;
    }
    for a in acks { a.await?; }
    let mut late = vec![]; let mut early = 0; let mut got = std::collections::HashSet::new();
    let t = Instant::now();
    while got.len() < sent && t.elapsed() < Duration::from_secs(40) {
        if run3.is_finished() { println!("{:?}", run3.await); return Ok(()); }
        let Ok(Ok(TailEvent::Record { record, .. })) = tokio::time::timeout(Duration::from_secs(5), tail.next()).await else { continue };
        let due: i64 = record.headers.text(header::DUE).unwrap().parse()?;
        got.insert(record.headers.text("n").unwrap().to_owned());
        let diff = record.timestamp_ms - due;
        late.push(diff);
        if diff < -1000 { early += 1 }
    }
    late.sort();
    println!("retry: {} of {sent}, {} records; promoted before due by more than the smallest tier: {early}; lateness p1 {} p50 {} p99 {} max {}", got.len(), late.len(), late[late.len()/100], late[late.len()/2], late[late.len()*99/100], late[late.len()-1]);
    let t = Instant::now();
    shutdown.request();
    println!("{:?} {:?} in {:?}", run2.await?, run3.await?, t.elapsed());
    println!("deliveries {:?} attempts {:?} rejected {:?}", count(&connection, &topics.deliveries).await?.0, count(&connection, &topics.attempts).await?, count(&connection, &topics.rejected).await?.0);
    broker.stop().await?;
    Ok(())
}
