//! One request on a connection of its own. The head of the answer is read from the bytes as they
//! came: the library that understands the rest forgets how names were spelled.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Http, Verify};

/// Bytes of an answer among which its head is.
const HEAD_BYTES: usize = 256 << 10;
/// Where systems keep the certificates of the authorities that they trust.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// In order, spelled as they came.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    /// The first header of this name, however it is spelled.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody is there, or went away.
    NoConnection(String),
    /// It took too long.
    TooLong,
}

fn gone(error: impl ToString) -> Trouble {
    Trouble::NoConnection(error.to_string())
}

async fn within<T>(bound: Option<Duration>, work: impl Future<Output = T>) -> Result<T, Trouble> {
    match bound {
        None => Ok(work.await),
        Some(bound) => tokio::time::timeout(bound, work)
            .await
            .map_err(|_| Trouble::TooLong),
    }
}

/// Sends the request and reads the whole answer.
pub(super) async fn exchange(http: &Http) -> Result<Answer, Trouble> {
    let (connect, _) = http.timeouts;
    let host = http.url.host_str().unwrap_or_default();
    let port = http.url.port_or_known_default().unwrap_or(80);
    let address = (host.trim_matches(['[', ']']), port);
    let stream = within(connect, TcpStream::connect(address)).await?;
    let stream = stream.map_err(gone)?;
    if http.url.scheme() == "http" {
        return over(http, stream).await;
    }
    let connector = connector(&http.verify).map_err(gone)?;
    let name = ServerName::try_from(address.0.to_owned()).map_err(gone)?;
    let stream = within(connect, connector.connect(name, stream)).await?;
    over(http, stream.map_err(gone)?).await
}

async fn over<S>(http: &Http, stream: S) -> Result<Answer, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (_, read) = http.timeouts;
    let head = Arc::new(Mutex::new(Vec::new()));
    let kept = Kept {
        stream,
        head: Arc::clone(&head),
    };
    // As people write them, and most libraries: some servers tell the difference.
    let mut builder = hyper::client::conn::http1::Builder::new();
    let shaken = builder
        .title_case_headers(true)
        .handshake(TokioIo::new(kept));
    let (mut sender, connection) = shaken.await.map_err(gone)?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let request = request(http).map_err(gone)?;
        let answer = within(read, sender.send_request(request)).await?;
        let mut answer = answer.map_err(gone)?;
        let mut body = BytesMut::new();
        while let Some(frame) = within(read, answer.body_mut().frame()).await? {
            if let Ok(data) = frame.map_err(gone)?.into_data() {
                body.extend_from_slice(&data);
            }
        }
        Ok((answer.status().as_u16(), body.freeze()))
    };
    let answered = answered.await;
    connection.abort();
    let (status, body) = answered?;
    let head = head.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Answer {
        status,
        headers: headers(&head),
        body,
    })
}

fn request(http: &Http) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let url = &http.url;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let authority = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let mut request = Request::builder()
        .method(http.method.as_str())
        .uri(target)
        .header("host", authority);
    let agent = concat!("sonia-gate/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [("user-agent", agent), ("accept", "*/*")] {
        let given = |known: &String| known.eq_ignore_ascii_case(name);
        if !http.headers.keys().any(given) {
            request = request.header(name, value);
        }
    }
    for (name, value) in &http.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(http.body.clone().unwrap_or_default()))
}

/// The headers of the last head in these bytes; what comes before is a promise of it (1xx).
fn headers(bytes: &[u8]) -> Vec<(String, String)> {
    let mut rest = bytes;
    loop {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else { return Vec::new() };
        let head = String::from_utf8_lossy(&rest[..end]);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        if first
            .split(' ')
            .nth(1)
            .is_some_and(|code| code.starts_with('1'))
        {
            rest = &rest[end + 4..];
            continue;
        }
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let trimmed = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        return trimmed.collect();
    }
}

/// A stream that keeps the first bytes that were read of it.
struct Kept<S> {
    stream: S,
    head: Arc<Mutex<Vec<u8>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let from = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let left = HEAD_BYTES.saturating_sub(head.len());
        let new = &into.filled()[from..];
        head.extend_from_slice(&new[..left.min(new.len())]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Kept<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn connector(verify: &Verify) -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = match verify {
        Verify::Nothing => config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth(),
        Verify::File(file) => config
            .with_root_certificates(roots(file)?)
            .with_no_client_auth(),
        Verify::System => {
            let file = SYSTEM.into_iter().find(|file| roots(file).is_ok());
            let file = file.ok_or("this system has no file of trusted certificates")?;
            config
                .with_root_certificates(roots(file)?)
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(file: &str) -> Result<RootCertStore, String> {
    let cannot = |error| format!("{file}: {error}");
    let certificates = CertificateDer::pem_file_iter(file).map_err(cannot)?;
    let mut roots = RootCertStore::empty();
    // One that cannot be read vouches for nobody.
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    match roots.is_empty() {
        true => Err(format!("{file} has no certificate")),
        false => Ok(roots),
    }
}

/// Takes everybody for whom they say they are: the file asked for that (`verify_tls: false`).
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
