//! A session with an SMTP server: to an address that was checked, encrypted before anything
//! secret is said, each step within its time.

use std::{fmt::Display, future::Future};

use lettre::transport::smtp::{
    Error as SmtpError,
    authentication::{Credentials, Mechanism},
    client::AsyncSmtpConnection,
    commands::Quit,
};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::{
    Smtp,
    fault::{Step, late, refusal},
    server::{COMMAND_TIMEOUT, Server},
};
use crate::providers::{Cause, Client, Refusal};

/// Ways to sign in, best first; both send the password as it is, which TLS hides.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// A connection that is signed in.
pub(super) struct Session<'a> {
    smtp: &'a Smtp,
    server: Server<'a>,
    connection: AsyncSmtpConnection,
}

impl<'a> Session<'a> {
    /// Connects and signs in.
    pub(super) async fn open(smtp: &'a Smtp, client: &'a Client) -> Result<Self, Refusal> {
        let server = match client.endpoint("smtp") {
            Some(url) => Server::instead(url).await?,
            None => Server::of(smtp).await?,
        };
        let connection = server.connect(smtp, client.authorities()).await?;
        let mut session = Self { smtp, server, connection };
        if session.connection.server_info().get_auth_mechanism(&MECHANISMS).is_none() {
            let message = format!("{} offers no sign-in by user name and password", session.server.host);
            return Err(Refusal::new(Cause::Provider, message));
        }
        let credentials = Credentials::new(smtp.username.clone(), smtp.password.expose_secret().to_owned());
        let signed_in = session.connection.auth(&MECHANISMS, &credentials);
        within(smtp, session.server.host, Step::SignIn, signed_in).await?;
        Ok(session)
    }

    /// Says a command that the server must agree to.
    pub(super) async fn say(&mut self, step: Step, command: impl Display) -> Result<(), Refusal> {
        within(self.smtp, self.server.host, step, self.connection.command(command)).await?;
        Ok(())
    }

    /// Takes leave. Whether the server says farewell changes nothing.
    pub(super) async fn close(mut self) {
        let _ = timeout(COMMAND_TIMEOUT, self.connection.command(Quit)).await;
    }
}

/// A step of a session, which ends in time.
pub(super) async fn within<T>(
    smtp: &Smtp,
    host: &str,
    step: Step,
    done: impl Future<Output = Result<T, SmtpError>>,
) -> Result<T, Refusal> {
    match timeout(COMMAND_TIMEOUT, done).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(refusal(smtp, host, step, &error)),
        Err(_) => Err(late(host)),
    }
}
