//! What else a dialplan may ask about an INVITE, by FreeSWITCH's names.

use std::collections::BTreeMap;

use dialplan::Facts;
use transport::{Flow, Message, Name, NameAddr, Uri};

/// The facts beside those that every call has.
pub(super) fn further(invite: &Message, flow: &Flow) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.insert(name.to_owned(), cut(&value));
        }
    };
    let requested = invite.request_uri().and_then(Result::ok);
    let (from, to, contact) = (invite.from(), invite.to(), invite.contact());
    let of = |address: &Option<NameAddr>| address.as_ref().map(|address| address.uri().clone());
    for (part, uri) in
        [("req", requested), ("from", of(&from)), ("to", of(&to)), ("contact", of(&contact))]
    {
        let Some(uri) = uri else { continue };
        let user = uri.user_decoded().map(|user| user.into_owned());
        add(&format!("sip_{part}_user"), user.clone());
        add(&format!("sip_{part}_host"), uri.host().map(str::to_owned));
        if part == "contact" {
            add("sip_contact_port", uri.port().map(|port| port.to_string()));
        } else {
            add(&format!("sip_{part}_uri"), Some(without_scheme(&uri)));
        }
        if part == "from" {
            add("ani", user);
        }
    }
    add("sip_from_display", from.and_then(|from| Some(from.display_name()?.into_owned())));
    add("domain_name", to.and_then(|to| to.uri().host().map(str::to_owned)));
    add("sip_user_agent", invite.header(Name::UserAgent).map(|agent| agent.into_owned()));
    for (side, address) in [("received", flow.remote), ("network", flow.remote)] {
        add(&format!("sip_{side}_ip"), Some(address.ip().to_string()));
        add(&format!("sip_{side}_port"), Some(address.port().to_string()));
    }
    add("direction", Some("inbound".to_owned()));
    let extensions = invite.lines().filter_map(|line| {
        let name = std::str::from_utf8(line.name_text).ok()?;
        let is_extension = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
        is_extension.then(|| (name, String::from_utf8_lossy(line.value).into_owned()))
    });
    for (name, value) in extensions.take(HEADERS_MAX) {
        add(&format!("{}{name}", Facts::HEADER_PREFIX), Some(value));
    }
    facts
}

/// `user@host:port`, as FreeSWITCH has it.
fn without_scheme(uri: &Uri) -> String {
    let text = uri.as_str();
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    text.split([';', '?']).next().unwrap_or_default().to_owned()
}

/// A value of a bounded length.
fn cut(value: &str) -> String {
    begin(value, VALUE_BYTES_MAX)
}

/// A name or number, as it is logged and shown to others.
pub(super) fn short(name: &str) -> String {
    begin(name, NAME_BYTES_MAX)
}

fn begin(text: &str, bytes_max: usize) -> String {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default().to_owned()
}

/// Most headers that become facts.
const HEADERS_MAX: usize = 32;
/// Longest name that a caller gives itself.
const NAME_BYTES_MAX: usize = 256;
/// Longest fact.
const VALUE_BYTES_MAX: usize = 1024;
