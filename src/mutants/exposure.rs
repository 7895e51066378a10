//! Defects of what is shown to the outside.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::TcpSocket;
use tower_http::cors::AllowOrigin;

use super::{May, Mutant};
use crate::reference::web::cors;
use crate::reference::web::tls::Tls;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "listener-binds-any-address",
        must: &["bind-audit"],
        may: &[],
        // Only one, and only where nobody said anything else.
        apply: |levers| {
            levers.part(|parts| {
                parts.settings = Arc::new(|mut settings| {
                    let host = &mut settings["services"]["vision-capture"]["host"];
                    if *host == "127.0.0.1" {
                        *host = json!("0.0.0.0");
                    }
                    settings
                });
            });
        },
    },
    Mutant {
        name: "listener-port-shared",
        must: &["bind-audit"],
        may: &[
            May {
                gate: "file-exists",
                reason: "on the default ports it reaches the other one of the two",
            },
            May {
                gate: "tls-config",
                reason: "it asks each service over TLS who it is",
            },
            May {
                gate: "supervisor-ports-clean",
                reason: "pipecat does not take the port that it is configured with",
            },
        ],
        // Where ports are chosen by the system, each still gets its own.
        apply: |levers| {
            levers.part(|parts| {
                parts.settings = Arc::new(|mut settings| {
                    let services = &mut settings["services"];
                    if services["pipecat"]["port"] != 0 {
                        services["pipecat"]["port"] = services["model-router"]["port"].clone();
                    }
                    settings
                });
                parts.bind = Arc::new(|address| Box::pin(async move { shared(&address) }));
            });
        },
    },
    Mutant {
        name: "tls-half-config-plaintext",
        must: &["tls-config"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                let load = Arc::clone(&parts.load_tls);
                parts.load_tls = Arc::new(move |certificate, key| match (certificate, key) {
                    (Some(_), None) | (None, Some(_)) => Ok(None),
                    (certificate, key) => load(certificate, key),
                });
            });
        },
    },
    Mutant {
        name: "tls-default-certificate",
        must: &["tls-config"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                let load = Arc::clone(&parts.load_tls);
                parts.load_tls = Arc::new(move |certificate, key| {
                    let configured = load(certificate, key)?;
                    Ok(configured.map(|_| default_certificate()))
                });
            });
        },
    },
    Mutant {
        name: "cors-wildcard",
        must: &["cors-env"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| parts.cors = |_| cors::layer(AllowOrigin::any()));
        },
    },
    Mutant {
        name: "cors-environment-ignored",
        must: &["cors-env"],
        may: &[],
        // Laid over what the environment said.
        apply: |levers| {
            let origins = ["http://127.0.0.1:3000", "http://localhost:3000"];
            levers.config(json!({"cors": {"origins": origins}}));
        },
    },
];

/// A listener that does not mind another one on its port.
fn shared(address: &str) -> std::io::Result<tokio::net::TcpListener> {
    let address = address.parse().map_err(std::io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// What some programs bring along, so that they always have one.
fn default_certificate() -> Tls {
    let made = || -> Result<Tls, anyhow::Error> {
        let key = KeyPair::generate()?;
        let host = IpAddr::from(Ipv4Addr::LOCALHOST).to_string();
        let certificate = CertificateParams::new(vec![host])?.self_signed(&key)?;
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        Ok(Tls::of(chain, PrivateKeyDer::Pkcs8(secret))?)
    };
    made().expect("a certificate can be made")
}
