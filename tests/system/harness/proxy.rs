//! What stands between a client and a node, counts what is sent to the client, and hinders it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Closed after so many bytes.
    Cut(u64),
    /// Silent after so many bytes, until that changes.
    Stalled(u64),
}

/// A proxy on the loopback. It ends with this value.
pub struct Proxy {
    pub address: SocketAddr,
    sent: Arc<AtomicU64>,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Hinders nothing.
    pub async fn new(node: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (way, told) = watch::channel(Way::Open);
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, node, told.clone(), Arc::clone(&counted)));
            }
        });
        Proxy { address, sent, way, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes each connection after so many bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.way.send_replace(Way::Cut(bytes));
    }

    /// Lets each connection wait after so many bytes.
    pub fn stall_after(&self, bytes: u64) {
        self.way.send_replace(Way::Stalled(bytes));
    }

    /// Whether connections stall and one has had enough of bytes for it, or all together.
    pub fn is_stalled(&self) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        matches!(*self.way.borrow(), Way::Stalled(bytes) if sent >= bytes)
    }

    /// Hinders nothing any more.
    pub fn open(&self) {
        self.way.send_replace(Way::Open);
    }

    /// The bytes that were sent to clients since this was asked last.
    pub fn sent(&self) -> u64 {
        self.sent.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, node: SocketAddr, mut way: watch::Receiver<Way>, sent: Arc<AtomicU64>) {
    let Ok(node) = TcpStream::connect(node).await else { return };
    let ((mut from_client, mut to_client), (mut from_node, mut to_node)) = (client.into_split(), node.into_split());
    let asking = tokio::spawn(async move { copy(&mut from_client, &mut to_node).await });
    let (mut passed, mut buffer) = (0, vec![0; 16 << 10]);
    while let Ok(count @ 1..) = from_node.read(&mut buffer).await {
        let way = *way.wait_for(|way| !matches!(way, Way::Stalled(bytes) if passed >= *bytes)).await.expect("it lives");
        if to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        passed += count as u64;
        sent.fetch_add(count as u64, Ordering::Relaxed);
        if matches!(way, Way::Cut(bytes) if passed >= bytes) {
            break;
        }
    }
    asking.abort();
}
