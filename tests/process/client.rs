//! A client with a user and a password: it registers and calls, and answers challenges.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sidetone::auth::Algorithm;

pub struct Client {
    user: String,
    password: String,
    wire: Wire,
    call_id: String,
    cseq: u32,
    last: Vec<u8>,
}

enum Wire {
    Udp { socket: UdpSocket, server: SocketAddr },
    Tcp { stream: TcpStream, pending: Vec<u8> },
}

impl Client {
    pub fn udp(server: SocketAddr, user: &str, password: &str) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
        Client::udp_on(socket, server, user, password)
    }

    /// On the socket of a phone.
    pub fn udp_on(socket: UdpSocket, server: SocketAddr, user: &str, password: &str) -> Self {
        Client::new(Wire::Udp { socket, server }, user, password)
    }

    pub fn tcp(server: SocketAddr, user: &str, password: &str) -> Self {
        Client::tcp_on(TcpStream::connect(server).unwrap(), user, password)
    }

    /// On the connection of a phone.
    pub fn tcp_on(stream: TcpStream, user: &str, password: &str) -> Self {
        Client::new(Wire::Tcp { stream, pending: Vec::new() }, user, password)
    }

    fn new(wire: Wire, user: &str, password: &str) -> Self {
        let (user, password) = (user.to_owned(), password.to_owned());
        Client { user, password, wire, call_id: fresh("client"), cseq: 0, last: Vec::new() }
    }

    /// Goes on with a server that was started anew.
    pub fn moved_to(&mut self, address: SocketAddr) {
        if let Wire::Udp { server, .. } = &mut self.wire {
            *server = address;
        }
    }

    /// The URI that the client registers.
    pub fn contact(&self) -> String {
        format!("sip:{}@{}", self.user, self.local())
    }

    /// Registers its contact, with an answer to a challenge if there is one.
    pub fn register(&mut self, lines: &str, challenge: Option<&str>) -> String {
        self.register_contact(&self.contact(), lines, challenge)
    }

    /// Registers a contact that need not be where the client is.
    pub fn register_contact(
        &mut self,
        contact: &str,
        lines: &str,
        challenge: Option<&str>,
    ) -> String {
        let lines = format!("Contact: <{contact}>\r\n{lines}");
        self.ask("REGISTER", "sip:server", &self.own_address(), &lines, "", challenge)
    }

    pub fn register_with(&mut self, lines: &str) -> String {
        self.register(lines, None)
    }

    pub fn register_with_password(&mut self) -> String {
        let challenge = self.register("", None);
        self.register("", Some(&challenge))
    }

    /// Registers under the name of another user, with its own password.
    pub fn register_as(&mut self, other: &str) -> String {
        let (to, contact) =
            (format!("sip:{other}@server"), format!("Contact: <{}>\r\n", self.contact()));
        let challenge = self.ask("REGISTER", "sip:server", &to, &contact, "", None);
        self.ask("REGISTER", "sip:server", &to, &contact, "", Some(&challenge))
    }

    /// Asks what is registered.
    pub fn fetch(&mut self, challenge: Option<&str>) -> String {
        self.ask("REGISTER", "sip:server", &self.own_address(), "", "", challenge)
    }

    /// Calls a number and takes the final answer.
    pub fn invite(&mut self, number: &str, challenge: Option<&str>) -> String {
        self.invite_within(number, "", challenge)
    }

    pub fn invite_with(&mut self, number: &str, lines: &str) -> String {
        self.invite_within(number, lines, None)
    }

    fn invite_within(&mut self, number: &str, lines: &str, challenge: Option<&str>) -> String {
        let local = self.local();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n",
            ip = local.ip()
        );
        let uri = format!("sip:{number}@server");
        let lines = format!("Contact: <{}>\r\n{lines}", self.contact());
        // Each call is one of its own.
        self.call_id = fresh("call");
        let answer = self.ask("INVITE", &uri, &uri, &lines, &sdp, challenge);
        let to = header(&answer, "To").to_owned();
        let ack = self.request("ACK", &uri, &format!("To: {to}\r\n"), "");
        self.transmit(&ack);
        answer
    }

    /// Takes the next call, says that it is busy, and returns the INVITE.
    pub fn refuse_call(&mut self) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let invite = self.receive(end - Instant::now()).expect("no call");
            if invite.starts_with("INVITE ") {
                let lines: String = ["Via", "From", "Call-ID", "CSeq"]
                    .map(|name| format!("{name}: {}\r\n", header(&invite, name)))
                    .concat();
                let to = header(&invite, "To");
                let busy = "SIP/2.0 486 Busy Here\r\n";
                let response = format!("{busy}{lines}To: {to};tag=b\r\nContent-Length: 0\r\n\r\n");
                self.transmit(response.as_bytes());
                return invite;
            }
        }
    }

    /// Sends the last request once more, byte for byte.
    pub fn repeat(&mut self) {
        let last = self.last.clone();
        self.transmit(&last);
    }

    fn own_address(&self) -> String {
        format!("sip:{}@server", self.user)
    }

    fn ask(
        &mut self,
        method: &str,
        uri: &str,
        to: &str,
        lines: &str,
        body: &str,
        challenge: Option<&str>,
    ) -> String {
        self.cseq += 1;
        let credentials = challenge.map(|challenge| self.credentials(method, uri, challenge));
        let lines = format!("To: <{to}>\r\n{lines}{}", credentials.unwrap_or_default());
        let request = self.request(method, uri, &lines, body);
        self.transmit(&request);
        self.last = request;
        let cseq = format!("{} {method}", self.cseq);
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let message = self.receive(end - Instant::now()).expect("no answer");
            if status(&message) >= 200
                && header(&message, "CSeq") == cseq
                && header(&message, "Call-ID") == self.call_id
            {
                return message;
            }
        }
    }

    fn request(&self, method: &str, uri: &str, lines: &str, body: &str) -> Vec<u8> {
        let token = match self.wire {
            Wire::Udp { .. } => "UDP",
            Wire::Tcp { .. } => "TCP",
        };
        let Client { user, call_id, cseq, .. } = self;
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/{token} {};rport;branch={}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@server>;tag=c\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             {lines}{content}Content-Length: {}\r\n\r\n{body}",
            self.local(),
            fresh("z9hG4bK"),
            body.len()
        )
        .into_bytes()
    }

    /// RFC 7616 §3.4, by MD5.
    fn credentials(&self, method: &str, uri: &str, challenge: &str) -> String {
        let value = header(challenge, "WWW-Authenticate");
        let nonce = value.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
        let realm = value.split("realm=\"").nth(1).unwrap().split('"').next().unwrap();
        let ha1 = Algorithm::Md5.ha1(&self.user, realm, &self.password).to_string();
        let ha2 = Algorithm::Md5.hash(&[method.as_bytes(), uri.as_bytes()]).to_string();
        let parts = [&ha1, nonce, "00000001", "cnonce", "auth", &ha2].map(str::as_bytes);
        let response = Algorithm::Md5.hash(&parts);
        format!(
            "Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", \
             uri=\"{uri}\", response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, \
             cnonce=\"cnonce\"\r\n",
            self.user
        )
    }

    fn local(&self) -> SocketAddr {
        match &self.wire {
            Wire::Udp { socket, .. } => socket.local_addr().unwrap(),
            Wire::Tcp { stream, .. } => stream.local_addr().unwrap(),
        }
    }

    pub fn transmit(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Udp { socket, server } => {
                socket.send_to(bytes, *server).unwrap();
            }
            Wire::Tcp { stream, .. } => stream.write_all(bytes).unwrap(),
        }
    }

    /// The next message, if one comes in time.
    pub fn receive(&mut self, most: Duration) -> Option<String> {
        let mut buffer = [0; 65_536];
        match &mut self.wire {
            Wire::Udp { socket, .. } => {
                socket.set_read_timeout(Some(most)).unwrap();
                let length = socket.recv(&mut buffer).ok()?;
                Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
            }
            Wire::Tcp { stream, pending } => {
                stream.set_read_timeout(Some(most)).unwrap();
                loop {
                    let text = String::from_utf8_lossy(pending).into_owned();
                    if let Some(head) = text.find("\r\n\r\n") {
                        let length: usize = header(&text, "Content-Length").parse().unwrap();
                        if pending.len() >= head + 4 + length {
                            let rest = pending.split_off(head + 4 + length);
                            let message = std::mem::replace(pending, rest);
                            return Some(String::from_utf8(message).unwrap());
                        }
                    }
                    let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
                    pending.extend_from_slice(&buffer[..length]);
                }
            }
        }
    }
}

/// The status of a response; 0 for a request.
pub fn status(message: &str) -> u16 {
    let code = message.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
    code.map_or(0, |code| code.parse().unwrap())
}

/// The first value of a header; empty if there is none.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let value = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_default()
}

fn fresh(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
