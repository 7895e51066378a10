//! TLS as a client sees it: an authority of our own, certificates that it gives, and connections
//! that trust nothing else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority that nobody else trusts. Its keys come from the system, not from a seed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    connector: TlsConnector,
}

/// A certificate and its key, as files have them.
#[derive(Clone)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PKCS#8 in PEM.
    pub key: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// Without randomness.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { issuer, connector })
    }

    /// A certificate for this address.
    ///
    /// # Errors
    /// Without randomness.
    pub fn issue(&self, host: IpAddr) -> anyhow::Result<Pair> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec![host.to_string()])?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        })
    }

    /// Connects and shakes hands; whoever does not show a certificate of this authority for this
    /// address is not talked to.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(&self, address: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        let name = ServerName::IpAddress(address.ip().into());
        let shaken = self.connector.connect(name, stream).await;
        shaken.context("handshake")
    }
}

/// The certificate that was shown, DER.
#[must_use]
pub fn shown(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    Some(certificates.first()?.to_vec())
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    async fn serve(pair: &Pair) -> SocketAddr {
        let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        });
        address
    }

    #[tokio::test]
    async fn only_a_certificate_of_the_authority_for_the_address_is_talked_to() {
        let (ours, theirs) = (Authority::new().unwrap(), Authority::new().unwrap());
        let host = |text: &str| text.parse::<IpAddr>().unwrap();
        let good = ours.issue(host("127.0.0.1")).unwrap();
        let stream = ours.connect(serve(&good).await).await.unwrap();
        assert_eq!(shown(&stream), Some(good.der));
        let elsewhere = ours.issue(host("127.0.0.2")).unwrap();
        assert!(ours.connect(serve(&elsewhere).await).await.is_err());
        let foreign = theirs.issue(host("127.0.0.1")).unwrap();
        assert!(ours.connect(serve(&foreign).await).await.is_err());
    }
}
