//! TLS: the node's certificate for HTTP, and the sockets that speak it.
//!
//! # Why
//! - rustls with aws-lc-rs, as everywhere in this node. AES-128-GCM goes first and the server's order counts: it is the
//!   cheapest cipher where the processor has AES, and as safe as the others for what is sent here.
//! - rustls keeps what doesn't fit into the socket; its bound is raised from 64 KiB to 256 KiB, so that a piece of a body is
//!   encrypted and written by one call each (measured: half the time of the default).
//! - Sessions resume by tickets that the server doesn't keep.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stalling::Stalling;
use super::wire::Wire;

/// The most that one connection keeps encrypted for a socket that is full.
const BUFFER_BYTES: usize = 256 << 10;
/// The first byte of a TLS connection: a record of the handshake (RFC 8446 section 5.1).
pub const HANDSHAKE: u8 = 22;
const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the node's certificate first, then those that lead to the one that clients know.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Speaks TLS to those who connect. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{} cannot be used for HTTPS: {why}", path.display()))
}

impl Tls {
    /// Reads certificate and key. The error says which file is wrong, and how.
    pub fn load(files: &TlsFiles) -> io::Result<Tls> {
        let certificates = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
        let certificates: Vec<_> = certificates.map_err(|error| unusable(&files.certificate, error))?;
        if certificates.is_empty() {
            return Err(unusable(&files.certificate, "there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| unusable(&files.certificate, error))?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        config.ignore_client_order = true;
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
        Ok(Tls(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake. Takes as long as the client does: bound it.
    pub async fn accept(&self, stream: Stalling<Wire>) -> io::Result<Sealed> {
        let accepted = self.0.accept_with(Inner(stream), |session| session.set_buffer_limit(Some(BUFFER_BYTES)));
        Ok(Sealed(accepted.await?))
    }
}

fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// A connection inside of TLS.
#[derive(Debug)]
pub struct Sealed(TlsStream<Inner>);

impl Sealed {
    /// Whether both sides agreed on HTTP/2.
    pub fn speaks_http_2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(HTTP_2)
    }
}

impl AsyncRead for Sealed {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(context, into.initialize_unfilled()))?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sealed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// The socket as futures-rustls wants it; `tokio_util`'s adapter would write one record at a time.
#[derive(Debug)]
struct Inner(Stalling<Wire>);

impl FuturesRead for Inner {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl FuturesWrite for Inner {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_a_certificate_or_a_key_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let certificate = file("good.crt", &made.cert.pem());
        let key = file("good.key", &made.key_pair.serialize_pem());
        let files =
            |certificate: &PathBuf, key: &PathBuf| TlsFiles { certificate: certificate.clone(), key: key.clone() };
        Tls::load(&files(&certificate, &key)).expect("they belong together");
        let (empty, missing) = (file("empty", "no PEM here\n"), folder.path().join("missing"));
        let other = file("other.key", &other.key_pair.serialize_pem());
        let cases = [
            (files(&missing, &key), "missing"),
            (files(&empty, &key), "empty"),
            (files(&certificate, &empty), "empty"),
            (files(&certificate, &missing), "missing"),
            (files(&certificate, &other), "good.crt"),
        ];
        for (files, blamed) in cases {
            let error = Tls::load(&files).expect_err("unusable").to_string();
            assert!(error.contains(blamed), "{error}");
        }
    }

    #[test]
    fn the_cheapest_cipher_goes_first() {
        let suites = provider().cipher_suites;
        assert_eq!(suites[0].suite(), rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(suites.len(), aws_lc_rs::default_provider().cipher_suites.len());
    }
}
