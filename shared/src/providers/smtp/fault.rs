//! What went wrong in a session, and whose fault it is.

use std::{error::Error, io, iter::successors};

use base64::{Engine, engine::general_purpose::STANDARD};
use lettre::transport::smtp::{Error as SmtpError, response::Severity};
use secrecy::ExposeSecret;
use tokio_rustls::rustls::{self, CertificateError};

use super::{Smtp, server::COMMAND_TIMEOUT};
use crate::providers::{Cause, Refusal, answer::clean, field::repeats};

/// Longer ones are cut: what servers say of an error fits.
const DETAIL_MAX_CHARS: usize = 200;

/// What was being done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Greetings, and all until the connection is encrypted.
    Greeting,
    /// The user name and the password.
    SignIn,
    /// Who is going to send.
    Sender,
}

/// The server took too long.
pub(super) fn late(host: &str) -> Refusal {
    let seconds = COMMAND_TIMEOUT.as_secs();
    Refusal::new(Cause::Network, format!("{host} did not answer within {seconds} seconds"))
}

/// What an error amounts to.
pub(super) fn refusal(smtp: &Smtp, host: &str, step: Step, error: &SmtpError) -> Refusal {
    let Some(code) = error.status() else {
        return broken(host, error);
    };
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    let (cause, what) = match (code.severity, step) {
        // 4.7 is "security or policy" (RFC 3463, 3.8): too many sign-ins, too many connections.
        (Severity::TransientNegativeCompletion, _) if said.starts_with("4.7.") => {
            (Cause::RateLimited, "limits the rate of calls")
        }
        (Severity::TransientNegativeCompletion, _) | (_, Step::Greeting) => {
            (Cause::Provider, "does not serve us now")
        }
        (_, Step::SignIn) => (Cause::Auth, "refuses the user name or the password"),
        (_, Step::Sender) => (Cause::Scope, "does not let this user send from the address in `from`"),
    };
    let message = if said.is_empty() || tells(smtp, &said) {
        format!("{host} {what} ({code})")
    } else {
        format!("{host} {what} ({code}): {}", clean(&said, DETAIL_MAX_CHARS))
    };
    Refusal::new(cause, message)
}

/// What an error below the protocol amounts to. Its own text is not shown.
pub(super) fn broken(host: &str, error: &(dyn Error + 'static)) -> Refusal {
    use rustls::Error as Tls;
    if let Some(error) = chain(error).find_map(tls) {
        let what = match error {
            Tls::InvalidCertificate(error) => certificate(error),
            Tls::InvalidMessage(_) => "does not speak TLS there: the port fits another kind of connection",
            _ => "and we cannot agree on a TLS connection",
        };
        return Refusal::new(Cause::Provider, format!("{host} {what}"));
    }
    match chain(error).find_map(|error| error.downcast_ref::<io::Error>()) {
        Some(error) if error.kind() == io::ErrorKind::InvalidData => {
            Refusal::new(Cause::Provider, format!("{host} answers with more than can be meant"))
        }
        Some(_) => Refusal::new(Cause::Network, format!("{host} broke off the connection")),
        None => Refusal::new(Cause::Provider, format!("{host} does not answer as an SMTP server does")),
    }
}

/// An error and all that stands behind it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// An error of TLS, which comes inside one of input and output.
fn tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

fn certificate(error: &CertificateError) -> &'static str {
    use CertificateError as C;
    match error {
        C::NotValidForName | C::NotValidForNameContext { .. } => "shows a certificate of another name",
        C::Expired | C::ExpiredContext { .. } => "shows a certificate that has expired",
        C::UnknownIssuer => "shows a certificate that no known authority has signed",
        _ => "shows a certificate that is not valid",
    }
}

/// Whether a server's text repeats the password, as it is or as it was sent.
fn tells(smtp: &Smtp, text: &str) -> bool {
    let password = smtp.password.expose_secret();
    let plain = format!("\0{}\0{password}", smtp.username);
    repeats(text, password)
        || repeats(text, &STANDARD.encode(password))
        || repeats(text, &STANDARD.encode(plain))
}
