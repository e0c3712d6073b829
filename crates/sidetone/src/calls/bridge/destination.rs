//! Who is reached under a destination: the contacts of a user, or a SIP URI.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use dialplan::{Cause, Destination, Target};
use tracing::{debug, info};
use transport::routing::named_transport;
use transport::{Flow, Name, NameAddr, TransportKind, Uri};

use super::failure::Failure;
use crate::calls::leg::Peer;
use crate::calls::live::LiveCall;
use crate::calls::ourselves::End;
use crate::calls::{Dial, Standing, Trail};
use crate::registrar::Contact;
use crate::users::{MediaProfile, User};

/// One place that an INVITE can be sent to.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub uri: String,
    routes: Vec<String>,
    flow: Option<Flow>,
    /// Who is called there, if it is a user of ours.
    pub user: Option<Arc<User>>,
    /// The transport that leads there.
    kind: TransportKind,
    /// It has refused media that may be in the clear: it is offered SRTP and nothing else.
    pub is_srtp_only: bool,
    /// 0 to 1000; the highest is tried first where they are tried in order.
    pub q_milli: u16,
    /// The device that is reached there, if it has said so (RFC 5626 §4.1).
    pub instance: Option<String>,
}

impl Place {
    fn of_contact(user: &Arc<User>, contact: Contact) -> Self {
        let kind = match contact.flow {
            Some(flow) => flow.kind,
            None => way_without_flow(&contact),
        };
        Place {
            uri: contact.uri,
            routes: contact.path,
            flow: contact.flow,
            user: Some(Arc::clone(user)),
            kind,
            is_srtp_only: false,
            q_milli: contact.q_milli,
            instance: contact.instance,
        }
    }

    /// A URI whose host is to be looked up.
    fn of_uri(uri: &Uri) -> Self {
        // One that we do not have is told when it is dialled.
        let named = named_transport(uri).ok().flatten();
        let kind = named.unwrap_or(TransportKind::Udp);
        let uri = uri.as_str().to_owned();
        let (routes, is_srtp_only, instance) = (Vec::new(), false, None);
        Place { uri, routes, flow: None, user: None, kind, is_srtp_only, q_milli: 1000, instance }
    }

    /// What is called only once: a device, at its contact.
    pub(super) fn identity(&self) -> String {
        let srtp = if self.is_srtp_only { "srtp" } else { "" };
        match (&self.instance, self.flow) {
            (Some(instance), _) => format!("{srtp} {} {instance}", self.uri),
            (None, Some(flow)) => format!("{srtp} {} {}", self.uri, flow.remote),
            (None, None) => format!("{srtp} {}", self.uri),
        }
    }

    pub(super) fn peer(&self) -> Peer {
        let remote = || Uri::parse(self.uri.clone().into()).ok()?.host_ip();
        Peer {
            kind: self.kind,
            local: self.flow.map(|flow| flow.local.ip()),
            remote: self.flow.map(|flow| flow.remote.ip()).or_else(remote),
            // It answers what was sent there.
            standing: Standing::Proven,
        }
    }

    /// The same place, to be offered what it may have missed: a phone that demands SRTP refuses an
    /// offer of RTP that SRTP may take the place of (RTP/AVP with keys). `None` if it was offered
    /// that, or must not be.
    pub(super) fn demanding_srtp(&self) -> Option<Place> {
        let media = self.user.as_ref().map_or(MediaProfile::Auto, |user| user.media);
        let is_open = media == MediaProfile::Auto && self.kind.is_secure();
        (is_open && !self.is_srtp_only && !self.is_webrtc())
            .then(|| Place { is_srtp_only: true, ..self.clone() })
    }

    /// Whether our offer is best made as WebRTC: as the user wants it or, without such a wish, to
    /// who came over a WebSocket.
    pub(super) fn is_webrtc(&self) -> bool {
        match self.user.as_ref().map_or(MediaProfile::Auto, |user| user.media) {
            MediaProfile::Auto => self.peer().is_browser(),
            MediaProfile::WebRtc => true,
            MediaProfile::Rtp | MediaProfile::Srtp => false,
        }
    }
}

/// The transport to a contact without a connection: as its path or its URI says, else the one it
/// registered over.
fn way_without_flow(contact: &Contact) -> TransportKind {
    let named = |uri: &Uri| named_transport(uri).ok().flatten();
    match contact.path.first() {
        Some(hop) => {
            let hop = NameAddr::parse(Bytes::copy_from_slice(hop.as_bytes()));
            hop.ok().and_then(|hop| named(hop.uri())).unwrap_or(TransportKind::Udp)
        }
        None => {
            let uri = Uri::parse(contact.uri.clone().into());
            uri.ok().and_then(|uri| named(&uri)).unwrap_or(contact.transport)
        }
    }
}

impl LiveCall {
    /// Where a destination is reached, the preferred place first.
    pub(super) fn places(&self, target: &Target) -> Result<Vec<Place>, Failure> {
        match target {
            Target::User(name) => self.places_of_user(name),
            Target::Uri(uri) => self.place_of_uri(uri).map(|place| vec![place]),
        }
    }

    pub(super) fn places_of_user(&self, name: &str) -> Result<Vec<Place>, Failure> {
        let call_id = &self.facts.uuid;
        let user = self.shared.users.share(name);
        // Who may not be reached from outside does not exist there.
        let user = user.filter(|user| user.public || !self.is_public);
        let Some(user) = user else {
            info!(call_id, user = name, "no such user to call");
            return Err(Failure::ours(Cause::UNALLOCATED_NUMBER));
        };
        let contacts = self.shared.registrar.contacts(name);
        if contacts.is_empty() {
            debug!(call_id, user = name, "the user is not registered");
            return Err(Failure::ours(Cause::USER_NOT_REGISTERED));
        }
        Ok(contacts.into_iter().map(|contact| Place::of_contact(&user, contact)).collect())
    }

    pub(super) fn place_of_uri(&self, uri: &str) -> Result<Place, Failure> {
        if self.is_public {
            info!(call_id = self.facts.uuid, "an outside address is not called for the public");
            return Err(Failure::ours(Cause::OUTGOING_CALL_BARRED));
        }
        let uri = Uri::parse(uri.to_owned().into());
        let uri = uri.map_err(|_| Failure::ours(Cause::INVALID_URL))?;
        Ok(Place::of_uri(&uri))
    }

    /// Whether a host is this server, as its peers know it: one of its addresses, or what the caller
    /// called it.
    pub(super) fn is_ours(&self, host: &str) -> bool {
        let called = self.facts.further.get("sip_req_host");
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => self.caller.peer().local == Some(ip) || self.shared.hosts.contains(&ip),
            Err(_) => called.is_some_and(|called| called.eq_ignore_ascii_case(host)),
        }
    }

    /// The INVITE to a place, without our offer.
    pub(super) fn dial(&self, place: &Place, destination: &Destination, ourselves: &End) -> Dial {
        let mark = self.shared.trail.mark(&self.facts.context, &self.facts.destination_number);
        let mut marks = self.trail.clone();
        marks.push(ourselves.mark().to_owned());
        let mut headers = vec![(Name::SidetoneTrail, Trail::write(&marks, &mark))];
        if self.is_anonymous {
            // Whoever calls on proves nothing of the caller (RFC 3325 §9.3), and what the dialplan
            // names is no secret of the caller's.
            headers.push((Name::Privacy, "id".to_owned()));
        }
        let (caller_name, caller_number) = match self.is_anonymous {
            true => ("Anonymous", "anonymous"),
            false => (&*self.facts.caller_id_name, &*self.facts.caller_id_number),
        };
        let name = destination.caller_id_name.as_deref().unwrap_or(caller_name);
        let number = destination.caller_id_number.as_deref().unwrap_or(caller_number);
        Dial {
            call_id: self.facts.uuid.clone(),
            uri: place.uri.clone(),
            routes: place.routes.clone(),
            flow: place.flow,
            transport: place.kind,
            from_user: number.to_owned(),
            from_name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            to_user: place.user.as_ref().map(|user| user.name.clone()),
            max_forwards: self.max_forwards.saturating_sub(1),
            description: String::new(),
            headers,
        }
    }
}
