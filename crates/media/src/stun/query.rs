//! Asking a STUN server how we are seen from outside (RFC 8489 §6, §14.2).

use std::net::{IpAddr, SocketAddr};

use super::{BINDING_REQUEST, MAGIC_COOKIE};

/// A Binding request without attributes; `transaction_id` must not be guessable.
pub fn binding_request(transaction_id: [u8; 12]) -> [u8; 20] {
    let mut request = [0; 20];
    request[..2].copy_from_slice(&BINDING_REQUEST);
    request[4..8].copy_from_slice(&MAGIC_COOKIE);
    request[8..].copy_from_slice(&transaction_id);
    request
}

/// The address that a server saw the request come from; `None` unless `bytes` are the success
/// response to it.
pub fn mapped_address(bytes: &[u8], transaction_id: [u8; 12]) -> Option<SocketAddr> {
    let (header, mut rest) = bytes.split_first_chunk::<20>()?;
    let [t0, t1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let is_response = [t0, t1] == BINDING_SUCCESS && [c0, c1, c2, c3] == MAGIC_COOKIE;
    if !is_response || id != transaction_id || length != rest.len() {
        return None;
    }
    while let Some(([k0, k1, l0, l1], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = after.get(..length)?;
        if u16::from_be_bytes([*k0, *k1]) == XOR_MAPPED_ADDRESS {
            return unmask(value, transaction_id);
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// RFC 8489 §14.2: masked, so that no NAT on the way rewrites it.
fn unmask(value: &[u8], transaction_id: [u8; 12]) -> Option<SocketAddr> {
    let ([_, family, p0, p1], address) = value.split_first_chunk()?;
    let mask = MAGIC_COOKIE.into_iter().chain(transaction_id);
    let unmasked = |bytes: &mut [u8]| {
        bytes.iter_mut().zip(mask.clone()).for_each(|(byte, mask)| *byte ^= mask);
    };
    let port = u16::from_be_bytes([p0 ^ MAGIC_COOKIE[0], p1 ^ MAGIC_COOKIE[1]]);
    let ip = match family {
        1 => {
            let mut bytes: [u8; 4] = address.try_into().ok()?;
            unmasked(&mut bytes);
            IpAddr::from(bytes)
        }
        2 => {
            let mut bytes: [u8; 16] = address.try_into().ok()?;
            unmasked(&mut bytes);
            IpAddr::from(bytes)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

const BINDING_SUCCESS: [u8; 2] = [1, 1];
// RFC 8489 §14.2.
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use proptest::prelude::*;
    use rtc::stun::{
        message::{BINDING_SUCCESS, Message, Setter, TransactionId},
        xoraddr::XorMappedAddress,
    };

    use super::*;

    const ID: [u8; 12] = *b"unguessable!";

    fn response(from: SocketAddr) -> Vec<u8> {
        let mut message = Message::new();
        message.build(&[Box::new(BINDING_SUCCESS), Box::new(TransactionId(ID))]).unwrap();
        let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
        mapped.add_to(&mut message).unwrap();
        message.raw
    }

    #[test]
    fn rfc8489_14_2_the_mapped_address_is_read() {
        for from in ["203.0.113.9:4242", "[2001:db8::9]:4242"] {
            let from = from.parse().unwrap();
            assert_eq!(mapped_address(&response(from), ID), Some(from));
            assert_eq!(mapped_address(&response(from), *b"of another's"), None);
        }
    }

    #[test]
    fn the_request_is_one() {
        let mut message = Message::new();
        message.raw = binding_request(ID).to_vec();
        message.decode().unwrap();
        assert_eq!(message.transaction_id.0, ID);
        assert_eq!(mapped_address(&binding_request(ID), ID), None);
    }

    proptest! {
        #[test]
        fn damaged_responses_are_read_or_refused(
            at in 0..32_usize, byte: u8, length in 0..40_usize,
        ) {
            let mut bytes = response("203.0.113.9:1".parse().unwrap());
            bytes[at] = byte;
            bytes.truncate(length);
            let _ = mapped_address(&bytes, ID);
        }
    }
}
