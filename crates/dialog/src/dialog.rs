//! A dialog: its identifiers, route set, sequence numbers and remote target (RFC 3261 §12).

use std::net::SocketAddr;

use bytes::Bytes;
use transport::routing::{self, Target};
use transport::{Error, Flow, Message, Method, Name, NameAddr, RequestWriter, TransportKind, Uri};

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
    remote_cseq: u32,
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
            remote_cseq: cseq.number,
        })
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
            Some(cseq) if cseq.number > self.remote_cseq => {
                self.remote_cseq = cseq.number;
                Ok(())
            }
            Some(_) | None => Err(Refusal::OutOfOrder { retry_after_s: 1 }),
        }
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
        let (uri, routes) = self.addressing()?;
        self.local_cseq += 1;
        let writer = RequestWriter::new(method, &uri)
            .max_forwards(70)
            .header(Name::From, &self.local)
            .header(Name::To, &self.remote)
            .header(Name::CallId, &self.id.call_id)
            .cseq(self.local_cseq);
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
    /// gives the port, if it names the address that the peer was heard from: what names another
    /// one cannot be reached behind NAT, or aims us at a third party.
    pub fn next_hop(&self, heard: &Flow) -> Flow {
        if heard.kind != TransportKind::Udp {
            return *heard;
        }
        let named = match self.routes().next() {
            Some(route) => socket_address(route.uri()),
            None => {
                let target = self.remote_target.parse().ok();
                target.and_then(|target| socket_address(&target))
            }
        };
        let is_reachable =
            |hop: &SocketAddr| hop.ip() == heard.remote.ip().to_canonical() && hop.port() != 0;
        Flow { remote: named.filter(is_reachable).unwrap_or(heard.remote), ..*heard }
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

fn socket_address(uri: &Uri) -> Option<SocketAddr> {
    let port = uri.port().unwrap_or(TransportKind::Udp.default_port());
    Some(SocketAddr::new(uri.host_ip()?, port))
}
