//! Backlogs that are drained with default settings, whoever they are for and however the endpoint speaks, each beside two bare
//! clients: one that keeps no more in flight than it needs, which is the aim, and one that keeps as many as the worker may.
//!
//! More in flight than needed costs everybody: each request meets a connection that has left the processor's caches. The second
//! tells how much of what the worker costs is that.

use testkit::Endpoint;
use testkit::endpoint::{EndpointOptions, Flaw, TestAuthority};

use super::Scale;
use super::delivery::{Bare, Worker};
use crate::meter::Cost;
use crate::stage::{Plan, Stage};
use crate::table::{Aim, Table};

/// The first is not counted: memory is touched for the first time.
const TURNS: u32 = 3;
/// What a delivery may cost of what the bare client's request does.
const MOST: f64 = 1.5;
/// `delivery.lane_concurrency` and `delivery.concurrency` where nobody sets them.
const EACH: u32 = 32;
const ALL: u32 = 4_096;
/// What one subscription alone reaches of what 16 do.
const LEAST_ALONE: f64 = 0.6;

/// One kind of backlog.
#[derive(Clone, Copy, Debug)]
struct Case {
    title: &'static str,
    subscriptions: u32,
    /// Requests of each in flight, where that is not the default.
    each: Option<u32>,
    speaks: Speaks,
}

/// What the endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Plain,
    Tls,
    Http2,
}

const CASES: [Case; 6] = [
    Case { title: "16 subscriptions", subscriptions: 16, each: None, speaks: Speaks::Plain },
    Case { title: "16 subscriptions, 4 in flight each", subscriptions: 16, each: Some(4), speaks: Speaks::Plain },
    Case { title: "200 subscriptions", subscriptions: 200, each: None, speaks: Speaks::Plain },
    Case { title: "1 subscription", subscriptions: 1, each: None, speaks: Speaks::Plain },
    Case { title: "16 subscriptions, TLS", subscriptions: 16, each: None, speaks: Speaks::Tls },
    Case { title: "16 subscriptions, HTTP/2", subscriptions: 16, each: None, speaks: Speaks::Http2 },
];

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let mut sixteen = None;
    for case in CASES {
        let (ours, bare, listed) = case.measure(stage, scale).await?;
        let what = format!("drain, {}", case.title);
        table.add_costs(&what, "deliveries", ours, bare.first().copied(), Aim::TimesBare(MOST));
        if let Some(alike) = bare.get(1) {
            let (in_flight, cpu) = (case.in_flight(), ours.cpu_seconds());
            let what = format!("{what}: CPU-s, bare with {in_flight} in flight");
            table.add(what, cpu, Some(alike.cpu_seconds()), Aim::None);
        }
        table.add(format!("{what}: listed"), listed, None, Aim::AtMost(0.0));
        match sixteen {
            None => sixteen = Some(ours.per_second()),
            Some(sixteen) if case.subscriptions == 1 => {
                let slower = sixteen / ours.per_second();
                table.add(format!("{what}: 16 are faster, times"), slower, None, Aim::AtMost(1.0 / LEAST_ALONE));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

impl Case {
    /// Requests that the worker may have in flight.
    fn in_flight(self) -> u32 {
        (self.subscriptions * self.each.unwrap_or(EACH)).min(ALL)
    }

    async fn measure(self, stage: &Stage, scale: Scale) -> anyhow::Result<(Cost, Vec<Cost>, f64)> {
        let options = EndpointOptions { keep: false, ..EndpointOptions::default() };
        let trusted = tempfile::NamedTempFile::new()?;
        let trusted_path = trusted.path().display().to_string();
        let endpoint = match self.speaks.protocol() {
            None => Endpoint::start_with(options)?,
            Some(protocol) => {
                let authority = TestAuthority::new()?;
                std::fs::write(trusted.path(), authority.pem())?;
                Endpoint::start_secure(options, authority.secure(&[protocol], Flaw::None)?)?
            }
        };
        let mut settings: Vec<(&str, toml::Value)> = Vec::new();
        let mut speaks = Vec::new();
        if self.speaks != Speaks::Plain {
            settings.push(("delivery.ca_file", trusted_path.clone().into()));
            speaks.extend(["--ca".to_owned(), trusted_path]);
        }
        if self.speaks == Speaks::Http2 {
            speaks.push("--http2".to_owned());
        }
        settings.extend(self.each.map(|each| ("delivery.lane_concurrency", each.into())));
        let (subscriptions, url) = (self.subscriptions, endpoint.url("/ours"));
        let plan = Plan { types: 1, subscriptions, url, settings, ..Plan::default() };
        let mut worker = Worker::start("/ours", plan, async |plan| stage.install(&plan).await).await?;
        let mut bare = vec![Bare::usual(speaks.clone())];
        if self.in_flight() != bare[0].in_flight {
            bare.push(Bare { in_flight: self.in_flight(), speaks });
        }
        let (ours, bare) = worker.take_turns(stage, &endpoint, &bare, scale, TURNS).await?;
        let listed = worker.listed().await?;
        let retried = worker.stop(stage, &endpoint).await?;
        anyhow::ensure!(retried == 0, "{retried} deliveries were retried");
        Ok((ours, bare, listed))
    }
}

impl Speaks {
    /// The name of the protocol in a TLS handshake.
    const fn protocol(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Tls => Some("http/1.1"),
            Self::Http2 => Some("h2"),
        }
    }
}
