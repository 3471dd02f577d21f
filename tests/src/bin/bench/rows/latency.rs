//! How long an event takes at 200 a second: sent to the gateway, arrived at the endpoint, on one clock.
//!
//! The bare chain is one plain hop and one transactional one: producer, consume-transact-produce, reader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use kafka::clock::now_ms;
use kafka::{From, Producer, ProducerOptions, Tail, TailEvent, TailOptions};
use schemas::record::{Headers, OutRecord};
use testkit::Endpoint;
use testkit::http::Http;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::Scale;
use crate::meter::Compilers;
use crate::stage::{self, Plan, SESSION_TIMEOUT, Stage};
use crate::table::{self, Aim, Table};
use crate::workload;

const PER_SECOND: u32 = 200;
const COUNT: u32 = 3_000;
/// At the beginning nothing is warm: so many events go first, and more for as long as the broker compiles ...
const WARM_UP: u32 = 800;
/// ... looked at once in so many events ...
const LOOK: u32 = 400;
/// ... but not for ever.
const LONGEST_WARM_UP: u32 = 18_000;
const ALL_WITHIN: Duration = Duration::from_secs(60);
const SUBSCRIPTIONS: u32 = 16;

/// Median and 99th percentile, ms.
type Percentiles = (f64, f64);

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let endpoint = Endpoint::start()?;
    let plan = Plan { types: SUBSCRIPTIONS, subscriptions: SUBSCRIPTIONS, url: endpoint.url("/"), ..Plan::default() };
    let count = scale.of(COUNT);
    let bare = if scale.ours_only { None } else { Some(bare(stage, &plan, count).await?) };
    let ours = ours(stage, &plan, &endpoint, count).await?;
    let rate = format!("end to end at {PER_SECOND}/s");
    table.add(format!("{rate}: p50 ms (bare: two hops)"), ours.0, bare.map(|bare| bare.0), Aim::AtMost(12.0));
    table.add(format!("{rate}: p99 ms (bare: two hops)"), ours.1, bare.map(|bare| bare.1), Aim::None);
    Ok(())
}

async fn ours(stage: &Stage, plan: &Plan, endpoint: &Endpoint, count: u32) -> anyhow::Result<Percentiles> {
    let installation = stage.install(plan).await?;
    let (gateway, address) = installation.start("gateway").await?;
    let (fanout, _) = installation.start("fanout").await?;
    let (delivery, _) = installation.start("delivery").await?;
    let (url, token) = (format!("http://{address}/api/v1/event"), format!("Bearer {}", installation.token));
    let (http, payload) = (Http::default(), workload::payload());
    let payload = String::from_utf8_lossy(&payload);
    let mut sent = HashMap::new();
    let mut requests = JoinSet::new();
    let mut turns = Turns::new(stage, count)?;
    while let Some(number) = turns.next().await? {
        let (id, event_type) = (workload::event_id(number), workload::event_type(number % plan.types));
        let body = format!(r#"{{"event_id":"{id}","event_type":"{event_type}","payload":{payload}}}"#);
        let builder = Request::builder().method(Method::POST).uri(&url).header("authorization", &token);
        let request = builder.header("content-type", "application/json").body(Full::new(Bytes::from(body)))?;
        sent.insert(id, now_ms());
        let http = http.clone();
        requests.spawn(async move { http.send(request).await });
    }
    while let Some(answer) = requests.join_next().await {
        let answer = answer??;
        ensure!(answer.status == 201, "{}: {:?}", answer.status, answer.body);
    }
    let seen = endpoint.wait_for("/", u64::from(turns.next), ALL_WITHIN).await?;
    for process in [gateway, fanout, delivery] {
        stage::stop(process).await?;
    }
    let warm = workload::event_id(turns.measured_from);
    let times = seen.iter().filter_map(|seen| {
        let id = seen.event().filter(|id| *id >= warm.as_str())?;
        Some(seen.arrived_ms - sent.get(id)?)
    });
    percentiles(times.collect())
}

async fn bare(stage: &Stage, plan: &Plan, count: u32) -> anyhow::Result<Percentiles> {
    let installation = stage.install(plan).await?;
    let topics = &installation.topics;
    let mut arguments = stage.brokers().to_vec();
    let (group, timeout) = (installation.group("bare"), SESSION_TIMEOUT.as_millis().to_string());
    let rest =
        ["--from", &topics.events, "--to", &topics.deliveries, "--group", &group, "--session-timeout-ms", &timeout];
    arguments.extend(rest.map(str::to_owned));
    let _process = stage.bare("fanout", &arguments).await?;
    let options = TailOptions {
        topic: topics.deliveries.to_string(),
        partitions: None,
        from: From::Beginning,
        committed: true,
        eof: false,
        fetch_wait_ms: 500,
    };
    let mut tail = Tail::start(&stage.connection, options)?;
    let producer = Producer::start(&stage.connection, ProducerOptions::new("bench-bare"))?;
    let events = Arc::clone(&topics.events);
    let mut sending = JoinSet::from_iter([send_all(producer, events, Turns::new(stage, count)?)]);
    let (mut times, mut sent) = (Vec::new(), None);
    while sent.as_ref().is_none_or(|turns: &Turns| times.len() < turns.next as usize) {
        tokio::select! {
            Some(ended) = sending.join_next(), if sent.is_none() => sent = Some(ended??),
            record = tokio::time::timeout(ALL_WITHIN, next_record(&mut tail)) => {
                let key = record??.key.context("a key")?;
                let (number, sent_ms) = std::str::from_utf8(&key)?.split_once('/').context("number/ms")?;
                times.push((number.parse::<u32>()?, now_ms() - sent_ms.parse::<i64>()?));
            }
        }
    }
    let measured_from = sent.map_or(0, |turns| turns.measured_from);
    percentiles(times.into_iter().filter(|(number, _)| *number >= measured_from).map(|(_, ms)| ms).collect())
}

/// The key carries the time.
async fn send_all(producer: Producer, topic: Arc<str>, mut turns: Turns) -> anyhow::Result<Turns> {
    let payload = workload::payload();
    while let Some(number) = turns.next().await? {
        let record = OutRecord {
            topic: Arc::clone(&topic),
            partition: None,
            key: Some(format!("{number}/{}", now_ms()).into()),
            value: Some(payload.clone()),
            headers: Headers::default(),
        };
        drop(producer.send(&record)?);
    }
    producer.flush(ALL_WITHIN).await?;
    Ok(turns)
}

async fn next_record(tail: &mut Tail) -> anyhow::Result<schemas::record::Record> {
    loop {
        if let TailEvent::Record { record, .. } = tail.next().await? {
            return Ok(record);
        }
    }
}

/// Numbers events at a steady rate: those of the warm-up, then those that count.
#[derive(Debug)]
struct Turns {
    interval: Interval,
    compilers: Compilers,
    count: u32,
    /// The first that counts.
    measured_from: u32,
    is_warm: bool,
    next: u32,
}

impl Turns {
    fn new(stage: &Stage, count: u32) -> anyhow::Result<Self> {
        let mut interval = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let compilers = Compilers::of(stage.broker())?;
        Ok(Self { interval, compilers, count, measured_from: 0, is_warm: false, next: 0 })
    }

    async fn next(&mut self) -> anyhow::Result<Option<u32>> {
        self.interval.tick().await;
        let number = self.next;
        if !self.is_warm && number.is_multiple_of(LOOK) {
            let rest = self.compilers.rest()?;
            self.is_warm = (rest && number >= WARM_UP) || number >= LONGEST_WARM_UP;
            self.measured_from = number;
            if !rest && self.is_warm {
                table::say_still_compiling()?;
            }
        }
        if self.is_warm && number >= self.measured_from + self.count {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(number))
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a benchmark")]
fn percentiles(mut times: Vec<i64>) -> anyhow::Result<Percentiles> {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).map(|ms| *ms as f64);
    Ok((at(50).context("nothing arrived")?, at(99).context("nothing arrived")?))
}
