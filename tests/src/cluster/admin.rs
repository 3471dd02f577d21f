//! Asks a cluster who leads and who coordinates, and moves it.
//!
//! Each call asks one node, and may meet one that is just being elected: whoever calls asks again, with a deadline.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

use super::wire::{Answer, Call};

/// The answer to an election that changes nothing.
const ELECTION_NOT_NEEDED: i16 = 84;
/// How long a controller may take for one of these.
const WITHIN_MS: i32 = 4_000;
/// A topic, among the resources that have a configuration.
const TOPIC: i8 = 2;

/// A partition as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub index: i32,
    /// The node that leads it.
    pub leader: Option<i32>,
    /// The nodes that keep it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that have all of it.
    pub in_sync: Vec<i32>,
}

/// What a node says of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Nodes that take part, in order.
    pub nodes: Vec<i32>,
    /// Every partition that was asked for.
    pub partitions: Vec<Partition>,
}

/// What has a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinated<'a> {
    /// A consumer group.
    Group(&'a str),
    /// A transactional id.
    Transactions(&'a str),
}

/// Which replica may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first of its replicas.
    Preferred,
    /// Any that lives, if none is in sync: what only the others had is cut off.
    Unclean,
}

impl Layout {
    /// Whether so many nodes take part, every partition has a leader, and every replica has all of it.
    #[must_use]
    pub fn is_whole(&self, nodes: usize) -> bool {
        let is_whole = |it: &Partition| it.leader.is_some() && it.in_sync.len() == it.replicas.len();
        self.nodes.len() == nodes && self.partitions.iter().all(is_whole)
    }
}

/// What the node on this port knows of these topics; `None`: of all.
pub(super) async fn layout(port: u16, topics: Option<&[&str]>) -> anyhow::Result<Layout> {
    let mut call = Call::new(3, 1, false);
    match topics {
        Some(topics) => call.list(topics.iter(), |call, topic| call.text(topic)),
        None => call.number(-1),
    }
    let mut answer = call.send(port).await?;
    let mut nodes = answer.list(|answer| {
        let node = answer.number()?;
        answer.text()?;
        answer.number()?;
        answer.text()?;
        Ok(node)
    })?;
    nodes.sort_unstable();
    answer.number()?;
    let partitions = answer.list(|answer| {
        let (error, topic) = (answer.short()?, answer.text()?.unwrap_or_default());
        ensure!(error == 0, "{topic}: error {error}");
        answer.byte()?;
        answer.list(|answer| partition(answer, &topic))
    })?;
    Ok(Layout { nodes, partitions: partitions.into_iter().flatten().collect() })
}

fn partition(answer: &mut Answer, topic: &str) -> anyhow::Result<Partition> {
    // A partition without a leader is an error too, and one that shows.
    answer.short()?;
    let (index, leader) = (answer.number()?, answer.number()?);
    Ok(Partition {
        topic: topic.to_owned(),
        index,
        leader: (leader >= 0).then_some(leader),
        replicas: answer.list(Answer::number)?,
        in_sync: answer.list(Answer::number)?,
    })
}

/// The node that coordinates a group or the transactions of an id.
pub(super) async fn coordinator(port: u16, of: Coordinated<'_>) -> anyhow::Result<i32> {
    let (key, kind) = match of {
        Coordinated::Group(group) => (group, 0),
        Coordinated::Transactions(id) => (id, 1),
    };
    let mut call = Call::new(10, 1, false);
    call.text(key);
    call.byte(kind);
    let mut answer = call.send(port).await?;
    answer.number()?;
    let (error, why) = (answer.short()?, answer.text()?);
    ensure!(error == 0, "the coordinator of {key}: error {error} {}", why.unwrap_or_default());
    answer.number()
}

/// Gives partitions these replicas, the preferred leader first. Without a new one among them that is done at once.
pub(super) async fn reassign(port: u16, partitions: &[Partition]) -> anyhow::Result<()> {
    let mut call = Call::new(45, 0, true);
    call.number(WITHIN_MS);
    call.list(by_topic(partitions).into_iter(), |call, (topic, partitions)| {
        call.text(topic);
        call.list(partitions.into_iter(), |call, partition| {
            call.number(partition.index);
            call.list(partition.replicas.iter(), |call, replica| call.number(*replica));
            call.end();
        });
        call.end();
    });
    call.end();
    let mut answer = call.send(port).await?;
    answer.number()?;
    let (error, why) = (answer.short()?, answer.text()?);
    ensure!(error == 0, "reassigning: error {error} {}", why.unwrap_or_default());
    answer.list(|answer| {
        let topic = answer.text()?.unwrap_or_default();
        answer.list(|answer| {
            let (index, error, why) = (answer.number()?, answer.short()?, answer.text()?);
            ensure!(error == 0, "reassigning {topic}/{index}: error {error} {}", why.unwrap_or_default());
            answer.end()
        })?;
        answer.end()
    })?;
    Ok(())
}

/// Elects leaders of these partitions.
pub(super) async fn elect(port: u16, election: Election, partitions: &[Partition]) -> anyhow::Result<()> {
    let mut call = Call::new(43, 1, false);
    call.byte(match election {
        Election::Preferred => 0,
        Election::Unclean => 1,
    });
    call.list(by_topic(partitions).into_iter(), |call, (topic, partitions)| {
        call.text(topic);
        call.list(partitions.into_iter(), |call, partition| call.number(partition.index));
    });
    call.number(WITHIN_MS);
    let mut answer = call.send(port).await?;
    answer.number()?;
    let error = answer.short()?;
    ensure!(error == 0, "electing: error {error}");
    answer.list(|answer| {
        let topic = answer.text()?.unwrap_or_default();
        answer.list(|answer| {
            let (index, error, why) = (answer.number()?, answer.short()?, answer.text()?);
            let is_done = error == 0 || error == ELECTION_NOT_NEEDED;
            ensure!(is_done, "electing a leader of {topic}/{index}: error {error} {}", why.unwrap_or_default());
            Ok(())
        })
    })?;
    Ok(())
}

/// Sets one property of a topic.
pub(crate) async fn configure(port: u16, topic: &str, name: &str, value: &str) -> anyhow::Result<()> {
    let mut call = Call::new(44, 0, false);
    call.count(1);
    call.byte(TOPIC);
    call.text(topic);
    call.count(1);
    call.text(name);
    // 0: sets it; and again 0: in earnest, not as a rehearsal.
    call.byte(0);
    call.text(value);
    call.byte(0);
    let mut answer = call.send(port).await?;
    answer.number()?;
    answer.list(|answer| {
        let (error, why) = (answer.short()?, answer.text()?);
        ensure!(error == 0, "{topic}: {name}={value}: error {error} {}", why.unwrap_or_default());
        answer.byte()?;
        answer.text()
    })?;
    Ok(())
}

/// The same partitions, each led by the next of its replicas that is in sync.
pub(super) fn rotated(partitions: &[Partition]) -> anyhow::Result<Vec<Partition>> {
    partitions.iter().map(rotate).collect()
}

fn rotate(partition: &Partition) -> anyhow::Result<Partition> {
    let at = partition.replicas.iter().position(|replica| Some(*replica) == partition.leader);
    let leader = at.with_context(|| format!("{}/{} has no leader", partition.topic, partition.index))?;
    let mut replicas = partition.replicas.clone();
    replicas.rotate_left(leader + 1);
    let next = replicas.iter().position(|replica| partition.in_sync.contains(replica)).unwrap_or(0);
    replicas.rotate_left(next);
    Ok(Partition { replicas, ..partition.clone() })
}

fn by_topic(partitions: &[Partition]) -> BTreeMap<&str, Vec<&Partition>> {
    let mut topics: BTreeMap<&str, Vec<&Partition>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition);
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_by(leader: Option<i32>, in_sync: &[i32]) -> Partition {
        Partition { topic: "t".into(), index: 0, leader, replicas: vec![3, 1, 2], in_sync: in_sync.to_vec() }
    }

    #[test]
    fn leadership_goes_to_the_next_replica_that_has_everything() {
        assert_eq!(rotate(&led_by(Some(3), &[1, 2, 3])).unwrap().replicas, [1, 2, 3]);
        assert_eq!(rotate(&led_by(Some(2), &[1, 2, 3])).unwrap().replicas, [3, 1, 2]);
        assert_eq!(rotate(&led_by(Some(3), &[2, 3])).unwrap().replicas, [2, 3, 1]);
        assert!(rotate(&led_by(None, &[1])).is_err());
    }

    #[test]
    fn a_cluster_is_whole_when_nobody_and_nothing_is_missing() {
        let whole = Layout { nodes: vec![1, 2, 3], partitions: vec![led_by(Some(1), &[1, 2, 3])] };
        assert!(whole.is_whole(3));
        assert!(!Layout { nodes: vec![1, 2], ..whole.clone() }.is_whole(3));
        assert!(!Layout { partitions: vec![led_by(Some(1), &[1, 3])], ..whole.clone() }.is_whole(3));
        assert!(!Layout { partitions: vec![led_by(None, &[1, 2, 3])], ..whole }.is_whole(3));
    }
}
