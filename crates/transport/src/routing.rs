//! Where a response goes and where a request goes, as pure functions.

use crate::{Error, Flow, Host, Message, Name, NameAddr, Scheme, TransportKind, Uri};

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
/// for the UAS, in reverse for the UAC.
pub fn route_set(message: &Message) -> Vec<NameAddr> {
    let mut routes: Vec<_> = message.addresses(Name::RecordRoute).filter_map(Result::ok).collect();
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
}

/// Reads the next hop out of a URI.
///
/// # Errors
/// [`Error::NoHost`] for a `tel` or unknown URI, [`Error::UnknownTransport`] for a `transport`
/// that we do not have.
pub fn next_hop(uri: &Uri) -> Result<NextHop, Error> {
    let host = uri.host().ok_or(Error::NoHost)?;
    let named = match uri.param("transport") {
        Some(token) => Some(TransportKind::from_token(&token).ok_or(Error::UnknownTransport)?),
        None => None,
    };
    let transport = match (uri.scheme(), named) {
        (Scheme::Sips, Some(TransportKind::Ws | TransportKind::Wss)) => TransportKind::Wss,
        (Scheme::Sips, _) => TransportKind::Tls,
        (_, Some(kind)) => kind,
        (_, None) => TransportKind::Udp,
    };
    let host = match uri.host_ip() {
        Some(ip) => Host::Ip(ip),
        None => Host::Name(host.to_owned()),
    };
    Ok(NextHop { host, port: uri.port().filter(|&port| port != 0), transport })
}
