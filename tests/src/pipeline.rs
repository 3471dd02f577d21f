//! A whole Hookbus of a test's own: topics with a prefix nobody else has, every role a process, an endpoint, a ledger.
//!
//! ```text
//! Setup  -> topics ensure, roles started, ready  -> Pipeline
//!           applications, subscriptions, events      (remembered for the ledger)
//!           kill, freeze, restart                    (by role and number)
//!           finish(Expect)                           everything has ended, then the ledger must balance
//! ```
//!
//! A pipeline that is dropped without [`Pipeline::finish`] fails its test: no test forgets the ledger.

mod application;
mod changes;
pub mod client;
pub mod console;
mod load;
mod payload;
mod roles;
mod setup;
mod watch;
pub mod wide;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chassis::config::Config;
use kafka::{Connection, Producer, ProducerOptions, Written};
use parking_lot::Mutex;
use schemas::ids::{ApplicationId, DeliveryId};
use schemas::record::OutRecord;
use schemas::topics::Topics;
use tempfile::TempDir;

pub use self::application::{Application, Subscription};
pub use self::client::{Client, Event};
pub use self::load::{Load, LoadReport};
pub use self::roles::{Role, Roles};
pub use self::setup::{ADMIN_KEY, Setup};
use self::watch::Watch;
use crate::Endpoint;
use crate::http::Http;
use crate::ledger::books::{Request, Subscribed, Told};
use crate::ledger::pings::Pinged;
use crate::ledger::{self, Audit, Books, Expect, collect, memory};

/// Everything ends sooner, also on two busy cores; what does not is shown by the ledger.
const SETTLE_WITHIN: Duration = Duration::from_secs(240);
/// Cores are shared: a role needs a second of them to start.
pub const READY_WITHIN: Duration = Duration::from_secs(120);

/// What senders were told, shared with every client.
pub(crate) type ToldLog = Arc<Mutex<Vec<Told>>>;

/// A running Hookbus.
#[derive(Debug)]
pub struct Pipeline {
    name: String,
    folder: Option<TempDir>,
    binary: std::path::PathBuf,
    topics: Topics,
    connection: Connection,
    organization: String,
    roles: Roles,
    endpoint: Endpoint,
    http: Http,
    producer: Producer,
    told: ToldLog,
    applications: BTreeMap<String, ApplicationId>,
    subscriptions: Vec<Subscribed>,
    pings: Vec<Pinged>,
    jobs: std::collections::BTreeSet<uuid::Uuid>,
    hurried: std::collections::BTreeSet<DeliveryId>,
    config: Config,
    watch: Watch,
    finished: bool,
}

/// What the ledger said, and the books it read.
#[derive(Debug)]
pub struct Outcome {
    /// The verdict.
    pub audit: Audit,
    /// What it was made from.
    pub books: Books,
}

impl Pipeline {
    /// All roles once, on the shared Kafka.
    ///
    /// # Errors
    /// As [`Setup::start`].
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        Setup::new(name).start().await
    }

    /// The endpoint of all its subscriptions.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its processes.
    #[must_use]
    pub const fn roles(&mut self) -> &mut Roles {
        &mut self.roles
    }

    /// Its topics.
    #[must_use]
    pub const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// A direct connection to its Kafka.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Its folder: configuration and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().map_or_else(|| Path::new("."), TempDir::path)
    }

    /// A client of its gateways.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.http.clone(), self.roles.urls(Role::Gateway), Arc::clone(&self.told))
    }

    /// Writes a record straight to Kafka, as a producer that is not ours would, and waits for the acknowledgement.
    ///
    /// # Errors
    /// Kafka does not take it.
    pub async fn produce(&self, record: &OutRecord) -> anyhow::Result<Written> {
        Ok(self.producer.send(record)?.await?)
    }

    /// Produces events straight to Kafka, many at a time, and remembers them as accepted.
    ///
    /// # Errors
    /// Kafka does not take one.
    pub async fn publish(&self, application: &Application, events: &[Event]) -> anyhow::Result<()> {
        // The producer's queue holds no more of the largest ones.
        for part in events.chunks(500) {
            let send = |event: &Event| self.producer.send(&event.record(application, &self.topics.events));
            let sent = part.iter().map(send).collect::<Result<Vec<_>, _>>()?;
            for (event, acknowledged) in part.iter().zip(sent) {
                acknowledged.await?;
                self.told.lock().push(event.told(application));
            }
        }
        Ok(())
    }

    /// Runs the binary with this pipeline's configuration to its end: status, standard output, standard error.
    ///
    /// # Errors
    /// It cannot be run or does not end.
    pub async fn command(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        self.command_with(&[], arguments).await
    }

    /// The same with environment variables on top.
    ///
    /// # Errors
    /// It cannot be run or does not end.
    pub async fn command_with(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> anyhow::Result<std::process::Output> {
        setup::run(&self.binary, self.folder(), environment, arguments).await
    }

    /// Starts the binary with this pipeline's configuration, to be watched and killed; it dies with the handle.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn spawn(&self, arguments: &[&str], stdout: Stdio) -> anyhow::Result<tokio::process::Child> {
        setup::spawn(&self.binary, self.folder(), arguments, stdout)
    }

    /// Waits until everything that was accepted so far has ended.
    ///
    /// # Errors
    /// It has not in time.
    pub async fn settled(&self, within: Duration) -> anyhow::Result<()> {
        if collect::settled(&self.connection, &self.topics, within).await? {
            return Ok(());
        }
        let report = self.audit(&Expect::default()).await?.audit;
        bail!("{}: not everything has ended within {within:?}: {report}{}", self.name, self.roles.log_tails())
    }

    /// What the books say now.
    ///
    /// # Errors
    /// A topic cannot be read.
    pub async fn audit(&self, expect: &Expect) -> anyhow::Result<Outcome> {
        let mut books =
            Books { subscriptions: self.subscriptions.clone(), pings: self.pings.clone(), ..Books::default() };
        books.jobs.clone_from(&self.jobs);
        books.hurried.clone_from(&self.hurried);
        let mut applications = self.applications.clone();
        let ids: Vec<ApplicationId> = applications.values().copied().collect();
        applications.extend(ids.into_iter().map(|id| (id.to_string(), id)));
        collect::fill(&mut books, &self.connection, &self.topics, &applications).await?;
        books.overlaps = self.roles.overlaps(self.config.delivery.attempt_timeout);
        books.memory = self.roles.memory(&self.config, &self.watch);
        books.told.clone_from(&self.told.lock());
        let seen = self.endpoint.requests("/");
        books.requests = seen.iter().filter(|seen| seen.complete).map(|seen| Request::of(seen)).collect();
        Ok(Outcome { audit: ledger::audit(&books, expect), books })
    }

    /// Waits until everything has ended, then the ledger must balance. Prints what it counted.
    ///
    /// # Errors
    /// It does not balance: with every violation and the ends of all logs, which are kept.
    pub async fn finish(self, expect: Expect) -> anyhow::Result<Outcome> {
        // A test holds what it waits for: the pipeline once, and not what reads all topics.
        Box::pin(self.finish_within(expect, SETTLE_WITHIN)).await
    }

    /// The same with another deadline.
    ///
    /// # Errors
    /// As [`Pipeline::finish`].
    pub async fn finish_within(mut self, expect: Expect, within: Duration) -> anyhow::Result<Outcome> {
        let outcome = Box::pin(self.close(expect, within)).await?;
        let counted = self.roles.violations_counted().await;
        if outcome.audit.balances() && counted.is_empty() {
            return Ok(outcome);
        }
        let tails = self.roles.log_tails();
        let folder = self.keep();
        let counted = counted.join("\n  ");
        bail!("{}: the ledger does not balance (logs in {folder}):\n{}  {counted}\n{tails}", self.name, outcome.audit)
    }

    /// For a run that must go wrong: what the ledger says, whatever it is. The planted bugs end with this.
    ///
    /// # Errors
    /// A topic cannot be read.
    pub async fn verdict(mut self, expect: Expect, within: Duration) -> anyhow::Result<Outcome> {
        Box::pin(self.close(expect, within)).await
    }

    async fn close(&mut self, expect: Expect, within: Duration) -> anyhow::Result<Outcome> {
        self.finished = true;
        // What is declared to wait for ever would be waited for in vain.
        if expect.waiting == 0 {
            let ended = collect::settled(&self.connection, &self.topics, within).await;
            let ended = ended.with_context(|| format!("{}: waiting for the end of everything", self.name))?;
            if !ended {
                report(&format!("{}: not everything has ended within {within:?}", self.name));
            }
        }
        self.watch.look().await;
        let outcome = self.audit(&expect).await?;
        report(&format!("{}: {}{}", self.name, outcome.audit, memory::summary(&outcome.books.memory)));
        Ok(outcome)
    }

    /// Leaves the folder with the logs where it is.
    fn keep(&mut self) -> String {
        self.folder.take().map(|folder| folder.keep().display().to_string()).unwrap_or_default()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let folder = self.keep();
            report(&format!("{}: logs are kept in {folder}\n{}", self.name, self.roles.log_tails()));
        } else if !self.finished {
            unfinished(&self.name);
        }
    }
}

#[expect(clippy::panic, reason = "a test that forgets the ledger has to fail, and a drop has no other way to say so")]
fn unfinished(name: &str) {
    panic!("{name}: the pipeline was dropped without `finish`: nobody looked at the ledger");
}

/// What a test measured, on its standard output: shown when it fails and with `--nocapture`.
#[expect(clippy::print_stdout, reason = "libtest captures what is printed and shows it with the test it belongs to")]
pub fn report(line: &str) {
    println!("{line}");
}

fn producer(connection: &Connection) -> anyhow::Result<Producer> {
    let mut options = ProducerOptions::new("testkit");
    // A producer of a user's own does not stop at our limits.
    options.message_timeout = Duration::from_secs(30);
    Ok(Producer::start(connection, options)?)
}
