//! Where mail is handed in: which server, at which address, encrypted how.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use lettre::transport::smtp::{
    client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
    extension::ClientId,
};
use reqwest::Url;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName},
    },
};

use super::{
    Smtp,
    fault::{Step, broken, late},
    session::within,
    stream::Lines,
};
use crate::{
    net::{self, Unreachable},
    providers::{Cause, Refusal},
};

/// A host in the same world answers a connection within tens of milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For each step. Some servers take seconds on purpose before they say what is wrong.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(6);

/// When a connection becomes encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// From the first byte.
    Implicit,
    /// By a command, before anything secret is said.
    Starttls,
    /// Never: a deployment's own choice, which is allowed on loopback only.
    Never,
}

impl Tls {
    /// What a port means: those of mail submission (RFC 8314), that of mail between servers, and
    /// what relays offer where these are blocked.
    pub(super) fn of(port: u16) -> Option<Self> {
        match port {
            465 | 2465 => Some(Self::Implicit),
            25 | 587 | 2525 | 2587 => Some(Self::Starttls),
            _ => None,
        }
    }
}

/// The server that is connected to; its certificate must name its host.
pub(super) struct Server<'a> {
    pub(super) host: &'a str,
    port: u16,
    tls: Tls,
    addresses: Vec<SocketAddr>,
}

impl<'a> Server<'a> {
    /// The credential's own, found among public addresses only.
    pub(super) async fn of(smtp: &'a Smtp) -> Result<Self, Refusal> {
        let (host, port) = (smtp.host.as_str(), smtp.port);
        let addresses = match timeout(COMMAND_TIMEOUT, net::resolve(host, port)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(Unreachable::NotPublic)) => {
                return Err(Refusal::new(Cause::Format, format!("{host} has no public address")));
            }
            Ok(Err(Unreachable::Unresolved(_))) | Err(_) => return Err(unresolved(host)),
        };
        // Other ports were refused with the credential.
        Ok(Self { host, port, tls: Tls::of(port).unwrap_or(Tls::Implicit), addresses })
    }

    /// What the deployment put in its place, wherever that is, by the URLs that `lettre` takes:
    /// `smtps://` is encrypted from the first byte, `smtp://…?tls=required` by STARTTLS, and
    /// `smtp://` never.
    pub(super) async fn instead(url: &'a Url) -> Result<Self, Refusal> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let (tls, usual) = match (url.scheme(), url.query()) {
            ("smtp", Some("tls=required")) => (Tls::Starttls, 587),
            ("smtp", _) => (Tls::Never, 25),
            _ => (Tls::Implicit, 465),
        };
        let port = url.port().unwrap_or(usual);
        let found = timeout(COMMAND_TIMEOUT, tokio::net::lookup_host((host, port))).await;
        let found = found.ok().and_then(Result::ok).ok_or_else(|| unresolved(host))?;
        Ok(Self { host, port, tls, addresses: found.collect() })
    }

    /// A connection that is encrypted, unless it never is.
    pub(super) async fn connect(
        &self,
        smtp: &Smtp,
        authorities: &[CertificateDer<'static>],
    ) -> Result<AsyncSmtpConnection, Refusal> {
        // We have no name that means anything to others.
        let hello = ClientId::default();
        let (stream, peer) = self.reach().await?;
        if self.tls == Tls::Implicit {
            let stream = Lines::new(self.seal(stream, authorities).await?, peer);
            let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
            return within(smtp, self.host, Step::Greeting, greeted).await;
        }
        let stream = Lines::new(stream, peer);
        let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
        let mut connection = within(smtp, self.host, Step::Greeting, greeted).await?;
        if self.tls == Tls::Starttls {
            if !connection.can_starttls() {
                let message = format!("{} offers no STARTTLS, without which no password is sent", self.host);
                return Err(Refusal::new(Cause::Provider, message));
            }
            let parameters = authorities
                .iter()
                .filter_map(|authority| Certificate::from_der(authority.to_vec()).ok())
                .fold(TlsParameters::builder(self.host.to_owned()), |builder, authority| {
                    builder.add_root_certificate(authority)
                })
                .certificate_store(CertificateStore::WebpkiRoots)
                .build()
                .map_err(|error| broken(self.host, &error))?;
            within(smtp, self.host, Step::Greeting, connection.starttls(parameters, &hello)).await?;
        }
        Ok(connection)
    }

    async fn reach(&self) -> Result<(TcpStream, SocketAddr), Refusal> {
        for address in &self.addresses {
            if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                return Ok((stream, *address));
            }
        }
        let (host, port) = (self.host, self.port);
        // Clouds, Lambda among them, let nothing out on it.
        let hint = if port == 25 { "; port 25 is blocked in many networks, try 587" } else { "" };
        Err(Refusal::new(Cause::Network, format!("{host} cannot be reached on port {port}{hint}")))
    }

    /// The same roots, versions and checks as `lettre` takes for STARTTLS.
    async fn seal(
        &self,
        stream: TcpStream,
        authorities: &[CertificateDer<'static>],
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Refusal> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(authorities.iter().cloned());
        let configuration = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(self.host, &error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.host.to_owned()).map_err(|error| broken(self.host, &error))?;
        match timeout(COMMAND_TIMEOUT, TlsConnector::from(Arc::new(configuration)).connect(name, stream))
            .await
        {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(broken(self.host, &error)),
            Err(_) => Err(late(self.host)),
        }
    }
}

fn unresolved(host: &str) -> Refusal {
    Refusal::new(Cause::Network, format!("{host} cannot be resolved"))
}
