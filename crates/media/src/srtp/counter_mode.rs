//! AES-128 in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).

use aes::{
    Aes128Enc,
    cipher::{BlockEncrypt, KeyInit, generic_array::GenericArray},
};

use super::keys::{Labels, MasterKey};

type Block = GenericArray<u8, sha1::digest::generic_array::typenum::U64>;

/// The session keys of one direction.
pub(super) struct CounterMode {
    salt: [u8; 14],
    /// Bytes of the tag of an RTP packet: the first ones of the whole tag.
    rtp_tag_bytes: usize,
    /// SHA-1 after the inner and after the outer pad, so that neither is hashed per packet.
    inner: [u32; 5],
    outer: [u32; 5],
    aes: Aes128Enc,
}

impl CounterMode {
    pub(super) fn new(master: &MasterKey, labels: &Labels) -> Self {
        let key: [u8; 20] = master.derive(labels.authentication);
        let mut inner_pad = [0x36; BLOCK];
        let mut outer_pad = [0x5c; BLOCK];
        for ((inner, outer), key) in inner_pad.iter_mut().zip(&mut outer_pad).zip(key) {
            *inner ^= key;
            *outer ^= key;
        }
        let (mut inner, mut outer) = (SHA1_START, SHA1_START);
        hash_block(&mut inner, &inner_pad);
        hash_block(&mut outer, &outer_pad);
        let aes = Aes128Enc::new(&master.derive::<16>(labels.encryption).into());
        let rtp_tag_bytes = master.profile.tag_bytes();
        Self { salt: master.derive(labels.salt), rtp_tag_bytes, inner, outer, aes }
    }

    pub(super) fn rtp_tag_bytes(&self) -> usize {
        self.rtp_tag_bytes
    }

    /// Encrypts or decrypts `bytes` of the packet `index` of `ssrc`.
    pub(super) fn apply(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let start = self.counter_start(ssrc, index);
        let mut counter = 0_u16;
        for run in bytes.chunks_mut(16 * RUN) {
            let blocks = run.len().div_ceil(16);
            let mut keystream = [GenericArray::from(start); RUN];
            let keystream = &mut keystream[..blocks];
            for block in keystream.iter_mut() {
                let [low, high] = counter.to_be_bytes();
                block[14] = low;
                block[15] = high;
                counter = counter.wrapping_add(1);
            }
            self.aes.encrypt_blocks(keystream);
            for (bytes, key) in run.chunks_mut(16).zip(keystream) {
                for (byte, key) in bytes.iter_mut().zip(key) {
                    *byte ^= *key;
                }
            }
        }
    }

    /// The first counter block: salt, SSRC and index added modulo 2 (RFC 3711 §4.1.1).
    fn counter_start(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut start = [0; 16];
        start[..14].copy_from_slice(&self.salt);
        for (byte, ssrc) in start[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= ssrc;
        }
        for (byte, index) in start[8..14].iter_mut().zip(index.to_be_bytes().into_iter().skip(2)) {
            *byte ^= index;
        }
        start
    }

    /// The tag over `bytes` followed by `trailer`, which is empty or the rollover counter.
    pub(super) fn tag(&self, bytes: &[u8], trailer: &[u8]) -> [u8; TAG_BYTES] {
        debug_assert!(trailer.len() <= 4);
        let mut state = self.inner;
        let mut runs = bytes.chunks_exact(BLOCK * HASH_RUN);
        let mut blocks = [GenericArray::default(); HASH_RUN + 2];
        for run in &mut runs {
            fill(&mut blocks, run);
            sha1::compress(&mut state, &blocks[..HASH_RUN]);
        }
        let rest = runs.remainder();
        let used = (rest.len() + trailer.len() + 1 + 8).div_ceil(BLOCK);
        let blocks = &mut blocks[..used];
        blocks.fill(GenericArray::default());
        fill(blocks, rest);
        let after = trailer.iter().chain(&[0x80]).zip(rest.len()..);
        for (byte, at) in after {
            blocks[at / BLOCK][at % BLOCK] = *byte;
        }
        let bits = (BLOCK + bytes.len() + trailer.len()) as u64 * 8;
        blocks[used - 1][BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        sha1::compress(&mut state, blocks);
        self.finish(state)
    }

    fn finish(&self, inner: [u32; 5]) -> [u8; TAG_BYTES] {
        let mut block = [0_u8; BLOCK];
        for (bytes, word) in block.chunks_exact_mut(4).zip(inner) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        block[20] = 0x80;
        block[BLOCK - 8..].copy_from_slice(&((BLOCK as u64 + 20) * 8).to_be_bytes());
        let mut state = self.outer;
        hash_block(&mut state, &block);
        let mut tag = [0; TAG_BYTES];
        for (bytes, word) in tag.chunks_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes()[..bytes.len()]);
        }
        tag
    }

    /// Whether `tag`, which has the bytes that the profile wants, is the one over `bytes` and
    /// `trailer`; takes the same time either way.
    pub(super) fn is_authentic(&self, bytes: &[u8], trailer: &[u8], tag: &[u8]) -> bool {
        let expected = self.tag(bytes, trailer);
        let difference = expected.iter().zip(tag).fold(0, |all, (a, b)| all | (a ^ b));
        !tag.is_empty() && tag.len() <= TAG_BYTES && std::hint::black_box(difference) == 0
    }
}

/// Copies `bytes` to the front of `blocks`: hashing many at a time is worth more than the copy costs.
fn fill(blocks: &mut [Block], bytes: &[u8]) {
    for (block, bytes) in blocks.iter_mut().zip(bytes.chunks(BLOCK)) {
        block[..bytes.len()].copy_from_slice(bytes);
    }
}

fn hash_block(state: &mut [u32; 5], block: &[u8]) {
    sha1::compress(state, std::slice::from_ref(GenericArray::from_slice(block)));
}

/// Bytes of the whole tag (RFC 3711 §5.2: 80 bits).
pub(super) const TAG_BYTES: usize = 10;
const BLOCK: usize = 64;
/// Blocks hashed together.
const HASH_RUN: usize = 4;
/// Counter blocks encrypted together: what a 20 ms frame of G.711 needs fits.
const RUN: usize = 16;
// FIPS 180-4 §5.3.1.
const SHA1_START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
