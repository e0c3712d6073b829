//! So many phones at once that their packets are fetched by the clock.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use media::{net::MediaPlane, shard::Command};

use super::{LOOPBACK, Phone, config};

const PHONES: usize = 60;
const FRAME: Duration = Duration::from_millis(20);

/// What one of the phones does other than the rest, which send a frame after a frame.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Regular,
    /// Says nothing for a while.
    Pauses,
    /// Sends frames twice as often for a while.
    Hurries,
    /// Goes on from another socket.
    Moves,
}

impl Manner {
    fn of(phone: usize) -> Self {
        match phone {
            0 => Self::Pauses,
            1 => Self::Hurries,
            2 => Self::Moves,
            _ => Self::Regular,
        }
    }

    /// How many packets it sends in a frame.
    fn packets(self, frame: u16) -> u16 {
        match self {
            Self::Pauses if (90..110).contains(&frame) => 0,
            Self::Hurries if (90..110).contains(&frame) => 2,
            _ => 1,
        }
    }
}

/// Everything that is said comes back, and soon, whether its socket is asked by the clock or
/// watched, and whichever phone goes from the one to the other.
#[test]
fn everybody_in_a_crowd_is_heard_in_time() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let mut phones: Vec<_> = (0..PHONES).map(|_| Phone::new(&plane, LOOPBACK, Some(0))).collect();
    for phone in &phones {
        phone.leg.command(Command::Echo { delay: None }).unwrap();
        phone.socket.set_nonblocking(true).unwrap();
    }
    let mut said = vec![Vec::new(); PHONES];
    let mut heard = vec![Vec::new(); PHONES];
    let start = Instant::now();
    for frame in 0..150_u16 {
        for (at, phone) in phones.iter_mut().enumerate() {
            let manner = Manner::of(at);
            if manner == Manner::Moves && frame == 100 {
                phone.socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
                phone.socket.set_nonblocking(true).unwrap();
            }
            // Each has its own phase. Sockets and shards run on the system's clock here, so that
            // speech comes in real time.
            let due = start + FRAME * u32::from(frame) + FRAME * at as u32 / PHONES as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for _ in 0..manner.packets(frame) {
                phone.say(said[at].len() as u16);
                said[at].push(Instant::now());
            }
        }
        listen(&phones, &mut heard);
    }
    // The last echoes are on their way; nothing tells that no more will come.
    thread::sleep(Duration::from_millis(100));
    listen(&phones, &mut heard);
    for (at, (said, heard)) in said.iter().zip(&heard).enumerate() {
        let numbers: Vec<u16> = heard.iter().map(|(number, _)| *number).collect();
        let missing: Vec<_> =
            (0..said.len() as u16).filter(|number| !numbers.contains(number)).collect();
        // Who moves is believed after some packets.
        let lost_max = if Manner::of(at) == Manner::Moves { 10 } else { 0 };
        assert!(missing.len() <= lost_max, "phone {at} did not hear {missing:?}");
        assert!(numbers.is_sorted(), "phone {at} heard {numbers:?}");
    }
    let mut waits: Vec<_> = said
        .iter()
        .zip(&heard)
        .flat_map(|(said, heard)| heard.iter().map(|(n, at)| *at - said[usize::from(*n)]))
        .collect();
    waits.sort();
    // They are noted once a frame.
    let median = waits[waits.len() / 2];
    assert!(median < FRAME * 2, "{median:?}");
    plane.shutdown();
}

fn listen(phones: &[Phone], heard: &mut [Vec<(u16, Instant)>]) {
    let mut buffer = [0; 2000];
    for (phone, heard) in phones.iter().zip(heard) {
        let ours = SocketAddr::new(LOOPBACK, phone.leg.local.rtp_port);
        while let Ok((len, from)) = phone.socket.recv_from(&mut buffer) {
            // A leg of another test may still send to a phone that had this port before.
            if from != ours {
                continue;
            }
            let packet = media::rtp::Packet::parse(&buffer[..len]).unwrap();
            heard.push((u16::from(packet.payload()[0]), Instant::now()));
        }
    }
}
