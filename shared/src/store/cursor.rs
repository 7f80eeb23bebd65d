//! Page cursors: opaque to callers, bound to the workspace and the list they came from.
//!
//! A cursor names a sort key only; the partition always comes from the caller, so a forged one
//! can at worst start a list of one's own at another place.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::{Error, identity::Workspace};

/// The cursor that continues `list` after `position`.
#[must_use]
pub fn encode(workspace: &Workspace, list: &str, position: &str) -> String {
    let mut bytes = binding(workspace, list).to_vec();
    bytes.extend_from_slice(position.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that a cursor of this very list names.
pub fn decode(workspace: &Workspace, list: &str, cursor: &str) -> Result<String, Error> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .filter(|bytes| bytes.starts_with(&binding(workspace, list)))
        .and_then(|bytes| String::from_utf8(bytes[BINDING..].to_vec()).ok())
        // All that positions are made of; anything else could make a range that ends before it begins.
        .filter(|position| position.bytes().all(|byte| byte.is_ascii_graphic()) && position.len() <= 512)
        .ok_or_else(foreign)
}

/// What a cursor is told that did not come from this list.
#[must_use]
pub fn foreign() -> Error {
    Error::invalid("cursor", "is not a cursor that this list gave")
}

const BINDING: usize = 8;

fn binding(workspace: &Workspace, list: &str) -> [u8; BINDING] {
    let digest = Sha256::digest(format!("{workspace}#{list}"));
    let mut binding = [0; BINDING];
    binding.copy_from_slice(&digest[..BINDING]);
    binding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_works_only_where_it_came_from() {
        let (acme, other): (Workspace, Workspace) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let cursor = encode(&acme, "users", "USER#7");
        assert_eq!(decode(&acme, "users", &cursor).unwrap(), "USER#7");
        for (case, workspace, list, cursor) in [
            ("other workspace", &other, "users", cursor.as_str()),
            ("other list", &acme, "keys", &cursor),
            ("not base64", &acme, "users", "%%%"),
            ("empty", &acme, "users", ""),
            ("beyond all ids", &acme, "users", &encode(&acme, "users", "USER#\u{7f}\u{7f}")),
        ] {
            assert!(decode(workspace, list, cursor).is_err(), "{case}");
        }
    }
}
