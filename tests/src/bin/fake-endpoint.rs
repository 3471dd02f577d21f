//! The fake endpoint as a program, for demonstrations and load: `fake-endpoint --port 8090 --script '/slow=204+delay=2s'`.
//! Prints what arrives, or once a second how much of it.

use std::io::Write;
use std::time::Duration;

use clap::Parser;
use testkit::endpoint::{Endpoint, EndpointOptions, Script, Seen, Signature};

/// Answers webhooks by script.
#[derive(Debug, Parser)]
struct Arguments {
    /// Port on 127.0.0.1; 0 chooses.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// `path=script`, such as `/a=500x2 204` or `/slow=204+delay=2s`. May be given more than once.
    #[arg(long)]
    script: Vec<String>,
    /// Count calls by path; without it every delivery meets its script from the start.
    #[arg(long)]
    by_path: bool,
    /// `path=secret` to verify signatures with. May be given more than once.
    #[arg(long)]
    secret: Vec<String>,
    /// Count requests and say so once a second, in place of a line for each.
    #[arg(long)]
    quiet: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = EndpointOptions {
        port: arguments.port,
        threads: arguments.threads,
        keep: !arguments.quiet,
        ..EndpointOptions::default()
    };
    let endpoint = Endpoint::start_with(options)?;
    for script in &arguments.script {
        let (path, text) = split(script)?;
        let script: Script = text.parse()?;
        endpoint.answer(path, if arguments.by_path { script } else { script.per_delivery() });
    }
    for secret in &arguments.secret {
        let (path, secret) = split(secret)?;
        endpoint.expect_secret(path, secret)?;
    }
    say(&format!("listening on {}", endpoint.url("/")))?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => Ok(ended?),
        failed = report(&endpoint, arguments.quiet) => failed,
    }
}

fn split(text: &str) -> anyhow::Result<(&str, &str)> {
    text.split_once('=').ok_or_else(|| anyhow::anyhow!("`{text}` is not path=value"))
}

async fn report(endpoint: &Endpoint, quiet: bool) -> anyhow::Result<()> {
    let mut before = 0;
    loop {
        if quiet {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let count = endpoint.count("/");
            if count != before {
                say(&format!("{count} requests, {} in the last second", count - before))?;
            }
            before = count;
        } else {
            for seen in endpoint.next_after(before).await {
                say(&line(&seen))?;
                before = seen.number + 1;
            }
        }
    }
}

fn line(seen: &Seen) -> String {
    let signature = match &seen.signature {
        Signature::Unchecked => "unchecked".to_owned(),
        Signature::Valid { .. } => "valid".to_owned(),
        Signature::Invalid(why) => format!("INVALID ({why})"),
    };
    format!(
        "{} {} {} bytes, event {}, delivery {}, attempt {}, signature {signature}",
        seen.method,
        seen.path,
        seen.body_length,
        seen.event().unwrap_or("-"),
        seen.delivery().unwrap_or("-"),
        seen.attempt().unwrap_or(0),
    )
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}
