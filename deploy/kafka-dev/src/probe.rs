//! Asks a broker whether it serves, in its own protocol: a Metadata request for no topic. An answer that lists a broker
//! means that it is registered with the controller and unfenced, which an open port alone does not.

use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Length, then: api key 3 (Metadata), version 1, correlation id 1, client id "probe", an empty list of topics.
const REQUEST: &[u8] = b"\x00\x00\x00\x13\x00\x03\x00\x01\x00\x00\x00\x01\x00\x05probe\x00\x00\x00\x00";
/// More than the answer of one node can be; whoever says more is not a broker.
const ANSWER_LIMIT: u32 = 64 * 1024;

/// Whether the broker on this port of 127.0.0.1 lists at least one broker.
pub(crate) async fn serves(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(REQUEST).await?;
    let length = stream.read_u32().await?;
    if !(8..=ANSWER_LIMIT).contains(&length) {
        return Err(io::Error::other(format!("an answer of {length} bytes")));
    }
    let _correlation_id = stream.read_i32().await?;
    let brokers = stream.read_i32().await?;
    Ok(brokers > 0)
}
