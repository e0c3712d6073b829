//! Where a response goes and where a request goes, as pure functions.

use crate::{
    Error, Flow, Host, Message, Name, NameAddr, Scheme, TransportKind, Uri, validate::VALUES_MAX,
};

/// The flow that the responses to a request take (RFC 3261 §18.2.2, RFC 3581 §4).
///
/// A stream or WebSocket: the connection that the request came on. UDP: from the socket it came to,
/// to its source address, and to its source port if the topmost Via has `rport`, else to the
/// port of sent-by or 5060.
///
/// Left out on purpose: `maddr`, which would let anybody aim our answers at a stranger.
pub fn response_flow(request: &Message, flow: &Flow) -> Flow {
    let Some(via) = request.via() else {
        return *flow;
    };
    if flow.kind != TransportKind::Udp || via.wants_rport() {
        return *flow;
    }
    let port = via.port().filter(|&port| port != 0).unwrap_or(flow.kind.default_port());
    let mut target = *flow;
    target.remote.set_port(port);
    target
}

/// The parts of an in-dialog request that the route set decides (RFC 3261 §12.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Request-URI.
    pub uri: Uri,
    /// The values of Route, in their order.
    pub routes: Vec<String>,
    /// Where to send it.
    pub next_hop: NextHop,
}

/// Applies a route set to the remote target: loose routing, and strict routing for an element
/// without `lr`.
///
/// # Errors
/// [`Error::NoHost`] and [`Error::UnknownTransport`] if the next hop cannot be sent to.
pub fn request_target(routes: &[NameAddr], remote_target: &Uri) -> Result<Target, Error> {
    let text = |route: &NameAddr| route.to_string();
    let Some((first, rest)) = routes.split_first() else {
        let uri = remote_target.for_request();
        return Ok(Target { next_hop: next_hop(&uri)?, uri, routes: Vec::new() });
    };
    if first.uri().has_param("lr") {
        return Ok(Target {
            uri: remote_target.for_request(),
            routes: routes.iter().map(text).collect(),
            next_hop: next_hop(first.uri())?,
        });
    }
    let uri = first.uri().for_request();
    let last = format!("<{remote_target}>");
    Ok(Target {
        next_hop: next_hop(&uri)?,
        uri,
        routes: rest.iter().map(text).chain([last]).collect(),
    })
}

/// The route set that a dialog-forming message gives (RFC 3261 §12.1): Record-Route in its order
/// for the UAS, in reverse for the UAC. One that is longer than any path counts as none.
pub fn route_set(message: &Message) -> Vec<NameAddr> {
    let routes = message.addresses(Name::RecordRoute).filter_map(Result::ok);
    let mut routes: Vec<_> = routes.take(VALUES_MAX + 1).collect();
    if routes.len() > VALUES_MAX {
        return Vec::new();
    }
    if !message.is_request() {
        routes.reverse();
    }
    routes
}

/// The place a URI names (RFC 3263 §4.1, without the look-ups).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The host to look up, or its address.
    pub host: Host,
    /// The port, if the URI names one.
    pub port: Option<u16>,
    /// The transport: as the URI says, else TLS for `sips` and UDP for `sip`.
    pub transport: TransportKind,
    /// The URI leaves the transport open.
    pub is_open: bool,
}

/// The transport that a URI asks for; `None` if it leaves that open.
///
/// # Errors
/// [`Error::UnknownTransport`] for a `transport` that we do not have.
pub fn named_transport(uri: &Uri) -> Result<Option<TransportKind>, Error> {
    let named = match uri.param("transport") {
        Some(token) => Some(TransportKind::from_token(&token).ok_or(Error::UnknownTransport)?),
        None => None,
    };
    Ok(match (uri.scheme(), named) {
        (Scheme::Sips, Some(TransportKind::Ws | TransportKind::Wss)) => Some(TransportKind::Wss),
        (Scheme::Sips, _) => Some(TransportKind::Tls),
        (_, named) => named,
    })
}

/// Reads the next hop out of a URI: UDP if it names no transport.
///
/// # Errors
/// [`Error::NoHost`] for a `tel` or unknown URI, [`Error::UnknownTransport`] for a `transport`
/// that we do not have.
pub fn next_hop(uri: &Uri) -> Result<NextHop, Error> {
    let host = uri.host().ok_or(Error::NoHost)?;
    let named = named_transport(uri)?;
    let transport = named.unwrap_or(TransportKind::Udp);
    let host = match uri.host_ip() {
        Some(ip) => Host::Ip(ip),
        None => Host::Name(host.to_owned()),
    };
    let port = uri.port().filter(|&port| port != 0);
    Ok(NextHop { host, port, transport, is_open: named.is_none() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use bytes::Bytes;

    use super::*;
    use crate::{FlowId, Framing, Limits};

    fn request(via: &str) -> Message {
        let text = format!("OPTIONS sip:a SIP/2.0\r\nVia: {via}\r\n\r\n");
        Message::parse(Bytes::from(text), Framing::Datagram, &Limits::default()).unwrap()
    }

    fn route(text: &str) -> NameAddr {
        NameAddr::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn rfc3261_18_2_2_where_a_response_goes() {
        let rows = [
            (TransportKind::Udp, "SIP/2.0/UDP 10.0.0.1:5070", "192.0.2.1:5070"),
            (TransportKind::Udp, "SIP/2.0/UDP 10.0.0.1", "192.0.2.1:5060"),
            (TransportKind::Udp, "SIP/2.0/UDP 10.0.0.1:0", "192.0.2.1:5060"),
            (TransportKind::Udp, "SIP/2.0/UDP 10.0.0.1:5070;rport", "192.0.2.1:40000"),
            (TransportKind::Udp, "SIP/2.0/UDP a:5070;maddr=224.0.0.1", "192.0.2.1:5070"),
            (TransportKind::Udp, "broken", "192.0.2.1:40000"),
            (TransportKind::Tcp, "SIP/2.0/TCP 10.0.0.1:5070", "192.0.2.1:40000"),
            (TransportKind::Wss, "SIP/2.0/WSS x.invalid", "192.0.2.1:40000"),
        ];
        for (kind, via, target) in rows {
            let local = "192.0.2.9:5060".parse().unwrap();
            let remote = "192.0.2.1:40000".parse().unwrap();
            let flow = Flow { id: FlowId(3), kind, local, remote };
            let expected = Flow { remote: target.parse().unwrap(), ..flow };
            assert_eq!(response_flow(&request(via), &flow), expected, "{via}");
        }
    }

    #[test]
    fn rfc3261_12_2_1_1_loose_and_strict_routes() {
        let target: Uri = "sip:bob@192.0.2.4:5080;transport=tcp".parse().unwrap();
        let loose = request_target(&[route("<sip:p1;lr>"), route("<sip:p2;lr>")], &target).unwrap();
        assert_eq!(loose.uri, target);
        assert_eq!(loose.routes, ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(loose.next_hop.host, Host::Name("p1".to_owned()));
        let strict =
            request_target(&[route("<sip:p1?x=1>"), route("<sip:p2;lr>")], &target).unwrap();
        assert_eq!(strict.uri.as_str(), "sip:p1");
        assert_eq!(strict.routes, ["<sip:p2;lr>", "<sip:bob@192.0.2.4:5080;transport=tcp>"]);
        let direct = request_target(&[], &target).unwrap();
        assert_eq!(
            (direct.next_hop.port, direct.next_hop.transport),
            (Some(5080), TransportKind::Tcp)
        );
    }

    #[test]
    fn rfc3263_4_1_the_transport_of_a_uri() {
        let hop = |text: &str| next_hop(&text.parse().unwrap());
        let kind = |text: &str| hop(text).unwrap().transport;
        assert_eq!(kind("sip:a"), TransportKind::Udp);
        assert_eq!(kind("sip:a;transport=TLS"), TransportKind::Tls);
        assert_eq!(kind("sips:a;transport=tcp"), TransportKind::Tls);
        assert_eq!(kind("sips:a;transport=ws"), TransportKind::Wss);
        assert_eq!(hop("sip:a;transport=sctp"), Err(Error::UnknownTransport));
        assert_eq!(hop("tel:+1"), Err(Error::NoHost));
        assert_eq!(hop("sip:[::1]").unwrap().host, Host::Ip("::1".parse().unwrap()));
    }

    #[test]
    fn rfc3261_12_1_a_route_set_is_reversed_for_the_caller() {
        let routes = "Record-Route: <sip:1;lr>, <sip:2;lr>\r\nRecord-Route: <sip:3;lr>\r\n\r\n";
        let uris = |first: &str| -> Vec<String> {
            let bytes = Bytes::from(format!("{first}\r\nCSeq: 1 INVITE\r\n{routes}"));
            let message = Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap();
            route_set(&message).iter().map(|route| route.uri().host().unwrap().to_owned()).collect()
        };
        assert_eq!(uris("INVITE sip:a SIP/2.0"), ["1", "2", "3"]);
        assert_eq!(uris("SIP/2.0 200 OK"), ["3", "2", "1"]);
        let endless = ["<sip:4;lr>"; VALUES_MAX].join(",");
        let endless = format!("SIP/2.0 200 OK\r\nRecord-Route: {endless}");
        assert!(uris(&endless).is_empty());
    }
}
