//! What is known about a call when it arrives, under the names that a dialplan uses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

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
    /// Further facts, by the names in [`Facts::FURTHER`] and [`Facts::HEADER_PREFIX`].
    pub further: Further,
}

/// Facts by name, found out when the first of them is asked for: few dialplans look at any. Clones
/// share them.
#[derive(Clone)]
pub struct Further(Arc<LazyLock<BTreeMap<String, String>, Find>>);

type Find = Box<dyn FnOnce() -> BTreeMap<String, String> + Send>;

impl Further {
    /// The facts that `find` finds.
    pub fn later(find: impl FnOnce() -> BTreeMap<String, String> + Send + 'static) -> Further {
        Further(Arc::new(LazyLock::new(Box::new(find))))
    }
}

impl Deref for Further {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Further {
    fn from(facts: BTreeMap<String, String>) -> Further {
        Further::later(|| facts)
    }
}

impl Default for Further {
    fn default() -> Further {
        Further::later(BTreeMap::new)
    }
}

impl PartialEq for Further {
    fn eq(&self, other: &Further) -> bool {
        **self == **other
    }
}

impl Eq for Further {}

impl fmt::Debug for Further {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Facts {
    /// Names that [`Facts::further`] may have.
    pub const FURTHER: [&'static str; 22] = [
        "ani",
        "channel_name",
        "direction",
        "domain_name",
        "sip_contact_host",
        "sip_contact_port",
        "sip_contact_user",
        "sip_from_display",
        "sip_from_host",
        "sip_from_uri",
        "sip_from_user",
        "sip_network_ip",
        "sip_network_port",
        "sip_received_ip",
        "sip_received_port",
        "sip_req_host",
        "sip_req_uri",
        "sip_req_user",
        "sip_to_host",
        "sip_to_uri",
        "sip_to_user",
        "sip_user_agent",
    ];

    /// What the name of a fact begins with that is a header of the INVITE: `sip_h_X-Tenant`.
    pub const HEADER_PREFIX: &'static str = "sip_h_";

    /// Whether there can be a fact with this name.
    pub fn is_name(name: &str) -> bool {
        Fact::parse(name).is_some()
            || Facts::FURTHER.contains(&name)
            || name.strip_prefix(Facts::HEADER_PREFIX).is_some_and(|header| !header.is_empty())
    }

    /// The fact with this name, empty if it is not known for this call; `None` if there is no such fact.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        match Fact::parse(name) {
            Some(fact) => Some(self.read(fact)),
            None if Facts::is_name(name) => {
                Some(Cow::Borrowed(self.further.get(name).map_or("", String::as_str)))
            }
            None => None,
        }
    }

    /// Every fact by name, those of [`Facts::further`] among them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let known = FACTS.iter().map(|(name, fact)| (*name, self.read(*fact)));
        let further = self.further.iter();
        known.chain(further.map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str()))))
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
