//! A phone that speaks PCMU over plain RTP, and SIP over UDP or TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::server::media_socket;

pub struct Phone {
    wire: Wire,
    media: UdpSocket,
    peer_media: Option<SocketAddr>,
    call_id: String,
    cseq: u32,
    number: String,
    remote_tag: String,
    last_request: String,
}

enum Wire {
    Udp { socket: UdpSocket, server: SocketAddr },
    Tcp { stream: TcpStream, pending: Vec<u8> },
}

/// Decoded audio and what was missing of it.
#[derive(Default)]
pub struct Heard {
    pub packets: u32,
    pub lost: u32,
    pub samples: Vec<i16>,
    next_sequence: Option<u16>,
}

impl Phone {
    pub fn udp(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
        Phone::new(Wire::Udp { socket, server }, server)
    }

    pub fn tcp(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        Phone::new(Wire::Tcp { stream, pending: Vec::new() }, server)
    }

    fn new(wire: Wire, server: SocketAddr) -> Self {
        let media = media_socket(server.ip());
        let call_id = format!("{}@phone", media.local_addr().unwrap().port());
        Phone {
            wire,
            media,
            peer_media: None,
            call_id,
            cseq: 0,
            number: String::new(),
            remote_tag: String::new(),
            last_request: String::new(),
        }
    }

    /// Calls and takes the answer.
    pub fn call(&mut self, number: &str) {
        self.begin(number, "0 8 101");
        self.take_answer();
    }

    /// Takes the answer to the INVITE.
    pub fn take_answer(&mut self) {
        let answer = self.final_response();
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        let to = header(&answer, "To");
        self.remote_tag = to.split("tag=").nth(1).unwrap().to_owned();
        self.peer_media = Some(media_of(&answer));
        self.send("ACK", self.cseq, "");
    }

    /// Waits for a provisional response that brings media.
    pub fn take_early_media(&mut self) {
        loop {
            let message = self.receive(Duration::from_secs(5)).expect("no early media");
            assert!(message.starts_with("SIP/2.0 1"), "{message}");
            if message.contains("\r\nm=audio ") {
                self.peer_media = Some(media_of(&message));
                return;
            }
        }
    }

    /// Offers its media once more, in this direction; the answer.
    pub fn change(&mut self, direction: &str) -> String {
        self.cseq += 1;
        let sdp = format!("{}a={direction}\r\n", self.description("0"));
        self.send("INVITE", self.cseq, &sdp);
        let answer = self.final_response();
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        self.send("ACK", self.cseq, "");
        answer
    }

    /// Asks for an offer and answers it with these formats; the media line of that offer.
    pub fn ask_for_offer(&mut self, formats: &str) -> String {
        self.cseq += 1;
        self.send("INVITE", self.cseq, "");
        let offer = self.final_response();
        assert!(offer.starts_with("SIP/2.0 200 "), "{offer}");
        self.send("ACK", self.cseq, &self.description(formats));
        offer.lines().find(|line| line.starts_with("m=audio ")).unwrap().to_owned()
    }

    /// Offers its media once more, in this direction, and cancels that; both are sent before `goes_on`
    /// lets the server read them.
    pub fn change_and_cancel(&mut self, direction: &str, goes_on: impl FnOnce()) {
        self.cseq += 1;
        let sdp = format!("{}a={direction}\r\n", self.description("0"));
        self.send("INVITE", self.cseq, &sdp);
        self.send("CANCEL", self.cseq, "");
        goes_on();
        let answer = self.final_response();
        assert!(answer.starts_with("SIP/2.0 487 "), "{answer}");
        self.send("ACK", self.cseq, "");
    }

    fn contact(&self) -> String {
        let (_, local) = self.own_end();
        format!("sip:phone@{local}")
    }

    /// Its signalling, for one that is over UDP.
    pub fn socket(&self) -> UdpSocket {
        match &self.wire {
            Wire::Udp { socket, .. } => socket.try_clone().unwrap(),
            Wire::Tcp { .. } => panic!("not over UDP"),
        }
    }

    /// The same for one that is over TCP.
    pub fn connection(&self) -> TcpStream {
        match &self.wire {
            Wire::Tcp { stream, .. } => stream.try_clone().unwrap(),
            Wire::Udp { .. } => panic!("not over TCP"),
        }
    }

    /// Closes its connection, and is on another.
    pub fn reconnect(&mut self) {
        if let Wire::Tcp { stream, pending } = &mut self.wire {
            let server = stream.peer_addr().unwrap();
            stream.shutdown(std::net::Shutdown::Both).unwrap();
            *stream = TcpStream::connect(server).unwrap();
            pending.clear();
        }
    }

    /// Waits for a call; the INVITE.
    pub fn take_call(&mut self) -> String {
        let invite = self.take_request("INVITE ");
        self.peer_media = Some(media_of(&invite));
        invite
    }

    /// Waits for a request that begins like this.
    pub fn take_request(&mut self, start: &str) -> String {
        loop {
            let message = self.receive(Duration::from_secs(5)).expect(start);
            if message.starts_with(start) {
                if start == "BYE " {
                    self.respond(&message, "200 OK", false);
                }
                return message;
            }
        }
    }

    /// Answers a request, perhaps with what it says and hears.
    pub fn respond(&mut self, request: &str, status: &str, has_media: bool) {
        let mut response = format!("SIP/2.0 {status}\r\nContact: <{}>\r\n", self.contact());
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            response += &format!("{name}: {}\r\n", header(request, name));
        }
        let to = header(request, "To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=called" };
        response += &format!("To: {to}{tag}\r\n");
        let body = if has_media { self.description("0") } else { String::new() };
        if has_media {
            response += "Content-Type: application/sdp\r\n";
        }
        self.transmit(&format!("{response}Content-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// Calls and takes the refusal.
    pub fn invite_refused(&mut self, number: &str, formats: &str) -> String {
        let answer = self.invite(number, formats);
        let to = header(&answer, "To");
        self.remote_tag = to.split("tag=").nth(1).unwrap().to_owned();
        self.send("ACK", self.cseq, "");
        self.remote_tag.clear();
        answer
    }

    /// Calls, and gives up once `until` returns; takes the 487.
    pub fn invite_cancelled(&mut self, number: &str, until: impl FnOnce()) {
        self.begin(number, "0 101");
        until();
        self.send("CANCEL", self.cseq, "");
        let answer = self.final_response();
        assert!(answer.starts_with("SIP/2.0 487 "), "{answer}");
    }

    fn invite(&mut self, number: &str, formats: &str) -> String {
        self.begin(number, formats);
        self.final_response()
    }

    /// Calls, and does not wait for anything.
    pub fn begin(&mut self, number: &str, formats: &str) {
        self.number = number.to_owned();
        self.cseq += 1;
        self.send("INVITE", self.cseq, &self.description(formats));
    }

    fn description(&self, formats: &str) -> String {
        let local = self.media.local_addr().unwrap();
        let family = if local.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (local.ip(), local.port());
        format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\na=rtpmap:18 G729/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\n"
        )
    }

    /// The final response to the INVITE.
    pub fn final_response(&mut self) -> String {
        let is_final = |message: &str| {
            message.starts_with("SIP/2.0 ")
                && !message.starts_with("SIP/2.0 1")
                && message.contains(" INVITE\r\n")
        };
        loop {
            let message = self.receive(Duration::from_secs(5)).expect("no answer to INVITE");
            if is_final(&message) {
                return message;
            }
        }
    }

    pub fn hang_up(&mut self) {
        self.cseq += 1;
        self.send("BYE", self.cseq, "");
        loop {
            let message = self.receive(Duration::from_secs(5)).expect("no answer to BYE");
            if message.starts_with("SIP/2.0 200") && message.contains(" BYE") {
                return;
            }
        }
    }

    /// The last request the server sent.
    pub fn last_request(&self) -> &str {
        &self.last_request
    }

    /// Takes media for a while.
    pub fn listen(&mut self, duration: Duration) -> Heard {
        let mut heard = Heard::default();
        let end = Instant::now() + duration;
        while let Some(packet) = self.packet(end) {
            heard.take(&packet);
        }
        heard
    }

    /// Takes media until the server hangs up.
    pub fn listen_until_bye(&mut self, most: Duration) -> Heard {
        let mut heard = Heard::default();
        let end = Instant::now() + most;
        loop {
            assert!(Instant::now() < end, "the server does not hang up");
            let slice = Instant::now() + Duration::from_millis(40);
            while let Some(packet) = self.packet(slice) {
                heard.take(&packet);
            }
            if let Some(message) = self.receive(Duration::from_millis(1))
                && message.starts_with("BYE ")
            {
                self.respond(&message, "200 OK", false);
                return heard;
            }
        }
    }

    /// When the next packet comes.
    pub fn first_packet(&mut self, most: Duration) -> Instant {
        self.packet(Instant::now() + most).expect("no packet");
        Instant::now()
    }

    fn packet(&self, end: Instant) -> Option<Vec<u8>> {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        self.media.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 1500];
        let (length, _) = self.media.recv_from(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    /// Says a tone in real time; how many packets it took.
    pub fn say_tone(&mut self, frequency_hz: f64, duration: Duration) -> u32 {
        let peer = self.peer_media.unwrap();
        let packets = u32::try_from(duration.as_millis() / 20).unwrap();
        let mut due = Instant::now();
        for n in 0..packets {
            let mut packet = vec![0x80, 0];
            packet.extend((1000 + n as u16).to_be_bytes());
            packet.extend((160 * n).to_be_bytes());
            packet.extend(7u32.to_be_bytes());
            packet.extend((0..160).map(|i| {
                let t = f64::from(160 * n + i) / 8000.0;
                let sample = 8000.0 * (std::f64::consts::TAU * frequency_hz * t).sin();
                media::codec::g711::encode_ulaw(sample as i16)
            }));
            self.media.send_to(&packet, peer).unwrap();
            due += Duration::from_millis(20);
            // Speech comes in real time; nothing else tells when the next frame is due.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        packets
    }

    fn send(&mut self, method: &str, cseq: u32, body: &str) {
        let (token, local) = self.own_end();
        let tag = if self.remote_tag.is_empty() {
            String::new()
        } else {
            format!(";tag={}", self.remote_tag)
        };
        let Phone { number, call_id, .. } = self;
        // A CANCEL has the branch of the request that it cancels (RFC 3261 §9.1).
        let branch = if method == "CANCEL" { "INVITE" } else { method };
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let message = format!(
            "{method} sip:{number}@server SIP/2.0\r\n\
             Via: SIP/2.0/{token} {local};rport;branch=z9hG4bK{call_id}{cseq}{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:phone@server>;tag=p\r\n\
             To: <sip:{number}@server>{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:phone@{local}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.transmit(&message);
    }

    /// Its transport as a Via names it, and its address.
    fn own_end(&self) -> (&'static str, SocketAddr) {
        match &self.wire {
            Wire::Udp { socket, .. } => ("UDP", socket.local_addr().unwrap()),
            Wire::Tcp { stream, .. } => ("TCP", stream.local_addr().unwrap()),
        }
    }

    fn transmit(&mut self, message: &str) {
        match &mut self.wire {
            Wire::Udp { socket, server } => {
                socket.send_to(message.as_bytes(), *server).unwrap();
            }
            Wire::Tcp { stream, .. } => stream.write_all(message.as_bytes()).unwrap(),
        }
    }

    fn receive(&mut self, most: Duration) -> Option<String> {
        let message = self.wire.receive(most)?;
        if !message.starts_with("SIP/2.0") {
            self.last_request.clone_from(&message);
        }
        Some(message)
    }
}

impl Wire {
    fn receive(&mut self, most: Duration) -> Option<String> {
        let mut buffer = [0; 65_536];
        match self {
            Wire::Udp { socket, .. } => {
                socket.set_read_timeout(Some(most)).unwrap();
                let length = socket.recv(&mut buffer).ok()?;
                Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
            }
            Wire::Tcp { stream, pending } => {
                stream.set_read_timeout(Some(most)).unwrap();
                loop {
                    if let Some(message) = framed(pending) {
                        return Some(message);
                    }
                    let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
                    pending.extend_from_slice(&buffer[..length]);
                }
            }
        }
    }
}

/// Takes the first whole message out of what a stream brought.
fn framed(pending: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8_lossy(pending).into_owned();
    let head = text.find("\r\n\r\n")? + 4;
    let length: usize = header(&text, "Content-Length").parse().unwrap();
    (pending.len() >= head + length).then(|| {
        let message: Vec<u8> = pending.drain(..head + length).collect();
        String::from_utf8(message).unwrap()
    })
}

/// Where a description says that media is to be sent.
fn media_of(message: &str) -> SocketAddr {
    let port = message.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap();
    let ip = header_like(message, "c=IN IP").split(' ').nth(1).unwrap();
    SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    header_like(message, &format!("{name}: "))
}

fn header_like<'a>(message: &'a str, prefix: &str) -> &'a str {
    let line = message.lines().find(|line| line.starts_with(prefix));
    line.unwrap_or_else(|| panic!("no {prefix:?} in {message}")).strip_prefix(prefix).unwrap()
}

impl Heard {
    /// Audio that came some other way.
    pub fn of(samples: Vec<i16>) -> Self {
        Heard { samples, ..Heard::default() }
    }

    fn take(&mut self, packet: &[u8]) {
        let is_audio = packet.len() >= 12 && packet[1] & 0x7f == 0;
        if !is_audio {
            return;
        }
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        if let Some(next) = self.next_sequence {
            self.lost += u32::from(sequence.wrapping_sub(next));
        }
        self.next_sequence = Some(sequence.wrapping_add(1));
        self.packets += 1;
        self.samples.extend(packet[12..].iter().map(|code| media::codec::g711::decode_ulaw(*code)));
    }

    /// Root mean square of the first 20 ms.
    pub fn level_of_first_frame(&self) -> f64 {
        level(&self.samples[..160])
    }

    /// Root mean square of all of it.
    pub fn level(&self) -> f64 {
        level(&self.samples)
    }

    /// The strongest frequency, found on a grid of 1 Hz.
    pub fn frequency_hz(&self) -> f64 {
        let power = |frequency: u32| {
            let step = std::f64::consts::TAU * f64::from(frequency) / 8000.0;
            let (mut re, mut im) = (0.0, 0.0);
            for (n, sample) in self.samples.iter().enumerate() {
                let angle = step * n as f64;
                re += f64::from(*sample) * angle.cos();
                im += f64::from(*sample) * angle.sin();
            }
            re.hypot(im)
        };
        let best = (100..3900).step_by(2).max_by(|a, b| power(*a).total_cmp(&power(*b)));
        f64::from(best.unwrap())
    }
}

fn level(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (energy / samples.len() as f64).sqrt()
}
