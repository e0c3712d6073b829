//! What is imported apart from the dialplan, and how it is written: TOML with a comment for the origin
//! of each part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use dialplan::Location;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::note::one_line;

/// A configuration before it is written.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub listen: Vec<Listener>,
    pub tls: Option<(PathBuf, PathBuf, Location)>,
    pub realm: Option<(String, Location)>,
    pub external_address: Option<(String, Location)>,
    /// Networks inside, and where the last of them was named.
    pub local_networks: Option<(Vec<String>, Location)>,
    pub stun_server: Option<(String, Location)>,
    /// First and last port of plain RTP and WebRTC.
    pub rtp_ports: Option<(u16, u16, Location)>,
    pub codecs: Option<(Vec<&'static str>, Location)>,
    pub users: BTreeMap<String, User>,
    /// Context of callers who have not shown a password.
    pub public_context: String,
    /// Whether sounds were copied.
    pub has_sounds: bool,
}

/// A port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub kind: &'static str,
    pub ip: IpAddr,
    pub port: u16,
    pub location: Location,
    pub comment: String,
}

/// A user, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct User {
    pub password: Option<String>,
    pub ha1_md5: Option<String>,
    pub context: String,
    pub transports: Vec<&'static str>,
    pub codecs: Vec<&'static str>,
    pub media: Option<&'static str>,
    pub dtmf: Option<&'static str>,
    pub caller_id: Option<String>,
    pub max_contacts: Option<u32>,
    pub remove_existing: Option<bool>,
    pub comment: String,
    pub location: Location,
}

impl Settings {
    /// Adds a listener, unless it is there already or one on all addresses has its port.
    pub(super) fn listen(&mut self, listener: Listener) {
        let covers = |a: &Listener, b: &Listener| {
            a.kind == b.kind
                && a.port == b.port
                && (a.ip == b.ip || a.ip.is_unspecified() && a.ip.is_ipv4() == b.ip.is_ipv4())
        };
        let is_room = self.listen.len() < LISTEN_MAX;
        if is_room && !self.listen.iter().any(|known| covers(known, &listener)) {
            self.listen.retain(|known| !covers(&listener, known));
            self.listen.push(listener);
        }
    }

    /// The configuration as TOML; `origin` says in words what it was made from.
    pub(super) fn to_toml(&self, origin: &str) -> String {
        let mut document = DocumentMut::new();
        let mut listen = ArrayOfTables::new();
        for listener in &self.listen {
            let mut table = section(&format!("{}{}", from(&listener.location), listener.comment));
            table.insert("kind", value(listener.kind));
            let address = std::net::SocketAddr::new(listener.ip, listener.port);
            table.insert("address", value(address.to_string()));
            listen.push(table);
        }
        if !listen.is_empty() {
            document.insert("listen", Item::ArrayOfTables(listen));
        }
        if let Some((certificate, key, location)) = &self.tls {
            let mut table = section(&from(location));
            table.insert("certificate", value(certificate.display().to_string()));
            table.insert("key", value(key.display().to_string()));
            document.insert("tls", Item::Table(table));
        }
        self.media(&mut document);
        if let Some((realm, location)) = &self.realm {
            let mut table = section(&from(location));
            table.insert("realm", value(realm));
            document.insert("auth", Item::Table(table));
        }
        if self.has_sounds {
            let mut table = section("Copied; what is not there is looked for in the program.");
            table.insert("dir", value("sounds"));
            document.insert("sounds", Item::Table(table));
        }
        let mut dialplan = section("The context is that of callers who have not shown a password.");
        dialplan.insert("file", value("dialplan.toml"));
        dialplan.insert("context", value(&self.public_context));
        document.insert("dialplan", Item::Table(dialplan));
        self.users(&mut document);
        let head = format!(
            "Made by `sidetone import` from {origin}.\nKeys that are not here have the values in \
             config/sidetone.toml. Start it with: sidetone run --config THIS_FILE"
        );
        format!("{}{}", comment(&head), document)
    }

    fn media(&self, document: &mut DocumentMut) {
        let mut table = section("");
        for (key, text) in
            [("external_address", &self.external_address), ("stun_server", &self.stun_server)]
        {
            if let Some((text, location)) = text {
                put(&mut table, key, value(text), &from(location));
            }
        }
        // Without an address outside there is nothing else to tell anybody.
        if let Some((networks, location)) =
            self.local_networks.as_ref().filter(|_| self.external_address.is_some())
        {
            let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
            put(&mut table, "local_networks", list(&networks), &from(location));
        }
        if let Some((codecs, location)) = &self.codecs {
            put(&mut table, "codecs", list(codecs), &from(location));
        }
        if let Some((first, last, location)) = &self.rtp_ports {
            let (webrtc, min) = split_ports(*first, *last);
            let why = "The first ports are for WebRTC, one a media thread; the rest for plain RTP.";
            put(
                &mut table,
                "webrtc_port",
                value(i64::from(webrtc)),
                &format!("{}\n{why}", from(location)),
            );
            table.insert("rtp_port_min", value(i64::from(min)));
            table.insert("rtp_port_max", value(i64::from(*last)));
        }
        if !table.is_empty() {
            document.insert("media", Item::Table(table));
        }
    }

    fn users(&self, document: &mut DocumentMut) {
        let mut users = Table::new();
        users.set_implicit(true);
        for (name, user) in &self.users {
            let mut table = section(&format!("{}{}", from(&user.location), user.comment));
            if let Some(password) = &user.password {
                table.insert("password", value(password));
            }
            if let Some(ha1) = &user.ha1_md5 {
                let mut hashes = Table::new();
                hashes.set_dotted(true);
                hashes.insert("MD5", value(ha1));
                table.insert("ha1", Item::Table(hashes));
            }
            table.insert("contexts", list(&[&user.context]));
            if !user.transports.is_empty() {
                table.insert("transports", list(&user.transports));
            }
            if !user.codecs.is_empty() {
                table.insert("codecs", list(&user.codecs));
            }
            for (key, text) in [("media", user.media), ("dtmf", user.dtmf)] {
                if let Some(text) = text {
                    table.insert(key, value(text));
                }
            }
            if let Some(caller_id) = &user.caller_id {
                table.insert("caller_id", value(caller_id));
            }
            if let Some(max) = user.max_contacts {
                table.insert("max_contacts", value(i64::from(max)));
            }
            if let Some(remove) = user.remove_existing {
                table.insert("remove_existing", value(remove));
            }
            users.insert(name, Item::Table(table));
        }
        if !users.is_empty() {
            document.insert("users", Item::Table(users));
        }
    }
}

/// The first WebRTC port and the first plain RTP port of a range: every media thread that there can be has a port,
/// and if the range is too small for that, WebRTC takes any free one.
fn split_ports(first: u16, last: u16) -> (u16, u16) {
    match last.saturating_sub(first) >= 2 * WEBRTC_PORTS {
        true => (first, first + WEBRTC_PORTS),
        false => (0, first),
    }
}

fn section(text: &str) -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix(format!("\n{}", comment(text)));
    table
}

fn put(table: &mut Table, key: &str, item: Item, text: &str) {
    table.insert(key, item);
    if let Some(mut key) = table.key_mut(key) {
        key.leaf_decor_mut().set_prefix(comment(text));
    }
}

fn list(items: &[impl AsRef<str>]) -> Item {
    value(items.iter().map(AsRef::as_ref).collect::<toml_edit::Array>())
}

fn from(location: &Location) -> String {
    format!("From {location}.")
}

/// Lines of comment; what a file brings in cannot end them.
fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {}\n", one_line(line))).collect()
}

/// Most ports to listen on.
const LISTEN_MAX: usize = 64;
/// As many as there can be media threads.
const WEBRTC_PORTS: u16 = 64;
