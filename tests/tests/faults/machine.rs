//! What the machine does to a role or to Kafka: a clock that jumps, a disk that is full.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use kafka_dev::Broker;
use testkit::broker;
use testkit::pipeline::{Role, Setup, report};
use testkit::{Expect, MovedClock};

use crate::scenes::{arrived, more_arrived, refused, shop};

/// The wall clocks of the three workers jump, forth and back. What is measured in durations goes on; nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_lose_and_double_nothing() {
    let clock = MovedClock::build().unwrap();
    let variables = clock.variables();
    let setup = Setup::new("clocks")
        .environment(Role::Fanout, variables.clone())
        .environment(Role::Delivery, variables.clone())
        .environment(Role::Retry, variables);
    let (mut pipeline, application, _) = shop(setup, 3).await;
    let load = pipeline.load(&application, "a.b", 40);
    // Far beyond every timeout, and within what a receiver allows the time in a signature to differ.
    for seconds in [250, -250, 0] {
        more_arrived(&pipeline, 120).await;
        clock.moved_by(seconds).unwrap();
    }
    more_arrived(&pipeline, 120).await;
    load.stop().await.unwrap();
    for role in [Role::Fanout, Role::Delivery, Role::Retry] {
        let process = pipeline.roles().process(role, 1).unwrap();
        assert_eq!(process.exit().unwrap(), None, "{role:?} runs");
    }
    pipeline.finish(Expect::default()).await.unwrap();
}

/// A file system of so many MiB of its own, which `mount` gives to root alone.
///
/// It is gone with the process that holds it, however that one ends: a shell reads from a pipe whose only writer we are, and
/// unmounts when the read ends.
struct SmallDisk {
    folder: tempfile::TempDir,
    leash: Option<ChildStdin>,
    keeper: Child,
}

/// `$1` is the folder, `$2` the size. Whatever still has a file open there goes on; the mount is gone with it.
const KEEPER: &str = r#"
mount -t tmpfs -o "size=$2" small "$1" || exit 1
echo mounted
read -r line
umount --lazy "$1"
"#;

impl SmallDisk {
    fn mount(mib: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "small-disk"])
            .arg(folder.path())
            .arg(format!("{mib}m"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C at the terminal reaches our process only.
            .process_group(0)
            .spawn()
            .unwrap();
        let leash = keeper.stdin.take();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "this test has to be root: a file system of its own cannot be mounted");
        Self { folder, leash, keeper }
    }

    fn grow(&self, mib: u32) {
        let option = format!("remount,size={mib}m");
        let status = Command::new("mount").args(["-o", &option]).arg(self.path()).status().unwrap();
        assert!(status.success(), "mount -o {option} failed with {status}");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.leash.take());
        if !self.keeper.wait().is_ok_and(|status| status.success()) {
            report(&format!("{} stays mounted", self.path().display()));
        }
    }
}

/// What is held here by the test alone is held by nobody when its process was killed: the pipe ends either way.
#[test]
#[ignore = "long: make faults; needs root, for a file system of its own"]
fn a_small_disk_is_unmounted_when_the_process_that_holds_it_is_gone() {
    let mounted = |path: &Path| std::fs::read_to_string("/proc/self/mounts").unwrap().contains(path.to_str().unwrap());
    let mut disk = SmallDisk::mount(1);
    let path = disk.path().to_owned();
    assert!(mounted(&path));
    // What the end of a process does to it, without anything of [`Drop`].
    drop(disk.leash.take());
    assert!(disk.keeper.wait().unwrap().success());
    assert!(!mounted(&path));
}

/// Kafka's disk gets full under load, and Kafka ends. With room again and a new start everything that was accepted is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults; needs root, for a file system of its own"]
async fn a_kafka_whose_disk_is_full_loses_nothing_that_was_accepted() {
    let disk = SmallDisk::mount(192);
    let kafka = broker::start(disk.path(), 0).await.unwrap();
    let options = kafka.options().clone();
    let (mut pipeline, application, _) = shop(Setup::new("full-disk").on(kafka.bootstrap()), 3).await;
    let load = pipeline.load(&application, "a.b", 100);
    arrived(&pipeline, 300).await;
    refused(&pipeline, &application, Duration::from_secs(180)).await;
    disk.grow(2_048);
    // It may have ended by itself, or may only have given up its log folder.
    kafka.kill().await.unwrap();
    let kafka = Broker::start(options).await.unwrap();
    more_arrived(&pipeline, 600).await;
    let loaded = load.stop().await.unwrap();
    for role in Role::ALL {
        let exit = pipeline.roles().process(role, 1).unwrap().exit().unwrap();
        assert_eq!(exit, None, "{role:?} has recovered by itself");
    }
    let expect = Expect { repeats: 2_000, dropped: None, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, Duration::from_secs(180)).await.unwrap();
    report(&format!("full disk: {} accepted, {} delivered", loaded.accepted, outcome.audit.counts.delivered));
    kafka.kill().await.unwrap();
}
