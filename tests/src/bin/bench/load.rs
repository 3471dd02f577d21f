//! Load on the gateway: connections that send one request after the other, written by hand because a client library
//! would take the CPU that is to be left for the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::workload;

/// Room for one answer.
const ANSWER_BYTES: usize = 16 * 1024;

/// Where requests go and what is in them.
#[derive(Debug)]
pub(crate) struct Load {
    address: SocketAddr,
    token: String,
    /// Between the ids of two runs, so that no run repeats another's events.
    next: AtomicU32,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, token: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { address, token: token.into(), next: AtomicU32::new(0) })
    }

    /// Sends so many events over so many connections; every one must be answered 201.
    pub(crate) async fn run(self: &Arc<Self>, count: u32, connections: u32) -> anyhow::Result<()> {
        let first = self.next.load(Ordering::Relaxed);
        let end = first + count;
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let load = Arc::clone(self);
            tasks.spawn(async move { load.connection(end).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        // Each connection took one number too many to learn that it was the end.
        self.next.store(end, Ordering::Relaxed);
        Ok(())
    }

    async fn connection(&self, end: u32) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.address).await.with_context(|| self.address.to_string())?;
        stream.set_nodelay(true)?;
        let (mut request, id) = self.request();
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(());
            }
            request[id.clone()].copy_from_slice(workload::event_id(number).as_bytes());
            stream.write_all(&request).await?;
            receive(&mut stream, &mut answer).await?;
        }
    }

    /// A request and where its event id stands in it.
    fn request(&self) -> (Vec<u8>, std::ops::Range<usize>) {
        let id = workload::event_id(0);
        let payload = workload::payload();
        let payload = String::from_utf8_lossy(&payload);
        let event_type = workload::event_type(0);
        let body = format!(r#"{{"event_id":"{id}","event_type":"{event_type}","payload":{payload}}}"#);
        let head = format!(
            "POST /api/v1/event HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            self.token,
            body.len(),
        );
        let at = head.len() + r#"{"event_id":""#.len();
        ((head + &body).into_bytes(), at..at + id.len())
    }
}

/// Reads one answer whole.
async fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    let length = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("the connection ended inside an answer: {:?}", String::from_utf8_lossy(&buffer[..filled]));
        }
        filled += read;
        if let Some(length) = answer_length(&buffer[..filled])? {
            break length;
        }
    };
    if length > buffer.len() {
        bail!("an answer of {length} bytes");
    }
    if filled < length {
        stream.read_exact(&mut buffer[filled..length]).await?;
    }
    Ok(())
}

/// Length of head and body once the head is there. Anything but a 201 is an error.
fn answer_length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    if head.split(' ').nth(1) != Some("201") {
        bail!("not accepted: {}", String::from_utf8_lossy(answer));
    }
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).context("no content-length")?;
    Ok(Some(end + 4 + length.1.trim().parse::<usize>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-type: x\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer_length(answer).unwrap(), Some(answer.len()));
        assert_eq!(answer_length(&answer[..30]).unwrap(), None);
        assert!(answer_length(b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
