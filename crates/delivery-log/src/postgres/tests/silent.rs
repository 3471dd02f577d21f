//! A server that takes what it is told and says nothing, as behind a pooler that hangs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

/// Hands on what two sides tell each other, unless it is silent.
fn hand_on(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static, is_silent: &Arc<AtomicBool>) {
    let is_silent = Arc::clone(is_silent);
    std::thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !is_silent.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    });
}

/// Stands before a server; the port, and what makes it silent.
fn stand_before(server: &TestServer) -> (u16, Arc<AtomicBool>) {
    let (listener, is_silent) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicBool::new(false)));
    let (port, socket) = (listener.local_addr().unwrap().port(), server.socket());
    let told = Arc::clone(&is_silent);
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let Ok(server) = UnixStream::connect(&socket) else { continue };
            hand_on(client.try_clone().unwrap(), server.try_clone().unwrap(), &told);
            hand_on(server, Ending(client), &told);
        }
    });
    (port, is_silent)
}

/// A side that hears it when the other one has ended.
struct Ending(TcpStream);

impl Write for Ending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.shutdown(Shutdown::Both));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_away_and_its_connections_are_not_used_again() {
    let mut database = LogSchema::empty();
    database.open().await;
    let (port, is_silent) = stand_before(TestServer::shared());
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let options = PostgresOptions { url: url.into(), seconds: 2, readers: 1, ..database.options() };
    let store = PostgresStore::open(&options).await.unwrap();
    store.project(vec![chunk(0, 5)]).await.unwrap();
    store.tell("so far".to_owned()).await.unwrap();
    let all = FactQuery::of(APPLICATION, 5);
    assert_eq!(store.told().await.unwrap().as_deref(), Some("so far"));
    store.facts(all.clone()).await.unwrap();
    is_silent.store(true, Ordering::SeqCst);
    assert!(matches!(store.told().await, Err(StoreError::Away { .. })));
    assert!(matches!(store.facts(all.clone()).await, Err(StoreError::TooSlow { seconds: 2 })));
    let refused = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(refused, StoreError::Away { .. }), "{refused}");
    is_silent.store(false, Ordering::SeqCst);
    assert_eq!(store.told().await.unwrap().as_deref(), Some("so far"), "over a connection of its own");
    assert_eq!(store.facts(all).await.unwrap().rows.len(), 1);
    store.project(vec![chunk(1, 5)]).await.unwrap();
}
