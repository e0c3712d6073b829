//! When two URIs mean the same (RFC 3261 §19.1.4).

use crate::{Scheme, Uri};

impl Uri {
    /// Whether two URIs are equivalent (RFC 3261 §19.1.4): the user part with its case, the host
    /// without; a port that is not written is no port, not even the default one; the parameters
    /// that change where a request goes are equal or absent in both, others only matter where
    /// both have them. URIs that are neither `sip` nor `sips` are equal byte for byte.
    pub fn is_equivalent(&self, other: &Uri) -> bool {
        if self == other {
            return true;
        }
        if !matches!(self.scheme(), Scheme::Sip | Scheme::Sips) || self.scheme() != other.scheme() {
            return false;
        }
        self.user_decoded() == other.user_decoded()
            && self.password() == other.password()
            && is_same_host(self, other)
            && self.port() == other.port()
            && are_params_compatible(self, other)
            && are_params_compatible(other, self)
            && are_headers_equal(self, other)
    }
}

fn is_same_host(a: &Uri, b: &Uri) -> bool {
    match (a.host_ip(), b.host_ip()) {
        (Some(a), Some(b)) => a == b,
        (None, None) => match (a.host(), b.host()) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        },
        _ => false,
    }
}

/// Whether each parameter of `a` has no match of another value in `b`, and one at all where it
/// matters.
fn are_params_compatible(a: &Uri, b: &Uri) -> bool {
    a.params().all(|param| {
        let name = String::from_utf8_lossy(param.name);
        match b.param(&name) {
            Some(value) => value.eq_ignore_ascii_case(&param.text()),
            None => !DECISIVE.iter().any(|decisive| param.is(decisive)),
        }
    })
}

/// Header fields are always compared, in any order.
fn are_headers_equal(a: &Uri, b: &Uri) -> bool {
    let has_all = |a: &Uri, b: &Uri| {
        a.headers().all(|(name, value)| {
            b.headers().any(|(other, held)| other.eq_ignore_ascii_case(&name) && held == value)
        })
    };
    has_all(a, b) && has_all(b, a)
}

/// Parameters that two equivalent URIs both have or both lack.
const DECISIVE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn rfc3261_19_1_4_the_examples_of_equivalent_uris_are() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]:5060", "sip:a@[2001:DB8:0::1]:5060"),
        ] {
            let (a, b): (Uri, Uri) = (a.parse().unwrap(), b.parse().unwrap());
            assert!(a.is_equivalent(&b) && b.is_equivalent(&a), "{a} {b}");
        }
    }

    #[test]
    fn rfc3261_19_1_4_the_examples_of_different_uris_are() {
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
            ("tel:+1", "tel:+2"),
        ] {
            let (a, b): (Uri, Uri) = (a.parse().unwrap(), b.parse().unwrap());
            assert!(!a.is_equivalent(&b) && !b.is_equivalent(&a), "{a} {b}");
        }
    }
}
