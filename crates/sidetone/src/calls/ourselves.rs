//! Calls that we make to ourselves, whose two legs send media to ports of our own.

use std::net::SocketAddr;
use std::sync::Arc;

use dashmap::DashMap;
use rand::random;

/// The legs of ours that call, each by the mark in its INVITE: should that come back to us, however
/// long the way, the leg that it makes and the one that sent it may have each other's media.
#[derive(Debug, Default)]
pub struct Ourselves(DashMap<String, Ends>);

/// Where the media of both legs is, as they describe it.
#[derive(Debug, Default)]
struct Ends {
    calling: Option<SocketAddr>,
    called: Option<SocketAddr>,
}

/// One leg of what may be a call to ourselves.
#[derive(Debug)]
pub(super) struct End {
    calls: Arc<Ourselves>,
    mark: String,
    is_calling: bool,
}

impl End {
    /// That of a leg that is about to call; it forgets its mark when it ends.
    pub(super) fn calling(calls: &Arc<Ourselves>) -> Self {
        let mark = format!("{:016x}", random::<u64>());
        calls.0.insert(mark.clone(), Ends::default());
        End { calls: Arc::clone(calls), mark, is_calling: true }
    }

    /// That of a leg whose INVITE carries `marks`, which loses those that are only about that.
    pub(super) fn called(calls: &Arc<Ourselves>, marks: &mut Vec<String>) -> Option<Self> {
        let mark = marks.iter().rfind(|mark| calls.0.contains_key(*mark)).cloned()?;
        marks.retain(|mark| !calls.0.contains_key(mark));
        Some(End { calls: Arc::clone(calls), mark, is_calling: false })
    }

    /// What the INVITE carries.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// The leg describes its media at this address.
    pub(super) fn is_at(&self, address: SocketAddr) {
        if let Some(mut ends) = self.calls.0.get_mut(&self.mark) {
            let end = if self.is_calling { &mut ends.calling } else { &mut ends.called };
            *end = Some(address);
        }
    }

    /// Whether the other leg has its media there.
    pub(super) fn is_with(&self, address: SocketAddr) -> bool {
        self.calls.0.get(&self.mark).is_some_and(|ends| {
            let other = if self.is_calling { ends.called } else { ends.calling };
            other == Some(address)
        })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.is_calling {
            self.calls.0.remove(&self.mark);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn port(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn two_legs_of_one_call_may_have_each_others_media_and_nobody_elses() {
        let calls = Arc::new(Ourselves::default());
        let (calling, other) = (End::calling(&calls), End::calling(&calls));
        calling.is_at(port(1));
        other.is_at(port(3));
        let mut marks = vec!["0123456789abcdef".to_owned(), calling.mark().to_owned()];
        let called = End::called(&calls, &mut marks).unwrap();
        assert_eq!(marks, ["0123456789abcdef"]);
        assert!(called.is_with(port(1)) && !called.is_with(port(3)));
        assert!(!calling.is_with(port(2)), "it has not said so");
        called.is_at(port(2));
        assert!(calling.is_with(port(2)) && !other.is_with(port(2)));
    }

    #[test]
    fn a_mark_is_worth_nothing_once_its_leg_has_ended() {
        let calls = Arc::new(Ourselves::default());
        let calling = End::calling(&calls);
        calling.is_at(port(1));
        let mut marks = vec![calling.mark().to_owned()];
        let called = End::called(&calls, &mut marks.clone()).unwrap();
        drop(calling);
        assert!(!called.is_with(port(1)));
        assert!(End::called(&calls, &mut marks).is_none());
        called.is_at(port(2));
        assert!(calls.0.is_empty());
    }
}
