//! A delivery log that all replicas share, in a PostgreSQL of its own, which `tests/postgres.sh` starts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use chassis::config::{ControlLogConfig, LogStore};
use control_plane::{LogChecked, check_log, log_copy};
use kafka::{Producer, ProducerOptions};
use schemas::ids::SubscriptionId;
use serde_json::{Value, json};

use super::log::{attempts, write};
use super::support::{Replica, World, soon};

/// Between two looks at what comes by itself.
const LOOK: Duration = Duration::from_millis(50);

/// See the module; it ends when its input does.
struct Postgres {
    folder: String,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

impl Postgres {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres.sh");
        let started = Command::new("sh").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut started = Self { folder: String::new(), input, output, _child: child };
        let line = started.line();
        let folder = line.strip_prefix("ready ").expect("postgresql: `deploy/setup.sh test` installs it");
        folder.clone_into(&mut started.folder);
        started
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// `stop` is a crash; waits until it is done.
    fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").unwrap();
        assert_eq!(self.line(), "done", "{word}");
    }

    fn config(&self) -> ControlLogConfig {
        let url = format!("postgres://postgres@{}/postgres", self.folder.replace('/', "%2F"));
        ControlLogConfig {
            store: LogStore::Postgres,
            postgres_url: Some(url.into()),
            readers: 2,
            ..ControlLogConfig::none()
        }
    }
}

async fn compare(world: &World, config: &ControlLogConfig) -> LogChecked {
    let copy = log_copy(config).unwrap().unwrap();
    check_log(&world.connection, &world.topics.attempts, copy.as_ref()).await.unwrap()
}

/// What a comparison finds once so many rows are there.
async fn filled(world: &World, config: &ControlLogConfig, rows: u64) -> LogChecked {
    soon("the rows are there", async {
        loop {
            let checked = compare(world, config).await;
            if checked.rows >= rows {
                return checked;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

/// Waits until a replica says of the log what is wanted.
async fn until(replica: &Replica, what: &str, is: impl Fn(u16, &Value) -> bool + Send + Sync) -> Value {
    soon(what, async {
        loop {
            let (status, log) = replica.get("/log").await;
            if is(status, &log) {
                return log;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_a_log_take_over_from_each_other_and_outlive_their_postgresql() {
    let (world, mut postgres) = (World::new().await, Postgres::start());
    let producer = Producer::start(&world.connection, ProducerOptions::new("test")).unwrap();
    let log = postgres.config();
    let one = world.replica_with("one", log.clone()).await;
    let (application, _token) = super::tenant(&one, "log").await;
    let (_, made) = one.post("/subscriptions", super::subscription(&application, "mine")).await;
    let subscription: SubscriptionId = made["subscription_id"].as_str().unwrap().parse().unwrap();
    let whose = (application.parse().unwrap(), subscription);
    for number in 0..5 {
        write(&world, &producer, whose, &format!("evt_{number}")).await;
    }
    attempts(&one, &application, 5).await;

    let other = world.replica_with("other", log.clone()).await;
    let shown = until(&other, "it stands by", |status, log| status == 200 && log["projector"] == json!("one")).await;
    assert_eq!(shown["store"], json!("postgres"), "{shown}");
    for number in 5..10 {
        write(&world, &producer, whose, &format!("evt_{number}")).await;
    }
    let listed = attempts(&other, &application, 10).await;
    let checked = filled(&world, &log, 30).await;
    assert_eq!((checked.rows, checked.difference), (30, None));
    let whole = |_, log: &Value| log["whole_from"].is_null() && log["behind_ms"] == json!(0);
    until(&other, "what it was told says that all is there", whole).await;

    // While it is away: the management API answers, the log says why it does not.
    postgres.tell("stop");
    for replica in [&one, &other] {
        let (status, problem) = replica.get(&format!("/request_attempts?application_id={application}")).await;
        assert_eq!((status, &problem["code"]), (503, &json!("log_unavailable")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("does not answer"), "{problem}");
        assert_eq!(replica.get(&format!("/applications/{application}")).await.0, 200);
    }
    write(&world, &producer, whose, "evt_10").await;
    postgres.tell("start");
    attempts(&one, &application, 11).await;

    one.stop().await;
    until(&other, "it has taken over", |status, log| status == 200 && log["projector"] == json!("other")).await;
    write(&world, &producer, whose, "evt_11").await;
    let now = attempts(&other, &application, 12).await;
    assert_eq!(&now.as_array().unwrap()[2..], listed.as_array().unwrap().as_slice());
    let checked = filled(&world, &log, 36).await;
    assert_eq!((checked.rows, checked.difference), (36, None));
    let (status, _) = other.call(super::support::ADMIN, http::Method::DELETE, "/log", None).await;
    assert_eq!(status, 202);
    let checked = filled(&world, &log, 36).await;
    assert_eq!((checked.rows, checked.difference), (36, None), "made again");
    other.stop().await;
}
