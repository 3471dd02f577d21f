//! One client's connection: requests one way, answers the other, traps and stalls between.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::frame::Frame;
use super::trap::{Action, Trap};
use super::{Flow, Shared};

/// Traps whose request has passed, by correlation id: their answer is still to come.
type Awaited = Mutex<HashMap<i32, Trap>>;

/// Forwards until either side closes or the proxy is cut.
pub(crate) async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut flow = shared.flow.subscribe();
    if *flow.borrow() == Flow::Cut {
        return;
    }
    let awaited = Awaited::default();
    let nodelay = client.set_nodelay(true);
    let (from_client, mut to_client) = client.into_split();
    let mut from_client = BufReader::new(from_client);
    let forward = async {
        nodelay?;
        let broker = TcpStream::connect(shared.upstream).await?;
        broker.set_nodelay(true)?;
        let (from_broker, to_broker) = broker.into_split();
        tokio::select! {
            ended = requests(&mut from_client, to_broker, &shared, &awaited) => ended,
            ended = answers(BufReader::new(from_broker), &mut to_client, &shared, &awaited) => ended,
        }
    };
    tokio::select! {
        // Both ends learn of it by the closed connection, as they would without a proxy.
        ended = forward => drop(ended),
        _ = flow.wait_for(|flow| *flow == Flow::Cut) => {}
    }
    // Their requests have no answer here any more. The client asks again elsewhere once this connection is closed, and that is
    // the next request of the kind: so they are set before.
    shared.traps.set_again(awaited.into_inner().into_values());
}

async fn requests(
    mut client: impl AsyncRead + Unpin,
    mut broker: impl AsyncWrite + Unpin,
    shared: &Shared,
    awaited: &Awaited,
) -> io::Result<()> {
    let mut flow = shared.flow.subscribe();
    while let Some(frame) = Frame::read(&mut client).await? {
        wait_while(&mut flow, |flow| flow == Flow::StallAll).await;
        if let Some((key, correlation)) = frame.request()
            && let Some(trap) = shared.traps.take(key, frame.client())
        {
            if trap.action == Action::CloseForRequest {
                trap.done();
                return Ok(());
            }
            awaited.lock().insert(correlation, trap);
        }
        broker.write_all(frame.bytes()).await?;
    }
    Ok(())
}

async fn answers(
    mut broker: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    shared: &Shared,
    awaited: &Awaited,
) -> io::Result<()> {
    let mut flow = shared.flow.subscribe();
    while let Some(mut frame) = Frame::read(&mut broker).await? {
        let trap = frame.answer().and_then(|correlation| awaited.lock().remove(&correlation));
        if let Some(mut trap) = trap {
            match trap.action {
                Action::LoseAnswer => {
                    trap.done();
                    continue;
                }
                Action::CloseForAnswer | Action::CloseForRequest => {
                    trap.done();
                    return Ok(());
                }
                Action::Fail(code) => {
                    frame = frame.failed(code);
                    trap.done();
                }
                Action::HoldAnswer => {
                    trap.done();
                    trap.released().await;
                }
            }
        }
        let delay = shared.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        wait_while(&mut flow, |flow| flow != Flow::Open).await;
        client.write_all(frame.bytes()).await?;
    }
    Ok(())
}

async fn wait_while(flow: &mut watch::Receiver<Flow>, held: fn(Flow) -> bool) {
    // The sender lives in what we borrow, so there is always an end to wait for.
    flow.wait_for(|flow| !held(*flow)).await.map(drop).ok();
}
