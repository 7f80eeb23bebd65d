//! An SMTP server on this machine, with certificates of its own, that misbehaves as it is told.

use std::{
    io,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

pub const USERNAME: &str = "ada@acme.example";
pub const PASSWORD: &str = "correct horse battery";

/// Who signs the certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("authority"));
static STRANGER: LazyLock<Authority> = LazyLock::new(|| Authority::new("stranger"));

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(parameters, key), certificate }
    }
}

/// The authority that the client is to trust.
pub fn authority() -> CertificateDer<'static> {
    AUTHORITY.certificate.clone()
}

/// When the connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    Implicit,
    Starttls,
    Never,
}

/// What is shown when it is.
#[derive(Clone, Copy)]
pub enum Certificate {
    Good,
    OtherName,
    Expired,
    OfAStranger,
}

/// What the server does in place of its proper answer.
#[derive(Clone, Copy)]
pub enum Fault {
    Say(&'static str),
    /// Repeats what it got in a refusal.
    Repeat,
    /// Repeats the password in a refusal.
    RepeatPassword,
    Hang,
    Close,
    /// This, again and again.
    Endless(&'static str),
}

/// A server's character.
#[derive(Clone, Copy)]
pub struct Character {
    pub tls: Tls,
    pub certificate: Certificate,
    /// What it says of itself when greeted, before and after encryption.
    pub offers: &'static [&'static str],
    /// At which command, by its first word, it does what. The greeting has none; a handshake is
    /// `TLS`.
    pub fault: Option<(&'static str, Fault)>,
}

impl Character {
    pub const GOOD: Self = Self {
        tls: Tls::Starttls,
        certificate: Certificate::Good,
        offers: &["SIZE 1000", "AUTH PLAIN LOGIN"],
        fault: None,
    };
}

/// A running server; ends when dropped.
pub struct Server {
    pub port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(character: Character) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, sent) = (Arc::default(), Arc::default());
        let session = Session { character, heard: Arc::clone(&heard), sent: Arc::clone(&sent) };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // However the client leaves.
                let _ = session.serve(stream).await;
            }
        });
        Self { port, heard, sent, task }
    }

    /// What was said to it, each line marked by whether it was encrypted.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Bytes that an endless answer got rid of.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

struct Session {
    character: Character,
    heard: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicUsize>,
}

impl Session {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let stream = match self.character.tls {
            Tls::Implicit => return self.talk(self.seal(stream).await?, true, true).await.map(|_| ()),
            Tls::Starttls | Tls::Never => self.talk(stream, false, true).await?,
        };
        match stream {
            Some(stream) => self.talk(self.seal(stream).await?, true, false).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Talks until the client leaves, or asks for encryption and gets its stream back.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        sealed: bool,
        greet: bool,
    ) -> io::Result<Option<S>> {
        let mut stream = BufReader::new(stream);
        if greet {
            self.answer(&mut stream, "", "", "220 mail.example ESMTP\r\n".to_owned()).await?;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            let word = line.split([' ', ':']).next().unwrap_or_default();
            let mark = if sealed { "sealed" } else { "clear" };
            self.heard.lock().unwrap().push(format!("{mark} {line}"));
            let answer = match word {
                "EHLO" => self.introduction(sealed),
                "STARTTLS" => "220 go on\r\n".to_owned(),
                "AUTH" => self.sign_in(&mut stream, line).await?,
                "QUIT" => "221 farewell\r\n".to_owned(),
                _ => "250 as you wish\r\n".to_owned(),
            };
            self.answer(&mut stream, word, line, answer).await?;
            match word {
                "STARTTLS" => return Ok(Some(stream.into_inner())),
                "QUIT" => return Ok(None),
                _ => {}
            }
        }
    }

    fn introduction(&self, sealed: bool) -> String {
        let starttls = (self.character.tls == Tls::Starttls && !sealed).then_some("STARTTLS");
        let offers: Vec<&str> = starttls.iter().chain(self.character.offers).copied().collect();
        let offers = ["mail.example"].into_iter().chain(offers).map(|offer| format!("250-{offer}\r\n"));
        offers.chain(["250 HELP\r\n".to_owned()]).collect::<Vec<_>>().concat()
    }

    async fn sign_in<S>(&self, stream: &mut BufReader<S>, line: &str) -> io::Result<String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let decoded =
            |text: &str| STANDARD.decode(text.trim()).ok().and_then(|text| String::from_utf8(text).ok());
        let known = if let Some(initial) = line.strip_prefix("AUTH PLAIN ") {
            decoded(initial) == Some(format!("\0{USERNAME}\0{PASSWORD}"))
        } else {
            let mut known = true;
            for (question, answer) in [("Username:", USERNAME), ("Password:", PASSWORD)] {
                stream.write_all(format!("334 {}\r\n", STANDARD.encode(question)).as_bytes()).await?;
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                known &= decoded(&line).as_deref() == Some(answer);
            }
            known
        };
        Ok(if known { "235 welcome\r\n" } else { "535 5.7.8 Username and password not accepted\r\n" }
            .to_owned())
    }

    async fn answer<S>(
        &self,
        stream: &mut BufReader<S>,
        word: &str,
        line: &str,
        proper: String,
    ) -> io::Result<()>
    where
        S: AsyncWrite + AsyncRead + Unpin,
    {
        let text = match self.character.fault.filter(|(at, _)| *at == word).map(|(_, fault)| fault) {
            None => proper,
            Some(Fault::Say(text)) => text.to_owned(),
            Some(Fault::Repeat) => format!("535 5.7.8 not understood: {line}\r\n"),
            Some(Fault::RepeatPassword) => format!("535 5.7.8 wrong password {PASSWORD}\r\n"),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Close) => return Err(io::Error::other("closed")),
            Some(Fault::Endless(text)) => loop {
                let text = text.repeat(1000);
                stream.write_all(text.as_bytes()).await?;
                self.sent.fetch_add(text.len(), Ordering::Relaxed);
            },
        };
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await
    }

    async fn seal(&self, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        if self.character.fault.is_some_and(|(at, _)| at == "TLS") {
            std::future::pending::<()>().await;
        }
        TlsAcceptor::from(Arc::new(self.configuration())).accept(stream).await
    }

    fn configuration(&self) -> ServerConfig {
        let name = match self.character.certificate {
            Certificate::OtherName => "mail.example",
            _ => "localhost",
        };
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        let signer = match self.character.certificate {
            Certificate::OfAStranger => &STRANGER,
            _ => &AUTHORITY,
        };
        if let Certificate::Expired = self.character.certificate {
            parameters.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &signer.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }
}
