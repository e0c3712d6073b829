//! What is still to be said to peers whose connection closed before their call ended.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use transport::{Flow, TransportKind, Uri};

/// A peer that registers again on another connection: who, as what, and where.
pub(super) struct Returned<'a> {
    pub(super) user: &'a str,
    pub(super) contact: &'a Uri,
    pub(super) flow: Flow,
}

impl Returned<'_> {
    /// Whether a leg of a user and a remote target, heard last on a connection of some kind, is one of
    /// this peer's.
    pub(super) fn is_peer_of(&self, user: &str, target: &str, kind: TransportKind) -> bool {
        let is_web = |kind| matches!(kind, TransportKind::Ws | TransportKind::Wss);
        let is_contact = |target: Uri| {
            target.user() == self.contact.user()
                && target.host() == self.contact.host()
                && target.port() == self.contact.port()
        };
        user == self.user
            && (kind == self.flow.kind || is_web(kind) && is_web(self.flow.kind))
            && target.parse().is_ok_and(is_contact)
    }
}

/// BYEs that wait for their peers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Farewells(VecDeque<Farewell>);

#[derive(Debug)]
struct Farewell {
    user: Box<str>,
    target: Box<str>,
    kind: TransportKind,
    bye: Bytes,
    until: Instant,
}

impl Farewells {
    pub(super) fn add(
        &mut self,
        user: &str,
        target: &str,
        kind: TransportKind,
        bye: Bytes,
        now: Instant,
    ) {
        self.forget(now);
        if self.0.len() == FAREWELLS_MAX {
            self.0.pop_front();
        }
        let (user, target) = (user.into(), target.into());
        self.0.push_back(Farewell { user, target, kind, bye, until: now + KEPT });
    }

    /// Takes what a peer that is there again has to be told.
    pub(super) fn take(&mut self, peer: &Returned<'_>, now: Instant) -> Vec<Bytes> {
        self.forget(now);
        let mut taken = Vec::new();
        self.0.retain(|farewell| {
            let Farewell { user, target, kind, bye, .. } = farewell;
            let is_taken = peer.is_peer_of(user, target, *kind);
            if is_taken {
                taken.push(bye.clone());
            }
            !is_taken
        });
        taken
    }

    fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|oldest| oldest.until <= now) {
            self.0.pop_front();
        }
    }
}

/// As long as a BYE would be repeated (timer F of RFC 3261).
const KEPT: Duration = Duration::from_secs(32);
const FAREWELLS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use transport::FlowId;

    use super::*;

    #[test]
    fn a_farewell_is_for_one_peer_and_a_while() {
        let (mut farewells, now) = (Farewells::default(), Instant::now());
        let here = "127.0.0.1:5060".parse().unwrap();
        let flow = Flow { id: FlowId(1), kind: TransportKind::Wss, local: here, remote: here };
        let (page, other) = ("sip:a@b.invalid;transport=ws", "sip:c@b.invalid;transport=ws");
        let take = |farewells: &mut Farewells, user: &str, contact: &str, after_s: u64| {
            let contact = contact.parse().unwrap();
            let peer = Returned { user, contact: &contact, flow };
            farewells.take(&peer, now + Duration::from_secs(after_s)).len()
        };
        let add = |farewells: &mut Farewells| {
            farewells.add("199", page, TransportKind::Ws, Bytes::from_static(b"BYE"), now);
        };
        add(&mut farewells);
        assert_eq!(take(&mut farewells, "198", page, 1), 0);
        assert_eq!(take(&mut farewells, "199", other, 1), 0);
        assert_eq!(take(&mut farewells, "199", page, 31), 1);
        assert_eq!(take(&mut farewells, "199", page, 31), 0, "once");
        add(&mut farewells);
        assert_eq!(take(&mut farewells, "199", page, 32), 0, "too late");
        (0..2 * FAREWELLS_MAX).for_each(|_| add(&mut farewells));
        assert_eq!(take(&mut farewells, "199", page, 1), FAREWELLS_MAX);
    }
}
