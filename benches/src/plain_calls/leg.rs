//! One caller: its call, its media ports, and what it sends and hears.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

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

/// An offer of PCMU and DTMF events as a phone makes it.
pub(super) fn offer(rtp: SocketAddr) -> String {
    let family = if rtp.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (rtp.ip(), rtp.port());
    let mut text = String::new();
    let written = write!(
        text,
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    debug_assert!(written.is_ok(), "writing into memory does not fail");
    text
}

/// Where an answer wants its audio: the port of `m=audio` at the address of the nearest `c=`.
fn media_address(answer: &str) -> Option<SocketAddr> {
    let mut ip: Option<IpAddr> = None;
    let mut port: Option<u16> = None;
    for line in answer.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if port.is_some() {
                break;
            }
            port = Some(media.strip_prefix("audio ")?.split(' ').next()?.parse().ok()?);
        } else if let Some(connection) = line.strip_prefix("c=IN ") {
            ip = connection.split(' ').nth(1)?.trim().parse().ok();
        }
    }
    Some(SocketAddr::new(ip?, port.filter(|&port| port != 0)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_address_is_that_of_the_nearest_connection_line() {
        let session = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n";
        assert_eq!(media_address(session), "192.0.2.1:4000".parse().ok());
        let media = format!("{session}c=IN IP4 192.0.2.2\r\n");
        assert_eq!(media_address(&media), "192.0.2.2:4000".parse().ok());
        assert_eq!(media_address("v=0\r\nm=audio 0 RTP/AVP 0\r\nc=IN IP4 192.0.2.2\r\n"), None);
    }
}
