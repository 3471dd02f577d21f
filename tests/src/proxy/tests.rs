//! The proxy against a broker of its own kind: one that answers every request with its correlation id.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const SOON: Duration = Duration::from_secs(60);

/// Echoes correlation ids; stands for a broker.
async fn broker() -> Proxied {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::runtime::Handle::current().spawn(async move {
                while let Ok(Some(frame)) = frame::Frame::read(&mut stream).await {
                    let (_, correlation) = frame.request().unwrap();
                    stream.write_all(&[0, 0, 0, 4]).await.unwrap();
                    stream.write_i32(correlation).await.unwrap();
                }
            }));
        }
    };
    drop(tokio::runtime::Handle::current().spawn(task));
    Proxied { port, advertised: kafka_dev::ports::choose().unwrap() }
}

async fn ask(stream: &mut TcpStream, key: i16, correlation: i32) {
    stream.write_all(&[0, 0, 0, 8]).await.unwrap();
    stream.write_i16(key).await.unwrap();
    stream.write_i16(0).await.unwrap();
    stream.write_i32(correlation).await.unwrap();
}

/// The next answer's correlation id; `None` when the connection is closed.
async fn answered(stream: &mut TcpStream) -> Option<i32> {
    let frame = tokio::time::timeout(SOON, frame::Frame::read(stream)).await.expect("an answer or an end");
    frame.ok().flatten().and_then(|frame| frame.answer())
}

#[tokio::test]
async fn one_answer_of_one_kind_is_lost_and_the_others_pass() {
    let proxy = Proxy::start(broker().await).unwrap();
    let mut client = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    let mut lost = proxy.on_next(Api::EndTxn, Action::LoseAnswer);
    for (key, correlation) in [(0, 1), (26, 2), (26, 3), (1, 4)] {
        ask(&mut client, key, correlation).await;
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(answered(&mut client).await.unwrap());
    }
    assert_eq!(seen, [1, 3, 4]);
    lost.done(SOON).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_closed_in_place_of_a_request_or_an_answer() {
    let proxy = Proxy::start(broker().await).unwrap();
    for action in [Action::CloseForRequest, Action::CloseForAnswer] {
        let mut client = TcpStream::connect(proxy.bootstrap()).await.unwrap();
        let mut closed = proxy.on_next(Api::InitProducerId, action);
        ask(&mut client, 22, 1).await;
        assert_eq!(answered(&mut client).await, None);
        closed.done(SOON).await.unwrap();
    }
}

#[tokio::test]
async fn a_trap_whose_connection_ends_before_the_answer_waits_for_the_next_request() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let proxy = Proxy::start(Proxied { port, advertised: kafka_dev::ports::choose().unwrap() }).unwrap();
    let mut closes = proxy.on_next(Api::FindCoordinator, Action::CloseForAnswer);
    let mut client = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    let (upstream, _) = silent.accept().await.unwrap();
    ask(&mut client, 10, 1).await;
    closes.met(SOON).await.unwrap();
    drop(upstream);
    assert_eq!(answered(&mut client).await, None, "closed without an answer");
    let mut again = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    let (mut upstream, _) = silent.accept().await.unwrap();
    ask(&mut again, 10, 2).await;
    assert!(frame::Frame::read(&mut upstream).await.unwrap().is_some(), "a broker answers what it has read");
    upstream.write_all(&[0, 0, 0, 4, 0, 0, 0, 2]).await.unwrap();
    assert_eq!(answered(&mut again).await, None, "closed in place of the answer");
    closes.done(SOON).await.unwrap();
}

#[tokio::test]
async fn held_answers_come_in_order_when_released() {
    let proxy = Proxy::start(broker().await).unwrap();
    let mut client = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    let mut held = proxy.on_next(Api::ListOffsets, Action::HoldAnswer);
    ask(&mut client, 2, 1).await;
    ask(&mut client, 3, 2).await;
    held.done(SOON).await.unwrap();
    let mut byte = [0];
    assert!(client.try_read(&mut byte).is_err(), "nothing came");
    held.release();
    assert_eq!(answered(&mut client).await, Some(1));
    assert_eq!(answered(&mut client).await, Some(2));
}

#[tokio::test]
async fn a_stall_ends_with_everything_and_a_cut_with_nothing() {
    let proxy = Proxy::start(broker().await).unwrap();
    let mut client = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    for stall in [Proxy::stall, Proxy::stall_answers] {
        stall(&proxy);
        ask(&mut client, 0, 1).await;
        assert!(client.try_read(&mut [0]).is_err(), "nothing came");
        proxy.restore();
        assert_eq!(answered(&mut client).await, Some(1));
    }
    proxy.cut();
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0, "closed");
    let mut refused = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
    proxy.restore();
    let mut again = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    ask(&mut again, 0, 9).await;
    assert_eq!(answered(&mut again).await, Some(9));
}
