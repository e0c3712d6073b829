//! `pjsip.conf`: transports, and endpoints with their auth and aor sections.

use std::collections::BTreeMap;

use super::super::note::Notes;
use super::super::one_line;
use super::super::settings::{Settings, User};
use super::endpoint::{add_user, caller_id, codecs, dtmf, listen};
use super::ini::{Entry, Section, is_no, is_yes};
use super::{Gathered, Trunk, keep_network};

/// Sections by type and name.
type Index<'a> = BTreeMap<(String, &'a str), &'a Section>;

/// Takes over what the sections say.
pub(super) fn take(sections: &[Section], gathered: &mut Gathered) {
    let sections: Vec<&Section> = sections.iter().filter(|section| !section.is_template).collect();
    let kind = |section: &Section| section.value("type").unwrap_or_default().to_ascii_lowercase();
    let index: Index<'_> =
        sections.iter().map(|section| ((kind(section), section.name.as_str()), *section)).collect();
    for section in &sections {
        let kind = kind(section);
        let Gathered { settings, notes, .. } = gathered;
        match kind.as_str() {
            "transport" => transport(section, settings, notes, &mut gathered.has_websocket),
            "endpoint" => endpoint(section, &index, gathered),
            // Read with their endpoint.
            "auth" | "aor" => {}
            "global" | "system" => {
                for entry in section.entries.iter().filter(|entry| entry.key != "type") {
                    notes.left_out(&entry.location, shown(entry));
                }
            }
            "" => notes
                .left_out(&section.location, format!("[{}] has no type", one_line(&section.name))),
            kind => {
                let name = one_line(&section.name);
                let what = format!("[{name}]: sections of type {} are not read", one_line(kind));
                notes.left_out(&section.location, what);
            }
        }
    }
}

fn transport(
    section: &Section,
    settings: &mut Settings,
    notes: &mut Notes,
    has_websocket: &mut bool,
) {
    let protocol = section.value("protocol").unwrap_or("udp").to_ascii_lowercase();
    let bind = section.value("bind").unwrap_or("0.0.0.0");
    match protocol.as_str() {
        "udp" => listen(settings, notes, "udp", bind, 5060, &section.location),
        "tcp" => listen(settings, notes, "tcp", bind, 5060, &section.location),
        "tls" => listen(settings, notes, "tls", bind, 5061, &section.location),
        "ws" | "wss" => *has_websocket = true,
        other => notes.left_out(&section.location, format!("protocol={}", one_line(other))),
    }
    for entry in &section.entries {
        let place = entry.location.clone();
        match entry.key.as_str() {
            "type" | "protocol" | "bind" => {}
            "external_media_address" => {
                settings.external_address = Some((entry.value.clone(), place));
            }
            "external_signaling_address" => {
                settings.external_address.get_or_insert((entry.value.clone(), place));
            }
            "local_net" => keep_network(settings, notes, &entry.value, place),
            "cert_file" | "priv_key_file" => {}
            _ => notes.left_out(&entry.location, shown(entry)),
        }
    }
    if let (Some(certificate), Some(key)) =
        (section.value("cert_file"), section.value("priv_key_file"))
    {
        settings.tls = Some((certificate.into(), key.into(), section.location.clone()));
    }
}

fn endpoint(section: &Section, index: &Index<'_>, gathered: &mut Gathered) {
    let name = section.name.as_str();
    let Gathered { settings, notes, .. } = gathered;
    let find = |kind: &str, wanted: &str| {
        let mut wanted = wanted.split(',').map(str::trim);
        wanted.find_map(|name| index.get(&(kind.to_owned(), name)).copied())
    };
    let auth = section.value("auth").and_then(|wanted| find("auth", wanted));
    let aor = section.value("aors").and_then(|wanted| find("aor", wanted));
    if let Some(contact) = aor.and_then(|aor| aor.entry("contact"))
        && (auth.is_none() || section.value("outbound_auth").is_some())
    {
        let what = format!(
            "[{name}] is a trunk: calls to it go to its contact, calls from it start in the public context"
        );
        notes.supplied(Some(&section.location), what);
        gathered.trunks.insert(name.to_owned(), Trunk::of(&contact.value));
        return;
    }
    if name == "anonymous" {
        let context = section.value("context").unwrap_or("default").to_owned();
        gathered.public_context = Some((context, section.location.clone()));
        return;
    }
    let mut user = User {
        context: section.value("context").unwrap_or("default").to_owned(),
        codecs: codecs(section, notes),
        location: section.location.clone(),
        ..User::default()
    };
    match auth {
        Some(auth) => credentials(name, auth, settings, notes, &mut user),
        None => {
            if let Some(entry) = section.entry("auth") {
                notes.left_out(&entry.location, format!("{}: there is no such auth", shown(entry)));
            }
        }
    }
    if let Some(aor) = aor {
        contacts(name, aor, notes, &mut user);
    } else if let Some(entry) = section.entry("aors") {
        notes.left_out(&entry.location, format!("{}: there is no such aor", shown(entry)));
    }
    for entry in &section.entries {
        setting(entry, notes, &mut user);
    }
    gathered.contexts.push((user.context.clone(), section.location.clone()));
    add_user(settings, notes, name, user);
}

fn credentials(
    name: &str,
    auth: &Section,
    settings: &mut Settings,
    notes: &mut Notes,
    user: &mut User,
) {
    user.password = auth.value("password").filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(hash) = auth.entry("md5_cred") {
        user.password = None;
        user.ha1_md5 = Some(hash.value.to_ascii_lowercase());
        let realm = auth.value("realm").unwrap_or("asterisk");
        settings.realm.get_or_insert((realm.to_owned(), hash.location.clone()));
    }
    user.comment += &format!("\nPassword from {}.", auth.location);
    if let Some(entry) = auth.entry("username").filter(|entry| entry.value != name) {
        let what = format!(
            "the user name {} for the password of {name}: here a user signs in as {name}",
            one_line(&entry.value)
        );
        notes.left_out(&entry.location, what);
    }
    for entry in &auth.entries {
        let known = ["type", "auth_type", "username", "password", "md5_cred", "realm"];
        if !known.contains(&entry.key.as_str()) {
            notes.left_out(&entry.location, shown(entry));
        }
    }
}

fn contacts(name: &str, aor: &Section, notes: &mut Notes, user: &mut User) {
    user.remove_existing = Some(aor.value("remove_existing").is_some_and(is_yes));
    for entry in &aor.entries {
        match entry.key.as_str() {
            "type" | "remove_existing" | "remove_unavailable" | "support_path" => {}
            "max_contacts" => match entry.value.parse() {
                Ok(max) if max > 0 => user.max_contacts = Some(max),
                _ => notes.left_out(&entry.location, shown(entry)),
            },
            "qualify_frequency" | "qualify_timeout" => {
                let what =
                    "phones behind a NAT are kept reachable by registrar.keep_alive_interval_s";
                notes.not_needed(&entry.location, format!("{}: {what}", shown(entry)));
            }
            _ => notes.left_out(&entry.location, shown(entry)),
        }
    }
    if aor.name != name {
        let what = format!("the aor {}: here a user registers as {name}", one_line(&aor.name));
        notes.left_out(&aor.location, what);
    }
}

fn setting(entry: &Entry, notes: &mut Notes, user: &mut User) {
    let value = entry.value.to_ascii_lowercase();
    match entry.key.as_str() {
        "type" | "aors" | "auth" | "context" | "allow" | "disallow" | "transport" => {}
        "callerid" => user.caller_id = caller_id(entry, notes),
        "dtmf_mode" => user.dtmf = dtmf(entry, notes),
        "media_encryption" if value == "sdes" => user.media = Some("srtp"),
        "webrtc"
        | "use_avpf"
        | "media_encryption"
        | "ice_support"
        | "rtcp_mux"
        | "bundle"
        | "media_use_received_transport"
        | "force_avp" => {
            notes.not_needed(&entry.location, format!("{}: {WEBRTC}", shown(entry)));
        }
        key if key.starts_with("dtls_") => {
            notes.not_needed(&entry.location, format!("{}: {WEBRTC}", shown(entry)));
        }
        "direct_media" if is_no(&value) => {
            notes.not_needed(&entry.location, format!("{}: {MEDIA}", shown(entry)));
        }
        "rtp_symmetric" | "force_rport" | "rewrite_contact" if is_yes(&value) => {
            notes.not_needed(&entry.location, format!("{}: it is always done", shown(entry)));
        }
        _ => notes.left_out(&entry.location, shown(entry)),
    }
}

fn shown(entry: &Entry) -> String {
    let is_secret = ["password", "secret", "md5_cred"].contains(&entry.key.as_str());
    let value = if is_secret { "…" } else { &entry.value };
    one_line(&format!("{}={value}", entry.key))
}

/// Why settings of WebRTC have no equivalent.
pub(super) const WEBRTC: &str = "browsers get ICE, DTLS-SRTP, AVPF and one port by themselves";
/// Why settings of direct media have none.
pub(super) const MEDIA: &str = "media always goes through the server";
