//! Listening sockets: one for each thread that serves, all at one address.
//!
//! # Why
//! The kernel spreads connections over sockets that share an address by SO_REUSEPORT, so each thread accepts its own and
//! none is ever handed over. But that option would also let a second node of the same user in at the same address, and
//! the two would share its clients without a word. So the first socket takes the address alone, as any server does, and
//! only then opens it to its siblings.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

/// How many connections the kernel keeps for a thread that hasn't accepted them yet.
const BACKLOG: i32 = 1024;

/// `count` sockets at one address; port 0 is chosen once. They don't block. Fails when somebody else has the address.
pub fn bind_all(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = bind_one(address, Claim::Alone)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind_one(address, Claim::Shared)?);
    }
    Ok(listeners)
}

/// Whether an address may be shared with those that share it already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claim {
    Alone,
    Shared,
}

fn bind_one(address: SocketAddr, claim: Claim) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // A restart must not wait for the connections of the life before.
    set_socket_reuseaddr(&socket, true)?;
    if claim == Claim::Shared {
        set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &address)?;
    set_socket_reuseport(&socket, true)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn siblings_share_an_address_that_nobody_else_gets() {
        let listeners = bind_all((Ipv4Addr::LOCALHOST, 0).into(), 3).expect("a free port");
        let address = listeners[0].local_addr().expect("bound");
        assert!(listeners.iter().all(|listener| listener.local_addr().expect("bound") == address));
        let taken = bind_all(address, 2).expect_err("it is taken, though its owner shares it with itself");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        bind_all(address, 2).expect("it is free again");
    }
}
