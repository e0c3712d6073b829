//! The keep-alive of phones that hold a flow over UDP: STUN Binding requests on the port of SIP
//! (RFC 5626 §3.5.2, §8), told from SIP by their first byte and answered with the address they come
//! from (RFC 8489 §6). The STUN of ICE is the media plane's, which this crate does not know.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

/// Whether a datagram is a STUN message and not SIP, which begins with a letter.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|byte| *byte < 4) && datagram.get(4..8) == Some(&MAGIC_COOKIE)
}

/// The answer to a Binding request without credentials that came `from` an address: 32 or 44 bytes,
/// for at least 20. `None`: it is none, or asks for more than we know of.
pub fn binding_response(datagram: &[u8], from: SocketAddr) -> Option<Bytes> {
    let (header, mut rest) = datagram.split_first_chunk::<20>()?;
    let [t0, t1, l0, l1, id @ ..] = *header;
    if [t0, t1] != BINDING_REQUEST || usize::from(u16::from_be_bytes([l0, l1])) != rest.len() {
        return None;
    }
    while let Some(([k0, k1, l0, l1], after)) = rest.split_first_chunk() {
        if u16::from_be_bytes([*k0, *k1]) < OPTIONAL_FROM {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*l0, *l1])).next_multiple_of(4);
        rest = after.get(length..)?;
    }
    let address: &[u8] = match from.ip() {
        IpAddr::V4(ip) => &ip.octets(),
        IpAddr::V6(ip) => &ip.octets(),
    };
    let family = if from.is_ipv4() { 1 } else { 2 };
    let mut response = BytesMut::with_capacity(RESPONSE_BYTES_MAX);
    response.put_slice(&BINDING_SUCCESS);
    response.put_u16(8 + address.len() as u16);
    // The magic cookie and the transaction.
    response.put_slice(&id);
    response.put_u16(XOR_MAPPED_ADDRESS);
    response.put_u16(4 + address.len() as u16);
    response.put_u16(family);
    // RFC 8489 §14.2: masked, so that no NAT on the way rewrites it.
    response.put_u16(from.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]));
    response.extend(address.iter().zip(id).map(|(byte, mask)| byte ^ mask));
    Some(response.freeze())
}

const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: [u8; 2] = [1, 1];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// From here on an attribute that is not understood is ignored (RFC 8489 §14).
const OPTIONAL_FROM: u16 = 0x8000;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const RESPONSE_BYTES_MAX: usize = 44;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use proptest::prelude::*;

    use super::*;

    // The transaction of RFC 5769 §2.2, whose response masks 192.0.2.1:32853.
    const REQUEST: [u8; 20] = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
        0x87, 0xdf, 0xae,
    ];

    fn with(attributes: &[u8]) -> Vec<u8> {
        let mut request = REQUEST.to_vec();
        request[3] = attributes.len() as u8;
        request.extend(attributes);
        request
    }

    #[test]
    fn rfc5769_2_2_the_masked_address_of_an_ipv4_peer() {
        let response = binding_response(&REQUEST, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(response[..4], [1, 1, 0, 12]);
        assert_eq!(response[4..20], REQUEST[4..]);
        assert_eq!(response[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
    }

    #[test]
    fn rfc5769_2_3_the_masked_address_of_an_ipv6_peer() {
        let from = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let response = binding_response(&REQUEST, from).unwrap();
        let masked = [
            0, 0x20, 0, 0x14, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
            0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!((response.len(), &response[20..]), (RESPONSE_BYTES_MAX, &masked[..]));
    }

    #[test]
    fn rfc5626_8_only_a_plain_binding_request_is_answered() {
        let from = "192.0.2.1:1".parse().unwrap();
        let software = [0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        assert!(binding_response(&with(&software), from).is_some());
        let username = [0, 6, 0, 1, b'a', 0, 0, 0];
        assert_eq!(binding_response(&with(&username), from), None);
        let mut indication = REQUEST;
        indication[1] = 0x11;
        assert_eq!(binding_response(&indication, from), None);
        assert!(is_stun(&indication) && !is_stun(b"OPTIONS sip:a SIP/2.0") && !is_stun(&[0; 8]));
    }

    proptest! {
        #[test]
        fn any_datagram_is_read(datagram in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..20) {
            let from = "192.0.2.1:1".parse().unwrap();
            let _ = (is_stun(&datagram), binding_response(&datagram, from));
            let longer = with(datagram.get(..datagram.len().min(200)).unwrap());
            let answered = binding_response(&longer, from);
            prop_assert!(answered.is_none_or(|response| response.len() == 32));
            prop_assert_eq!(binding_response(&REQUEST[..cut], from), None);
        }
    }
}
