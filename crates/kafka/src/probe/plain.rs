//! Whether somebody answers as Kafka where no TLS is spoken: one question by hand, which every broker answers before any login.
//!
//! librdkafka cannot tell. To its TLS a listener without any hangs up, as one that is frozen or nobody's would.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Comes back in the answer.
const NUMBER: [u8; 4] = *b"HBdr";
/// `ApiVersions` in its first version, from a client without a name: length, key 18, version 0, number, no name.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, NUMBER[0], NUMBER[1], NUMBER[2], NUMBER[3], 0xff, 0xff];

/// Asks which requests are understood, without TLS. `false`: no answer of Kafka came within that time.
pub async fn answers_plainly(address: SocketAddr, within: Duration) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(&QUESTION).await?;
        // Length and number.
        let mut answer = [0; 8];
        socket.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    matches!(timeout(within, ask).await, Ok(Ok([0, 0, _, _, number @ ..])) if number == NUMBER)
}
