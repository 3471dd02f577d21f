//! `hookbus log`: how the delivery log is doing, having it made again, and whether it holds what its topic says.

use anyhow::{Result, bail};
use chassis::config::{Config, LogStore};
use kafka::Connection;

use crate::cli::manage::{Common, Output};
use crate::management::{self, Ask};
use crate::output::{self, Column};
use crate::screen;

const LOG: &[Column] = &[
    ("store", "store"),
    ("projector", "projector"),
    ("whole from", "whole_from"),
    ("days left", "days_left"),
    ("behind ms", "behind_ms"),
    ("behind records", "behind_records"),
    ("lost records", "lost_records"),
];
const DAYS: &[Column] = &[("day", "day"), ("whole", "whole"), ("rows", "rows"), ("bytes", "bytes")];
const PARTITIONS: &[Column] =
    &[("partition", "partition"), ("covered to", "covered_to"), ("end", "end"), ("at its end", "at_end")];

/// `log status`.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn status(common: &Common) -> Result<()> {
    let shown = management::open(&common.login)?.ask("delivery log", Ask::get("/log")).await?.value;
    output::one(common.output, &shown, LOG)?;
    if common.output == Output::Json {
        return Ok(());
    }
    for (list, columns) in [("days", DAYS), ("partitions", PARTITIONS)] {
        screen::line("")?;
        output::list(common.output, shown[list].as_array().map_or(&[][..], Vec::as_slice), columns)?;
    }
    Ok(())
}

/// `log rebuild`.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn rebuild(common: &Common) -> Result<()> {
    let management = management::open(&common.login)?;
    let shown = management.ask("delivery log", Ask::delete("/log")).await?.value;
    let replica = shown["projector"].as_str().unwrap_or("the replica that answered");
    let sentence =
        format!("the delivery log of {replica} is made again, the newest day first; how far it is: hookbus log status");
    output::done(common.output, &sentence, &shown)
}

/// `log check`.
///
/// # Errors
/// Topic or folder cannot be read, or they differ.
pub(crate) async fn check(connection: &Connection, config: &Config, output: Output) -> Result<()> {
    let log = &config.control.log;
    let Some(copy) = control_plane::log_copy(log)? else {
        bail!("there is no delivery log: `control.log.store` is `none`");
    };
    let topic = config.topics.topics().attempts;
    let checked = control_plane::check_log(connection, &topic, copy.as_ref()).await?;
    if let Some(difference) = &checked.difference {
        let (day, what) = (&difference.day, difference.what);
        if output == Output::Json {
            output::one(output, &serde_json::to_value(&checked)?, &[])?;
        }
        let (place, again) = match log.store {
            LogStore::Postgres => ("postgresql".to_owned(), "have it made again: hookbus log rebuild".to_owned()),
            LogStore::Sqlite | LogStore::None => {
                let folder = log.folder.display().to_string();
                let again = format!(
                    "stop the control plane, remove {day}.db from {folder}, and start it: the day is made again"
                );
                (folder, again)
            }
        };
        if what == "not covered" {
            bail!(
                "the delivery log has not read partition {}, offset {} of {topic}, of {day}: while `hookbus log status` says that days \
                are not whole it is being made; if they are, start the control plane that fills {place} again, and it is read",
                difference.partition,
                difference.offset
            );
        }
        bail!(
            "the delivery log in {place} differs from {topic}: partition {}, offset {} is {what} in {day}; {again}",
            difference.partition,
            difference.offset
        );
    }
    let (rows, days, behind) = (checked.rows, checked.days, checked.behind);
    if days == 0 && behind > 0 {
        let place = match log.store {
            LogStore::Postgres => "postgresql".to_owned(),
            LogStore::Sqlite | LogStore::None => log.folder.display().to_string(),
        };
        bail!("there is no day of the delivery log in {place}, and {topic} has {behind} rows for it");
    }
    let sentence = format!(
        "the delivery log holds what {topic} says: {rows} rows of {days} days; {behind} newer ones are not in it yet"
    );
    output::done(output, &sentence, &serde_json::to_value(&checked)?)
}
