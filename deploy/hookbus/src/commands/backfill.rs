//! `hookbus backfill`: a subscription gets the past.

use anyhow::Result;
use serde_json::{Value, json};

use super::replay::ask_for;
use crate::cli::backfill::{BackfillArgs, BackfillCommand, BackfillStartArgs};
use crate::management::{self, path};

/// Asks for a job.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &BackfillArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let BackfillCommand::Start(start) = &args.command;
    let application = management.application(start.of.application.as_deref()).await?;
    let route = path("/subscriptions/{}/backfill", [&start.subscription]);
    ask_for(&management, args.common.output, ("backfill", &route, false), &body(start, &application)).await
}

fn body(start: &BackfillStartArgs, application: &str) -> Value {
    let mut body = json!({ "application_id": application, "from": start.from });
    if let Some(to) = &start.to {
        body["to"] = json!(to);
    }
    if let Some(rate) = start.rate {
        body["rate_per_second"] = json!(rate);
    }
    body
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        start: BackfillStartArgs,
    }

    #[test]
    fn what_is_asked_for_stands_in_the_body() {
        let asked = |line: &str| body(&Line::try_parse_from(line.split(' ')).unwrap().start, "shop");
        assert_eq!(asked("x mine --from earliest"), json!({"application_id": "shop", "from": "earliest"}));
        let asked_for = asked("x mine --from 2026-11-01T00:00:00Z --to 2026-11-02T00:00:00Z --rate 9");
        let (from, to) = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
        assert_eq!(asked_for, json!({"application_id": "shop", "from": from, "to": to, "rate_per_second": 9}));
    }
}
