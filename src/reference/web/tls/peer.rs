//! Calls from service to service under TLS. All services of a stack have one certificate: a peer is
//! whoever shows the very same one and has its key, whatever name or address it is called by.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{HTTP1, Provider};
use crate::reference::http::Fault;

/// A client that talks to whoever shows one of these certificates.
pub(super) fn trusting(
    certificates: impl Iterator<Item = CertificateDer<'static>>,
    provider: &Provider,
) -> Result<ClientConfig, Error> {
    let same = Same {
        certificates: certificates.collect(),
        provider: Arc::clone(provider),
    };
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(same))
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Same {
    certificates: Vec<CertificateDer<'static>>,
    provider: Provider,
}

impl ServerCertVerifier for Same {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.iter().any(|own| own == end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// One request on a connection of its own: its status and its body.
pub(in crate::reference) async fn call(
    config: &Arc<ClientConfig>,
    mut request: Request<Body>,
) -> Result<(u16, Bytes), Fault> {
    let not_sent = |error: &dyn std::fmt::Display| Fault::NotSent(error.to_string());
    let authority = request.uri().authority().cloned();
    let authority = authority.ok_or_else(|| not_sent(&"a URL without an address"))?;
    let name = ServerName::try_from(authority.host().to_owned()).map_err(|e| not_sent(&e))?;
    let address = (authority.host(), authority.port_u16().unwrap_or(443));
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| not_sent(&e))?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, stream).await;
    let stream = TokioIo::new(stream.map_err(|e| not_sent(&e))?);
    let shaken = hyper::client::conn::http1::handshake(stream).await;
    let (mut sender, connection) = shaken.map_err(|e| not_sent(&e))?;
    let connection = tokio::spawn(connection);
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = target.map_or_else(Default::default, Into::into);
    if let Ok(host) = authority.as_str().parse() {
        request.headers_mut().insert(header::HOST, host);
    }
    let in_doubt = |error: hyper::Error| Fault::InDoubt(error.to_string());
    let answered = async {
        let answer = sender.send_request(request).await.map_err(in_doubt)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(in_doubt)?;
        Ok((status, body.to_bytes()))
    };
    let answered = answered.await;
    connection.abort();
    answered
}
