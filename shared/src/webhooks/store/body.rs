//! Bodies as they are stored: byte-exact, compressed where that makes them smaller, with their
//! event where they fit beside it and in pieces where not.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, id, store::unavailable};

/// What stands with its event. An item has 400 KB; the rest is for headers and attempts.
pub(super) const INLINE_MAX: usize = 300 * 1024;
/// Bytes of a piece.
pub(super) const PIECE: usize = 350 * 1024;
/// The library's own choice: higher ones take several times as long and save a few per cent.
const LEVEL: i32 = 3;

/// How stored bytes become a body.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    /// They are it.
    Raw,
    /// By Zstandard.
    Zstd,
}

/// A body, or where it is, as the row of its event has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Place {
    encoding: Encoding,
    /// The body itself, if it is not in pieces; absent if it is empty.
    #[serde(rename = "body", default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    inline: Vec<u8>,
    /// The name of its pieces: 16 hexadecimal digits of the SHA-256 of what they hold together.
    #[serde(rename = "body_digest", default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
}

/// A body to be stored: where it will be, and what has to be stored before.
pub(super) struct Packed {
    pub(super) place: Place,
    /// Bytes that do not fit in the row of the event.
    apart: Vec<u8>,
}

impl Packed {
    pub(super) fn of(body: &[u8]) -> Result<Self, Error> {
        let smaller = zstd::bulk::compress(body, LEVEL).map_err(unavailable)?;
        let (encoding, bytes) = if smaller.len() < body.len() {
            (Encoding::Zstd, smaller)
        } else {
            (Encoding::Raw, body.to_vec())
        };
        Ok(if bytes.len() <= INLINE_MAX {
            Self { place: Place { encoding, inline: bytes, digest: None }, apart: Vec::new() }
        } else {
            let digest = Some(digest(&bytes));
            Self { place: Place { encoding, inline: Vec::new(), digest }, apart: bytes }
        })
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.apart.chunks(PIECE)
    }
}

impl Place {
    /// The body of `size` bytes. `pieces` is what its pieces hold, in order.
    pub(super) fn unpack(self, pieces: Vec<u8>, size: u64) -> Result<Vec<u8>, Error> {
        let stored = match &self.digest {
            Some(name) if *name != digest(&pieces) => return Err(unavailable("a stored body lacks pieces")),
            Some(_) => pieces,
            None => self.inline,
        };
        let size = usize::try_from(size).map_err(unavailable)?;
        let body = match self.encoding {
            Encoding::Raw => stored,
            Encoding::Zstd => zstd::bulk::decompress(&stored, size).map_err(unavailable)?,
        };
        if body.len() == size { Ok(body) } else { Err(unavailable("a stored body has another size")) }
    }
}

fn digest(bytes: &[u8]) -> String {
    id::hex(&Sha256::digest(bytes)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_byte_for_byte() {
        let mut random = vec![0; INLINE_MAX + PIECE + 7];
        getrandom::fill(&mut random).unwrap();
        for (case, body, pieces) in [
            ("empty", Vec::new(), 0),
            ("short", b"{}".to_vec(), 0),
            ("not text", vec![0, 0xff, 0xfe, b'\r', b'\n'], 0),
            ("a megabyte of the same", vec![b'x'; 1024 * 1024], 0),
            ("just inline", random[..INLINE_MAX].to_vec(), 0),
            ("just not", random[..=INLINE_MAX].to_vec(), 1),
            ("random", random.clone(), 2),
        ] {
            let packed = Packed::of(&body).unwrap();
            assert_eq!(packed.pieces().count(), pieces, "{case}");
            assert!(packed.pieces().all(|piece| piece.len() <= PIECE), "{case}");
            assert!(packed.place.inline.len() <= INLINE_MAX.min(body.len()), "{case}");
            let stored = packed.pieces().flatten().copied().collect();
            let size = body.len() as u64;
            assert!(packed.place.unpack(stored, size).unwrap() == body, "{case}");
        }
    }

    #[test]
    fn what_is_not_the_body_is_not_handed_out() {
        let mut random = vec![0; INLINE_MAX + 1];
        getrandom::fill(&mut random).unwrap();
        let size = random.len() as u64;
        let packed = Packed::of(&random).unwrap();
        for (case, pieces, size) in [
            ("a piece is missing", Vec::new(), size),
            ("a piece is cut", random[1..].to_vec(), size),
            ("another size", random.clone(), size - 1),
        ] {
            assert!(packed.place.clone().unpack(pieces, size).is_err(), "{case}");
        }
        let small = Packed::of(&[b'x'; 1000]).unwrap().place;
        assert!(small.unpack(Vec::new(), 999).is_err(), "larger than it was");
    }
}
