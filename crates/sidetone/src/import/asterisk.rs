//! Asterisk: `pjsip.conf`, `sip.conf`, `http.conf`, `rtp.conf` and `extensions.conf`.

mod application;
mod dial;
pub(super) mod endpoint;
mod expression;
mod extensions;
mod ini;
mod media;
mod pattern;
mod pjsip;
mod sip;
mod text;
mod translate;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use dialplan::{Draft, Location};
use ipnet::IpNet;

use super::finish::Parts;
use super::folder::Folder;
use super::note::{Notes, one_line};
use super::settings::{Listener, Settings};
use super::sounds::Sounds;
use super::{ImportError, Imported};

/// What is gathered from the files.
#[derive(Debug, Default)]
struct Gathered {
    settings: Settings,
    notes: Notes,
    /// Contexts that users start in.
    contexts: Vec<(String, Location)>,
    /// That of callers without a password, if one is named.
    public_context: Option<(String, Location)>,
    trunks: BTreeMap<String, Trunk>,
    has_websocket: bool,
    has_http: bool,
}

/// Another server that is dialled by name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trunk {
    /// `HOST` or `HOST:PORT`; nothing of it comes from a call.
    host: Option<String>,
}

impl Trunk {
    /// The host of a contact such as `sip:192.0.2.1:5060`.
    fn of(contact: &str) -> Trunk {
        let contact = contact.split(',').next().unwrap_or_default().trim();
        let bare = contact.strip_prefix("sip:").unwrap_or(contact);
        let host = bare.rsplit_once('@').map_or(bare, |(_, host)| host);
        let is_host = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        Trunk { host: is_host.then(|| host.to_owned()) }
    }
}

/// Reads the folder.
pub(super) fn import(path: &Path) -> Result<Imported, ImportError> {
    let mut folder = Folder::open(path)?;
    if !FILES.iter().any(|name| folder.has(name)) {
        let wanted = "pjsip.conf, sip.conf, http.conf, rtp.conf and extensions.conf";
        return Err(ImportError::Empty { path: path.to_owned(), wanted });
    }
    let mut gathered = Gathered::default();
    let read = |folder: &mut Folder, name: &str, notes: &mut Notes| match folder.has(name) {
        true => ini::read(folder, name, notes),
        false => Ok(Vec::new()),
    };
    let pjsip = read(&mut folder, "pjsip.conf", &mut gathered.notes)?;
    let sip = read(&mut folder, "sip.conf", &mut gathered.notes)?;
    let http = read(&mut folder, "http.conf", &mut gathered.notes)?;
    let rtp = read(&mut folder, "rtp.conf", &mut gathered.notes)?;
    pjsip::take(&pjsip, &mut gathered);
    if folder.has("sip.conf") {
        sip::take(&sip, &mut gathered);
    }
    media::take_http(&http, &mut gathered);
    media::take_rtp(&rtp, &mut gathered);
    supply_websocket(&mut gathered);
    let mut sounds =
        Sounds { elsewhere: SOUNDS.iter().map(Into::into).collect(), ..Sounds::default() };
    let mut draft = Draft::default();
    if folder.has("extensions.conf") {
        let sections = ini::read(&mut folder, "extensions.conf", &mut gathered.notes)?;
        let plan = extensions::read(&sections, &mut gathered.notes)?;
        draft = translate::translate(&plan, &mut gathered, &mut sounds, &folder);
    }
    let Gathered { mut settings, mut notes, contexts, public_context, .. } = gathered;
    settings.public_context = public(&draft, &contexts, public_context, &mut notes);
    if let Some((address, location)) = settings.external_address.take() {
        keep_address(&mut settings, &mut notes, address, location);
    }
    let origin = format!("the Asterisk configuration in {}", path.display());
    Parts { folder, settings, draft, notes, sounds, contexts, origin }.finish()
}

/// A transport for WebSockets without `http.conf`, which has their ports.
fn supply_websocket(gathered: &mut Gathered) {
    if !gathered.has_websocket || gathered.has_http {
        return;
    }
    let what = "http.conf is not there; WebSockets are served on ports 8088 and 8089";
    gathered.notes.supplied(None, what);
    for (kind, port) in [("ws", 8088), ("wss", 8089)] {
        let ip = std::net::Ipv4Addr::UNSPECIFIED.into();
        let location = Location::new("http.conf", 1);
        let comment = "\nThe file is not there; this is its usual port.".to_owned();
        gathered.settings.listen(Listener { kind, ip, port, location, comment });
    }
}

/// The context of callers without a password: the one that is named for them, if it is defined and no user starts
/// in it, else one of its own.
fn public(
    draft: &Draft,
    of_users: &[(String, Location)],
    named: Option<(String, Location)>,
    notes: &mut Notes,
) -> String {
    if let Some((name, location)) = named {
        let is_defined = draft.contexts.iter().any(|context| context.name == name);
        let is_shared = of_users.iter().any(|(context, _)| *context == name);
        if is_defined && !is_shared {
            return name;
        }
        let what = format!(
            "callers without a password are not let into the context {}: users start in it, or it is not defined",
            one_line(&name)
        );
        notes.left_out(&location, what);
    }
    let is_free = |name: &str| {
        !of_users.iter().any(|(context, _)| context == name)
            && !draft.contexts.iter().any(|context| context.name == name)
    };
    let names = ["public", "unauthenticated", "without-password"];
    names.into_iter().find(|name| is_free(name)).unwrap_or("sidetone-public").to_owned()
}

/// An address that is advertised must be one; names are not asked for.
fn keep_address(settings: &mut Settings, notes: &mut Notes, text: String, location: Location) {
    if text.parse::<std::net::IpAddr>().is_ok() {
        settings.external_address = Some((text, location));
    } else {
        let what =
            format!("{}: media.external_address takes an address, not a name", one_line(&text));
        notes.left_out(&location, what);
    }
}

/// A network inside, as `ADDRESS/PREFIX` or `ADDRESS/MASK`.
fn keep_network(settings: &mut Settings, notes: &mut Notes, text: &str, location: Location) {
    match network(text) {
        Some(network) => {
            let (networks, _) =
                settings.local_networks.get_or_insert_with(|| (Vec::new(), location));
            if networks.len() < NETWORKS_MAX && !networks.contains(&network) {
                networks.push(network);
            }
        }
        None => notes.left_out(&location, format!("{} is no network", one_line(text))),
    }
}

fn network(text: &str) -> Option<String> {
    let (address, rest) = text.trim().split_once('/').unwrap_or((text.trim(), ""));
    let address: IpAddr = address.parse().ok()?;
    let network = match rest.parse::<IpAddr>() {
        Ok(mask) => IpNet::with_netmask(address, mask).ok()?,
        Err(_) if rest.is_empty() => address.into(),
        Err(_) => IpNet::new(address, rest.parse().ok()?).ok()?,
    };
    Some(network.to_string())
}

/// More networks inside are not taken over.
const NETWORKS_MAX: usize = 64;
/// What is read.
const FILES: [&str; 5] = ["pjsip.conf", "sip.conf", "http.conf", "rtp.conf", "extensions.conf"];
/// Where the sounds of Asterisk are installed.
const SOUNDS: [&str; 3] =
    ["/var/lib/asterisk/sounds/en", "/var/lib/asterisk/sounds", "/usr/share/asterisk/sounds/en"];
