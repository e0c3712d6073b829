//! A call that must not notice anything.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::call::Call;
use crate::server::Server;

/// A call to the test tone whose packets are counted by a thread of its own.
pub struct Live {
    pub call: Call,
    began: Instant,
    is_over: Arc<AtomicBool>,
    ear: JoinHandle<Heard>,
}

/// What was heard of a call.
#[derive(Debug, Default)]
pub struct Heard {
    packets: u32,
    lost: u32,
    strange: u32,
    first: Option<Instant>,
    last: Option<Instant>,
    next: Option<u16>,
}

impl Live {
    pub fn start(server: &Server) -> Self {
        let call = Call::dial(Agent::udp(server.address("udp")), "9197");
        // A caller who has spoken cannot be replaced by who speaks later.
        call.media.send_to(&rtp(1), call.rtp).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (media, until) = (call.media.try_clone().unwrap(), Arc::clone(&is_over));
        let ear = thread::spawn(move || Heard::listen(&media, &until));
        Live { call, began: Instant::now(), is_over, ear }
    }

    /// Hangs up; fails unless all packets came, 50 in every second.
    pub fn finish(mut self) {
        // A rate is not told by a moment.
        thread::sleep(LISTENED_MIN.saturating_sub(self.began.elapsed()));
        self.is_over.store(true, Ordering::Relaxed);
        let heard = self.ear.join().unwrap();
        self.call.hang_up();
        heard.check();
    }
}

impl Heard {
    fn listen(media: &UdpSocket, until: &AtomicBool) -> Self {
        media.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut heard = Heard::default();
        let mut buffer = [0; 2048];
        while !until.load(Ordering::Relaxed) {
            if let Ok(length) = media.recv(&mut buffer) {
                heard.take(&buffer[..length]);
            }
        }
        heard
    }

    fn take(&mut self, packet: &[u8]) {
        // A phone of another test may have the port before this one, and RTCP comes for it; or it
        // had this one, and is still signalled to.
        let is_rtp = packet.first().is_some_and(|first| first >> 6 == 2);
        if !is_rtp || packet.get(1).is_some_and(|kind| (192..224).contains(kind)) {
            return;
        }
        if packet.len() != 172 || packet[1] & 0x7f != 0 {
            self.strange += 1;
            return;
        }
        let number = u16::from_be_bytes([packet[2], packet[3]]);
        if let Some(next) = self.next {
            self.lost += u32::from(number.wrapping_sub(next));
        }
        self.next = Some(number.wrapping_add(1));
        self.packets += 1;
        self.last = Some(Instant::now());
        self.first = self.first.or(self.last);
    }

    fn check(&self) {
        let elapsed = self.last.unwrap() - self.first.unwrap();
        let expected = elapsed.as_secs_f64() * 50.0 + 1.0;
        let difference = (f64::from(self.packets) - expected).abs();
        assert!(difference <= 3.0 + expected / 100.0, "{expected:.0} packets were due: {self:?}");
        assert_eq!((self.lost, self.strange), (0, 0), "{self:?}");
        assert!(elapsed >= LISTENED_MIN / 2, "it ended early: {self:?}");
    }
}

/// A packet of PCMU silence.
pub fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((160 * u32::from(sequence)).to_be_bytes());
    packet.extend(0x0badcafe_u32.to_be_bytes());
    packet.resize(172, 0xff);
    packet
}

const LISTENED_MIN: Duration = Duration::from_secs(1);
