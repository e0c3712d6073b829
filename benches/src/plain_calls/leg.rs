//! One caller: its call, its media ports, and what it sends and hears.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use crate::description::media_address;
use crate::stream::Stream;
use crate::uac::Uac;

/// One caller.
pub(super) struct Leg {
    pub uac: Uac,
    /// RTP and RTCP, until the call is over.
    pub sockets: Option<(UdpSocket, UdpSocket)>,
    pub stream: Stream,
    pub remote: Option<SocketAddr>,
    pub placed_ns: u64,
    pub answered_ns: Option<u64>,
    pub first_ns: Option<u64>,
    pub leave_at: Option<Instant>,
    packet: [u8; PACKET_BYTES],
    sequence_number: u16,
    rtp_timestamp: u32,
}

impl Leg {
    pub fn new(uac: Uac, rtp: UdpSocket, rtcp: UdpSocket, placed_ns: u64) -> Leg {
        let mut packet = [SILENCE; PACKET_BYTES];
        packet[0] = 0x80;
        packet[1] = 0;
        packet[8..12].copy_from_slice(&rand::random::<u32>().to_be_bytes());
        Leg {
            uac,
            sockets: Some((rtp, rtcp)),
            stream: Stream::new(SAMPLES),
            remote: None,
            placed_ns,
            answered_ns: None,
            first_ns: None,
            leave_at: None,
            packet,
            sequence_number: rand::random(),
            rtp_timestamp: rand::random(),
        }
    }

    pub fn answered(&mut self, answer: &[u8], arrived_ns: u64) {
        self.answered_ns = Some(arrived_ns);
        self.remote = media_address(&String::from_utf8_lossy(answer));
    }

    /// Sends one packet; says whether it went.
    pub fn talk(&mut self, now_ns: u64) -> bool {
        let (Some((rtp, _)), Some(remote)) = (&self.sockets, self.remote) else { return false };
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.rtp_timestamp = self.rtp_timestamp.wrapping_add(SAMPLES);
        self.packet[2..4].copy_from_slice(&self.sequence_number.to_be_bytes());
        self.packet[4..8].copy_from_slice(&self.rtp_timestamp.to_be_bytes());
        self.packet[12..16].copy_from_slice(&MARK);
        self.packet[16..24].copy_from_slice(&now_ns.to_be_bytes());
        rtp.send_to(&self.packet, remote).is_ok()
    }
}

/// When we sent the packet that came back, if its payload is as we sent it.
pub(super) fn sent_ns(packet: &[u8], arrived_ns: u64) -> Option<u64> {
    let payload = packet.get(12..24)?;
    let (mark, time) = payload.split_first_chunk::<4>()?;
    let sent_ns = u64::from_be_bytes(time.try_into().ok()?);
    (*mark == MARK && sent_ns <= arrived_ns).then_some(sent_ns)
}

const SAMPLES: u32 = 160;
const PACKET_BYTES: usize = 12 + SAMPLES as usize;
/// Zero in µ-law.
const SILENCE: u8 = 0xff;
const MARK: [u8; 4] = *b"ECHO";
