//! The words of rsip, and the only place that uses them: what we have read is offered in its
//! types, and its typed headers write some of our own.
//!
//! rsip does not read here. Its parsers lose ordinary traffic (IPv6, users with dots, folded
//! lines, unknown methods), so its public types are filled from our own index.

use rsip::typed;

use crate::{Method, NameAddr, Scheme, TransportKind, Uri, Via};

/// A method in rsip's words; `None` if it has no name there.
pub fn method(method: &Method) -> Option<rsip::Method> {
    Some(match method {
        Method::Invite => rsip::Method::Invite,
        Method::Ack => rsip::Method::Ack,
        Method::Bye => rsip::Method::Bye,
        Method::Cancel => rsip::Method::Cancel,
        Method::Options => rsip::Method::Options,
        Method::Register => rsip::Method::Register,
        Method::Update => rsip::Method::Update,
        Method::Info => rsip::Method::Info,
        Method::Prack => rsip::Method::PRack,
        Method::Refer => rsip::Method::Refer,
        Method::Notify => rsip::Method::Notify,
        Method::Subscribe => rsip::Method::Subscribe,
        Method::Message => rsip::Method::Message,
        Method::Publish => rsip::Method::Publish,
        Method::Other(_) => return None,
    })
}

/// A transport in rsip's words.
pub fn transport(kind: TransportKind) -> rsip::Transport {
    match kind {
        TransportKind::Udp => rsip::Transport::Udp,
        TransportKind::Tcp => rsip::Transport::Tcp,
        TransportKind::Tls => rsip::Transport::Tls,
        TransportKind::Ws => rsip::Transport::Ws,
        TransportKind::Wss => rsip::Transport::Wss,
    }
}

/// The value of a CSeq header field.
pub fn cseq(number: u32, name: &Method) -> String {
    match method(name) {
        Some(method) => typed::CSeq { seq: number, method }.to_string(),
        None => format!("{number} {name}"),
    }
}

/// The value of an Allow header field; methods without a name are left out.
pub fn allow(methods: &[Method]) -> String {
    typed::Allow(methods.iter().filter_map(method).collect()).to_string()
}

/// A `sip` or `sips` URI in rsip's words: IPv6 in its brackets, parameters verbatim. `None` for
/// other schemes. The header fields after `?` have no place there.
pub fn uri(uri: &Uri) -> Option<rsip::Uri> {
    let scheme = match uri.scheme() {
        Scheme::Sip => rsip::Scheme::Sip,
        Scheme::Sips => rsip::Scheme::Sips,
        Scheme::Tel | Scheme::Other => return None,
    };
    let auth = uri.user().map(|user| rsip::Auth {
        user: user.to_owned(),
        password: uri.password().map(str::to_owned),
    });
    Some(rsip::Uri {
        scheme: Some(scheme),
        auth,
        host_with_port: host_with_port(uri.host()?, uri.port()),
        params: params(uri.params()),
        headers: Vec::new(),
    })
}

/// A Via in rsip's words; `None` if its transport has no name there.
pub fn via(via: &Via) -> Option<typed::Via> {
    Some(typed::Via {
        version: rsip::Version::V2,
        transport: transport(via.kind()?),
        uri: rsip::Uri {
            host_with_port: host_with_port(via.host(), via.port()),
            ..rsip::Uri::default()
        },
        params: params(via.params()),
    })
}

/// A Contact in rsip's words; `None` if its URI is neither `sip` nor `sips`.
pub fn contact(address: &NameAddr) -> Option<typed::Contact> {
    Some(typed::Contact {
        display_name: address.display_name().map(std::borrow::Cow::into_owned),
        uri: uri(address.uri())?,
        params: params(address.params()),
    })
}

/// A host is always a domain there: an IPv6 address would lose its brackets.
fn host_with_port(host: &str, port: Option<u16>) -> rsip::HostWithPort {
    rsip::HostWithPort {
        host: rsip::Host::Domain(rsip::Domain::from(host)),
        port: port.map(rsip::Port::from),
    }
}

/// Parameters keep their bytes: rsip's own variants would change case and cut values.
fn params<'a>(params: impl Iterator<Item = crate::Param<'a>>) -> Vec<rsip::Param> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    params
        .map(|param| {
            let value = param.value.map(|value| text(value).into());
            rsip::Param::Other(text(param.name).into(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn every_method_has_its_word_and_is_written_alike() {
        for known in Method::KNOWN {
            assert_eq!(
                method(&known).map(|word| word.to_string()).as_deref(),
                Some(known.as_str())
            );
        }
        assert_eq!(cseq(7, &Method::Prack), "7 PRACK");
        assert_eq!(cseq(7, &Method::parse(b"NEW").unwrap()), "7 NEW");
        assert_eq!(allow(&[Method::Invite, Method::Bye]), "INVITE, BYE");
    }

    #[test]
    fn transports_are_written_alike() {
        for kind in TransportKind::ALL {
            assert_eq!(transport(kind).to_string(), kind.via_token());
        }
    }

    #[test]
    fn a_uri_comes_out_as_it_went_in() {
        for text in [
            "sip:alice.smith@example.com",
            "sips:a:b@[2001:db8::1]:5061;transport=ws;gr=urn:uuid:1;vsf=AAA==;lr",
        ] {
            let parsed: Uri = text.parse().unwrap();
            assert_eq!(uri(&parsed).map(|uri| uri.to_string()).as_deref(), Some(text));
        }
        assert_eq!(uri(&"tel:+1".parse().unwrap()), None);
    }

    #[test]
    fn a_via_and_a_contact_come_out_as_they_went_in() {
        let text = "SIP/2.0/WSS [::1]:5066;branch=z9hG4bKx;received=2001:db8::9";
        let parsed = Via::parse(text.into()).unwrap();
        assert_eq!(via(&parsed).map(|via| via.to_string()).as_deref(), Some(text));
        let address = NameAddr::parse("Bob <sip:b@c>;reg-id=1".into()).unwrap();
        let contact = contact(&address).unwrap();
        assert_eq!(contact.display_name.as_deref(), Some("Bob"));
        assert_eq!(contact.uri.to_string(), "sip:b@c");
    }
}
