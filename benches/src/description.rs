//! The SDP of a phone: what it offers, what it answers, and where the other side wants its audio.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use media::codec::Codec;

/// A format of `m=audio` and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub payload_type: u8,
    /// As in `a=rtpmap`: a codec, or the events of digits.
    pub encoding: String,
}

/// An offer of PCMU and digits.
pub(crate) fn offer(rtp: SocketAddr) -> String {
    let format = |payload_type, encoding: &str| Format { payload_type, encoding: encoding.into() };
    describe(rtp, &[format(0, "PCMU/8000"), format(101, "telephone-event/8000")])
}

/// The formats of an answer that takes this codec, and digits at its clock rate, from an offer;
/// `None` if it is not offered.
pub(crate) fn taken(codec: Codec, offer: &str) -> Option<Vec<Format>> {
    let events = format!("telephone-event/{}", codec.clock_rate_hz());
    let audio = find(offer, &codec.to_string())?;
    Some([Some(audio), find(offer, &events)].into_iter().flatten().collect())
}

/// What a phone says of itself.
pub(crate) fn describe(rtp: SocketAddr, formats: &[Format]) -> String {
    let family = if rtp.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (rtp.ip(), rtp.port());
    let mut text = format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP"
    );
    // Writing into memory does not fail.
    for Format { payload_type, .. } in formats {
        let _ = write!(text, " {payload_type}");
    }
    for Format { payload_type, encoding } in formats {
        let _ = write!(text, "\r\na=rtpmap:{payload_type} {encoding}");
        if encoding.starts_with("telephone-event") {
            let _ = write!(text, "\r\na=fmtp:{payload_type} 0-15");
        }
    }
    text.push_str("\r\na=ptime:20\r\na=sendrecv\r\n");
    text
}

/// Where a description wants its audio: the port of `m=audio` at the address of the nearest `c=`.
pub(crate) fn media_address(description: &str) -> Option<SocketAddr> {
    let mut ip: Option<IpAddr> = None;
    let mut port: Option<u16> = None;
    for line in description.lines() {
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

fn find(offer: &str, encoding: &str) -> Option<Format> {
    let maps = offer.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let (payload_type, encoding) =
        maps.into_iter().find(|(_, offered)| offered.trim().eq_ignore_ascii_case(encoding))?;
    Some(Format { payload_type: payload_type.parse().ok()?, encoding: encoding.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn the_media_address_is_that_of_the_nearest_connection_line() {
        let session = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n";
        assert_eq!(media_address(session), "192.0.2.1:4000".parse().ok());
        let media = format!("{session}c=IN IP4 192.0.2.2\r\n");
        assert_eq!(media_address(&media), "192.0.2.2:4000".parse().ok());
        assert_eq!(media_address("v=0\r\nm=audio 0 RTP/AVP 0\r\nc=IN IP4 192.0.2.2\r\n"), None);
    }

    #[test]
    fn an_answer_takes_one_codec_and_the_events_of_its_clock() {
        let offer = "v=0\r\nm=audio 4000 RTP/AVP 111 0 101 110\r\na=rtpmap:111 opus/48000/2\r\n\
                     a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
                     a=rtpmap:110 telephone-event/48000\r\n";
        let types = |codec| {
            let formats = taken(codec, offer)?;
            Some(formats.iter().map(|format| format.payload_type).collect::<Vec<_>>())
        };
        assert_eq!(types(Codec::Opus), Some(vec![111, 110]));
        assert_eq!(types(Codec::Pcmu), Some(vec![0, 101]));
        assert_eq!(types(Codec::G722), None);
        let address = "192.0.2.9:5000".parse().unwrap();
        let answer = describe(address, &taken(Codec::Opus, offer).unwrap());
        assert!(answer.contains("m=audio 5000 RTP/AVP 111 110\r\na=rtpmap:111 opus/48000/2\r\n"));
        assert_eq!(media_address(&answer), Some(address));
    }
}
