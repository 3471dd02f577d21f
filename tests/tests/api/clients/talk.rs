//! A client's process: JSON lines in and out, within a bounded time.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::endpoint::Seen;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};

use super::stage::Stage;

/// A client needs a few seconds; on two busy cores, more.
const WITHIN: Duration = Duration::from_secs(120);
/// A delivery arrives at once.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);

/// Runs the program of the README: what it sent arrives under the id that it prints.
pub(super) async fn send(mut command: Command, stage: &Stage) -> anyhow::Result<()> {
    for (variable, field) in [("HOOKBUS_URL", "base"), ("APPLICATION_ID", "application_id"), ("TOKEN", "secret")] {
        command.env(variable, stage.setup[field].as_str().with_context(|| format!("no {field} in the set-up"))?);
    }
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(WITHIN, running).await.context("the program of the README does not end")??;
    ensure!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), stage.log_tail());
    let printed = String::from_utf8(output.stdout)?;
    let event = printed.trim();
    let path = format!("{}/events", stage.setup["path"].as_str().context("a path")?);
    let seen = delivery(&json!({ "path": path, "event_id": event }), stage).await?;
    ensure!(seen["body"] == STANDARD.encode(r#"{"invoice": "in_1042"}"#), "{seen}");
    Ok(())
}

/// Runs a client to its end: what it has done.
pub(super) async fn run(mut command: Command, stage: &Stage) -> anyhow::Result<Vec<String>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("running {:?}", command.as_std().get_program()))?;
    let mut input = child.stdin.take().context("a piped input")?;
    let mut output = BufReader::new(child.stdout.take().context("a piped output")?).lines();
    let mut errors = child.stderr.take().context("piped errors")?;
    let mut done = Vec::new();
    let talking = async {
        say(&mut input, &stage.setup).await?;
        while let Some(line) = output.next_line().await? {
            let heard: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            match (heard["done"].as_str(), &heard["ask"]) {
                (Some(name), _) => done.push(name.to_owned()),
                (None, ask) => say(&mut input, &delivery(ask, stage).await?).await?,
            }
        }
        anyhow::Ok(())
    };
    let mut printed = Vec::new();
    let both = async { tokio::join!(talking, errors.read_to_end(&mut printed)) };
    let (talked, read) = match tokio::time::timeout(WITHIN, both).await {
        Ok(outcome) => outcome,
        Err(_) => bail!("the client runs on after {WITHIN:?}; done: {done:?}\n{}", stage.log_tail()),
    };
    read?;
    let status = child.wait().await?;
    let said = || format!("{status}, done: {done:?}\n{}\n{}", String::from_utf8_lossy(&printed), stage.log_tail());
    talked.with_context(said)?;
    ensure!(status.success(), "{}", said());
    Ok(done)
}

async fn say(input: &mut ChildStdin, value: &Value) -> anyhow::Result<()> {
    input.write_all(format!("{value}\n").as_bytes()).await?;
    Ok(input.flush().await?)
}

/// The request an event led to.
async fn delivery(ask: &Value, stage: &Stage) -> anyhow::Result<Value> {
    let (path, event) = (ask["path"].as_str().context("a path")?, ask["event_id"].as_str().context("an event")?);
    let arrived = |seen: &Seen| seen.complete && seen.event() == Some(event);
    let seen = stage.endpoint.wait_until(path, event, DELIVERED_WITHIN, |all| all.iter().any(|seen| arrived(seen)));
    let seen = seen.await?.into_iter().find(|seen| arrived(seen)).context("it was there")?;
    let headers: Vec<(&str, &str)> =
        seen.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    Ok(json!({ "headers": headers, "body": STANDARD.encode(&seen.body) }))
}
