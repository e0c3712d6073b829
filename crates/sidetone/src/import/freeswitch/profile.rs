//! SIP profiles, and the ports of media.

use dialplan::Location;
use roxmltree::Node;

use super::super::asterisk::endpoint::{address, codec};
use super::super::one_line;
use super::super::settings::Listener;
use super::{Gathered, Place, parameters};

/// Takes a profile over, if the element is one: a `<profile>` with settings, or settings alone.
pub(super) fn take(file: &Place<'_>, node: Node<'_, '_>, gathered: &mut Gathered) -> bool {
    let configuration = node.ancestors().skip(1).find(|above| above.has_tag_name("configuration"));
    let kind = configuration.and_then(|above| above.attribute("name"));
    let is_parent = |name: &str| node.parent().is_some_and(|parent| parent.has_tag_name(name));
    match (node.tag_name().name(), kind) {
        ("profile", None | Some("sofia.conf")) => {
            let name = node.attribute("name").unwrap_or("a profile").to_owned();
            let has_settings = node.children().any(|child| child.has_tag_name("settings"));
            if has_settings {
                profile(file, &name, node, gathered);
            }
            has_settings
        }
        ("settings", None) if !is_parent("profile") => {
            let parent = node.parent().filter(Node::is_element);
            match parent {
                Some(parent) if parent.has_tag_name("include") => {
                    profile(file, "a profile", parent, gathered);
                    true
                }
                None => {
                    let root = node.parent().unwrap_or(node);
                    profile(file, "a profile", root, gathered);
                    true
                }
                Some(_) => false,
            }
        }
        ("gateway", None | Some("sofia.conf")) => {
            let name = one_line(node.attribute("name").unwrap_or_default());
            let what = format!("the gateway {name}: registrations at other servers");
            gathered.notes.left_out(&file.of(node), what);
            false
        }
        ("param", Some("switch.conf")) => {
            media_ports(file, node, gathered);
            false
        }
        _ => false,
    }
}

/// `rtp-start-port` and `rtp-end-port`.
fn media_ports(file: &Place<'_>, node: Node<'_, '_>, gathered: &mut Gathered) {
    let value = gathered.variables.expand(node.attribute("value").unwrap_or_default());
    let Ok(port) = value.trim().parse::<u16>() else { return };
    let ports = &mut gathered.settings.rtp_ports;
    let (first, last, _) = ports.clone().unwrap_or((16_384, 32_768, file.of(node)));
    let range = match node.attribute("name") {
        Some("rtp-start-port") => (port, last.max(port)),
        Some("rtp-end-port") => (first.min(port), port),
        _ => return,
    };
    if range.0 >= 1024 && range.0 < range.1 {
        *ports = Some((range.0, range.1, file.of(node)));
    }
}

fn profile(file: &Place<'_>, name: &str, node: Node<'_, '_>, gathered: &mut Gathered) {
    let location = file.of(node);
    let settings = parameters(node, "settings", &gathered.variables);
    let value = |key: &str| settings.get(key).map(|(value, _)| value.trim());
    let is_true = |key: &str| value(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let ip = value("sip-ip").unwrap_or("0.0.0.0").to_owned();
    let port = value("sip-port").and_then(|port| port.parse::<u16>().ok());
    if port.is_none() {
        let what =
            format!("the profile {} names no sip-port that can be read: 5060", one_line(name));
        gathered.notes.supplied(Some(&location), what);
    }
    let at = |ip: &str, port: u16| {
        format!("{}:{port}", if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() })
    };
    let mut listeners = Vec::new();
    for kind in ["udp", "tcp"] {
        listeners.push((kind, at(&ip, port.unwrap_or(5060)), location.clone()));
    }
    if is_true("tls") {
        let port = value("tls-sip-port").and_then(|port| port.parse().ok()).unwrap_or(5061);
        listeners.push(("tls", at(&ip, port), location.clone()));
    }
    for (kind, key) in [("ws", "ws-binding"), ("wss", "wss-binding")] {
        if let Some((value, node)) = settings.get(key) {
            listeners.push((kind, value.trim().to_owned(), file.of(*node)));
        }
    }
    for (kind, text, place) in listeners {
        listen(kind, &text, place, name, gathered);
    }
    if let Some((folder, node)) = settings.get("tls-cert-dir") {
        let path = std::path::Path::new(folder.trim()).join("wss.pem");
        gathered.settings.tls = Some((path.clone(), path, file.of(*node)));
    }
    let context = value("context").unwrap_or("default").to_owned();
    if is_true("auth-calls") {
        gathered.private_context.get_or_insert(context);
    } else if value("context").is_some() && gathered.public_context.is_none() {
        gathered.public_context = Some((context, location));
    }
    // Repeated names count once in the list above, and each has its line.
    let lists = node.children().filter(|child| child.has_tag_name("settings"));
    let parameters = lists.flat_map(|list| list.children());
    for node in parameters.filter(|child| child.has_tag_name("param")) {
        let key = node.attribute("name").unwrap_or_default();
        let value = gathered.variables.expand(node.attribute("value").unwrap_or_default());
        parameter(key, value.trim(), file.of(node), gathered);
    }
}

fn listen(kind: &'static str, text: &str, location: Location, name: &str, gathered: &mut Gathered) {
    let Some((ip, port)) = address(text, 0).filter(|(_, port)| *port > 0) else {
        let what = format!("{kind} on {}: write ADDRESS:PORT or :PORT", one_line(text));
        return gathered.notes.left_out(&location, what);
    };
    let comment = format!("\nProfile {}.", one_line(name));
    gathered.settings.listen(Listener { kind, ip, port, location, comment });
}

fn parameter(key: &str, value: &str, location: Location, gathered: &mut Gathered) {
    let shown = one_line(&format!("{key}={value}"));
    let notes = &mut gathered.notes;
    match key {
        "sip-ip" | "rtp-ip" | "sip-port" | "tls" | "tls-sip-port" | "ws-binding"
        | "wss-binding" | "tls-cert-dir" | "context" | "auth-calls" | "dialplan" => {}
        "ext-rtp-ip" | "ext-sip-ip" => external(&shown, value, location, gathered),
        "inbound-codec-prefs" | "outbound-codec-prefs" | "codec-prefs" => {
            let mut codecs = Vec::new();
            for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                match codec(name) {
                    Some(known) if !codecs.contains(&known) => codecs.push(known),
                    Some(_) => {}
                    None => {
                        notes.left_out(
                            &location,
                            format!("{key}: the codec {} is not built in", one_line(name)),
                        );
                    }
                }
            }
            if !codecs.is_empty() {
                gathered.settings.codecs.get_or_insert((codecs, location));
            }
        }
        "apply-candidate-acl" => {
            let what = "every ICE candidate is tried, and only one that proves to belong to the call is used";
            notes.not_needed(&location, format!("{shown}: {what}"));
        }
        "rtp-autoflush-during-bridge"
        | "manage-presence"
        | "rtp-timer-name"
        | "sip-trace"
        | "rfc2833-pt"
        | "dtmf-duration"
        | "debug"
        | "nonce-ttl"
        | "log-auth-failures" => {
            notes.not_needed(&location, format!("{shown}: has no meaning here"));
        }
        _ => notes.left_out(&location, shown),
    }
}

/// The address that is advertised: as it is, or what a STUN server says.
fn external(shown: &str, value: &str, location: Location, gathered: &mut Gathered) {
    let Gathered { settings, notes, .. } = gathered;
    let server = value.strip_prefix("stun:");
    if let Some(server) = server {
        let server =
            if server.contains(':') { server.to_owned() } else { format!("{server}:3478") };
        settings.stun_server.get_or_insert((server, location.clone()));
        settings.external_address.get_or_insert(("auto".to_owned(), location));
    } else if value.parse::<std::net::IpAddr>().is_ok_and(|ip| !ip.is_unspecified()) {
        settings.external_address.get_or_insert((value.to_owned(), location));
    } else if value == "auto" || value == "0.0.0.0" {
        notes.not_needed(
            &location,
            format!("{shown}: the address that is listened on is advertised"),
        );
    } else {
        let what = "media.external_address takes an address, or \"auto\" with media.stun_server";
        notes.left_out(&location, format!("{shown}: {what}"));
    }
}
