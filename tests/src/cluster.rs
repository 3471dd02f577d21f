//! Three brokers of a test's own, as in production: every record three times, two acknowledge, leaders and coordinators move.
//!
//! ```text
//! Cluster::start           three nodes, broker and controller each, started at once; gone with the test
//! kill, stop, restart      by node, from 1; two of three down means: no controller, nothing is decided
//! pause, resume
//! layout, coordinator      who leads, who is in sync, who coordinates
//! rotate, reassign, elect  moves it
//! ```

pub(crate) mod admin;
mod wire;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use kafka_dev::{Broker, BrokerOptions, Member, ports};

pub use self::admin::{Coordinated, Election, Layout, Partition};
use crate::broker::cache;
use crate::wait::eventually;

/// Nodes of a cluster.
pub const NODES: u16 = 3;
/// The Java heap of a node. Resident is about 200 more.
const HEAP_MIB: u32 = 256;
/// Three virtual machines start on cores that others use too.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// An election takes a second, fencing a dead node 6 s; catching up depends on what was written meanwhile.
const MOVES_WITHIN: Duration = Duration::from_secs(120);

/// Three brokers. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

/// A place for a broker, with ports and data that stay its own.
#[derive(Debug)]
struct Node {
    options: BrokerOptions,
    running: Option<Broker>,
    paused: bool,
}

impl Cluster {
    /// Starts all nodes at once, their data and logs in a folder, and returns when they form a cluster.
    ///
    /// # Errors
    /// As [`kafka_dev::prepare`] and [`Broker::start`].
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let jars = kafka_dev::prepare(&cache(), |line| tracing::info!("{line}")).await?;
        let controllers = (0..NODES).map(|_| ports::choose()).collect::<Result<Vec<_>, _>>()?;
        let mut nodes = Vec::new();
        for (node, controller) in (1..).zip(&controllers) {
            let (data, log) = (folder.join(format!("kafka-{node}")), folder.join(format!("kafka-{node}.log")));
            let mut options = BrokerOptions::new(jars.clone(), data, log);
            options.port = ports::choose()?;
            options.controller_port = *controller;
            options.member = Some(Member { node, controllers: controllers.clone() });
            options.heap_mib = HEAP_MIB;
            options.quick = true;
            options.ready_within = READY_WITHIN;
            nodes.push(Node { options, running: None, paused: false });
        }
        let mut cluster = Self { nodes };
        let [one, two, three] = &mut cluster.nodes[..] else { bail!("a cluster has {NODES} nodes") };
        tokio::try_join!(one.start(), two.start(), three.start())?;
        cluster.whole().await?;
        Ok(cluster)
    }

    /// Where clients connect: all nodes, whether they run or not.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.options.port));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Ends a node at once (SIGKILL).
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&mut self, node: i32) -> anyhow::Result<()> {
        self.node(node)?.take()?.kill().await?;
        Ok(())
    }

    /// Ends a node as an operator does (SIGTERM): it hands its partitions over first.
    ///
    /// # Errors
    /// It does not run.
    pub async fn stop(&mut self, node: i32) -> anyhow::Result<()> {
        self.node(node)?.take()?.stop().await?;
        Ok(())
    }

    /// Starts a node again and waits until it takes part; its replicas may still be behind.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn restart(&mut self, node: i32) -> anyhow::Result<()> {
        self.node(node)?.start().await
    }

    /// The same for two at once: one alone would wait for the other, because two make a quorum.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn restart_both(&mut self, nodes: [i32; 2]) -> anyhow::Result<()> {
        let mut places = self.nodes.iter_mut().zip(1..).filter(|(_, number)| nodes.contains(number));
        let (Some((one, _)), Some((two, _))) = (places.next(), places.next()) else {
            bail!("no such nodes: {nodes:?}")
        };
        tokio::try_join!(one.start(), two.start())?;
        Ok(())
    }

    /// Freezes a node (SIGSTOP).
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&mut self, node: i32) -> anyhow::Result<()> {
        let node = self.node(node)?;
        node.running.as_mut().context("this node does not run")?.pause()?;
        node.paused = true;
        Ok(())
    }

    /// Lets it run again (SIGCONT).
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&mut self, node: i32) -> anyhow::Result<()> {
        let node = self.node(node)?;
        node.running.as_mut().context("this node does not run")?.resume()?;
        node.paused = false;
        Ok(())
    }

    /// What a node that runs knows of these topics.
    ///
    /// # Errors
    /// No node runs, it does not answer, or there is no such topic.
    pub async fn layout(&self, topics: &[&str]) -> anyhow::Result<Layout> {
        admin::layout(self.port()?, Some(topics)).await
    }

    /// Waits until all nodes take part and every replica of every partition has all of it, as every node sees it.
    ///
    /// # Errors
    /// It is not so in 120 s.
    pub async fn whole(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            let port = node.options.port;
            let ask = || async { admin::layout(port, None).await.ok()?.is_whole(NODES.into()).then_some(()) };
            eventually("a whole cluster", MOVES_WITHIN, ask)
                .await
                .with_context(|| format!("asked 127.0.0.1:{port}"))?;
        }
        Ok(())
    }

    /// The node that coordinates a group or the transactions of an id.
    ///
    /// # Errors
    /// None does within 120 s.
    pub async fn coordinator(&self, of: Coordinated<'_>) -> anyhow::Result<i32> {
        let port = self.port()?;
        eventually("a coordinator", MOVES_WITHIN, || async { admin::coordinator(port, of).await.ok() }).await
    }

    /// Moves the leader of every partition of these topics to its next replica that is in sync. With `__consumer_offsets` and
    /// `__transaction_state` that moves the coordinators.
    ///
    /// # Errors
    /// One has not moved in 120 s.
    pub async fn rotate(&self, topics: &[&str]) -> anyhow::Result<()> {
        let moved = admin::rotated(&self.layout(topics).await?.partitions)?;
        self.lead(&moved).await
    }

    /// Makes the first replica of each of these partitions its leader.
    ///
    /// # Errors
    /// It is not in 120 s: it may not be in sync.
    pub async fn lead(&self, partitions: &[Partition]) -> anyhow::Result<()> {
        self.reassign(partitions).await?;
        let topics = topics_of(partitions);
        let ask = || async {
            admin::elect(self.port().ok()?, Election::Preferred, partitions).await.ok()?;
            let now = self.layout(&topics).await.ok()?.partitions;
            let is_led = |it: &Partition| it.leader.is_some() && it.leader == it.replicas.first().copied();
            let wanted = |it: &&Partition| partitions.iter().any(|to| (&to.topic, to.index) == (&it.topic, it.index));
            now.iter().filter(wanted).all(is_led).then_some(())
        };
        eventually("leaders that have moved", MOVES_WITHIN, ask).await
    }

    /// Gives partitions other replicas, the preferred leader first, and waits until exactly those keep them.
    ///
    /// # Errors
    /// They do not in 120 s.
    pub async fn reassign(&self, partitions: &[Partition]) -> anyhow::Result<()> {
        admin::reassign(self.port()?, partitions).await?;
        let topics = topics_of(partitions);
        let ask = || async {
            let now = self.layout(&topics).await.ok()?.partitions;
            let is_done = |to: &Partition| {
                let is_it = |it: &&Partition| (&it.topic, it.index) == (&to.topic, to.index);
                now.iter().find(is_it).is_some_and(|it| it.replicas == to.replicas)
            };
            partitions.iter().all(is_done).then_some(())
        };
        eventually("replicas that have moved", MOVES_WITHIN, ask).await
    }

    /// Elects leaders, and waits until each partition has one.
    ///
    /// # Errors
    /// One has none in 120 s.
    pub async fn elect(&self, election: Election, partitions: &[Partition]) -> anyhow::Result<()> {
        let topics = topics_of(partitions);
        let ask = || async {
            admin::elect(self.port().ok()?, election, partitions).await.ok()?;
            let now = self.layout(&topics).await.ok()?.partitions;
            now.iter().all(|it| it.leader.is_some()).then_some(())
        };
        eventually("elected leaders", MOVES_WITHIN, ask).await
    }

    /// Sets one property of a topic.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn configure(&self, topic: &str, name: &str, value: &str) -> anyhow::Result<()> {
        admin::configure(self.port()?, topic, name, value).await
    }

    /// A node that answers.
    fn port(&self) -> anyhow::Result<u16> {
        let mut answering = self.nodes.iter().filter(|node| node.running.is_some() && !node.paused);
        Ok(answering.next().context("no node runs")?.options.port)
    }

    fn node(&mut self, node: i32) -> anyhow::Result<&mut Node> {
        let at = usize::try_from(node - 1).ok();
        at.and_then(|at| self.nodes.get_mut(at)).with_context(|| format!("there is no node {node}"))
    }
}

fn topics_of(partitions: &[Partition]) -> Vec<&str> {
    let topics: BTreeSet<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
    topics.into_iter().collect()
}

impl Node {
    async fn start(&mut self) -> anyhow::Result<()> {
        self.running = Some(Broker::start(self.options.clone()).await?);
        Ok(())
    }

    fn take(&mut self) -> anyhow::Result<Broker> {
        self.paused = false;
        self.running.take().context("this node does not run")
    }
}
