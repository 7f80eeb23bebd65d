//! The state directory: what is in it, who may read it, and that only one server uses it.
//!
//! | File | Holds |
//! |---|---|
//! | `lock` | nothing; the running server holds an advisory lock on it |
//! | `running.json` | where the running server listens and its parameters |
//! | `access-key` | the access key of the AWS endpoint |
//! | `master-key` | what encrypts the KMS keys' output |
//! | `dev-issuer.pem` | the key of the development issuer |
//! | `dynamodb.db` | the tables |
//! | `services.db` | queues, secrets, and what the scheduler remembers |

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::random;

/// A state directory.
#[derive(Debug, Clone)]
pub struct State(PathBuf);

/// Held for as long as a server uses the directory.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

/// How to reach the running server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Running {
    /// Of the HTTP API.
    pub url: String,
    /// Of the AWS endpoint.
    pub aws_url: String,
    /// Whether it trusts the development issuer.
    pub development: bool,
    /// The template's parameters that differ from their defaults.
    pub parameters: BTreeMap<String, String>,
}

impl State {
    /// The directory, which is made when it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self(path.to_owned()))
    }

    /// The directory, if it is there.
    #[must_use]
    pub fn existing(path: &Path) -> Option<Self> {
        path.is_dir().then(|| Self(path.to_owned()))
    }

    /// A file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes the directory for this process; `None` when another has it.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.file("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// As [`Self::lock`], but waits for a command that only looks whether a server is there.
    pub async fn lock_soon(&self) -> io::Result<Option<Lock>> {
        for _ in 0..5 {
            if let Some(lock) = self.lock()? {
                return Ok(Some(lock));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.lock()
    }

    /// Tells other commands how to reach this server.
    pub fn announce(&self, running: &Running) -> io::Result<()> {
        let draft = self.file("running.json.new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        create_private(&draft, serde_json::to_string(running)?.as_bytes())?;
        fs::rename(draft, self.file("running.json"))
    }

    /// The running server, if one has the directory.
    pub fn running(&self) -> io::Result<Option<Running>> {
        // A server that was killed leaves its announcement behind, but not its lock.
        if self.lock()?.is_some() { Ok(None) } else { self.announced() }
    }

    /// The server that announced itself last, be it running or not.
    pub fn announced(&self) -> io::Result<Option<Running>> {
        match fs::read(self.file("running.json")) {
            Ok(running) => Ok(serde_json::from_slice(&running).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The access key of the AWS endpoint, which is made when it is not there.
    pub fn access_key(&self) -> io::Result<AccessKey> {
        let path = self.file("access-key");
        let new = AccessKey::random();
        create_private(&path, format!("{} {}", new.id, new.secret).as_bytes())?;
        let text = fs::read_to_string(&path)?;
        let (id, secret) = text
            .trim()
            .split_once(' ')
            .ok_or_else(|| io::Error::other(format!("{} is damaged; delete it", path.display())))?;
        Ok(AccessKey { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// The master key, which is made when it is not there.
    pub fn master_key(&self) -> io::Result<[u8; 32]> {
        let path = self.file("master-key");
        create_private(&path, &random::bytes::<32>())?;
        let damaged = || io::Error::other(format!("{} is damaged", path.display()));
        fs::read(&path)?.try_into().map_err(|_| damaged())
    }
}

/// What a request to the AWS endpoint must be signed with.
#[derive(Clone)]
pub struct AccessKey {
    /// Sent with each request, so it is as secret as the other half here.
    pub id: String,
    /// Signs; the endpoint does not check signatures.
    pub secret: String,
}

impl AccessKey {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self { id: format!("TIDE{}", random::letters(28)), secret: random::letters(40) }
    }
}

/// Writes a file that only this user may read, whole or not at all; leaves one that is there.
pub fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", random::hex::<8>()));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    // A link fails when the name is taken, and then the other process's file stays.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
