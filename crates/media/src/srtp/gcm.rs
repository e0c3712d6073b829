//! AES-128 in Galois/counter mode (RFC 7714).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::keys::{Labels, MasterKey};

/// The session keys of one direction.
pub(super) struct Gcm {
    salt: [u8; 12],
    key: LessSafeKey,
}

impl Gcm {
    pub(super) fn new(master: &MasterKey, labels: &Labels) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &master.derive::<16>(labels.encryption))
            .expect("AES-128 takes a key of 16 bytes");
        Self { salt: master.derive(labels.salt), key: LessSafeKey::new(key) }
    }

    /// Encrypts `bytes` and returns the tag, which also covers `associated`.
    ///
    /// `index` must not have been used before with this key and `ssrc`.
    pub(super) fn seal(
        &self,
        ssrc: u32,
        index: u64,
        associated: &[u8],
        bytes: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let nonce = self.nonce(ssrc, index);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(associated), bytes).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts `bytes`, which end in the tag, and returns whether the tag was right.
    pub(super) fn open(&self, ssrc: u32, index: u64, associated: &[u8], bytes: &mut [u8]) -> bool {
        self.key.open_in_place(self.nonce(ssrc, index), Aad::from(associated), bytes).is_ok()
    }

    /// Two zero bytes, SSRC and index (RFC 7714 §8.1; §9.1 is the same with a 31-bit index), added
    /// modulo 2 to the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        for (byte, ssrc) in nonce[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= ssrc;
        }
        for (byte, index) in nonce[6..].iter_mut().zip(index.to_be_bytes().into_iter().skip(2)) {
            *byte ^= index;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Bytes of the tag (RFC 7714 §14.2).
pub(super) const TAG_BYTES: usize = 16;
