//! Session descriptions of callers.

use std::net::SocketAddr;

/// An offer of PCMU and PCMA over plain RTP.
pub fn plain(media: SocketAddr) -> String {
    let (ip, port) = (media.ip(), media.port());
    format!("{}m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", head(ip))
}

/// An offer without media; `m=` lines come after it.
pub fn head(ip: std::net::IpAddr) -> String {
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!("v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
}

/// An offer of a browser that never comes.
pub fn webrtc() -> String {
    let fingerprint = ["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\n\
         a=ice-ufrag:{UFRAG}\r\na=ice-pwd:0123456789abcdefghijklmn\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:0\r\na=rtcp-mux\r\n\
         a=sendrecv\r\n"
    )
}

/// The user name fragment of [`webrtc`].
pub const UFRAG: &str = "hostile0";

/// The value of an attribute.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

/// Where a description wants the RTP of its first stream.
pub fn rtp_address(sdp: &str) -> Option<SocketAddr> {
    let port = sdp.split("m=audio ").nth(1)?.split(' ').next()?.parse().ok()?;
    let line = sdp.lines().rfind(|line| line.starts_with("c=IN IP"))?;
    Some(SocketAddr::new(line.split(' ').nth(2)?.parse().ok()?, port))
}
