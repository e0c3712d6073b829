//! `sip.conf`: the general section and the peers.

use super::super::one_line;
use super::super::settings::User;
use super::endpoint::{add_user, caller_id, codecs, dtmf, listen};
use super::ini::{Entry, Section, is_no, is_yes};
use super::pjsip::{MEDIA, WEBRTC};
use super::{Gathered, Trunk, keep_network};

/// Takes over what the sections say.
pub(super) fn take(sections: &[Section], gathered: &mut Gathered) {
    let sections: Vec<&Section> = sections.iter().filter(|section| !section.is_template).collect();
    let general = sections.iter().find(|section| section.name == "general").copied();
    if let Some(general) = general {
        take_general(general, gathered);
    }
    for section in sections {
        match section.name.as_str() {
            "general" => {}
            "authentication" => {
                let what = "[authentication]: passwords for other servers are not read";
                gathered.notes.left_out(&section.location, what);
            }
            _ => peer(section, general, gathered),
        }
    }
}

fn take_general(general: &Section, gathered: &mut Gathered) {
    let Gathered { settings, notes, .. } = gathered;
    let bind = general.value("udpbindaddr").or(general.value("bindaddr")).unwrap_or("0.0.0.0");
    let port = general.value("bindport").and_then(|port| port.parse().ok()).unwrap_or(5060);
    listen(settings, notes, "udp", bind, port, &general.location);
    if general.value("tcpenable").is_some_and(is_yes) {
        let bind = general.value("tcpbindaddr").unwrap_or(bind);
        listen(settings, notes, "tcp", bind, port, &general.location);
    }
    if general.value("tlsenable").is_some_and(is_yes) {
        let bind = general.value("tlsbindaddr").unwrap_or("0.0.0.0");
        listen(settings, notes, "tls", bind, 5061, &general.location);
    }
    let guests = general.value("allowguest").is_none_or(|value| !is_no(value));
    for entry in &general.entries {
        let place = || entry.location.clone();
        match entry.key.as_str() {
            "udpbindaddr" | "bindaddr" | "bindport" | "tcpenable" | "tcpbindaddr" | "tlsenable"
            | "tlsbindaddr" | "allowguest" | "transport" | "allow" | "disallow" => {}
            "realm" => settings.realm = Some((entry.value.clone(), place())),
            "context" if guests => {
                gathered.public_context = Some((entry.value.clone(), place()));
            }
            "context" => {}
            "externip" | "externaddr" | "externhost" | "media_address" => {
                settings.external_address = Some((entry.value.clone(), place()));
            }
            "localnet" => keep_network(settings, notes, &entry.value, place()),
            "rtcp_mux" | "avpf" | "icesupport" | "encryption" | "dtlsenable" | "force_avp" => {
                notes.not_needed(&entry.location, format!("{}: {WEBRTC}", shown(entry)));
            }
            "directmedia" | "canreinvite" if is_no(&entry.value) => {
                notes.not_needed(&entry.location, format!("{}: {MEDIA}", shown(entry)));
            }
            _ => notes.left_out(&entry.location, shown(entry)),
        }
    }
    if guests && gathered.public_context.is_none() {
        let what =
            "callers without a password (allowguest) are not let in: no context is named for them";
        notes.left_out(&general.location, what);
    }
}

fn peer(section: &Section, general: Option<&Section>, gathered: &mut Gathered) {
    let name = section.name.as_str();
    let Gathered { settings, notes, .. } = gathered;
    let host = section.value("host").unwrap_or("dynamic");
    if !host.eq_ignore_ascii_case("dynamic") {
        let what = format!(
            "[{name}] is a trunk: calls to it go to {}, calls from it start in the public context",
            one_line(host)
        );
        notes.supplied(Some(&section.location), what);
        let port = section.value("port").map_or(String::new(), |port| format!(":{port}"));
        gathered.trunks.insert(name.to_owned(), Trunk::of(&format!("sip:{host}{port}")));
        return;
    }
    let inherited = |key: &str| section.value(key).or(general.and_then(|g| g.value(key)));
    let own = codecs(section, notes);
    let mut user = User {
        password: section.value("secret").filter(|text| !text.is_empty()).map(str::to_owned),
        ha1_md5: section.value("md5secret").map(str::to_ascii_lowercase),
        context: inherited("context").unwrap_or("default").to_owned(),
        codecs: match own.is_empty() {
            true => general.map(|general| codecs(general, notes)).unwrap_or_default(),
            false => own,
        },
        // A peer has one contact, and a new one takes its place.
        max_contacts: Some(1),
        remove_existing: Some(true),
        location: section.location.clone(),
        ..User::default()
    };
    if user.ha1_md5.is_some() {
        user.password = None;
        let realm = general.and_then(|g| g.value("realm")).unwrap_or("asterisk").to_owned();
        settings.realm.get_or_insert((realm, section.location.clone()));
    }
    for entry in &section.entries {
        let yes = is_yes(&entry.value);
        match entry.key.as_str() {
            "type" | "host" | "secret" | "md5secret" | "context" | "allow" | "disallow" => {}
            "username" | "defaultuser" if entry.value == name => {}
            "username" | "defaultuser" => {
                let what = format!("{}: here a user signs in as {name}", shown(entry));
                notes.left_out(&entry.location, what);
            }
            "callerid" => user.caller_id = caller_id(entry, notes),
            "dtmfmode" => user.dtmf = dtmf(entry, notes),
            "transport" => user.transports = transports(entry),
            "encryption" if yes && !section.value("dtlsenable").is_some_and(is_yes) => {
                user.media = Some("srtp");
            }
            "encryption" | "avpf" | "icesupport" | "force_avp" | "rtcp_mux" => {
                notes.not_needed(&entry.location, format!("{}: {WEBRTC}", shown(entry)));
            }
            key if key.starts_with("dtls") => {
                notes.not_needed(&entry.location, format!("{}: {WEBRTC}", shown(entry)));
            }
            "directmedia" | "canreinvite" if is_no(&entry.value) => {
                notes.not_needed(&entry.location, format!("{}: {MEDIA}", shown(entry)));
            }
            "nat" | "qualify" => {
                let what = "answers and media go back to where they came from";
                notes.not_needed(&entry.location, format!("{}: {what}", shown(entry)));
            }
            _ => notes.left_out(&entry.location, shown(entry)),
        }
    }
    gathered.has_websocket |= user.transports.iter().any(|kind| ["ws", "wss"].contains(kind));
    gathered.contexts.push((user.context.clone(), section.location.clone()));
    add_user(settings, notes, name, user);
}

fn transports(entry: &Entry) -> Vec<&'static str> {
    let kinds = ["udp", "tcp", "tls", "ws", "wss"];
    let named: Vec<String> =
        entry.value.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    kinds.into_iter().filter(|kind| named.iter().any(|name| name == kind)).collect()
}

fn shown(entry: &Entry) -> String {
    let is_secret = ["password", "secret", "md5secret"].contains(&entry.key.as_str());
    let value = if is_secret { "…" } else { &entry.value };
    one_line(&format!("{}={value}", entry.key))
}
