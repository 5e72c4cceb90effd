//! HTTP as bytes on a socket: what no client library would send, and when it wouldn't.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wait::DEADLINE;

/// One connection.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The head of an answer, in lower case, and its status.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    pub text: String,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.expect("it listens"), read: Vec::new() }
    }

    /// `Err` when the other side has hung up.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await.expect("the other side reads")
    }

    /// Whatever comes next; `None` at the end of the connection, however it ends.
    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 64 * 1024];
        let count = timeout(DEADLINE, self.stream.read(&mut piece)).await.expect("an answer or an end");
        match count {
            Ok(count @ 1..) => self.read.extend_from_slice(&piece[..count]),
            Ok(0) | Err(_) => return None,
        }
        Some(())
    }

    /// The next head.
    pub async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
                self.read.drain(..end + 4);
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
                return Head { status: status.unwrap_or_else(|| panic!("no status: {text}")), text };
            }
            self.more().await.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&self.read)));
        }
    }

    /// Exactly so many bytes of a body.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            self.more().await.unwrap_or_else(|| panic!("only {} of {count} bytes came", self.read.len()));
        }
        self.read.drain(..count).collect()
    }

    /// Everything until the connection ends.
    pub async fn rest_bytes(mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        self.read
    }

    /// The same as text.
    pub async fn rest(self) -> String {
        String::from_utf8_lossy(&self.rest_bytes().await).into_owned()
    }

    /// Hangs up with a reset, as a client that crashed.
    pub fn reset(self) {
        self.stream.set_zero_linger().ok();
    }
}

/// Sends `request` with `Connection: close` semantics of its own, and reads to the end of the connection.
pub async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::connect(address).await;
    // A refusal may come, and the connection end, before all is sent.
    let _ = raw.send(request).await;
    raw.rest().await
}

/// The status of an answer as [`exchange`] reads it.
pub fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {answer:?}"))
}
