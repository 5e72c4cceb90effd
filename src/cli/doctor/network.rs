//! Whether the node's ports are free or its own, and whether others can be reached.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::net::TcpStream;

use super::check::Check;
use crate::cli::output::field;
use crate::config::{Settings, tcp_target};

const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
const DIALS_AT_ONCE: usize = 16;

/// Whether a node answers; if none does, whether each port could be listened on.
pub(super) async fn ports(settings: &Settings, status: Option<&Value>) -> Vec<Check> {
    if let Some(status) = status {
        let (name, version) = (field(&status["node"], "name"), field(&status["node"], "version"));
        let address = field(&status["http"], "address");
        return vec![Check::ok("node", format!("{name} {version} is running and answers on {address}"))];
    }
    let swarm = [("swarm.listen", &settings.swarm.listen), ("swarm.bulk_listen", &settings.swarm.bulk_listen)];
    let swarm =
        swarm.into_iter().flat_map(|(key, list)| list.iter().filter_map(move |text| Some((key, socket(text)?))));
    let mut checks = vec![Check::ok("node", "none is running on this folder")];
    checks.extend(
        std::iter::once(("http.listen", settings.http.listen)).chain(swarm).map(|(key, socket)| port(key, socket)),
    );
    checks
}

fn socket(text: &str) -> Option<SocketAddr> {
    let target = tcp_target(text)?;
    Some(SocketAddr::new(target.host.parse().ok()?, target.port))
}

pub(super) fn port(key: &str, socket: SocketAddr) -> Check {
    let name = format!("port of {key}");
    match TcpListener::bind(socket) {
        Ok(_) => Check::ok(name, format!("{socket} is free")),
        Err(error) => {
            let remedy = match error.kind() {
                std::io::ErrorKind::AddrInUse => format!("stop what listens there (`ss -ltnp`), or change {key}"),
                std::io::ErrorKind::AddrNotAvailable => format!("this machine has no such address: change {key}"),
                _ => format!("change {key}"),
            };
            Check::fail(name, format!("{socket}: {error}"), remedy)
        }
    }
}

/// Whether a TCP connection to each of `targets` (multiaddrs) comes about.
pub(super) async fn peers(targets: &[String]) -> Vec<Check> {
    // The closure owns its text: a borrowed one would tie the future to a lifetime that the stream can't name.
    stream::iter(targets.to_vec()).map(dial).buffered(DIALS_AT_ONCE).collect().await
}

async fn dial(text: String) -> Check {
    let name = format!("peer {text}");
    let Some(target) = tcp_target(&text) else {
        return Check::warn(name, "not dialled: not a TCP address", "none, if it is of another transport");
    };
    let remedy = "see that its node runs, and that no firewall is between; one reachable side of a pair suffices";
    match tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect((target.host.as_str(), target.port))).await {
        Ok(Ok(_)) => Check::ok(name, "reachable"),
        Ok(Err(error)) => Check::warn(name, error.to_string(), remedy),
        Err(_) => Check::warn(name, format!("no answer within {} s", DIAL_TIMEOUT.as_secs()), remedy),
    }
}
