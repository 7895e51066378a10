//! TLS, when a certificate and its key are configured: for every listener, and for calls between
//! the services of the stack. Half of a configuration is none that anything could start with.

mod listener;
mod peer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};

pub(super) use listener::TlsListener;
pub(in crate::reference) use peer::call;

/// From the paths of certificate and key to what listens with them; none without either.
pub type LoadTls =
    Arc<dyn Fn(Option<&Path>, Option<&Path>) -> Result<Option<Tls>, TlsError> + Send + Sync>;

/// A certificate with its key, ready for use.
#[derive(Clone)]
pub struct Tls {
    /// What listens.
    pub server: Arc<ServerConfig>,
    /// What calls the services of the stack.
    pub client: Arc<ClientConfig>,
}

/// Why nothing starts with such a configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate without a key.
    #[error("tls.cert is set and tls.key is not")]
    NoKey,
    /// A key without a certificate.
    #[error("tls.key is set and tls.cert is not")]
    NoCertificate,
    /// A file that is not there, or is none.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A pair that does not belong together, or that nothing can be signed with.
    #[error("{certificate} and {key}: {source}")]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// Reads certificate and key, both or none.
///
/// # Errors
/// See [`TlsError`].
pub fn load(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<Tls>, TlsError> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(TlsError::NoKey),
        (None, Some(_)) => return Err(TlsError::NoCertificate),
        (Some(certificate), Some(key)) => (certificate, key),
    };
    let wrong = |path: &Path, message: String| TlsError::File {
        path: path.to_owned(),
        message,
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| wrong(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.map_err(|error| wrong(key, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "no certificate in it".to_owned()));
    }
    let made = Tls::of(chain, secret).map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    });
    made.map(Some)
}

impl Tls {
    /// A chain, its own certificate first, and the key of that one.
    ///
    /// # Errors
    /// When they do not belong together.
    pub fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let own = chain.first().cloned().into_iter();
        let client = peer::trusting(own, &provider)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        server.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

/// What is spoken inside.
const HTTP1: &[u8] = b"http/1.1";

/// What signatures are checked with.
type Provider = Arc<CryptoProvider>;
