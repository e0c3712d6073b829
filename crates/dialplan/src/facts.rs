//! What is known about a call when it arrives, under the names that a dialplan uses.

use std::borrow::Cow;
use std::net::IpAddr;

/// The facts of one call. All strings come from the network: they are values, never expanded again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// User part of the request URI, unescaped: `destination_number`.
    pub destination_number: String,
    /// User part of From: `caller_id_number`.
    pub caller_id_number: String,
    /// Display name of From: `caller_id_name`.
    pub caller_id_name: String,
    /// Where the INVITE came from: `network_addr`.
    pub network_addr: Option<IpAddr>,
    /// What carried the INVITE (`udp`, `tcp`, `tls`, `ws`, `wss`): `transport`.
    pub transport: String,
    /// The context the call was routed in: `context`.
    pub context: String,
    /// Our identifier of the call: `uuid`.
    pub uuid: String,
    /// The Call-ID header: `sip_call_id`.
    pub sip_call_id: String,
    /// Name of the user who showed a password or a token: `username`.
    pub user: Option<String>,
    /// The number that was called, if it is the name of a user: `destination_user`.
    pub destination_user: Option<String>,
}

impl Facts {
    /// The fact with this name, empty if it is not known for this call; `None` if there is no such fact.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        Fact::parse(name).map(|fact| self.read(fact))
    }

    /// Reads one fact, empty if it is not known for this call.
    pub(crate) fn read(&self, fact: Fact) -> Cow<'_, str> {
        Cow::Borrowed(match fact {
            Fact::DestinationNumber => &self.destination_number,
            Fact::CallerIdNumber => &self.caller_id_number,
            Fact::CallerIdName => &self.caller_id_name,
            Fact::NetworkAddr => {
                return self
                    .network_addr
                    .map_or(Cow::Borrowed(""), |address| Cow::Owned(address.to_string()));
            }
            Fact::Transport => &self.transport,
            Fact::Context => &self.context,
            Fact::Uuid => &self.uuid,
            Fact::SipCallId => &self.sip_call_id,
            Fact::Username => self.user.as_deref().unwrap_or_default(),
            Fact::DestinationUser => self.destination_user.as_deref().unwrap_or_default(),
        })
    }
}

/// A fact that a condition can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// [`Facts::destination_number`].
    DestinationNumber,
    /// [`Facts::caller_id_number`].
    CallerIdNumber,
    /// [`Facts::caller_id_name`].
    CallerIdName,
    /// [`Facts::network_addr`].
    NetworkAddr,
    /// [`Facts::transport`].
    Transport,
    /// [`Facts::context`].
    Context,
    /// [`Facts::uuid`].
    Uuid,
    /// [`Facts::sip_call_id`].
    SipCallId,
    /// [`Facts::user`].
    Username,
    /// [`Facts::destination_user`].
    DestinationUser,
}

impl Fact {
    /// Finds a fact by the name that a dialplan uses.
    pub fn parse(name: &str) -> Option<Fact> {
        FACTS.iter().find(|(known, _)| *known == name).map(|(_, fact)| *fact)
    }

    /// The name that a dialplan uses.
    pub fn name(self) -> &'static str {
        FACTS.iter().find(|(_, fact)| *fact == self).map_or("", |(name, _)| name)
    }
}

/// Every fact by name.
pub(crate) const FACTS: [(&str, Fact); 10] = [
    ("destination_number", Fact::DestinationNumber),
    ("caller_id_number", Fact::CallerIdNumber),
    ("caller_id_name", Fact::CallerIdName),
    ("network_addr", Fact::NetworkAddr),
    ("transport", Fact::Transport),
    ("context", Fact::Context),
    ("uuid", Fact::Uuid),
    ("sip_call_id", Fact::SipCallId),
    ("username", Fact::Username),
    ("destination_user", Fact::DestinationUser),
];
