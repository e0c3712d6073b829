//! G.711: µ-law and A-law (ITU-T G.711), eight bits a sample at 8 kHz.

use super::Descriptor;
use crate::Error;

/// µ-law.
pub static PCMU: Descriptor = Descriptor {
    encoding_name: "PCMU",
    static_payload_type: Some(0), // RFC 3551 §6, table 4
    offered_payload_type: 0,
    clock_rate_hz: RATE_HZ,
    channels: 1,
    fmtp: None,
    pcm_rate_hz: RATE_HZ,
    payload_bytes_max: 160,
};

/// A-law.
pub static PCMA: Descriptor = Descriptor {
    encoding_name: "PCMA",
    static_payload_type: Some(8), // RFC 3551 §6, table 4
    offered_payload_type: 8,
    clock_rate_hz: RATE_HZ,
    channels: 1,
    fmtp: None,
    pcm_rate_hz: RATE_HZ,
    payload_bytes_max: 160,
};

/// The µ-law code of silence.
pub const ULAW_SILENCE: u8 = 0xff;

/// The A-law code of silence.
pub const ALAW_SILENCE: u8 = 0xd5;

/// The A-law code of each µ-law code.
pub static ULAW_TO_ALAW: [u8; 256] = {
    let mut codes = [0; 256];
    let mut code = 0;
    while code < codes.len() {
        codes[code] = encode_alaw(decode_ulaw(code as u8));
        code += 1;
    }
    codes
};

/// The µ-law code of each A-law code.
pub static ALAW_TO_ULAW: [u8; 256] = {
    let mut codes = [0; 256];
    let mut code = 0;
    while code < codes.len() {
        codes[code] = encode_ulaw(decode_alaw(code as u8));
        code += 1;
    }
    codes
};

/// The µ-law code of one sample.
pub const fn encode_ulaw(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs() as u32;
    let magnitude = if magnitude < ULAW_CLIP { magnitude } else { ULAW_CLIP } + ULAW_BIAS;
    // The bias makes bit 7 the lowest that can be the leading one.
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    let code = (segment << 4 | step) as u8;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(code | sign)
}

/// The sample that a µ-law code stands for.
pub const fn decode_ulaw(code: u8) -> i16 {
    let code = !code;
    let segment = (code >> 4) & 0x07;
    let step = (code & 0x0f) as i16;
    let magnitude = (((step << 3) + ULAW_BIAS as i16) << segment) - ULAW_BIAS as i16;
    if code & 0x80 != 0 { -magnitude } else { magnitude }
}

/// The A-law code of one sample.
pub const fn encode_alaw(sample: i16) -> u8 {
    // A negative sample is coded by its ones' complement, so that -1 falls on the first step.
    let (magnitude, sign) = if sample < 0 { (!sample, 0) } else { (sample, 0x80) };
    let magnitude = (magnitude >> 4) as u32;
    let code = match magnitude.checked_ilog2() {
        None | Some(0..=3) => magnitude,
        Some(leading) => {
            let segment = leading - 3;
            segment << 4 | (magnitude >> (segment - 1)) & 0x0f
        }
    };
    (code as u8 | sign) ^ ALAW_EVEN_BITS
}

/// The sample that an A-law code stands for.
pub const fn decode_alaw(code: u8) -> i16 {
    let code = code ^ ALAW_EVEN_BITS;
    let segment = (code >> 4) & 0x07;
    let step = (code & 0x0f) as i16;
    let magnitude = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

pub(super) fn check_rate(pcm_rate_hz: u32) -> Result<(), Error> {
    if pcm_rate_hz == RATE_HZ { Ok(()) } else { Err(Error::PcmRate { pcm_rate_hz }) }
}

pub(super) fn encode(law: fn(i16) -> u8, pcm: &[i16], payload: &mut [u8]) -> Result<usize, Error> {
    let payload = payload.get_mut(..pcm.len()).ok_or(Error::ShortBuffer { needed: pcm.len() })?;
    payload.iter_mut().zip(pcm).for_each(|(code, sample)| *code = law(*sample));
    Ok(pcm.len())
}

pub(super) fn decode(law: fn(u8) -> i16, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
    let needed = payload.len();
    let pcm = pcm.get_mut(..needed).ok_or(Error::ShortBuffer { needed })?;
    pcm.iter_mut().zip(payload).for_each(|(sample, code)| *sample = law(*code));
    Ok(needed)
}

const RATE_HZ: u32 = 8000;
/// Largest magnitude that µ-law can express, on our 16-bit scale (8159 on G.711's 14-bit scale).
const ULAW_CLIP: u32 = 32635;
/// What is added so that segments begin at powers of two (33 on G.711's 14-bit scale).
const ULAW_BIAS: u32 = 132;
/// A-law inverts every second bit on the wire (ITU-T G.711 table 1a, note 2).
const ALAW_EVEN_BITS: u8 = 0x55;

#[cfg(test)]
mod tests {
    use super::*;

    /// Output values y1..y128 of ITU-T G.711 tables 2a and 2b, at each segment's first step and the
    /// last step of all, on the 14-bit scale: (code, value).
    const ULAW_TABLE: [(u8, i16); 9] = [
        (0xff, 0),
        (0xef, 33),
        (0xdf, 99),
        (0xcf, 231),
        (0xbf, 495),
        (0xaf, 1023),
        (0x9f, 2079),
        (0x8f, 4191),
        (0x80, 8031),
    ];

    /// Output values of ITU-T G.711 table 1a on the 13-bit scale, code before inversion of the even
    /// bits: the first step of each segment and the last step of all.
    const ALAW_TABLE: [(u8, i16); 9] = [
        (0x80, 1),
        (0x90, 33),
        (0xa0, 66),
        (0xb0, 132),
        (0xc0, 264),
        (0xd0, 528),
        (0xe0, 1056),
        (0xf0, 2112),
        (0xff, 4032),
    ];

    #[test]
    fn ulaw_values_are_those_of_the_itu_table() {
        for (code, value) in ULAW_TABLE {
            assert_eq!(decode_ulaw(code), value * 4, "code {code:#x}");
            assert_eq!(decode_ulaw(code & 0x7f), -value * 4, "code {:#x}", code & 0x7f);
        }
    }

    #[test]
    fn alaw_values_are_those_of_the_itu_table() {
        for (code, value) in ALAW_TABLE {
            assert_eq!(decode_alaw(code ^ 0x55), value * 8, "code {code:#x}");
            assert_eq!(decode_alaw((code & 0x7f) ^ 0x55), -value * 8, "code {:#x}", code & 0x7f);
        }
    }

    #[test]
    fn all_256_codes_survive_decoding_and_encoding() {
        for code in 0..=255u8 {
            assert_eq!(encode_alaw(decode_alaw(code)), code);
            // 0x7f is negative zero, which has the same sample as 0xff.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(encode_ulaw(decode_ulaw(code)), expected);
        }
    }

    #[test]
    fn every_sample_errs_by_half_a_step_at_most() {
        for sample in i16::MIN..=i16::MAX {
            let magnitude = i32::from(sample).abs();
            let error = |decoded: i16| (i32::from(decoded) - i32::from(sample)).abs();
            // A step is a sixteenth of its segment, and a segment spans an octave.
            assert!(error(decode_ulaw(encode_ulaw(sample))) <= (magnitude + 132) / 32 + 1);
            assert!(error(decode_alaw(encode_alaw(sample))) <= (magnitude / 32).max(8) + 1);
        }
    }

    #[test]
    fn a_translated_code_errs_by_half_a_step_at_most() {
        for code in 0..=255_u8 {
            let (ulaw, alaw) = (decode_ulaw(code), decode_alaw(code));
            let to_alaw = decode_alaw(ULAW_TO_ALAW[usize::from(code)]);
            let to_ulaw = decode_ulaw(ALAW_TO_ULAW[usize::from(code)]);
            for (sample, translated) in [(ulaw, to_alaw), (alaw, to_ulaw)] {
                let error = (i32::from(sample) - i32::from(translated)).abs();
                let half_a_step = (i32::from(sample).abs() + 132) / 32 + 8;
                assert!(error <= half_a_step, "{code:#x}: {sample} became {translated}");
            }
        }
    }

    #[test]
    fn silence_is_the_code_of_zero() {
        assert_eq!(encode_ulaw(0), ULAW_SILENCE);
        assert_eq!(encode_alaw(0), ALAW_SILENCE);
    }
}
