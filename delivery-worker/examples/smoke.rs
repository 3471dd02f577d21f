//! Temporary.
#![allow(clippy::all, clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "temporary")]
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use catalog::Catalog;
use chassis::config::Config;
use chassis::health::Health;
use chassis::shutdown::Shutdown;
use chassis::tasks;
use delivery_worker::{Deps, run};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kafka_dev::{Broker, BrokerOptions, prepare};
use schemas::control::*;
use schemas::delivery::{NewDelivery, key};
use schemas::identity::{delivery_id, gateway_source};
use schemas::ids::*;
use schemas::record::{Headers, OutRecord};
use schemas::topics::TopicSettings;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

const APP: ApplicationId = ApplicationId(Uuid::from_u128(0xa));

fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
/// CPU of the threads whose names begin so.
fn cpu_by_thread() -> BTreeMap<String, f64> {
    let mut map = BTreeMap::new();
    for t in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(s) = std::fs::read_to_string(t.path().join("stat")) else { continue };
        let (name, rest) = s.rsplit_once(')').unwrap();
        let name = name.split_once('(').unwrap().1.to_owned();
        let f: Vec<&str> = rest.split_whitespace().collect();
        *map.entry(name).or_default() += (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0;
    }
    map
}


fn main() {
    let count: usize = 100_000;
    // The receiver on its own thread and runtime, so that its CPU can be told apart.
    let (tx, rx) = std::sync::mpsc::sync_channel(1);
    let got = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&got);
    std::thread::Builder::new().name("receiver".into()).spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(async move {
            let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tx.send(l.local_addr().unwrap()).unwrap();
            loop {
                let (s, _) = l.accept().await.unwrap();
                s.set_nodelay(true).unwrap();
                let counted = Arc::clone(&counted);
                drop(tasks::spawn("c", async move {
                    let svc = service_fn(move |r: hyper::Request<hyper::body::Incoming>| {
                        let counted = Arc::clone(&counted);
                        async move {
                            let path = r.uri().path().to_owned();
                            let _ = r.into_body().collect().await;
                            if path == "/fail" { return Ok::<_, std::convert::Infallible>(hyper::Response::builder().status(500).body(Full::new(Bytes::new())).unwrap()); }
                            counted.fetch_add(1, Ordering::Relaxed);
                            Ok::<_, std::convert::Infallible>(hyper::Response::builder().status(204).body(Full::new(Bytes::new())).unwrap())
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(s), svc).await;
                }));
            }
        });
    }).unwrap();
    let address = rx.recv().unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("worker").enable_all().build().unwrap();
    rt.block_on(async move {
        let folder = tempfile::tempdir().unwrap();
        let jars = prepare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../var/cache"), |_| {}).await.unwrap();
        let mut broker = Broker::start(BrokerOptions::new(jars, folder.path().join("data"), folder.path().join("log"))).await.unwrap();
        let brokers = format!("127.0.0.1:{}", broker.port());
        let connection = kafka::Connection::new(&brokers, &BTreeMap::new()).unwrap();
        let settings = TopicSettings::default();
        kafka::topics::ensure(&connection, &settings.specs()).await.unwrap();
        let topics = settings.topics();
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("t", [7; 32])], &[9; 32]).unwrap());
        let mut objects = vec![ControlObject::Application(Application { application_id: APP, organization_id: OrganizationId(Uuid::from_u128(1)), name: "x".into(), created_ms: 0, uid: None, unknown_event_types: Default::default() })];
        for n in 0..5u128 {
            let id = SubscriptionId(Uuid::from_u128(0x5000 + n));
            let context = ControlKey::Subscription(APP, id).to_string();
            let sealed: Sealed = serde_json::from_value(serde_json::to_value(vault.seal(&context, b"3b0b1bdc-1a26-4f5c-9a0f-0d5f7d0d7a11").unwrap()).unwrap()).unwrap();
            objects.push(ControlObject::Subscription(Box::new(Subscription {
                subscription_id: id, application_id: APP, uid: None, is_enabled: true, disabled_reason: None, is_paused: false,
                event_types: vec![], labels: BTreeMap::new(), description: None, metadata: BTreeMap::new(),
                target: Target { method: "POST".into(), url: format!("http://{address}/{}", if n == 4 { "fail" } else { "ok" }), headers: BTreeMap::new() },
                secrets: vec![SigningSecret { sealed, expires_ms: None }],
                signing: vec![SigningScheme::Standard, SigningScheme::Hook0], body: BodyForm::Raw, api_version: None, retry: None, timeout_ms: None,
                concurrency: None, rate_per_second: None, max_age_ms: None, dedicated_workers: vec![], cancel_before: None, created_ms: 0, updated_ms: 0,
            })));
        }
        let catalog = Catalog::of(objects, vault);
        let producer = kafka::Producer::start(&connection, kafka::ProducerOptions { client_id: "t".into(), linger: Duration::from_millis(5), message_timeout: Duration::from_secs(30), queue_bytes: 1 << 30, message_max_bytes: 1_000_000 }).unwrap();
        let source = gateway_source(APP);
        let payload = Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(1000)));
        let send = |number: usize, sub: u128| {
            let id = format!("evt_{number}");
            let inbound: Headers = [("ce_specversion", "1.0"), ("ce_id", id.as_str()), ("ce_source", source.as_str()), ("ce_type", "invoice.paid"), ("ce_time", "2026-11-22T01:02:03Z"), ("content-type", "application/json")].into_iter().collect();
            let subscription = SubscriptionId(Uuid::from_u128(0x5000 + sub));
            let new = NewDelivery { id: delivery_id(APP, &source, &id, subscription, Generation::default()), subscription, generation: Generation::default(), accepted_ms: kafka::clock::now_ms(), deadline_ms: i64::MAX, control_offset: 0 };
            let record = OutRecord { topic: Arc::clone(&topics.deliveries), partition: None, key: Some(key(subscription)), value: Some(payload.clone()), headers: new.encode(&inbound, APP, "hookbus.events/0/7") };
            loop { match producer.send(&record) { Ok(a) => break a, Err(_) => std::thread::yield_now() } }
        };
        for n in 0..count { drop(send(n, (n % 4) as u128)); }
        producer.flush(Duration::from_secs(60)).await.unwrap();
        let mut config = Config::for_tests();
        config.delivery.allow_http = true;
        config.delivery.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
        let registry = prometheus::Registry::new();
        let shutdown = Shutdown::new();
        let deps = Deps { connection: connection.clone(), kafka: config.kafka.clone(), topics: topics.clone(), catalog, registry: registry.clone(), health: Health::new(), grace: Duration::from_secs(10), canary: None };
        let before = cpu_by_thread();
        let begin = Instant::now();
        let worker = tasks::spawn("delivery", run(config.delivery.clone(), deps, shutdown.clone()));
        let mut last = 0;
        let mut first_at = None;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = got.load(Ordering::Relaxed);
            if now > 0 && first_at.is_none() { first_at = Some(begin.elapsed()); println!("first after {:?}", begin.elapsed()); }
            if now != last && begin.elapsed().as_millis() % 1000 < 200 { println!("{:?} {now}", begin.elapsed()); }
            last = now;
            if now >= count { break; }
            if worker.is_finished() || begin.elapsed() > Duration::from_secs(90) { println!("STUCK at {now}"); break; }
        }
        let took = begin.elapsed() - first_at.unwrap_or_default();
        let after = cpu_by_thread();
        println!("{} in {took:?}; process cpu {:.2}", got.load(Ordering::Relaxed), cpu());
        for (name, seconds) in &after { println!("  {name}: {:.2}", seconds - before.get(name).unwrap_or(&0.0)); }
        // Some that fail.
        for n in 0..50 { drop(send(1_000_000 + n, 4)); }
        tokio::time::sleep(Duration::from_secs(3)).await;
        shutdown.request();
        let stop = Instant::now();
        println!("ended {:?} after {:?}", worker.await.unwrap(), stop.elapsed());
        println!("received {}", got.load(Ordering::Relaxed));
        use prometheus::Encoder;
        let mut out = Vec::new();
        prometheus::TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
        for line in String::from_utf8(out).unwrap().lines().filter(|l| !l.starts_with('#') && !l.contains("_bucket")) { println!("{line}"); }
        broker.stop().await.unwrap();
    });
}
