//! `http.conf` and `rtp.conf`.

use dialplan::Location;

use super::super::one_line;
use super::Gathered;
use super::endpoint::listen;
use super::ini::{Entry, Section, is_yes};

/// Takes over the ports of WebSockets.
pub(super) fn take_http(sections: &[Section], gathered: &mut Gathered) {
    let Some(general) = sections.iter().find(|section| section.name == "general") else { return };
    let Gathered { settings, notes, .. } = gathered;
    gathered.has_http = true;
    let bind = general.value("bindaddr").unwrap_or("0.0.0.0");
    if general.value("enabled").is_some_and(is_yes) {
        let port = general.value("bindport").and_then(|port| port.parse().ok()).unwrap_or(8088);
        listen(settings, notes, "ws", bind, port, &general.location);
    }
    if general.value("tlsenable").is_some_and(is_yes) {
        let bind = general.value("tlsbindaddr").unwrap_or(bind);
        let place = general.entry("tlsbindaddr").map_or(&general.location, |entry| &entry.location);
        listen(settings, notes, "wss", bind, 8089, place);
    }
    if let Some(certificate) = general.entry("tlscertfile") {
        let key = general.value("tlsprivatekey").unwrap_or(&certificate.value);
        settings.tls =
            Some(((&certificate.value).into(), key.into(), certificate.location.clone()));
    }
    for entry in &general.entries {
        let known = [
            "enabled",
            "bindaddr",
            "bindport",
            "tlsenable",
            "tlsbindaddr",
            "tlscertfile",
            "tlsprivatekey",
            // Every path is a WebSocket for who asks for one.
            "prefix",
        ];
        if !known.contains(&entry.key.as_str()) {
            notes.left_out(&entry.location, shown(entry));
        }
    }
}

/// Takes over the ports of media.
pub(super) fn take_rtp(sections: &[Section], gathered: &mut Gathered) {
    let Some(general) = sections.iter().find(|section| section.name == "general") else { return };
    let Gathered { settings, notes, .. } = gathered;
    let port = |key, default| match general.entry(key) {
        Some(entry) => entry.value.parse::<u16>().ok().map(|port| (port, entry.location.clone())),
        None => Some((default, general.location.clone())),
    };
    match (port("rtpstart", 5000), port("rtpend", 31_000)) {
        (Some((first, location)), Some((last, _))) if first >= 1024 && first < last => {
            settings.rtp_ports = Some((first, last, location));
        }
        _ => notes.left_out(&general.location, "rtpstart and rtpend are no range above 1023"),
    }
    for entry in &general.entries {
        match entry.key.as_str() {
            "rtpstart" | "rtpend" => {}
            "icesupport" if is_yes(&entry.value) => {
                let what = "browsers always get it";
                notes.not_needed(&entry.location, format!("{}: {what}", shown(entry)));
            }
            "stunaddr" => stun(entry, &mut settings.stun_server, notes),
            "strictrtp" => {
                let what = "media is taken from the address it is first heard from";
                notes.not_needed(&entry.location, format!("{}: {what}", shown(entry)));
            }
            _ => notes.left_out(&entry.location, shown(entry)),
        }
    }
}

fn stun(
    entry: &Entry,
    server: &mut Option<(String, Location)>,
    notes: &mut super::super::note::Notes,
) {
    let text = match entry.value.contains(':') {
        true => entry.value.clone(),
        false => format!("{}:3478", entry.value),
    };
    *server = Some((text, entry.location.clone()));
    let what = "is kept and not asked; with media.external_address = \"auto\" it is, for a server behind NAT \
                that is called from outside";
    notes.supplied(Some(&entry.location), format!("{} {what}", shown(entry)));
}

fn shown(entry: &Entry) -> String {
    one_line(&format!("{}={}", entry.key, entry.value))
}
