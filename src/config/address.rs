//! The multiaddrs that a TCP swarm can use, as far as configuration has to understand them.

/// Where a multiaddr leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpTarget {
    /// An IP address or a DNS name.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether `host` is an IP address and not a name.
    pub is_ip: bool,
}

impl TcpTarget {
    /// Whether somebody else could dial it: a port other than 0, and not the unspecified address.
    pub fn can_be_dialled(&self) -> bool {
        let unspecified = self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        self.port != 0 && !unspecified
    }
}

/// Reads `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT`, with or without `/p2p/ID` at its end. `None`: anything else.
pub fn tcp_target(text: &str) -> Option<TcpTarget> {
    let mut parts = text.strip_prefix('/')?.split('/');
    let (protocol, host) = (parts.next()?, parts.next()?);
    let is_ip = match protocol {
        "ip4" => host.parse::<std::net::Ipv4Addr>().ok().map(|_| true)?,
        "ip6" => host.parse::<std::net::Ipv6Addr>().ok().map(|_| true)?,
        "dns" | "dns4" | "dns6" => is_dns_name(host).then_some(false)?,
        _ => return None,
    };
    if parts.next()? != "tcp" {
        return None;
    }
    let port = parts.next()?.parse().ok()?;
    match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => {}
        (Some("p2p"), Some(id), None) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()) => {}
        _ => return None,
    }
    Some(TcpTarget { host: host.to_owned(), port, is_ip })
}

fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tcp_can_dial_is_read_and_the_rest_is_not() {
        let target = |host: &str, port, is_ip| Some(TcpTarget { host: host.into(), port, is_ip });
        assert_eq!(tcp_target("/ip4/127.0.0.1/tcp/8083"), target("127.0.0.1", 8083, true));
        assert_eq!(tcp_target("/ip6/::1/tcp/0"), target("::1", 0, true));
        assert_eq!(tcp_target("/dns/a.example/tcp/1/p2p/12D3Koo"), target("a.example", 1, false));
        for bad in [
            "",
            "/",
            "ip4/1.2.3.4/tcp/1",
            "/ip4/1.2.3/tcp/1",
            "/ip4/1.2.3.4/udp/1",
            "/ip4/1.2.3.4/tcp/65536",
            "/ip4/1.2.3.4/tcp",
            "/ip4/1.2.3.4/tcp/1/",
            "/ip4/1.2.3.4/tcp/1/ws",
            "/dns/a..b/tcp/1",
            "127.0.0.1:8083",
            "/ip4/1.2.3.4/tcp/1/p2p/",
        ] {
            assert_eq!(tcp_target(bad), None, "{bad} was taken");
        }
    }
}
