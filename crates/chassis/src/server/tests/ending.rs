//! How a listener ends: told with answers while it is announced, then drained.

use std::convert::Infallible;
use std::pin::Pin;

use futures_util::stream::{self, Stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::oneshot;

use super::*;

/// A request's body that comes when the test says so.
type LateBody = StreamBody<LateFrames>;
type LateFrames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

fn late(body: oneshot::Receiver<Bytes>) -> LateBody {
    let frames: LateFrames = Box::pin(stream::once(async move { Ok(Frame::data(body.await.unwrap())) }));
    StreamBody::new(frames)
}

/// A connection of HTTP/2, and what becomes of it.
async fn http2(running: &Running) -> (SendRequest<LateBody>, JoinHandle<hyper::Result<()>>) {
    let socket = TokioIo::new(running.connect().await);
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await.unwrap();
    (client, tasks::spawn("client", connection))
}

/// A request over it whose body is still to come, and where that is to be given.
fn begun(
    client: &mut SendRequest<LateBody>,
) -> (oneshot::Sender<Bytes>, impl Future<Output = hyper::Result<Response<Incoming>>> + use<>) {
    let (body, comes) = oneshot::channel();
    (body, client.send_request(Request::post("http://x/small").body(late(comes)).unwrap()))
}

async fn whole(response: Response<Incoming>) -> Bytes {
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("connection"), "HTTP/2 knows no such header");
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn asked(client: &mut SendRequest<LateBody>) {
    client.ready().await.unwrap();
    let (body, response) = begun(client);
    body.send(Bytes::new()).unwrap();
    assert_eq!(whole(response.await.unwrap()).await, "0");
}

async fn text(socket: TcpStream) -> String {
    String::from_utf8(rest(socket).await).unwrap()
}

#[tokio::test]
async fn who_asks_on_a_kept_connection_while_the_process_is_about_to_stop_is_served_and_told_to_go() {
    let running = start(limits(), None).await;
    let (mut asks, mut idle) = (running.sending(&get("")).await, running.sending(&get("")).await);
    for socket in [&mut asks, &mut idle] {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n0") {
            assert!(socket.read_buf(&mut bytes).await.unwrap() > 0);
        }
        assert!(!String::from_utf8(bytes).unwrap().contains("connection:"), "it is kept");
    }
    running.shutdown.announce("SIGTERM", LONG);
    asks.write_all(&get("")).await.unwrap();
    let new = running.sending(&get("")).await;
    for answer in [text(asks).await, text(new).await] {
        let served = answer.starts_with("HTTP/1.1 200") && answer.ends_with('0');
        assert!(served && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    // One that asks nothing was left alone so long: closed, it could cross a request.
    assert_eq!(idle.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    running.shutdown.request();
    assert_eq!(text(idle).await, "");
    running.serving.await.unwrap();
}

#[tokio::test]
async fn over_http2_what_is_under_way_is_answered_and_the_next_request_goes_elsewhere() {
    let running = start(limits(), None).await;
    let (mut client, driver) = http2(&running).await;
    asked(&mut client).await;
    let (body, response) = begun(&mut client);
    while running.metrics.requests.get() == 0 {
        tokio::task::yield_now().await;
    }
    running.shutdown.announce("SIGTERM", LONG);
    // Until the GOAWAY is there requests are served; then the client itself sends none that would not be.
    loop {
        let (body, response) = begun(&mut client);
        body.send(Bytes::new()).unwrap_or_default();
        match response.await {
            Ok(response) => assert_eq!(whole(response).await, "0"),
            Err(error) => break assert!(error.is_canceled(), "{error}"),
        }
    }
    body.send(Bytes::from_static(b"abc")).unwrap();
    assert_eq!(whole(response.await.unwrap()).await, "3");
    driver.await.unwrap().unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_connection_of_http2_that_comes_while_the_process_is_about_to_stop_has_its_request_answered() {
    let running = start(limits(), None).await;
    running.shutdown.announce("SIGTERM", LONG);
    for _again in 0..2 {
        let (mut client, driver) = http2(&running).await;
        asked(&mut client).await;
        driver.await.unwrap().unwrap();
    }
    running.end().await;
}

#[tokio::test]
async fn a_request_whose_body_is_still_coming_at_shutdown_is_answered() {
    let running = start(limits(), None).await;
    let mut idle = running.sending(&get("")).await;
    answered(&mut idle).await;
    let mut socket = running.sending(b"POST /small HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    while running.metrics.requests.get() == 0 {
        tokio::task::yield_now().await;
    }
    running.shutdown.request();
    rest(idle).await;
    socket.write_all(b"def").await.unwrap();
    let text = String::from_utf8(rest(socket).await).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with('6'), "{text}");
    let address = running.address;
    running.serving.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}
