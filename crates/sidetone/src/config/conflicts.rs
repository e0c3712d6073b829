//! Keys that are each right and cannot work together.

use std::net::{IpAddr, SocketAddr};

use super::{CodecName, Config, Listen, ListenKind, TransportName, shown};
use crate::address::{Outside, media_addresses};
use crate::users::NAME_BYTES_MAX;

impl Config {
    /// What cannot work together: a sentence for each.
    pub(super) fn conflicts(&self) -> Vec<String> {
        let mut found = self.listeners_on_one_port();
        found.extend(self.control_on_a_listener());
        found.extend(self.media_on_a_listener());
        found.extend(self.users_without_a_way());
        let is_mapped = self.media.external_address.is_some();
        for (key, ports) in [
            ("media.external_ports", &self.media.external_ports),
            ("sip.external_ports", &self.sip.external_ports),
        ] {
            if !ports.0.is_empty() && !is_mapped {
                found.push(format!(
                    "{key} does nothing without media.external_address; set both or neither"
                ));
            }
        }
        if !self.media.local_networks.is_empty() && !is_mapped {
            found.push(
                "media.local_networks does nothing without media.external_address; set both or neither"
                    .to_owned(),
            );
        }
        found
    }

    fn listeners_on_one_port(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (at, first) in self.listen.iter().enumerate() {
            for second in &self.listen[at + 1..] {
                let is_udp = |listen: &Listen| listen.kind == ListenKind::Udp;
                if is_udp(first) == is_udp(second) && first.overlaps(second) {
                    found.push(format!(
                        "listen: {first} and {second} take the same port; change or remove one of them"
                    ));
                }
            }
        }
        found
    }

    fn control_on_a_listener(&self) -> Option<String> {
        let control = self.control.address;
        let is_in_the_way = |listen: &&Listen| {
            let mut sockets = listen.address.sockets().into_iter();
            listen.kind != ListenKind::Udp && sockets.any(|(socket, _)| overlap(socket, control))
        };
        let listen = self.listen.iter().find(is_in_the_way)?;
        Some(format!("control.address {control} is taken by listen: {listen}; change one of them"))
    }

    fn media_on_a_listener(&self) -> Option<String> {
        let first = self.media.webrtc_port;
        let ports = usize::from(first)..usize::from(first) + self.shard_count();
        let sockets = self.listen.iter().flat_map(|listen| {
            listen.address.sockets().into_iter().map(move |(socket, _)| (listen, socket))
        });
        let sockets: Vec<(&Listen, SocketAddr)> = sockets.collect();
        let is_candidate = |(listen, socket): &&(&Listen, SocketAddr)| {
            first != 0
                && listen.kind == ListenKind::Udp
                && ports.contains(&usize::from(socket.port()))
        };
        let candidates: Vec<_> = sockets.iter().filter(is_candidate).collect();
        if candidates.is_empty() {
            return None;
        }
        let bound: Vec<IpAddr> = sockets.iter().map(|(_, socket)| socket.ip()).collect();
        let media = media_addresses(self, &bound, &Outside::Same);
        let is_taken = |socket: SocketAddr| {
            media.iter().any(|media| overlap(socket, (media.bound, socket.port()).into()))
        };
        let (listen, socket) = candidates.into_iter().find(|(_, socket)| is_taken(*socket))?;
        Some(format!(
            "media.webrtc_port and the ports after it, one a shard, take port {} of listen: {listen}; change one of \
             them",
            socket.port()
        ))
    }

    fn users_without_a_way(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, user) in &self.users {
            let name = shown(name, NAME_BYTES_MAX);
            // An empty list is told of with the other mistakes of a user.
            let has_one = |codecs: &Vec<CodecName>| {
                codecs.is_empty() || codecs.iter().any(|codec| self.media.codecs.contains(codec))
            };
            if !user.codecs.as_ref().is_none_or(has_one) {
                found.push(format!(
                    "users.{name}: none of its codecs is in media.codecs; name one of these, or leave codecs out"
                ));
            }
            let listens = |kind| self.listen.iter().any(|listen| listen.kind.transport() == kind);
            let has_one = |names: &Vec<TransportName>| {
                names.is_empty() || names.iter().any(|name| listens((*name).into()))
            };
            if !user.transports.as_ref().is_none_or(has_one) {
                found.push(format!(
                    "users.{name}: no [[listen]] is for any of its transports; add one, or leave transports out"
                ));
            }
        }
        found
    }
}

impl Listen {
    fn overlaps(&self, other: &Listen) -> bool {
        let others = other.address.sockets();
        let mut sockets = self.address.sockets().into_iter();
        sockets.any(|(socket, _)| others.iter().any(|(other, _)| overlap(socket, *other)))
    }
}

/// Whether two sockets cannot be bound at once. Those of different families can.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    // Port 0 is another one each time.
    is_ip && one.is_ipv6() == other.is_ipv6() && one.port() == other.port() && one.port() != 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn listen(entries: &[(&str, &str)]) -> String {
        let entry = |(kind, address): &(&str, &str)| {
            format!("[[listen]]\nkind = '{kind}'\naddress = '{address}'\n")
        };
        entries.iter().map(entry).collect()
    }

    fn conflict(text: &str) -> Option<String> {
        Config::parse(text, "x.toml".as_ref()).err().map(|error| error.to_string())
    }

    #[test]
    fn listeners_that_take_one_port_are_refused() {
        for (first, second) in [
            (("udp", "0.0.0.0:5060"), ("udp", "127.0.0.1:5060")),
            (("tcp", "192.0.2.1:5060"), ("tcp", "192.0.2.1:5060")),
            (("tcp", "localhost:8088"), ("http", "127.0.0.1:8088")),
            (("tls", "[::]:5061"), ("https", "localhost:5061")),
        ] {
            let error = conflict(&listen(&[first, second])).unwrap();
            let (first, second) = (format!("{} {}", first.0, first.1), second.1);
            assert!(error.contains(&first) && error.contains(second), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        for apart in [
            [("udp", "127.0.0.1:5060"), ("tcp", "127.0.0.1:5060")],
            [("udp", "127.0.0.1:5060"), ("udp", "192.0.2.1:5060")],
            [("udp", "0.0.0.0:5060"), ("udp", "[::]:5060")],
            [("tcp", "127.0.0.1:0"), ("tcp", "127.0.0.1:0")],
        ] {
            assert_eq!(conflict(&listen(&apart)), None, "{apart:?}");
        }
    }

    #[test]
    fn a_listener_does_not_take_the_port_of_control_or_media() {
        let http = listen(&[("http", "0.0.0.0:8090")]);
        let error = conflict(&http).unwrap();
        assert!(error.contains("control.address 127.0.0.1:8090"), "{error}");
        assert_eq!(conflict(&listen(&[("udp", "0.0.0.0:8090")])), None);
        let media = |address, more: &str| {
            conflict(&format!("{}[media]\nshards = 2\n{more}", listen(&[("udp", address)])))
        };
        for (address, more) in [
            ("127.0.0.1:10000", ""),
            ("0.0.0.0:10001", ""),
            ("192.0.2.1:10000", "addresses = ['192.0.2.1']\n"),
        ] {
            let error = media(address, more).unwrap();
            assert!(error.contains("media.webrtc_port") && error.contains(address), "{error}");
        }
        assert_eq!(media("127.0.0.1:10002", ""), None);
        assert_eq!(media("127.0.0.1:10000", "addresses = ['192.0.2.1']\n"), None);
        assert_eq!(media("127.0.0.1:10000", "webrtc_port = 0\n"), None);
    }

    #[test]
    fn keys_without_an_effect_are_refused() {
        for (text, says) in [
            ("[media]\nexternal_ports = ['10000:20000']\n", "media.external_ports"),
            ("[media]\nlocal_networks = ['10.0.0.0/8']\n", "media.local_networks"),
            ("[sip]\nexternal_ports = ['5060:15060']\n", "sip.external_ports"),
            (
                "[media]\ncodecs = ['pcmu']\n[users.199]\npassword = 'x'\ncodecs = ['opus']\n",
                "users.199: none of its codecs",
            ),
            (
                "[[listen]]\nkind = 'udp'\naddress = '127.0.0.1:5060'\n[users.199]\npassword = 'x'\n\
                 transports = ['ws', 'wss']\n",
                "users.199: no [[listen]]",
            ),
        ] {
            let error = conflict(text).unwrap();
            assert!(error.contains(says) && !error.contains('\n'), "{error}");
        }
        let fine = "[media]\nexternal_address = '203.0.113.9'\nexternal_ports = ['10000:20000']\n\
                    local_networks = ['10.0.0.0/8', 'fd00::/8']\ncodecs = ['pcmu']\n[users.199]\npassword = 'x'\ncodecs = ['opus', 'pcmu']\n\
                    transports = ['ws']\n";
        assert_eq!(conflict(fine), None);
    }
}
