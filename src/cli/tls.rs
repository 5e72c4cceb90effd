//! https as the command line speaks it: whose certificates are believed, and what to do when one isn't.
//!
//! # Why
//! - *There is no way not to look.* Whoever has a certificate that this machine doesn't know names its authority by
//!   `--ca-file`; what is skipped once for a test stays in the script.
//! - *A node on this machine is known by its certificate itself*, byte for byte: its address here is none of the names in
//!   it, and whoever can write its data folder could change the node as well.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    WantsVerifier,
};

/// Whom https believes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Nobody: for addresses that begin with `http://`.
    pub(super) fn none() -> Tls {
        Tls(Arc::new(configuration().with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
    }

    /// For `base`: whom this machine trusts, and the authorities in `ca_file`.
    ///
    /// # Errors
    /// The file isn't one of certificates, or there is nobody to trust. Without https nothing is read.
    pub(super) fn for_base(base: &str, ca_file: Option<&Path>) -> anyhow::Result<Tls> {
        if !base.starts_with("https://") {
            return Ok(Tls::none());
        }
        let mut roots = RootCertStore::empty();
        let ours = rustls_native_certs::load_native_certs();
        // One that is malformed mustn't take the others with it.
        roots.add_parsable_certificates(ours.certs);
        for certificate in ca_file.map(certificates).transpose()?.unwrap_or_default() {
            let unusable =
                || format!("{} holds a certificate that is unusable", ca_file.unwrap_or(Path::new("")).display());
            roots.add(certificate).with_context(unusable)?;
        }
        if roots.is_empty() {
            let why = ours.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            bail!(
                "this machine has no list of authorities that https could trust{why}: install its ca-certificates, or name \
                 one by --ca-file FILE"
            );
        }
        Ok(Tls(Arc::new(configuration().with_root_certificates(roots).with_no_client_auth())))
    }

    /// Only the first certificate in `file`, whatever its names and times are.
    ///
    /// # Errors
    /// The file isn't one of certificates.
    pub(super) fn exactly(file: &Path) -> anyhow::Result<Tls> {
        let certificate = certificates(file)?.swap_remove(0);
        let verifier = Exactly { certificate, file: file.to_owned(), provider: provider() };
        let configuration = configuration().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(Tls(Arc::new(configuration.with_no_client_auth())))
    }

    /// Makes connections of both kinds.
    pub(super) fn connector(&self, mut plain: HttpConnector) -> HttpsConnector<HttpConnector> {
        plain.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&self.0));
        builder.https_or_http().enable_http1().wrap_connector(plain)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn configuration() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    builder.expect("the provider has ciphers for TLS 1.2 and 1.3")
}

/// At least one.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|error| anyhow!("{}: {error}", file.display()))?;
    if read.is_empty() {
        bail!("{} holds no certificate: it has to be PEM, with -----BEGIN CERTIFICATE-----", file.display());
    }
    Ok(read)
}

/// Believes one certificate.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    file: PathBuf,
    provider: Arc<CryptoProvider>,
}

/// Another certificate was shown than the one that is believed.
#[derive(Debug, thiserror::Error)]
#[error("it shows another certificate than {}: if that was renewed, restart the node", .0.display())]
struct Another(PathBuf);

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::Other(OtherError(Arc::new(Another(self.file.clone())))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What was wrong with TLS when a connection to `base` was to begin, and what to do, if that is what `error` tells of.
pub(super) fn complaint(error: &legacy::Error, base: &str) -> Option<String> {
    if !error.is_connect() {
        return None;
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return Some(format!("{base}: {}", advice(error, base)));
    }
    let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    (base.starts_with("https://") && find::<io::Error>(error).is_some_and(is_end))
        .then(|| format!("{base}: the connection was closed while TLS began; is https spoken there?"))
}

/// What may be wrong where plain HTTP is answered with something else.
pub(super) fn hint(error: &legacy::Error, base: &str) -> &'static str {
    // TLS answers with an alert, or hangs up.
    let is_odd = |error: &hyper::Error| error.is_parse() || error.is_incomplete_message();
    let is_no_http = base.starts_with("http://") && find::<hyper::Error>(error).is_some_and(is_odd);
    if is_no_http { " (where https is spoken, write https://)" } else { "" }
}

fn advice(error: &rustls::Error, base: &str) -> String {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => "its certificate was issued by nobody whom this machine trusts: if you do, name the \
                                   authority's certificate by --ca-file FILE"
                .into(),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                format!("{bad}: write the address as a name that its certificate has")
            }
            Bad::Expired | Bad::ExpiredContext { .. } => {
                format!("{bad}: it has to be renewed there, unless the clock of this machine is wrong")
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => format!("{bad}: is the clock of this machine right?"),
            // An authority that is its own server: what `openssl req -x509` makes when it isn't told otherwise.
            Bad::Other(OtherError(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
                "its certificate is an authority's and no server's: make one with basicConstraints=CA:FALSE".into()
            }
            Bad::Other(OtherError(other)) => other.to_string(),
            bad => format!("its certificate is wrong: {bad}"),
        },
        rustls::Error::InvalidMessage(_) => {
            let plain = base.replacen("https://", "http://", 1);
            format!("what answers there isn't TLS; if the way there is safe, write {plain}")
        }
        rustls::Error::PeerIncompatible(_) => format!("no common way of TLS 1.2 or 1.3: {error}"),
        other => format!("TLS failed: {other}"),
    }
}

/// The first error of this type among an error, what an [`io::Error`] wraps, and their sources.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref::<E>() {
        // An I/O error that wraps one tells less than that.
        let inner = (found as &(dyn Error + 'static)).downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        return inner.and_then(|inner| find(inner)).or(Some(found));
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.and_then(|inner| find(inner)).or_else(|| error.source().and_then(find))
}
