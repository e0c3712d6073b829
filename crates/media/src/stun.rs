//! STUN Binding requests as ICE uses them: read from the wire, checked, answered (RFC 8489,
//! RFC 8445 §7.3).
//!
//! [`Request::parse`] looks at every length before anything is allocated; `rtc::stun` then checks
//! the integrity of what passed and writes the responses.

use std::net::SocketAddr;

use rtc::{
    crypto::{RTCCryptoProvider, providers::RingProvider},
    stun::{
        attributes::AttrType,
        error_code::{CODE_ROLE_CONFLICT, CODE_UNKNOWN_ATTRIBUTE, ErrorCode, ErrorCodeAttribute},
        fingerprint::{FINGERPRINT, fingerprint_value},
        integrity::MessageIntegrity,
        message::{BINDING_ERROR, BINDING_SUCCESS, Message, Setter, TransactionId},
        uattrs::UnknownAttributes,
        xoraddr::XorMappedAddress,
    },
};

mod query;

pub use query::{binding_request, mapped_address};

/// A Binding request whose lengths and FINGERPRINT are right; nothing else is checked yet.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    transaction_id: [u8; 12],
    /// USERNAME: our user name fragment, a colon, the peer's.
    pub username: &'a [u8],
    /// PRIORITY that the peer would give the candidate it sends from (RFC 8445 §7.1.1).
    pub priority: u32,
    /// USE-CANDIDATE: the peer nominates the pair.
    pub nominates: bool,
    /// ICE-CONTROLLED: the peer believes that we control.
    pub peer_is_controlled: bool,
    unknown: [u16; UNKNOWN_MAX],
    unknown_count: usize,
}

/// Why a message is not a request we could look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// Its lengths are wrong, or it is not a Binding request with a user name and integrity.
    Malformed,
    /// FINGERPRINT is missing, wrong or not last (RFC 8445 §7.1 demands it).
    Fingerprint,
}

impl<'a> Request<'a> {
    /// Reads the message that fills `bytes`.
    ///
    /// # Errors
    ///
    /// It is not a Binding request of ICE, or was damaged.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let (header, mut rest) = bytes.split_first_chunk::<20>().ok_or(StunError::Malformed)?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, transaction_id @ ..] = *header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if [t0, t1] != BINDING_REQUEST
            || [c0, c1, c2, c3] != MAGIC_COOKIE
            || length != rest.len()
            || !length.is_multiple_of(4)
        {
            return Err(StunError::Malformed);
        }
        let mut request = Self {
            bytes,
            transaction_id,
            username: &[],
            priority: 0,
            nominates: false,
            peer_is_controlled: false,
            unknown: [0; UNKNOWN_MAX],
            unknown_count: 0,
        };
        let mut has_integrity = false;
        while let Some(([k0, k1, l0, l1], after)) = rest.split_first_chunk() {
            let kind = u16::from_be_bytes([*k0, *k1]);
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            let value = after.get(..length).ok_or(StunError::Malformed)?;
            rest = after.get(length.next_multiple_of(4)..).ok_or(StunError::Malformed)?;
            match kind {
                attribute::FINGERPRINT => {
                    request.check_fingerprint(value, rest)?;
                    let complete = has_integrity && !request.username.is_empty();
                    return if complete { Ok(request) } else { Err(StunError::Malformed) };
                }
                attribute::MESSAGE_INTEGRITY if value.len() != 20 => {
                    return Err(StunError::Malformed);
                }
                attribute::MESSAGE_INTEGRITY => has_integrity = true,
                // What follows the integrity is not covered by it (RFC 8489 §14.5).
                _ if has_integrity => {}
                _ => request.take(kind, value)?,
            }
        }
        Err(StunError::Fingerprint)
    }

    fn take(&mut self, kind: u16, value: &'a [u8]) -> Result<(), StunError> {
        match kind {
            attribute::USERNAME if value.len() <= USERNAME_BYTES_MAX => self.username = value,
            attribute::USERNAME => return Err(StunError::Malformed),
            attribute::PRIORITY => {
                let priority = value.try_into().map_err(|_| StunError::Malformed)?;
                self.priority = u32::from_be_bytes(priority);
            }
            attribute::USE_CANDIDATE => self.nominates = true,
            attribute::ICE_CONTROLLED => self.peer_is_controlled = true,
            kind if kind >= attribute::OPTIONAL_FROM => {}
            kind => {
                if let Some(unknown) = self.unknown.get_mut(self.unknown_count) {
                    *unknown = kind;
                    self.unknown_count += 1;
                }
            }
        }
        Ok(())
    }

    fn check_fingerprint(&self, value: &[u8], rest: &[u8]) -> Result<(), StunError> {
        let covered = self.bytes.len().checked_sub(8).and_then(|len| self.bytes.get(..len));
        let covered = covered.ok_or(StunError::Malformed)?;
        let right = rest.is_empty() && value == fingerprint_value(covered).to_be_bytes();
        if right { Ok(()) } else { Err(StunError::Fingerprint) }
    }

    /// The user name fragment before the colon, which is ours.
    pub fn local_ufrag(&self) -> Option<&'a str> {
        let colon = self.username.iter().position(|byte| *byte == b':')?;
        std::str::from_utf8(self.username.get(..colon)?).ok()
    }

    /// The user name fragment after the colon, which is the peer's.
    pub fn remote_ufrag(&self) -> Option<&'a str> {
        let colon = self.username.iter().position(|byte| *byte == b':')?;
        std::str::from_utf8(self.username.get(colon + 1..)?).ok()
    }

    /// Whether attributes that must be understood are not; they are answered with 420.
    pub fn has_unknown_attributes(&self) -> bool {
        self.unknown_count > 0
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`.
    pub fn is_authentic(&self, password: &str) -> bool {
        let mut message = Message::new();
        let provider = RingProvider::new();
        message.write(self.bytes).is_ok()
            && MessageIntegrity::check(&mut message, password.as_bytes(), provider.crypto()).is_ok()
    }

    /// The response to a request that is in order: where it came from, signed.
    pub fn success(&self, from: SocketAddr, password: &str) -> Option<Vec<u8>> {
        let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
        self.respond(Box::new(BINDING_SUCCESS), vec![Box::new(mapped)], password)
    }

    /// 420 with the attributes that are not understood (RFC 8489 §6.3.1).
    pub fn unknown_attributes(&self, password: &str) -> Option<Vec<u8>> {
        let unknown = self.unknown.get(..self.unknown_count).unwrap_or_default();
        let unknown = UnknownAttributes(unknown.iter().map(|kind| AttrType(*kind)).collect());
        let code = error(CODE_UNKNOWN_ATTRIBUTE, "Unknown Attribute");
        self.respond(Box::new(BINDING_ERROR), vec![Box::new(code), Box::new(unknown)], password)
    }

    /// 487: the peer must take the controlling role (RFC 8445 §7.3.1.1).
    pub fn role_conflict(&self, password: &str) -> Option<Vec<u8>> {
        let code = error(CODE_ROLE_CONFLICT, "Role Conflict");
        self.respond(Box::new(BINDING_ERROR), vec![Box::new(code)], password)
    }

    fn respond(
        &self,
        kind: Box<dyn Setter>,
        attributes: Vec<Box<dyn Setter>>,
        password: &str,
    ) -> Option<Vec<u8>> {
        let provider = RingProvider::new();
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
            password.to_owned(),
            provider.crypto(),
        );
        let mut setters: Vec<Box<dyn Setter + '_>> =
            vec![kind, Box::new(TransactionId(self.transaction_id))];
        setters.extend(attributes.into_iter().map(|setter| setter as Box<dyn Setter + '_>));
        setters.push(Box::new(integrity));
        setters.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&setters).ok()?;
        Some(message.raw)
    }
}

fn error(code: ErrorCode, reason: &str) -> ErrorCodeAttribute {
    ErrorCodeAttribute { code, reason: reason.as_bytes().to_vec() }
}

mod attribute {
    //! Attributes of a Binding request (RFC 8489 §18.3, RFC 8445 §16.1).
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    /// From here on an attribute that is not understood is ignored.
    pub const OPTIONAL_FROM: u16 = 0x8000;
}

const BINDING_REQUEST: [u8; 2] = [0, 1];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
// RFC 8489 §14.3.
const USERNAME_BYTES_MAX: usize = 508;
/// Attributes listed in a 420; enough to tell what is wrong, too few to amplify.
const UNKNOWN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::stun::{attributes::*, message::*, textattrs::TextAttribute};

    use super::*;

    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    /// RFC 5769 §2.1: a request with short-term credentials.
    const RFC5769_2_1: [u8; 108] = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74,
        0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e,
        0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
        0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20,
        0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e,
        0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5,
        0x7a, 0x3b, 0xcf,
    ];

    #[test]
    fn rfc5769_2_1_a_request_with_short_term_credentials() {
        let request = Request::parse(&RFC5769_2_1).unwrap();
        assert_eq!(request.local_ufrag(), Some("evtj"));
        assert_eq!(request.remote_ufrag(), Some("h6vY"));
        assert_eq!(request.priority, 0x6e00_01ff);
        assert!(request.peer_is_controlled && !request.nominates);
        assert!(request.is_authentic(PASSWORD));
        assert!(!request.is_authentic("another password"));
    }

    #[test]
    fn a_response_reads_back_signed_and_is_small() {
        let provider = RingProvider::new();
        let request = Request::parse(&RFC5769_2_1).unwrap();
        for from in ["192.0.2.1:32853", "[2001:db8::1]:32853"] {
            let from: SocketAddr = from.parse().unwrap();
            let bytes = request.success(from, PASSWORD).unwrap();
            assert!(bytes.len() < RFC5769_2_1.len());
            let mut message = Message::new();
            message.write(&bytes).unwrap();
            assert_eq!(message.typ, BINDING_SUCCESS);
            assert_eq!(message.transaction_id.0, request.transaction_id);
            let mut mapped = XorMappedAddress::default();
            mapped.get_from(&message).unwrap();
            assert_eq!(SocketAddr::new(mapped.ip, mapped.port), from);
            assert!(FINGERPRINT.check(&message).is_ok());
            let key = PASSWORD.as_bytes();
            assert!(MessageIntegrity::check(&mut message, key, provider.crypto()).is_ok());
        }
    }

    #[test]
    fn rfc5769_2_2_the_response_to_it() {
        let request = Request::parse(&RFC5769_2_1).unwrap();
        let bytes = request.success("192.0.2.1:32853".parse().unwrap(), PASSWORD).unwrap();
        // XOR-MAPPED-ADDRESS as in the RFC; its response also carries SOFTWARE, ours does not.
        let mapped = [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        assert_eq!(bytes[20..32], mapped);
    }

    fn build(setters: &[Box<dyn Setter>]) -> Vec<u8> {
        let mut message = Message::new();
        let provider = RingProvider::new();
        let typ = MessageType::new(METHOD_BINDING, CLASS_REQUEST);
        message.build(&[Box::new(typ), Box::new(TransactionId([1; 12]))]).unwrap();
        for setter in setters {
            setter.add_to(&mut message).unwrap();
        }
        let password = PASSWORD.to_owned();
        MessageIntegrity::new_short_term_integrity_with_provider(password, provider.crypto())
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    struct Raw(u16, Vec<u8>);

    impl Setter for Raw {
        fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
            message.add(AttrType(self.0), &self.1);
            Ok(())
        }
    }

    fn username() -> Box<dyn Setter> {
        Box::new(TextAttribute::new(ATTR_USERNAME, "evtj:h6vY".into()))
    }

    #[test]
    fn rfc8489_6_3_1_unknown_attributes_that_must_be_understood_get_420() {
        let bytes =
            build(&[username(), Box::new(Raw(0x7000, vec![1])), Box::new(Raw(0xc057, vec![0; 4]))]);
        let request = Request::parse(&bytes).unwrap();
        assert!(request.has_unknown_attributes());
        let mut response = Message::new();
        response.write(&request.unknown_attributes(PASSWORD).unwrap()).unwrap();
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&response).unwrap();
        assert!(code.code == CODE_UNKNOWN_ATTRIBUTE);
        let mut unknown = UnknownAttributes(vec![]);
        unknown.get_from(&response).unwrap();
        assert_eq!(unknown.0, [AttrType(0x7000)]);
    }

    #[test]
    fn use_candidate_is_read() {
        let bytes = build(&[username(), Box::new(Raw(0x0025, vec![]))]);
        assert!(Request::parse(&bytes).unwrap().nominates);
    }

    #[test]
    fn attributes_of_wrong_length_are_refused() {
        for raw in [Raw(0x0024, vec![]), Raw(0x0024, vec![0; 5]), Raw(0x0006, vec![b'a'; 509])] {
            let bytes = build(&[username(), Box::new(raw)]);
            assert_eq!(Request::parse(&bytes).err(), Some(StunError::Malformed));
        }
        assert_eq!(Request::parse(&build(&[])).err(), Some(StunError::Malformed));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        for len in 0..RFC5769_2_1.len() {
            assert!(Request::parse(&RFC5769_2_1[..len]).is_err(), "{len}");
        }
        for bit in 0..RFC5769_2_1.len() * 8 {
            let mut bytes = RFC5769_2_1;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Request::parse(&bytes).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Request::parse(&bytes);
            let length = (bytes.len().saturating_sub(20) as u16).to_be_bytes();
            let start = [&[0, 1, length[0], length[1]][..], &super::MAGIC_COOKIE].concat();
            for (byte, value) in bytes.iter_mut().zip(start) {
                *byte = value;
            }
            if let Ok(request) = Request::parse(&bytes) {
                let _ = (request.local_ufrag(), request.is_authentic(PASSWORD));
            }
        }
    }
}
