//! `hookbus lanes show`: what the lists on `lanes` say, and whether they agree with the offsets of `deliveries`.

use anyhow::Result;
use chassis::clock;
use chassis::config::Config;
use kafka::group;
use kafka::{Connection, RestoredLists};
use schemas::ids::SubscriptionId;
use schemas::lanes::{LaneKey, LaneRecord, ListRole};
use serde::Serialize;

use super::{ROLE, SeenLists, differing, look};
use crate::cli::lanes::LanesShowArgs;
use crate::cli::manage::Output;
use crate::screen;

/// One lane in one partition, for programs.
#[derive(Debug, Serialize)]
struct LaneRow {
    subscription: String,
    partition: i32,
    /// Deliveries that wait: the sum of the three that follow.
    waiting: u64,
    retries: u64,
    first_tries: u64,
    set_aside: u64,
    /// No delivery that waits is older, Unix ms.
    oldest_ms: Option<i64>,
    /// The circuit is not closed; the next probe goes then, Unix ms.
    probe_ms: Option<i64>,
    hold_until_ms: Option<i64>,
    failing_since_ms: Option<i64>,
    success_ms: Option<i64>,
    window: Option<u32>,
}

/// Shows them, and whether they are what was committed.
///
/// # Errors
/// Kafka cannot be reached or refuses, or the id is none.
pub(super) async fn run(connection: &Connection, config: &Config, args: &LanesShowArgs) -> Result<()> {
    let wanted = args.subscription.as_deref().map(subscription).transpose()?;
    let SeenLists { all, judged } = look(connection, config).await?;
    let mut rows: Vec<LaneRow> = all.iter().flat_map(|lists| rows(lists, wanted)).collect();
    rows.sort_by(|one, other| (other.waiting, &one.subscription).cmp(&(one.waiting, &other.subscription)));
    if args.output == Output::Json {
        return Ok(screen::line(&serde_json::to_string_pretty(&rows)?)?);
    }
    table(&rows)?;
    // While somebody writes them, lists and offsets are never seen at one moment.
    if wanted.is_some() || !group::members(connection, &ROLE.group(config)).await?.is_empty() {
        return Ok(());
    }
    let differing: Vec<String> = differing(config, &judged).collect();
    for line in &differing {
        screen::line(&format!("! {line}"))?;
    }
    if !differing.is_empty() {
        screen::line("THE DELIVERY ROLE STOPS there (deploy/runbooks/lists-differ.md): hookbus lanes accept")?;
    }
    Ok(())
}

fn subscription(text: &str) -> Result<SubscriptionId> {
    text.parse().map_err(|_not_one| crate::usage(format!("`{text}` is no id of a subscription")))
}

fn rows(lists: &RestoredLists, wanted: Option<SubscriptionId>) -> impl Iterator<Item = LaneRow> {
    lists.records.iter().filter_map(move |(key, kept)| {
        let partition = lists.lease.partition.partition;
        let unreadable = |error: &dyn std::fmt::Display| {
            tracing::warn!(partition, offset = kept.offset, %error, "a record of the lists cannot be read");
        };
        let key = LaneKey::decode(Some(key)).inspect_err(|error| unreadable(error)).ok()?;
        let LaneKey::Lane(id) = key else { return None };
        if wanted.is_some_and(|wanted| wanted != id) {
            return None;
        }
        let lane = LaneRecord::decode(key, &kept.value).inspect_err(|error| unreadable(error)).ok()?;
        Some(LaneRow::new(id, partition, &lane))
    })
}

fn table(rows: &[LaneRow]) -> Result<()> {
    let title = ["SUBSCRIPTION", "PARTITION", "WAITING", "RETRIES", "SET ASIDE", "OLDEST", ""].map(str::to_owned);
    let now_ms = clock::now_ms();
    let row = |row: &LaneRow| {
        let oldest = row.oldest_ms.map_or_else(|| "-".to_owned(), screen::time);
        let numbers = [row.waiting, row.retries, row.set_aside].map(|number| number.to_string());
        let [waiting, retries, set_aside] = numbers;
        let partition = row.partition.to_string();
        [row.subscription.clone(), partition, waiting, retries, set_aside, oldest, row.remark(now_ms)]
    };
    let rows: Vec<[String; 7]> = std::iter::once(title).chain(rows.iter().map(row)).collect();
    screen::columns(&rows)
}

// === impl LaneRow ===

impl LaneRow {
    fn new(id: SubscriptionId, partition: i32, lane: &LaneRecord) -> Self {
        let of = |role: ListRole| lane.lists.iter().filter(|list| list.role == role).map(|list| list.n).sum::<u64>();
        let [retries, first_tries, set_aside] = [ListRole::Retries, ListRole::FirstTries, ListRole::SetAside].map(of);
        Self {
            subscription: id.to_string(),
            partition,
            waiting: retries + first_tries + set_aside,
            retries,
            first_tries,
            set_aside,
            oldest_ms: lane.lists.iter().map(|list| list.oldest_ms).min(),
            probe_ms: lane.circuit.map(|circuit| circuit.until_ms),
            hold_until_ms: lane.hold_until_ms,
            failing_since_ms: lane.failing_since_ms,
            success_ms: lane.success_ms,
            window: lane.window,
        }
    }

    /// Why nothing is sent, for people.
    fn remark(&self, now_ms: i64) -> String {
        let probe = self.probe_ms.map(|at| format!("circuit open, next probe {}", screen::time(at.max(now_ms))));
        let hold = self.hold_until_ms.filter(|until| *until > now_ms);
        let hold = hold.map(|until| format!("held by its endpoint until {}", screen::time(until)));
        let failing = self.failing_since_ms.map(|since| format!("failing since {}", screen::time(since)));
        let all: Vec<String> = [probe, hold, failing].into_iter().flatten().collect();
        all.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use schemas::lanes::{LaneCircuit, ListRecord};

    use super::*;

    fn list(role: ListRole, n: u64, oldest_ms: i64) -> ListRecord {
        ListRecord { role, id: 0, front: Vec::new(), chunks: (0, 0), back: Vec::new(), n, oldest_ms, dead_ms: 0 }
    }

    #[test]
    fn a_lane_is_told_by_what_waits_and_why() {
        let lists = vec![list(ListRole::Retries, 2, 9_000), list(ListRole::FirstTries, 40, 7_000)];
        let circuit = Some(LaneCircuit { until_ms: 60_000, wait_ms: 5_000 });
        let mut lane = LaneRecord::new(lists);
        (lane.circuit, lane.hold_until_ms) = (circuit, Some(30_000));
        let row = LaneRow::new(SubscriptionId(uuid::Uuid::nil()), 3, &lane);
        assert_eq!((row.waiting, row.retries, row.first_tries, row.set_aside), (42, 2, 40, 0));
        assert_eq!(row.oldest_ms, Some(7_000));
        let remark = row.remark(40_000);
        assert!(remark.starts_with("circuit open, next probe ") && !remark.contains("held"), "{remark}");
        assert!(row.remark(20_000).contains("; held by its endpoint until "));
    }
}
