//! What `pjsip.conf` and `sip.conf` say in the same words: codecs, caller IDs, addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dialplan::Location;

use super::super::note::Notes;
use super::super::one_line;
use super::super::settings::{Listener, Settings, User};
use super::ini::{Entry, Section};

/// Reads `disallow` and `allow` in their order; codecs that are not here are noted.
pub(super) fn codecs(section: &Section, notes: &mut Notes) -> Vec<&'static str> {
    let mut codecs: Vec<&'static str> = Vec::new();
    for entry in &section.entries {
        if !matches!(entry.key.as_str(), "allow" | "disallow") {
            continue;
        }
        for name in entry.value.split([',', '&']).map(str::trim).filter(|name| !name.is_empty()) {
            let (name, is_removed) = match name.strip_prefix('!') {
                Some(name) => (name, true),
                None => (name, entry.key == "disallow"),
            };
            match (name.to_ascii_lowercase().as_str(), is_removed) {
                ("all", true) => codecs.clear(),
                ("all", false) => return Vec::new(),
                (name, removed) => match codec(name) {
                    Some(codec) if removed => codecs.retain(|known| *known != codec),
                    Some(codec) if !codecs.contains(&codec) => codecs.push(codec),
                    None if !removed => {
                        let what = format!("the codec {} is not built in", one_line(name));
                        notes.left_out(&entry.location, what);
                    }
                    _ => {}
                },
            }
        }
    }
    codecs
}

/// Our name of a codec.
pub(in crate::import) fn codec(name: &str) -> Option<&'static str> {
    match name.split([':', '@']).next()?.to_ascii_lowercase().as_str() {
        "ulaw" | "pcmu" => Some("pcmu"),
        "alaw" | "pcma" => Some("pcma"),
        "g722" => Some("g722"),
        "opus" => Some("opus"),
        _ => None,
    }
}

/// `"Name" <number>` without what our form does not take; a name alone has no number to show.
pub(super) fn caller_id(entry: &Entry, notes: &mut Notes) -> Option<String> {
    let text = entry.value.trim();
    let fits = match text.split_once('<') {
        Some((name, number)) => {
            let number = number.trim_end().strip_suffix('>').unwrap_or_default();
            let is_number = !number.is_empty() && !number.contains([' ', '<', '>', '"', '@']);
            (is_number && !name.trim().trim_matches('"').contains('"')).then(|| {
                let name = name.trim().trim_matches('"').trim();
                format!("{name} <{number}>").trim().to_owned()
            })
        }
        None => (!text.is_empty() && !text.contains([' ', '>', '"'])).then(|| text.to_owned()),
    };
    let fits = fits.filter(|text| text.len() <= 128 && !text.chars().any(char::is_control));
    if fits.is_none() {
        let what = format!("callerid={}: write \"Name\" <number>", one_line(text));
        notes.left_out(&entry.location, what);
    }
    fits
}

/// How digits are sent.
pub(super) fn dtmf(entry: &Entry, notes: &mut Notes) -> Option<&'static str> {
    match entry.value.to_ascii_lowercase().as_str() {
        "rfc4733" | "rfc2833" => Some("rtp"),
        "info" | "shortinfo" => Some("info"),
        "inband" => Some("inband"),
        "auto" => None,
        "auto_info" => Some("info"),
        other => {
            notes.left_out(&entry.location, format!("DTMF mode {}", one_line(other)));
            None
        }
    }
}

/// Reads `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; the port if there is none is `port`.
pub(in crate::import) fn address(text: &str, port: u16) -> Option<(IpAddr, u16)> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip(), address.port()));
    }
    if let Some(rest) = text.strip_prefix(':') {
        return Some((IpAddr::V4(Ipv4Addr::UNSPECIFIED), rest.parse().ok()?));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    Some((bare.parse().ok()?, port))
}

/// Adds a listener, or notes that its address cannot be read.
pub(super) fn listen(
    settings: &mut Settings,
    notes: &mut Notes,
    kind: &'static str,
    text: &str,
    port: u16,
    location: &Location,
) {
    match address(text, port) {
        Some((ip, port)) => settings.listen(Listener {
            kind,
            ip,
            port,
            location: location.clone(),
            comment: String::new(),
        }),
        None => {
            let what = format!("{}: write an address of this machine, not a name", one_line(text));
            notes.left_out(location, what);
        }
    }
}

/// Adds a user; one that is there already, from another file, stays.
pub(in crate::import) fn add_user(
    settings: &mut Settings,
    notes: &mut Notes,
    name: &str,
    user: User,
) {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+*#!~".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_fit) {
        let what = format!(
            "the user {}: a name here has 1 to 64 letters, digits or -_.+*#!~",
            one_line(name)
        );
        return notes.left_out(&user.location, what);
    }
    if user.password.is_none() && user.ha1_md5.is_none() {
        let what = format!(
            "the user {name}: it has no password, and users without one could be anybody; \
             add one and the user"
        );
        return notes.left_out(&user.location, what);
    }
    if let Some(known) = settings.users.get(name) {
        let what = format!("the user {name} is already taken from {}", known.location);
        return notes.left_out(&user.location, what);
    }
    settings.users.insert(name.to_owned(), user);
}
