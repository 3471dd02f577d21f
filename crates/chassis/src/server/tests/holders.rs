//! What connections that showed tokens leave to others. Ten places, of which one waits for the next connection.

use super::*;

async fn ten() -> Running {
    start(ServerLimits { connections: 10, per_address: Some(10), ..limits() }, None).await
}

fn shows(token: u32) -> Vec<u8> {
    get(&format!("authorization: {token}\r\n"))
}

/// A whole answer; whether its connection goes on.
async fn whole(socket: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n0") {
        assert!(socket.read_buf(&mut bytes).await.unwrap() > 0, "{}", String::from_utf8_lossy(&bytes));
    }
    !String::from_utf8(bytes).unwrap().contains("connection: close")
}

async fn goes_on(socket: &mut TcpStream, token: u32) -> bool {
    socket.write_all(&shows(token)).await.unwrap();
    whole(socket).await
}

async fn idle(running: &Running, token: u32, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut socket = running.connect().await;
        goes_on(&mut socket, token).await;
        held.push(socket);
    }
    held
}

/// In a request whose body is still coming.
async fn busy(running: &Running, token: u32, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let before = running.metrics.requests.get();
        let head = format!("POST /small HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: 6\r\n\r\nabc");
        held.push(running.sending(head.as_bytes()).await);
        while running.metrics.requests.get() == before || running.metrics.without_token.get() > 0 {
            tokio::task::yield_now().await;
        }
    }
    held
}

async fn until_closed(running: &Running, count: u64) {
    while running.closed(Closed::HolderLimit) < count {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.closed(Closed::HolderLimit), count);
}

#[tokio::test]
async fn one_token_does_not_hold_every_place() {
    let running = ten().await;
    let mut held = idle(&running, 1, 10).await;
    let mut other = running.sending(&shows(2)).await;
    assert!(whole(&mut other).await);
    until_closed(&running, 4).await;
    for oldest in held.drain(..4) {
        assert!(rest(oldest).await.is_empty(), "the oldest idle ones went");
    }
    for socket in &mut held {
        assert!(goes_on(socket, 1).await, "three quarters stay");
    }
    drop((held, other));
    running.end().await;
}

#[tokio::test]
async fn what_one_holds_idle_is_for_the_next() {
    let running = ten().await;
    let held = idle(&running, 1, 6).await;
    let mut others = idle(&running, 2, 4).await;
    until_closed(&running, 3).await;
    for socket in &mut others {
        assert!(goes_on(socket, 2).await);
    }
    let closed = futures_util::future::join_all(held.into_iter().take(3).map(rest)).await;
    assert!(closed.iter().all(Vec::is_empty));
    drop(others);
    running.end().await;
}

#[tokio::test]
async fn a_request_is_not_cut_for_another() {
    let running = ten().await;
    let mut working = busy(&running, 1, 6).await;
    let mut beyond = running.connect().await;
    // It is answered, and then it is over.
    goes_on(&mut beyond, 1).await;
    assert!(rest(beyond).await.is_empty());
    let mut other = running.sending(&shows(2)).await;
    assert!(whole(&mut other).await, "there is a place for another");
    for socket in &mut working {
        socket.write_all(b"def").await.unwrap();
        answered(socket).await;
    }
    until_closed(&running, 1).await;
    drop((working, other));
    running.end().await;
}

#[tokio::test]
async fn a_balancer_counts_by_itself() {
    let running = ten().await;
    let mut carrying = idle(&running, 1, 3).await;
    for socket in &mut carrying {
        assert!(goes_on(socket, 2).await);
    }
    drop(idle(&running, 1, 10).await);
    for socket in &mut carrying {
        assert!(goes_on(socket, 1).await, "it is not closed for what one of those does whose tokens it carries");
    }
    let mut more = idle(&running, 1, 7).await;
    for socket in &mut more {
        // What was closed for another is closed.
        let _gone = socket.write_all(&shows(2)).await;
    }
    let mut other = running.sending(&shows(3)).await;
    assert!(whole(&mut other).await, "nor does it hold every place");
    drop((carrying, more, other));
    running.end().await;
}

#[tokio::test]
async fn the_operator_is_not_bounded() {
    let running = ten().await;
    let mut held = idle(&running, 0, 8).await;
    for socket in &mut held {
        assert!(goes_on(socket, 0).await);
    }
    assert_eq!(running.closed(Closed::HolderLimit), 0);
    drop(held);
    running.end().await;
}
