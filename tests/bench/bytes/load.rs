//! Clients that cost as little as they can, so that what is measured is the server: files go out by sendfile, and what
//! comes in is thrown away in the kernel.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::net::RecvFlags;

use super::harness::{Client, Node, Place};

/// A server, and what it wants to be told with each request.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// The start of every path.
    pub base: String,
    pub token: Option<String>,
    /// The network namespace that the address is of.
    pub place: Option<Place>,
}

/// One connection that is kept.
pub struct Connection {
    stream: BufReader<TcpStream>,
    target: Target,
}

impl Target {
    /// A node's repository `libs`, as its administrator.
    pub fn of(node: &Node) -> Target {
        let Client { address, token, place } = node.client();
        Target { address, base: "/artifactory/libs".into(), token, place }
    }

    pub fn connect(&self) -> Connection {
        let address = self.address;
        let stream = match &self.place {
            Some(place) => place.within(move || TcpStream::connect(address)),
            None => TcpStream::connect(address),
        };
        let stream = stream.expect("a server");
        stream.set_nodelay(true).expect("a socket");
        Connection { stream: BufReader::with_capacity(64 << 10, stream), target: self.clone() }
    }

    fn head(&self, method: &str, path: &str, more: &str) -> String {
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        format!("{method} {}{path} HTTP/1.1\r\nHost: {}\r\n{token}{more}\r\n", self.base, self.address)
    }

    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{}{path}", self.address, self.base)
    }
}

impl Connection {
    /// PUT of `prefix` and then the file behind as many bytes.
    pub fn put_file(&mut self, path: &str, prefix: &[u8], file: &File, size: u64) {
        let more = format!("Content-Length: {size}\r\n");
        let head = self.target.head("PUT", path, &more);
        let socket = self.stream.get_mut();
        socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(prefix)).expect("it takes the upload");
        let mut at = prefix.len() as u64;
        while at < size {
            let count = (size - at).min(1 << 20) as usize;
            let sent = rustix::fs::sendfile(&*socket, file, Some(&mut at), count).expect("it takes the upload");
            assert!(sent > 0, "the file is shorter");
        }
        let (status, length) = self.answer();
        assert!(matches!(status, 201 | 204), "PUT {path}: {status}");
        self.drain(length);
    }

    pub fn put(&mut self, path: &str, body: &[u8]) {
        let more = format!("Content-Length: {}\r\n", body.len());
        let mut request = self.target.head("PUT", path, &more).into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request).expect("it takes the upload");
        let (status, length) = self.answer();
        assert!(matches!(status, 201 | 204), "PUT {path}: {status}");
        self.drain(length);
    }

    /// GET whose body is thrown away by the kernel; its length.
    pub fn get_discarding(&mut self, path: &str) -> u64 {
        let head = self.target.head("GET", path, "");
        self.stream.get_mut().write_all(head.as_bytes()).expect("a server");
        let (status, length) = self.answer();
        assert_eq!(status, 200, "GET {path}");
        let mut left = length - (self.stream.buffer().len() as u64).min(length);
        let buffered = (length - left) as usize;
        self.stream.consume(buffered);
        let mut scratch = vec![0; 1 << 20];
        while left > 0 {
            let count = left.min(scratch.len() as u64) as usize;
            let flags = RecvFlags::TRUNC;
            let (_, received) = rustix::net::recv(self.stream.get_ref(), &mut scratch[..count], flags).expect("bytes");
            assert!(received > 0, "it ended early");
            left -= received as u64;
        }
        length
    }

    /// GET; seconds until the first byte of the body is here. The rest is thrown away.
    pub fn first_byte(&mut self, path: &str) -> f64 {
        let begun = Instant::now();
        let head = self.target.head("GET", path, "");
        self.stream.get_mut().write_all(head.as_bytes()).expect("a server");
        let (status, length) = self.answer();
        assert_eq!(status, 200, "GET {path}");
        assert!(!self.stream.fill_buf().expect("a body").is_empty(), "GET {path} ended early");
        let took = begun.elapsed().as_secs_f64();
        self.drain(length);
        took
    }

    fn answer(&mut self) -> (u16, u64) {
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("an answer");
            assert!(!line.is_empty(), "it closed the connection");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                return (status, length);
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            }
            if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().expect("a length");
            }
        }
    }

    fn drain(&mut self, length: u64) {
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body).expect("a whole answer");
    }
}

/// `count` small uploads over `hands` connections at once; how many a second.
pub fn put_many(target: &Target, folder: &str, bodies: &[Vec<u8>], hands: usize) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for hand in 0..hands {
            scope.spawn(move || {
                let mut connection = target.connect();
                for (index, body) in bodies.iter().enumerate().skip(hand).step_by(hands) {
                    connection.put(&format!("{folder}/{}/{index}", index % 100), body);
                }
            });
        }
    });
    bodies.len() as f64 / begun.elapsed().as_secs_f64()
}
