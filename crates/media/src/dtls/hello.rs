//! The ClientHello, put together from its fragments to see which SRTP profiles it offers
//! (RFC 6347 §4.2, RFC 5764 §4.1.1).

/// The first flight of a client, as far as it has come.
///
/// Chromium's is 1.4 kB and comes in two fragments, `use_srtp` often in the second.
#[derive(Debug, Default)]
pub(super) struct HelloReader {
    body: Vec<u8>,
    /// Ranges of the body that have come, as begin and end.
    parts: Vec<(usize, usize)>,
    length: Option<usize>,
}

/// What a datagram told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// More fragments are to come.
    Incomplete,
    /// The SRTP profiles that the client offers, in its order.
    Complete(Vec<u16>),
}

/// It is not a ClientHello, or beyond the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHello;

impl HelloReader {
    /// Takes one datagram in.
    pub(super) fn read(&mut self, datagram: &[u8]) -> Result<Hello, NotHello> {
        let mut rest = datagram;
        while !rest.is_empty() {
            let (record, after) = record(rest).ok_or(NotHello)?;
            self.take(record)?;
            rest = after;
        }
        let length = self.length.ok_or(NotHello)?;
        if self.covered() < length {
            return Ok(Hello::Incomplete);
        }
        let profiles = self.body.get(..length).and_then(offered_profiles);
        profiles.map(Hello::Complete).ok_or(NotHello)
    }

    fn take(&mut self, mut record: &[u8]) -> Result<(), NotHello> {
        while !record.is_empty() {
            let fragment = Fragment::parse(record).ok_or(NotHello)?;
            let end = fragment.offset + fragment.bytes.len();
            let fits = end <= fragment.length && fragment.length <= HELLO_BYTES_MAX;
            let agrees = self.length.is_none_or(|length| length == fragment.length);
            if !fits || !agrees || self.parts.len() >= FRAGMENTS_MAX {
                return Err(NotHello);
            }
            self.length = Some(fragment.length);
            self.body.resize(fragment.length, 0);
            let place = self.body.get_mut(fragment.offset..end).ok_or(NotHello)?;
            place.copy_from_slice(fragment.bytes);
            self.parts.push((fragment.offset, end));
            record = fragment.rest;
        }
        Ok(())
    }

    /// Bytes from the start without a gap.
    fn covered(&mut self) -> usize {
        self.parts.sort_unstable();
        let join = |end: usize, part: &(usize, usize)| {
            if part.0 <= end { end.max(part.1) } else { end }
        };
        self.parts.iter().fold(0, join)
    }
}

/// Whether a datagram begins with a fragment of a ClientHello that could be genuine.
pub fn is_client_hello(datagram: &[u8]) -> bool {
    record(datagram)
        .and_then(|(record, _)| Fragment::parse(record))
        .is_some_and(|fragment| fragment.length <= HELLO_BYTES_MAX)
}

/// Whether a datagram begins with a whole record of DTLS 1.0 or 1.2 (RFC 6347 §4.1).
pub(crate) fn is_record(datagram: &[u8]) -> bool {
    Record::split(datagram)
        .is_some_and(|(record, _)| KINDS.contains(&record.kind) && !record.body.is_empty())
}

/// A fragment of a ClientHello (RFC 6347 §4.2.2).
struct Fragment<'a> {
    length: usize,
    offset: usize,
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn parse(record: &'a [u8]) -> Option<Self> {
        let (header, body) = record.split_first_chunk::<12>()?;
        let [kind, l0, l1, l2, _, _, o0, o1, o2, f0, f1, f2] = *header;
        let word = |a, b, c| u32::from_be_bytes([0, a, b, c]) as usize;
        let (bytes, rest) = body.split_at_checked(word(f0, f1, f2))?;
        (kind == CLIENT_HELLO).then_some(Self {
            length: word(l0, l1, l2),
            offset: word(o0, o1, o2),
            bytes,
            rest,
        })
    }
}

/// The first record's body and what follows it; `None` unless it is an unencrypted handshake record
/// (RFC 6347 §4.1).
fn record(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let (record, rest) = Record::split(datagram)?;
    (record.kind == HANDSHAKE && record.epoch == [0, 0]).then_some((record.body, rest))
}

/// A record of DTLS 1.0 or 1.2 (RFC 6347 §4.1).
struct Record<'a> {
    kind: u8,
    epoch: [u8; 2],
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of a datagram and what follows it.
    fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = datagram.split_first_chunk::<13>()?;
        let [kind, major, _, epoch0, epoch1, _, _, _, _, _, _, l0, l1] = *header;
        let (body, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        let epoch = [epoch0, epoch1];
        (major == VERSION_MAJOR).then_some((Self { kind, epoch, body }, rest))
    }
}

/// The profiles of `use_srtp` in a ClientHello's body, none without the extension; `None` when a
/// length is wrong.
fn offered_profiles(body: &[u8]) -> Option<Vec<u16>> {
    // Version and random.
    let rest = body.get(2 + 32..)?;
    let (_session, rest) = vector8(rest)?;
    let (_cookie, rest) = vector8(rest)?;
    let (_suites, rest) = vector16(rest)?;
    let (_compression, rest) = vector8(rest)?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let (mut extensions, _) = vector16(rest)?;
    while let Some(([a, b], rest)) = extensions.split_first_chunk() {
        let (value, after) = vector16(rest)?;
        if u16::from_be_bytes([*a, *b]) == USE_SRTP {
            let (profiles, _) = vector16(value)?;
            let profiles = profiles.chunks_exact(2).take(PROFILES_MAX);
            return Some(profiles.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect());
        }
        extensions = after;
    }
    Some(Vec::new())
}

fn vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

const HANDSHAKE: u8 = 22;
/// Change of cipher, alert, handshake, data, heartbeat and the connection identifier of RFC 9146.
const KINDS: std::ops::RangeInclusive<u8> = 20..=25;
const VERSION_MAJOR: u8 = 254;
const CLIENT_HELLO: u8 = 1;
// RFC 5764 §4.1.2.
const USE_SRTP: u16 = 14;
const PROFILES_MAX: usize = 16;
/// Post-quantum key shares make a ClientHello of 2 kB; this leaves room for more of the kind.
const HELLO_BYTES_MAX: usize = 8 * 1024;
const FRAGMENTS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![254, 253];
        body.extend_from_slice(&[9; 32]);
        body.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
        body.extend_from_slice(extensions);
        body
    }

    fn use_srtp() -> Vec<u8> {
        // An unknown extension first, then use_srtp with AES-CM before GCM, as Chromium has it.
        vec![0xff, 1, 0, 1, 0, 0, 14, 0, 7, 0, 4, 0, 1, 0, 7, 0]
    }

    fn datagram(body: &[u8], offset: usize, end: usize) -> Vec<u8> {
        let part = &body[offset..end];
        let word = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
        let message =
            [vec![1], word(body.len()), vec![0, 0], word(offset), word(part.len()), part.to_vec()]
                .concat();
        let length = (message.len() as u16).to_be_bytes();
        [&[22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 1, length[0], length[1]][..], &message].concat()
    }

    #[test]
    fn profiles_are_read_in_the_order_of_the_client() {
        let body = body(&use_srtp());
        let mut reader = HelloReader::default();
        let hello = reader.read(&datagram(&body, 0, body.len()));
        assert_eq!(hello, Ok(Hello::Complete(vec![1, 7])));
    }

    #[test]
    fn fragments_are_put_together_in_any_order_and_with_overlap() {
        let body = body(&use_srtp());
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&datagram(&body, 30, body.len())), Ok(Hello::Incomplete));
        assert_eq!(reader.read(&datagram(&body, 30, 40)), Ok(Hello::Incomplete));
        let hello = reader.read(&datagram(&body, 0, 35));
        assert_eq!(hello, Ok(Hello::Complete(vec![1, 7])));
    }

    #[test]
    fn a_hello_without_use_srtp_offers_none() {
        let body = body(&[]);
        let hello = HelloReader::default().read(&datagram(&body, 0, body.len()));
        assert_eq!(hello, Ok(Hello::Complete(vec![])));
    }

    #[test]
    fn a_hello_beyond_the_bounds_is_refused() {
        let large = body(&vec![0; HELLO_BYTES_MAX]);
        assert_eq!(HelloReader::default().read(&datagram(&large, 0, 100)), Err(NotHello));
        let body = body(&use_srtp());
        let mut reader = HelloReader::default();
        for _ in 0..FRAGMENTS_MAX {
            assert_eq!(reader.read(&datagram(&body, 1, 2)), Ok(Hello::Incomplete));
        }
        assert_eq!(reader.read(&datagram(&body, 1, 2)), Err(NotHello));
    }

    #[test]
    fn rfc6347_4_1_a_record_is_told_from_what_only_begins_like_one() {
        let body = body(&use_srtp());
        let good = datagram(&body, 0, body.len());
        assert!(is_record(&good));
        for (at, value) in [(0, 19), (0, 26), (1, 3), (11, 0xff)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(!is_record(&bad), "{at}");
        }
        let empty = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(!is_record(&empty) && !is_record(&good[..13]) && !is_record(&good[..1]));
    }

    #[test]
    fn other_records_are_not_a_hello() {
        let body = body(&use_srtp());
        let good = datagram(&body, 0, body.len());
        assert!(is_client_hello(&good));
        for (at, value) in [(0, 23), (1, 3), (4, 1), (13, 2)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(!is_client_hello(&bad));
            assert_eq!(HelloReader::default().read(&bad), Err(NotHello));
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(extensions in prop::collection::vec(any::<u8>(), 0..64)) {
            let body = body(&extensions);
            let _ = HelloReader::default().read(&datagram(&body, 0, body.len()));
            let _ = HelloReader::default().read(&extensions);
        }
    }
}
