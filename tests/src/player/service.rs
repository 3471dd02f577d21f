//! A Service's address: a connection goes to one of the pods behind it, in turn.
//!
//! A pod that was told to end still gets connections for [`SEEN_AFTER`]: so long, at least, it takes until every balancer of a cluster
//! has heard of it. Connections that are there stay where they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chassis::tasks;
use kafka::clock::instant;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::kubelet::{Incidents, Pod, PodState};
use super::manifests::ServiceSpec;

/// From a pod's SIGTERM until nothing new is sent to it. Well within what the chart has a gateway wait (`gateway.shutdownDelayMs`, 5 s).
const SEEN_AFTER: Duration = Duration::from_secs(2);

/// The address, and the pods behind it. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    pub(super) address: SocketAddr,
    behind: Arc<Mutex<Behind>>,
    _stop: Arc<DropGuard>,
}

#[derive(Debug, Default)]
struct Behind {
    pods: Vec<(SocketAddr, watch::Receiver<PodState>)>,
    next: usize,
}

// === impl Service ===

impl Service {
    /// Listens.
    pub(super) async fn start(spec: ServiceSpec, at: Ipv4Addr, incidents: Incidents) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((at, 0)).await.with_context(|| format!("Service {} at {at}", spec.name))?;
        let (address, stop, behind) = (listener.local_addr()?, CancellationToken::new(), Arc::default());
        let accepting = accept(listener, Arc::clone(&behind), spec.name.clone(), incidents);
        let stopped = stop.clone();
        drop(tasks::spawn("service", async move { stopped.run_until_cancelled(accepting).await }));
        Ok(Self { spec, address, behind, _stop: Arc::new(stop.drop_guard()) })
    }

    /// Where it listens, as others name it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.spec.name, self.spec.port)
    }

    /// A pod that the selector finds takes its part from now on.
    pub(super) fn add(&self, pod: &Pod) {
        let mut behind = self.behind.lock();
        // Those whose process is gone for good leave no trace.
        behind.pods.retain(|(_, state)| state.has_changed().is_ok());
        behind.pods.extend(pod.port(&self.spec.target).map(|port| (port, pod.state())));
    }
}

/// Whether a pod gets new connections.
fn is_routed(state: PodState, now: Instant) -> bool {
    match state {
        PodState::NotReady => false,
        PodState::Ready => true,
        PodState::Leaving(since) => now < since + SEEN_AFTER,
    }
}

// === impl Behind ===

impl Behind {
    fn choose(&mut self, now: Instant) -> Option<SocketAddr> {
        let routed = self.pods.iter().filter(|(_, state)| is_routed(*state.borrow(), now));
        let routed: Vec<SocketAddr> = routed.map(|(address, _)| *address).collect();
        self.next += 1;
        (!routed.is_empty()).then(|| routed[self.next % routed.len()])
    }
}

async fn accept(listener: TcpListener, behind: Arc<Mutex<Behind>>, name: String, incidents: Incidents) {
    loop {
        let client = match listener.accept().await {
            Ok((client, _from)) => client,
            Err(error) => {
                incidents.note(format!("Service {name} cannot accept: {error}"));
                return;
            }
        };
        let chosen = behind.lock().choose(instant());
        let (name, incidents) = (name.clone(), incidents.clone());
        drop(tasks::spawn("service-connection", async move {
            if let Err(error) = carry(client, chosen).await {
                incidents.note(format!("Service {name}: a connection was refused: {error:#}"));
            }
        }));
    }
}

/// An error is one of the beginning: what happens later is between the two ends.
async fn carry(mut client: TcpStream, to: Option<SocketAddr>) -> anyhow::Result<()> {
    let to = to.context("no pod is ready")?;
    let mut pod = TcpStream::connect(to).await.with_context(|| to.to_string())?;
    pod.set_nodelay(true)?;
    client.set_nodelay(true)?;
    drop(tokio::io::copy_bidirectional(&mut client, &mut pod).await);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ready_gets_connections_and_who_leaves_does_until_it_is_known() {
        let now = instant();
        assert!(!is_routed(PodState::NotReady, now) && is_routed(PodState::Ready, now));
        assert!(is_routed(PodState::Leaving(now), now + SEEN_AFTER / 2));
        assert!(!is_routed(PodState::Leaving(now), now + SEEN_AFTER));
    }

    #[test]
    fn pods_take_turns() {
        let (ready, not) = (watch::Sender::new(PodState::Ready), watch::Sender::new(PodState::NotReady));
        let address = |port: u16| SocketAddr::from(([127, 1, 0, 1], port));
        let pods =
            vec![(address(1), ready.subscribe()), (address(2), not.subscribe()), (address(3), ready.subscribe())];
        let mut behind = Behind { pods, next: 0 };
        let chosen = [(); 4].map(|()| behind.choose(instant()).unwrap().port());
        assert_eq!((chosen[0], chosen[1]), (chosen[2], chosen[3]));
        assert_eq!(chosen[0] + chosen[1], 4);
        ready.send_replace(PodState::NotReady);
        assert_eq!(behind.choose(instant()), None);
    }
}
