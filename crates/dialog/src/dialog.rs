//! A dialog: its identifiers, route set, sequence numbers and remote target (RFC 3261 §12).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use transport::routing::{self, NextHop, Target};
use transport::{
    Error, Flow, Host, Message, Method, Name, NameAddr, RequestWriter, TransportKind, Uri,
};

use crate::reject::Refusal;

/// What names a dialog at our side (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: Box<str>,
    /// Our tag.
    pub local_tag: Box<str>,
    /// The peer's tag; empty if it has none, as with RFC 2543 peers.
    pub remote_tag: Box<str>,
}

impl DialogId {
    /// The dialog that an arrived request belongs to; `None` if it has no To tag.
    pub fn of_request(request: &Message) -> Option<DialogId> {
        Some(DialogId {
            call_id: request.call_id().into(),
            local_tag: (*request.to_tag()?).into(),
            remote_tag: request.from_tag().as_deref().unwrap_or_default().into(),
        })
    }

    /// The dialog that an arrived response belongs to; `None` if it has no From tag.
    pub fn of_response(response: &Message) -> Option<DialogId> {
        Some(DialogId {
            call_id: response.call_id().into(),
            local_tag: (*response.from_tag()?).into(),
            remote_tag: response.to_tag().as_deref().unwrap_or_default().into(),
        })
    }
}

/// The state that both ends of a dialog keep (RFC 3261 §12.1).
#[derive(Clone, Debug)]
pub struct Dialog {
    id: DialogId,
    /// From of our requests, with our tag.
    local: Box<str>,
    /// To of our requests, with the peer's tag.
    remote: Box<str>,
    route_set: Box<[Box<str>]>,
    remote_target: Box<str>,
    local_cseq: u32,
    /// Of the peer's last request; `None` before its first (RFC 3261 §12.2.2).
    remote_cseq: Option<u32>,
    /// We called a URI of our own choice: its server says where the dialog goes on.
    is_routed: bool,
}

impl Dialog {
    /// The dialog that our response to `invite` makes (RFC 3261 §12.1.1).
    ///
    /// # Errors
    ///
    /// [`Refusal::MissingContact`] if the remote target or an identifier is not readable.
    pub fn of_uas(invite: &Message, local_tag: &str) -> Result<Dialog, Refusal> {
        let unusable = Refusal::MissingContact;
        let remote_target = target(invite).ok_or(unusable.clone())?;
        let (Some(from), Some(to), Some(cseq)) =
            (invite.header(Name::From), invite.header(Name::To), invite.cseq())
        else {
            return Err(unusable);
        };
        let id = DialogId {
            call_id: invite.call_id().into(),
            local_tag: local_tag.into(),
            remote_tag: invite.from_tag().as_deref().unwrap_or_default().into(),
        };
        let route_set = routing::route_set(invite).iter().map(text_of).collect();
        Ok(Dialog {
            id,
            local: format!("{to};tag={local_tag}").into(),
            remote: (*from).into(),
            route_set,
            remote_target,
            local_cseq: 0,
            remote_cseq: Some(cseq.number),
            is_routed: false,
        })
    }

    /// Whether what our first request or answer goes to, the first route or else the target, is a
    /// SIPS URI: our Contact is to be one then (RFC 3261 §8.1.1.8, §12.1.1).
    pub(crate) fn begins_at_sips(&self) -> bool {
        let first = self.route_set.first().unwrap_or(&self.remote_target);
        let uri = first.find('<').map_or(&**first, |start| &first[start + 1..]);
        uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"))
    }

    /// What an INVITE of ours knows of its dialogs before any response: no tag of the peer, the
    /// route set and the target that we chose ourselves (RFC 3261 §8.1.2), or that a user registered
    /// unless `is_routed`.
    pub(crate) fn of_invite(
        id: DialogId,
        local: String,
        remote: String,
        routes: Vec<String>,
        target: &Uri,
        is_routed: bool,
    ) -> Dialog {
        Dialog {
            id,
            local: local.into(),
            remote: remote.into(),
            route_set: routes.into_iter().map(String::into_boxed_str).collect(),
            remote_target: target.as_str().into(),
            local_cseq: 0,
            remote_cseq: None,
            is_routed,
        }
    }

    /// The dialog that a response to our INVITE makes (RFC 3261 §12.1.2). A response without a
    /// readable Contact leaves the target at the Request-URI.
    pub(crate) fn of_uac(&self, response: &Message) -> Dialog {
        let id = DialogId {
            remote_tag: response.to_tag().as_deref().unwrap_or_default().into(),
            ..self.id.clone()
        };
        Dialog {
            id,
            remote: response
                .header(Name::To)
                .map_or_else(|| self.remote.clone(), |to| (*to).into()),
            route_set: routing::route_set(response).iter().map(text_of).collect(),
            remote_target: target(response).unwrap_or_else(|| self.remote_target.clone()),
            ..self.clone()
        }
    }

    /// The identifiers.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Where our requests are addressed to, a URI.
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// Takes note of the CSeq of a new request (RFC 3261 §12.2.2). Not for ACK and CANCEL.
    ///
    /// # Errors
    ///
    /// [`Refusal::OutOfOrder`] if it is not higher than all before.
    pub fn take_cseq(&mut self, request: &Message) -> Result<(), Refusal> {
        match request.cseq() {
            Some(cseq) if self.remote_cseq.is_none_or(|last| cseq.number > last) => {
                self.remote_cseq = Some(cseq.number);
                Ok(())
            }
            Some(_) | None => Err(Refusal::OutOfOrder { retry_after_s: 1 }),
        }
    }

    /// The CSeq number of our last request.
    pub(crate) fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Takes the route set of the 2xx in place of that of an earlier response (RFC 3261 §13.2.2.4).
    pub(crate) fn confirm(&mut self, success: &Message) {
        self.route_set = routing::route_set(success).iter().map(text_of).collect();
        self.refresh_target(success);
    }

    /// Takes the Contact of a target refresh request as the new remote target (RFC 3261 §12.2.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(target) = target(message) {
            self.remote_target = target;
        }
    }

    /// Begins the next request of ours: request line, Max-Forwards, From, To, Call-ID, CSeq and
    /// Route (RFC 3261 §12.2.1.1). Via is left to the caller.
    ///
    /// # Errors
    ///
    /// Only if the remote target is none, which [`Dialog::of_uas`] has excluded.
    pub fn request(&mut self, method: Method) -> Result<RequestWriter, Error> {
        let number = self.local_cseq + 1;
        let writer = self.write(method, number, MAX_FORWARDS)?;
        self.local_cseq = number;
        Ok(writer)
    }

    /// Begins the INVITE that makes the dialog.
    ///
    /// # Errors
    ///
    /// As [`Dialog::request`].
    pub(crate) fn invite(&mut self, max_forwards: u8) -> Result<RequestWriter, Error> {
        let number = self.local_cseq + 1;
        let writer = self.write(Method::Invite, number, max_forwards)?;
        self.local_cseq = number;
        Ok(writer)
    }

    /// Begins the ACK of a 2xx; it has the number of its INVITE (RFC 3261 §13.2.2.4).
    ///
    /// # Errors
    ///
    /// As [`Dialog::request`].
    pub(crate) fn ack(&self, number: u32) -> Result<RequestWriter, Error> {
        self.write(Method::Ack, number, MAX_FORWARDS)
    }

    fn write(&self, method: Method, number: u32, hops: u8) -> Result<RequestWriter, Error> {
        let (uri, routes) = self.addressing()?;
        let writer = RequestWriter::new(method, &uri)
            .max_forwards(hops)
            .header(Name::From, &self.local)
            .header(Name::To, &self.remote)
            .header(Name::CallId, &self.id.call_id)
            .cseq(number);
        Ok(routes.iter().fold(writer, |writer, route| writer.header(Name::Route, route)))
    }

    /// The Request-URI and the Route values. A transport that we do not have does not matter:
    /// the flow is known.
    fn addressing(&self) -> Result<(Uri, Vec<String>), Error> {
        let target: Uri = self.remote_target.parse()?;
        let routes: Vec<NameAddr> = self.routes().collect();
        Ok(match routing::request_target(&routes, &target) {
            Ok(Target { uri, routes, .. }) => (uri, routes),
            Err(_) => (target, routes.iter().map(|route| route.to_string()).collect()),
        })
    }

    fn routes(&self) -> impl Iterator<Item = NameAddr> {
        self.route_set
            .iter()
            .filter_map(|route| NameAddr::parse(Bytes::copy_from_slice(route.as_bytes())).ok())
    }

    /// The flow of our next request, given the one on which the peer was heard last.
    ///
    /// On streams it is that flow (RFC 5626 §5.3). On UDP the first route or else the remote target
    /// gives the port, if it names the address that the peer was heard from. What names another one
    /// cannot be reached behind NAT, or aims us at a third party: it is followed for a URI of our
    /// own choice alone (RFC 3261 §12.2.1.1), which may lead to a server that hands the call on.
    pub fn next_hop(&self, heard: &Flow) -> Flow {
        if heard.kind != TransportKind::Udp {
            return *heard;
        }
        let named = self.next_uri().and_then(|uri| socket_address(&uri));
        let Some(named) = named.filter(|hop| hop.port() != 0) else { return *heard };
        let (from, mut hop) = (heard.remote.ip().to_canonical(), *heard);
        if named.ip() == from {
            // The rest of a link-local address is no part of a URI.
            hop.remote.set_port(named.port());
        } else if self.is_routed
            && heard.remote.is_ipv4() == named.is_ipv4()
            && is_meant_for_us(named.ip(), from)
        {
            hop.remote = named;
        }
        hop
    }

    /// Where the peer can be connected to once the stream is closed on which it was heard (RFC 3261
    /// §18.1.1): as for [`next_hop`](Self::next_hop) on UDP. A name may be looked up for a URI of our
    /// own choice alone. Nobody can connect to a browser.
    pub fn way_back(&self, heard: &Flow) -> Option<NextHop> {
        let is_stream = matches!(heard.kind, TransportKind::Tcp | TransportKind::Tls);
        let hop = routing::next_hop(&self.next_uri().filter(|_| is_stream)?).ok()?;
        let from = heard.remote.ip().to_canonical();
        let is_reachable = match &hop.host {
            Host::Ip(ip) if ip.to_canonical() == from => true,
            Host::Ip(ip) => self.is_routed && is_meant_for_us(ip.to_canonical(), from),
            Host::Name(_) => self.is_routed,
        };
        is_reachable.then_some(NextHop { transport: heard.kind, ..hop })
    }

    /// The same by UDP, where a peer listens whose URI names no transport (RFC 3263 §4.1), although
    /// it was heard by TCP. Never instead of TLS.
    pub fn way_back_by_udp(&self, heard: &Flow) -> Option<NextHop> {
        let transport = TransportKind::Udp;
        let is_open =
            routing::named_transport(&self.next_uri()?).is_ok_and(|named| named.is_none());
        let hop = self.way_back(heard).filter(|_| is_open && heard.kind == TransportKind::Tcp)?;
        Some(NextHop { transport, ..hop })
    }

    /// The first route or else the remote target.
    fn next_uri(&self) -> Option<Uri> {
        match self.routes().next() {
            Some(route) => Some(route.uri().clone()),
            None => self.remote_target.parse().ok(),
        }
    }
}

/// The Contact, copied out of its message. A target without a host could not be sent to.
fn target(message: &Message) -> Option<Box<str>> {
    let contact = message.contact()?;
    contact.uri().host()?;
    Some(contact.uri().as_str().into())
}

fn text_of(address: &NameAddr) -> Box<str> {
    address.to_string().into()
}

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u8 = 70;

/// Whether an address that a peer names is one that we can reach, as far as it shows: a private one
/// says something in its own network only, which the peer then was heard from as well.
fn is_meant_for_us(named: IpAddr, heard: IpAddr) -> bool {
    match (named, heard) {
        (IpAddr::V4(named), IpAddr::V4(heard)) => {
            let is_local = named.is_private() || named.is_loopback() || named.is_link_local();
            let is_near = named.octets()[..2] == heard.octets()[..2];
            !named.is_unspecified()
                && !named.is_multicast()
                && !named.is_broadcast()
                && (!is_local || is_near)
        }
        (IpAddr::V6(named), IpAddr::V6(heard)) => {
            let is_near = named.segments()[..3] == heard.segments()[..3];
            !named.is_unspecified()
                && !named.is_multicast()
                && !named.is_unicast_link_local()
                && (!named.is_unique_local() && !named.is_loopback() || is_near)
        }
        _ => false,
    }
}

fn socket_address(uri: &Uri) -> Option<SocketAddr> {
    let port = uri.port().unwrap_or(TransportKind::Udp.default_port());
    Some(SocketAddr::new(uri.host_ip()?, port))
}
