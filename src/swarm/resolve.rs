//! From an address as it is written to addresses that can be dialled.

use std::net::IpAddr;

use libp2p::{Multiaddr, multiaddr::Protocol};

/// Addresses that one name may stand for; more are ignored.
const RESOLVED_MAX: usize = 8;

/// A TCP address as written: an IP address or a name, and a port, without what follows.
pub(super) fn parse(address: &str) -> Option<Multiaddr> {
    let address: Multiaddr = address.parse().ok()?;
    let mut parts = address.iter();
    let host = parts.next().filter(|host| {
        matches!(host, Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    })?;
    let port = parts.next().filter(|port| matches!(port, Protocol::Tcp(_)))?;
    match parts.next() {
        None | Some(Protocol::P2p(_)) => Some(Multiaddr::empty().with(host.acquire()).with(port.acquire())),
        Some(_) => None,
    }
}

/// Whether an address has to be looked up first.
pub(super) fn is_name(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)))
}

/// Looks names up in the system's resolver. Names that aren't found are left out.
pub(super) async fn resolve(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut resolved = Vec::new();
    for address in addresses {
        let mut parts = address.iter();
        let (Some(host), Some(Protocol::Tcp(port))) = (parts.next(), parts.next()) else { continue };
        let (name, wanted): (_, fn(&IpAddr) -> bool) = match host {
            Protocol::Dns(name) => (name, |_| true),
            Protocol::Dns4(name) => (name, IpAddr::is_ipv4),
            Protocol::Dns6(name) => (name, IpAddr::is_ipv6),
            _ => {
                resolved.push(address);
                continue;
            }
        };
        let Ok(found) = tokio::net::lookup_host((name.as_ref(), port)).await else { continue };
        let found = found.map(|socket| socket.ip()).filter(wanted).take(RESOLVED_MAX);
        resolved.extend(found.map(|ip| Multiaddr::from(ip).with(Protocol::Tcp(port))));
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_addresses_are_taken_and_others_are_not() {
        for (written, expected) in [
            ("/ip4/10.0.0.1/tcp/8083", Some("/ip4/10.0.0.1/tcp/8083")),
            ("/dns4/a.example/tcp/1", Some("/dns4/a.example/tcp/1")),
            ("/ip6/::1/tcp/1/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X", Some("/ip6/::1/tcp/1")),
            ("/ip4/10.0.0.1/udp/8083/quic-v1", None),
            ("/ip4/10.0.0.1/tcp/1/ws", None),
            ("10.0.0.1:8083", None),
            ("", None),
        ] {
            assert_eq!(parse(written).map(|address| address.to_string()).as_deref(), expected, "{written}");
        }
    }

    #[tokio::test]
    async fn a_name_becomes_an_ip_address() {
        let resolved = resolve(vec!["/dns4/localhost/tcp/7".parse().unwrap()]).await;
        assert_eq!(resolved, ["/ip4/127.0.0.1/tcp/7".parse().unwrap()]);
    }
}
