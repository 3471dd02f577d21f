//! The two transports of the fake name server.

use std::sync::Arc;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::zone::Zone;

/// Answers datagrams; what does not fit one says so, and is asked for again by TCP.
pub(super) async fn datagrams(socket: UdpSocket, zone: Arc<Zone>) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; 4_096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(request) = Message::from_vec(&buffer[..length]) else { continue };
        let Some((answer, after)) = zone.answer(&request) else { continue };
        let room = usize::from(request.max_payload());
        let socket = Arc::clone(&socket);
        let send = async move {
            tokio::time::sleep(after).await;
            let whole = answer.to_vec().expect("a message");
            let bytes = if whole.len() > room { answer.truncate().to_vec().expect("a message") } else { whole };
            // Who asked may be gone.
            drop(socket.send_to(&bytes, from).await);
        };
        drop(tokio::runtime::Handle::current().spawn(send));
    }
}

/// Answers connections, one question after the other on each.
pub(super) async fn connections(listener: TcpListener, zone: Arc<Zone>) {
    while let Ok((stream, _)) = listener.accept().await {
        let zone = Arc::clone(&zone);
        drop(tokio::runtime::Handle::current().spawn(async move {
            // It ends with its client.
            drop(connection(stream, &zone).await);
        }));
    }
}

async fn connection(mut stream: TcpStream, zone: &Zone) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        let Ok(request) = Message::from_vec(&buffer) else { return Ok(()) };
        let Some((answer, after)) = zone.answer(&request) else { continue };
        tokio::time::sleep(after).await;
        let bytes = answer.to_vec().expect("a message");
        stream.write_u16(u16::try_from(bytes.len()).expect("a message of less than 64 KiB")).await?;
        stream.write_all(&bytes).await?;
    }
}
