//! The envelope of a document at rest: its bytes under a key of their own, and that key wrapped by one of `store.keys`.
//!
//! ```text
//! sealed bytes   chunk 0 ‖ tag ‖ chunk 1 ‖ tag ‖ … ‖ last chunk ‖ tag          AES-256-GCM-SIV (RFC 8452)
//! chunk          64 KiB of the document, the last one less; an empty document is one empty chunk
//! nonce          seven zeros ‖ number of the chunk (32 bits) ‖ 1 for the last chunk, else 0
//! wrapped key    nonce (12 octets, random) ‖ the document's key (32) ‖ tag (16)
//! ```
//! A document's key is drawn for it and seals these bytes once, so counting nonces never meet. The number and the last mark in
//! the nonce are what STREAM does (Hoang, Reyhanitabar, Rogaway, Vizár 2015): a chunk that is cut off, exchanged or added does
//! not open. Both layers name the document's hash as associated data: neither a key nor bytes open for another document.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::store::DocumentKey;

/// Plain octets of a chunk.
const CHUNK_BYTES: usize = 64 * 1024;
/// What each chunk has more when it is sealed.
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// Octets of a key, of both layers.
pub(super) const KEY_BYTES: usize = 32;
/// So that a wrapped key is never taken for anything else that the same key might seal one day.
const WRAP_LABEL: &[u8] = b"faxwell document key 1";

/// Why bytes were not opened: the key is another one, or they are not what was sealed. Which of both cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotSealedSo;

/// The key of one document.
#[derive(Clone)]
pub(super) struct DataKey([u8; KEY_BYTES]);

/// A key of `store.keys`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WrappingKey(pub(super) [u8; KEY_BYTES]);

/// Octets of a document of this length when it is sealed.
pub(super) fn sealed_size(size_bytes: u64) -> u64 {
    size_bytes + TAG_BYTES as u64 * size_bytes.div_ceil(CHUNK_BYTES as u64).max(1)
}

impl DataKey {
    /// Draws one.
    pub(super) fn draw() -> Self {
        let mut key = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut key).expect("the system's random numbers are there once a process has started");
        Self(key)
    }

    /// Seals a whole document. The same key, document and bytes give the same octets.
    pub(super) fn seal(&self, of: &DocumentKey, bytes: &[u8]) -> Vec<u8> {
        let key = cipher(&self.0);
        let mut sealed = Vec::with_capacity(usize::try_from(sealed_size(bytes.len() as u64)).unwrap_or(bytes.len()));
        let count = bytes.len().div_ceil(CHUNK_BYTES).max(1);
        for number in 0..count {
            let chunk = &bytes[number * CHUNK_BYTES..bytes.len().min((number + 1) * CHUNK_BYTES)];
            let start = sealed.len();
            sealed.extend_from_slice(chunk);
            let tag = key.seal_in_place_separate_tag(nonce(number, count), Aad::from(of.0), &mut sealed[start..]);
            sealed.extend_from_slice(tag.expect("a chunk is far shorter than the cipher's limit").as_ref());
        }
        sealed
    }

    /// Opens what [`Self::seal`] made, of this very document.
    pub(super) fn open(&self, of: &DocumentKey, mut sealed: Vec<u8>) -> Result<Vec<u8>, NotSealedSo> {
        let key = cipher(&self.0);
        let step = CHUNK_BYTES + TAG_BYTES;
        let count = sealed.len().div_ceil(step);
        let mut end = 0;
        for number in 0..count.max(1) {
            let start = number * step;
            let until = sealed.len().min(start + step);
            let chunk = sealed.get_mut(start..until).ok_or(NotSealedSo)?;
            let opened = key.open_in_place(nonce(number, count), Aad::from(of.0), chunk).map_err(|_| NotSealedSo)?;
            let length = opened.len();
            // Sealing never makes an empty chunk behind others.
            if length == 0 && count > 1 {
                return Err(NotSealedSo);
            }
            sealed.copy_within(start..start + length, end);
            end += length;
        }
        sealed.truncate(end);
        Ok(sealed)
    }
}

impl WrappingKey {
    /// Wraps the key of this document. `by` is this key's name in `store.keys`.
    pub(super) fn wrap(&self, by: &str, of: &DocumentKey, key: &DataKey) -> Vec<u8> {
        let mut fresh = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut fresh).expect("the system's random numbers are there once a process has started");
        let mut wrapped = key.0;
        let sealing = cipher(&self.0);
        let nonce = Nonce::assume_unique_for_key(fresh);
        let tag = sealing.seal_in_place_separate_tag(nonce, Aad::from(about(by, of)), &mut wrapped);
        let tag = tag.expect("a key is far shorter than the cipher's limit");
        [&fresh, &wrapped[..], tag.as_ref()].concat()
    }

    /// Opens a wrapped key of this document.
    pub(super) fn unwrap(&self, by: &str, of: &DocumentKey, wrapped: &[u8]) -> Result<DataKey, NotSealedSo> {
        let (fresh, rest) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(NotSealedSo)?;
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*fresh);
        let opened = cipher(&self.0).open_in_place(nonce, Aad::from(about(by, of)), &mut rest);
        let opened = opened.map_err(|_| NotSealedSo)?;
        <[u8; KEY_BYTES]>::try_from(&*opened).map(DataKey).map_err(|_| NotSealedSo)
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).expect("the key has the cipher's length"))
}

fn nonce(number: usize, count: usize) -> Nonce {
    let number_bits = u32::try_from(number).expect("documents are far below 2^32 chunks").to_be_bytes();
    let mut nonce = [0; NONCE_BYTES];
    nonce[7..11].copy_from_slice(&number_bits);
    nonce[11] = u8::from(number + 1 >= count);
    Nonce::assume_unique_for_key(nonce)
}

fn about(by: &str, of: &DocumentKey) -> Vec<u8> {
    [WRAP_LABEL, &of.0, by.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn bytes(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed).collect()
    }

    fn key_of(bytes: &[u8]) -> DocumentKey {
        DocumentKey(Sha256::digest(bytes).into())
    }

    const STEP: usize = CHUNK_BYTES + TAG_BYTES;

    #[test]
    fn what_was_sealed_opens_and_has_the_length_that_was_told() {
        for len in [0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 200_000] {
            let (key, plain) = (DataKey::draw(), bytes(len, 3));
            let of = key_of(&plain);
            let sealed = key.seal(&of, &plain);
            assert_eq!(sealed.len() as u64, sealed_size(len as u64), "{len}");
            assert_eq!(sealed, key.seal(&of, &plain), "sealing again gives the same octets");
            assert!(len < 100 || !sealed.windows(32).any(|w| plain.windows(32).next() == Some(w)), "{len}");
            assert_eq!(key.open(&of, sealed).unwrap(), plain, "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_of_bytes_and_of_the_wrapped_key_is_refused() {
        let (key, plain) = (DataKey::draw(), bytes(70, 1));
        let of = key_of(&plain);
        let sealed = key.seal(&of, &plain);
        let wrapping = WrappingKey([7; KEY_BYTES]);
        let wrapped = wrapping.wrap("2027a", &of, &key);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&of, flipped), Err(NotSealedSo), "bit {bit}");
        }
        for bit in 0..wrapped.len() * 8 {
            let mut flipped = wrapped.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(wrapping.unwrap("2027a", &of, &flipped).is_err(), "bit {bit} of the key");
        }
        for len in 0..wrapped.len() {
            assert!(wrapping.unwrap("2027a", &of, &wrapped[..len]).is_err(), "{len} octets of the key");
        }
    }

    #[test]
    fn chunks_that_are_cut_exchanged_repeated_or_added_are_refused() {
        let (key, plain) = (DataKey::draw(), bytes(3 * CHUNK_BYTES, 9));
        let of = key_of(&plain);
        let sealed = key.seal(&of, &plain);
        let chunk = |n: usize| &sealed[n * STEP..(n + 1) * STEP];
        let cases: [(&str, Vec<u8>); 8] = [
            ("the last is missing", sealed[..2 * STEP].to_vec()),
            ("the first is missing", sealed[STEP..].to_vec()),
            ("half of the last is missing", sealed[..2 * STEP + STEP / 2].to_vec()),
            ("one octet is missing", sealed[..sealed.len() - 1].to_vec()),
            ("two change places", [chunk(1), chunk(0), chunk(2)].concat()),
            ("one comes twice", [chunk(0), chunk(1), chunk(1), chunk(2)].concat()),
            ("an octet is added", [&sealed[..], b"x"].concat()),
            ("nothing is left", Vec::new()),
        ];
        for (what, forged) in cases {
            assert_eq!(key.open(&of, forged), Err(NotSealedSo), "{what}");
        }
    }

    #[test]
    fn another_key_another_document_and_another_name_are_refused() {
        let (key, plain) = (DataKey::draw(), bytes(500, 2));
        let (of, other) = (key_of(&plain), key_of(b"another"));
        let sealed = key.seal(&of, &plain);
        assert_eq!(DataKey::draw().open(&of, sealed.clone()), Err(NotSealedSo));
        assert_eq!(key.open(&other, sealed), Err(NotSealedSo));
        let wrapping = WrappingKey([1; KEY_BYTES]);
        let wrapped = wrapping.wrap("a", &of, &key);
        assert!(wrapping.unwrap("a", &of, &wrapped).is_ok());
        assert!(wrapping.unwrap("b", &of, &wrapped).is_err());
        assert!(wrapping.unwrap("a", &other, &wrapped).is_err());
        assert!(WrappingKey([2; KEY_BYTES]).unwrap("a", &of, &wrapped).is_err());
        assert_ne!(wrapped, wrapping.wrap("a", &of, &key), "each wrapping has its own nonce");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_bytes_come_back_and_any_change_is_refused(
            len in 0..200_000_usize, seed: u8, at in 0..200_000_usize, flip in 1..=255_u8, cut in 1..70_000_usize,
        ) {
            let (key, plain) = (DataKey::draw(), bytes(len, seed));
            let of = key_of(&plain);
            let sealed = key.seal(&of, &plain);
            prop_assert_eq!(key.open(&of, sealed.clone()), Ok(plain));
            let mut changed = sealed.clone();
            let at = at % changed.len();
            changed[at] ^= flip;
            prop_assert_eq!(key.open(&of, changed), Err(NotSealedSo));
            let left = sealed.len().saturating_sub(cut);
            prop_assert_eq!(key.open(&of, sealed[..left].to_vec()), Err(NotSealedSo));
        }
    }
}
