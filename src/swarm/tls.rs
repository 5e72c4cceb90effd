//! libp2p's TLS 1.3 handshake (`/tls/1.0.0`) with AES-128-GCM preferred: the same on the wire as libp2p-tls, faster.
//!
//! Specification: <https://github.com/libp2p/specs/blob/master/tls/tls.md>. Certificates are made and checked by
//! libp2p-tls; only the choice of ciphers is ours.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::{
    PeerId,
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    identity::Keypair,
};
use libp2p_tls::certificate;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{
    error::StartError,
    gathering::Gathering,
    members::Members,
    metered::{Caller, Metered},
};

/// The handshake of both directions, and the budget that a stranger's bytes are counted against.
#[derive(Clone)]
pub(super) struct Upgrade {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    members: Arc<Members>,
}

impl Upgrade {
    pub(super) fn new(identity: &Keypair, members: Arc<Members>) -> Result<Upgrade, StartError> {
        let failed = |error: &dyn std::error::Error| StartError::Certificate { reason: error.to_string() };
        let (certificate, key) = certificate::generate(identity).map_err(|error| failed(&error))?;
        let provider = Arc::new(provider());
        let key = aws_lc_rs::sign::any_ecdsa_type(&key).map_err(|error| failed(&error))?;
        let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| failed(&error))?
            .with_client_cert_verifier(Arc::new(Libp2pVerifier))
            .with_cert_resolver(resolver.clone());
        server.alpn_protocols = vec![b"libp2p".to_vec()];
        // Every connection proves its key anew: nothing to resume, nothing to remember.
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| failed(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Libp2pVerifier))
            .with_client_cert_resolver(resolver);
        client.alpn_protocols = vec![b"libp2p".to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Upgrade { server: Arc::new(server), client: Arc::new(client), members })
    }

    fn admit<C>(&self, stream: TlsStream<C>, caller: Caller) -> io::Result<(PeerId, Metered<TlsStream<C>>)> {
        let peer = proved_peer(stream.get_ref().1)?;
        Ok((peer, Metered::new(stream, peer, self.members.clone(), caller)))
    }
}

fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
    CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256],
        ..aws_lc_rs::default_provider()
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/tls/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Upgrade {
    type Output = (PeerId, Metered<TlsStream<Gathering<C>>>);
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, io::Error>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            let stream = TlsAcceptor::from(self.server.clone()).accept(Gathering::new(socket)).await?;
            self.admit(stream.into(), Caller::Them)
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = (PeerId, Metered<TlsStream<Gathering<C>>>);
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, io::Error>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            // The specification forbids a server name; an IP address sends none.
            let nameless = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
            let stream = TlsConnector::from(self.client.clone()).connect(nameless, Gathering::new(socket)).await?;
            self.admit(stream.into(), Caller::Us)
        }
        .boxed()
    }
}

fn proved_peer(state: &CommonState) -> io::Result<PeerId> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let [certificate] = state.peer_certificates().unwrap_or_default() else {
        return Err(invalid("not exactly one certificate"));
    };
    let certificate = certificate::parse(certificate).map_err(|error| invalid(&error.to_string()))?;
    Ok(certificate.peer_id())
}

/// Accepts exactly one self-signed certificate that carries and proves a libp2p key. Whose key it is decides later.
#[derive(Debug)]
struct Libp2pVerifier;

impl Libp2pVerifier {
    fn check(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        if !intermediates.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        certificate::parse(end_entity).map(drop).map_err(|_| CertificateError::BadEncoding.into())
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificate::parse(certificate)
            .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?
            .verify_signature(signed.scheme, message, signed.signature())
            .map_err(|_| rustls::Error::from(CertificateError::BadSignature))?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn schemes() -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
        ]
    }
}

/// TLS 1.2 isn't configured; if it were spoken all the same, it is refused.
fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
}

impl ServerCertVerifier for Libp2pVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Libp2pVerifier::check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Libp2pVerifier::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Libp2pVerifier::schemes()
    }
}

impl ClientCertVerifier for Libp2pVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Libp2pVerifier::check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Libp2pVerifier::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Libp2pVerifier::schemes()
    }
}

#[cfg(test)]
mod tests {
    use artimesh_core::model::KeyPair;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;
    use crate::swarm::identity;

    fn upgrade(seed: u8) -> (PeerId, Upgrade) {
        let identity = identity::keypair(&KeyPair::from_secret(&[seed; 32]));
        (identity.public().to_peer_id(), Upgrade::new(&identity, Arc::default()).unwrap())
    }

    #[tokio::test]
    async fn both_sides_learn_each_others_key_and_agree_on_aes_128() {
        let ((one, dialler), (other, listener)) = (upgrade(1), upgrade(2));
        let (near, far) = tokio::io::duplex(16 << 10);
        let (dialled, accepted) = tokio::join!(
            dialler.upgrade_outbound(near.compat(), "/tls/1.0.0"),
            listener.upgrade_inbound(far.compat(), "/tls/1.0.0")
        );
        let (found, stream) = dialled.unwrap();
        assert_eq!((found, accepted.unwrap().0), (other, one));
        let suite = stream.get_ref().get_ref().1.negotiated_cipher_suite().unwrap();
        assert_eq!(suite.suite(), rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    }

    #[tokio::test]
    async fn a_client_without_a_certificate_is_refused() {
        let (_, listener) = upgrade(2);
        let anonymous = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Libp2pVerifier))
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(16 << 10);
        let nameless = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        let (_, accepted) = tokio::join!(
            TlsConnector::from(Arc::new(anonymous)).connect(nameless, near.compat()),
            listener.upgrade_inbound(far.compat(), "/tls/1.0.0")
        );
        assert!(accepted.is_err());
    }
}
