//! A million deliveries for a dead endpoint, on one partition of 16 subscriptions: what its neighbours notice, what its worker holds,
//! what is written while they wait, how they come once it is healed, and what ten kills do to that.
//!
//! ```text
//! calm: neighbours alone -> they are listed -> they wait -> 5 kills, neighbours level -> healed: half of them -> 5 kills -> all of them
//! ```
//!
//! Default configuration but for the one partition. Neighbours, and the dead one, are each a process of their own.

mod scene;
mod written;

use std::time::Duration;

use kafka::clock::instant;

use self::scene::{DEAD, Scene};
use self::written::Written;
use super::Scale;
use super::delivery::{Bare, send_bare};
use crate::held::wide;
use crate::stage::Stage;
use crate::table::{Aim, Table, say};

const COUNT: u32 = 1_000_000;
/// How long neighbours are measured without it, and while it waits.
const CALM: Duration = Duration::from_secs(60);
const WAITS: Duration = Duration::from_secs(300);
/// Neighbours beside it take so many times as long at most.
const MOST: f64 = 1.2;
const MIB_MORE: f64 = 128.0;
/// While they wait, and while they come.
const KILLS: u32 = 5;
/// Deliveries of the bare client.
const BARE: u32 = 50_000;
/// `delivery.lane_concurrency` where nobody sets it.
const EACH: u32 = 32;
/// What was done by a worker that was killed, and not committed.
const UNCOMMITTED: f64 = 0.2;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let count = scale.of(COUNT);
    let mut scene = Scene::begin(stage).await?;
    let calm = scene.neighbours(scale.lasts(CALM)).await?;
    let idle_mib = scene.mib()?;
    let listing = scene.list(count).await?;
    table.add("dead, while they are listed: neighbours' p99 ms", listing, Some(calm), Aim::None);
    let before = Written::ends(stage, &scene).await?;
    let waiting = scene.neighbours(scale.lasts(WAITS)).await?;
    let written = before.since(stage, &scene).await?;
    table.add("dead, while they wait: neighbours' p99 ms", waiting, Some(calm), Aim::TimesBare(MOST));
    table.add("dead, while they wait: payloads written for waiting", written.waiting, None, Aim::AtMost(0.0));
    table.add("dead, while they wait: payloads written for retries", written.retries, None, Aim::None);
    scene.kill(KILLS, None).await?;
    scene.level().await?;
    healed(&mut scene, (count, calm), scale, table).await?;
    let more_mib = scene.most_mib() - idle_mib;
    table.add("dead: worker's memory above idle, MiB", more_mib, None, Aim::AtMost(MIB_MORE));
    scene.end().await
}

/// The endpoint is there again.
async fn healed(
    scene: &mut Scene<'_>,
    (count, calm): (u32, f64),
    scale: Scale,
    table: &mut Table,
) -> anyhow::Result<()> {
    let began = instant();
    scene.heal().await?;
    scene.came(1).await?;
    table.add("dead, healed: s until the first comes", began.elapsed().as_secs_f64(), None, Aim::None);
    let begun = instant();
    scene.forget_neighbours().await?;
    scene.came(count / 2).await?;
    let per_second = f64::from(count / 2) / begun.elapsed().as_secs_f64();
    let beside = scene.neighbours_p99().await?;
    let in_order = scene.told().await?.overtaken;
    let most = f64::from(KILLS) * (f64::from(EACH) + UNCOMMITTED * per_second);
    scene.kill(KILLS, Some(count)).await?;
    let began = instant();
    // Retries of what failed before come by their own time.
    let all = scene.came(count).await;
    say(&format!("    the rest came in {:.0} s", began.elapsed().as_secs_f64()))?;
    let told = scene.told().await?;
    if let Err(error) = all {
        say(&format!("    {error:#}"))?;
    }
    let bare = if scale.ours_only {
        None
    } else {
        let bare = Bare { in_flight: EACH, speaks: Vec::new() };
        Some(send_bare(scene.stage(), &scene.dead_url("/bare"), &bare, scale.of(BARE)).await?.per_second())
    };
    table.add("dead, healed: deliveries/s", per_second, bare, Aim::None);
    table.add("dead, healed: neighbours' p99 ms", beside, Some(calm), Aim::TimesBare(MOST));
    table.add("dead, healed: came long after a newer one", wide(in_order), None, Aim::AtMost(0.0));
    let missing = f64::from(count) - wide(told.distinct);
    table.add(format!("dead, ten kills: never came at {DEAD}"), missing, None, Aim::AtMost(0.0));
    table.add("dead, ten kills: came twice", wide(told.count - told.distinct), None, Aim::AtMost(most.ceil()));
    Ok(())
}
