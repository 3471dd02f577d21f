//! Before a broker starts again: its controller runs alone until it has fenced the former incarnation.
//!
//! Controllers of a real cluster live on and do this while the broker is away. A single node that starts again finds itself
//! noted as alive, so it loads its transactions and goes on writing their markers; when the dead incarnation's session ends,
//! its partitions lose their leader for a moment, and Kafka 4.3.1 takes them for deleted, skips their markers and notes the
//! transaction as complete (`KRaftMetadataCache.getPartitionLeaderEndpoint`, `TransactionMarkerChannelManager`). Fenced
//! beforehand, it loads nothing until it leads everything again. It also need not wait for that session, which takes longer.

use std::path::Path;
use std::time::Duration;

use crate::broker::{comes_up, java_arguments};
use crate::tether::Launch;
use crate::{BrokerOptions, KafkaDevError};

/// After this without a heartbeat the controller fences a broker.
const SESSION: Duration = Duration::from_millis(500);
/// An active controller that has fenced nobody for so long had nobody to fence.
const NOBODY_AFTER: Duration = Duration::from_secs(10);
/// It stops within a second; one that does not is stuck, and has written what it had to by then.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How often its log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Where the controller says what it does to brokers.
const TELLS: &str = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.controller.ReplicationControlManager=info";
/// It says this when it begins to work ...
const ACTIVE: &str = "Performing controller activation";
/// ... and this when it fences.
const FENCED: &str = "Fencing broker";

/// Runs the controller until nobody is left who must be fenced.
///
/// # Errors
/// It ends by itself or does not become active in time, with the end of what it printed.
pub(crate) async fn former_incarnation(options: &BrokerOptions) -> Result<(), KafkaDevError> {
    let (properties, log) = (options.data_dir.join("controller.properties"), options.data_dir.join("controller.log"));
    std::fs::write(&properties, render(options)).map_err(KafkaDevError::file("write", &properties))?;
    // An earlier line would be taken for one of this run.
    std::fs::write(&log, "").map_err(KafkaDevError::file("write", &log))?;
    let mut launch = Launch::new("java", &log);
    launch.arguments = java_arguments(options);
    let launch = launch.argument("-XX:TieredStopAtLevel=1").argument("-Xmx256m").argument(TELLS);
    let process = launch.argument("kafka.Kafka").argument(&properties).spawn().await;
    let mut process = process.map_err(KafkaDevError::file("start kafka's controller with the log", &log))?;
    comes_up(&mut process, (options.controller_port, options.ready_within, &log), fenced(&log)).await?;
    // It has said so before it has written it: killed now, it may not have.
    let stopped = process.stop(STOP_WITHIN).await;
    stopped.map_err(|source| KafkaDevError::Process { doing: "stop", pid: process.pid(), source })?;
    Ok(())
}

async fn fenced(log: &Path) -> Result<(), KafkaDevError> {
    let mut turns = tokio::time::interval(LOOK_EVERY);
    let mut active_since = None;
    loop {
        let now = turns.tick().await;
        let text = std::fs::read_to_string(log).map_err(KafkaDevError::file("read", log))?;
        if text.contains(ACTIVE) {
            let since = *active_since.get_or_insert(now);
            if text.contains(FENCED) || now - since >= NOBODY_AFTER {
                return Ok(());
            }
        }
    }
}

/// The same node, its controller only.
fn render(options: &BrokerOptions) -> String {
    let port = options.controller_port;
    format!(
        "process.roles=controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{port}\n\
         listeners=CONTROLLER://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\nbroker.session.timeout.ms={}\nbroker.heartbeat.interval.ms={}\n",
        options.storage().display(),
        SESSION.as_millis(),
        SESSION.as_millis() / 2
    )
}
