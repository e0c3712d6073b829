//! An office on virtual time: its signalling and calls are the real ones, its media remembers what it
//! was told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidetone::config::Config;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::agent::{self, Part, Script, Seen, rtp_port};
use crate::link::PERFECT;
use crate::mock::{MockMedia, Mode};
use crate::simulation::{self, SERVER, Simulation};

/// An office whose users `one` and `two` have a phone each, 1 and 2, `both` has 3 and 4, `device` has
/// 5 and 6, which are flows of one device, and `alike` has 7 and 8, which name the same contact.
pub struct Office {
    pub simulation: Simulation,
    pub mock: Arc<MockMedia>,
    end: Instant,
}

impl Office {
    pub fn new(seed: u64, change: impl FnOnce(&mut Config)) -> Self {
        let mock = MockMedia::new(seed, SERVER.ip(), 0);
        let users = [
            ("one", vec![1]),
            ("two", vec![2]),
            ("both", vec![3, 4]),
            ("device", vec![5, 6]),
            ("alike", vec![7, 8]),
            ("away", vec![]),
        ];
        let users: Vec<_> =
            users.into_iter().map(|(name, phones)| (name.to_owned(), phones)).collect();
        let simulation = Simulation::office(seed, PERFECT, &users, &mock, change);
        Office { simulation, mock, end: Instant::now() + Duration::from_secs(300) }
    }

    pub fn phone(&mut self, index: u16, script: Script) -> JoinHandle<Seen> {
        agent::start(&mut self.simulation, index, script, self.end)
    }

    pub fn caller(&mut self, number: &str) -> JoinHandle<Seen> {
        self.phone(0, calls(number))
    }

    pub async fn pass(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }

    /// Waits for the end of everything; fails if anything of a call is left.
    pub async fn close(self) {
        sleep(self.end - Instant::now() + Duration::from_secs(1)).await;
        assert!(self.simulation.is_idle(), "something of a call is left");
    }

    pub fn modes(&self, one: u16, other: u16) -> (Option<Mode>, Option<Mode>) {
        let mode = |index| self.mock.mode_of(rtp_port(index)).map(|(mode, _)| mode);
        (mode(one), mode(other))
    }

    pub fn is_joined(&self, one: u16, other: u16) -> bool {
        let goes = |from, to| {
            let mode = self.mock.mode_of(rtp_port(from));
            mode.is_some_and(|(_, whom)| whom == Some(rtp_port(to)))
        };
        goes(one, other) && goes(other, one)
    }
}

pub fn calls(number: &str) -> Script {
    Script::of(Part::Calls { number: number.to_owned(), at: Duration::ZERO, patience: None })
}

pub fn answers(after_s: u64) -> Script {
    let after = Duration::from_secs(after_s);
    Script::of(Part::Answers { after, has_early_media: false })
}

pub fn refuses(status: u16) -> Script {
    Script::of(Part::Refuses { after: Duration::from_secs(1), status, contact: None })
}

pub fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

pub fn status_of(seen: &Seen) -> Option<u16> {
    match seen.end {
        Some(dialog::Cause::Refused { status, .. }) => Some(status),
        _ => None,
    }
}

pub fn run<F: Future<Output = ()>>(test: impl FnOnce(u64) -> F) {
    simulation::run(1, test);
}

/// A request of 192.0.2.10 to the user `one`.
pub fn request(method: &str, body: &str) -> Bytes {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let len = body.len();
    Bytes::from(format!(
        "{method} sip:one@192.0.2.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKcross\r\n\
         Max-Forwards: 70\r\nFrom: <sip:z@192.0.2.10>;tag=a\r\nTo: <sip:one@192.0.2.1>\r\n\
         Call-ID: cross\r\nCSeq: 1 {method}\r\nContact: <sip:z@192.0.2.10:5060>\r\n\
         {kind}Content-Length: {len}\r\n\r\n{body}"
    ))
}
