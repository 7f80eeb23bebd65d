//! The certificates of the loopback endpoint, made for one run: an authority that only the
//! bootstraps of this run trust, and the endpoint's own certificate.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

use axum::serve::Listener;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
    server::TlsStream,
};

use crate::Error;

/// Makes the certificates, and writes the bundle of trusted authorities to `bundle`. The public
/// authorities stand in it too: reading them is part of a cold start on AWS.
pub fn acceptor(bundle: &Path) -> Result<TlsAcceptor, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;

    let mut trusted = authority.as_ref().pem();
    for public in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        trusted.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(public);
        for at in (0..text.len()).step_by(64) {
            trusted.push_str(&text[at..text.len().min(at + 64)]);
            trusted.push('\n');
        }
        trusted.push_str("-----END CERTIFICATE-----\n");
    }
    fs::write(bundle, trusted)?;

    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der())?)?;
    // DynamoDB speaks HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts TLS connections for `axum::serve`.
pub struct TlsListener {
    pub listener: TcpListener,
    pub acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // A client that gives up in the handshake is its own problem.
            if stream.set_nodelay(true).is_ok()
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
