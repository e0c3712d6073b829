//! A peer of the server over UDP, TCP or WebSocket: it sends what it is told and reads answers.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::request::{Request, header, status, to_tag};
use crate::websocket::WebSocket;

pub struct Agent {
    wire: Wire,
}

/// Makes an agent for a server's address.
pub type Connect = fn(SocketAddr) -> Agent;

enum Wire {
    Udp { socket: UdpSocket, server: SocketAddr },
    Tcp { stream: TcpStream, pending: Vec<u8> },
    Ws(WebSocket),
}

impl Agent {
    pub fn udp(server: SocketAddr) -> Self {
        Agent::udp_from(server.ip(), server)
    }

    /// Over UDP from another address of loopback.
    pub fn udp_from(ip: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        Agent { wire: Wire::Udp { socket, server } }
    }

    pub fn tcp(server: SocketAddr) -> Self {
        Agent::over(TcpStream::connect(server).unwrap())
    }

    /// Over TCP from another address of loopback.
    pub fn tcp_from(ip: IpAddr, server: SocketAddr) -> Self {
        Agent::over(connect_from(ip, server))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Agent { wire: Wire::Tcp { stream, pending: Vec::new() } }
    }

    /// Over the next connection that the server makes.
    pub fn accepted(listener: &TcpListener) -> Self {
        Agent::over(listener.accept().unwrap().0)
    }

    pub fn ws(server: SocketAddr) -> Self {
        Agent { wire: Wire::Ws(WebSocket::open(server)) }
    }

    /// Over a WebSocket of this path and query.
    pub fn ws_at(server: SocketAddr, path: &str) -> Self {
        Agent { wire: Wire::Ws(WebSocket::open_at(server, path)) }
    }

    pub fn token(&self) -> &'static str {
        match self.wire {
            Wire::Udp { .. } => "UDP",
            Wire::Tcp { .. } => "TCP",
            Wire::Ws(_) => "WS",
        }
    }

    pub fn local(&self) -> SocketAddr {
        match &self.wire {
            Wire::Udp { socket, .. } => socket.local_addr().unwrap(),
            Wire::Tcp { stream, .. } => stream.local_addr().unwrap(),
            Wire::Ws(socket) => socket.local(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends to a server that may have closed the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.wire {
            Wire::Udp { socket, server } => socket.send_to(bytes, *server).map(|_| ()),
            Wire::Tcp { stream, .. } => stream.write_all(bytes),
            Wire::Ws(socket) => socket.send_text(bytes),
        }
    }

    /// Sends a request and takes its final response; an INVITE that is refused is acknowledged.
    pub fn ask(&mut self, request: &Request) -> String {
        let answer = self.try_ask(request, Duration::from_secs(10));
        answer.unwrap_or_else(|| panic!("{} is not answered", request.method))
    }

    pub fn try_ask(&mut self, request: &Request, most: Duration) -> Option<String> {
        let bytes = request.bytes(self);
        let end = Instant::now() + most;
        while Instant::now() < end {
            self.try_send(&bytes).ok()?;
            let is_repeated = matches!(self.wire, Wire::Udp { .. });
            let slice = if is_repeated { Duration::from_millis(500) } else { most };
            let Some(answer) = self.final_response(request, slice) else { continue };
            if request.method == "INVITE" && status(&answer) >= 300 {
                let ack = Request { to_tag: to_tag(&answer), ..request.same_transaction("ACK") };
                self.try_send(&ack.bytes(self)).ok()?;
            }
            return Some(answer);
        }
        None
    }

    /// The final response to a request that was sent before.
    pub fn final_response(&mut self, request: &Request, most: Duration) -> Option<String> {
        let cseq = format!("{} {}", request.cseq, request.method);
        let end = Instant::now() + most;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            let message = self.receive(left)?;
            let is_ours = header(&message, "Call-ID") == Some(&request.call_id)
                && header(&message, "CSeq") == Some(&cseq);
            if is_ours && status(&message) >= 200 {
                return Some(message);
            }
        }
    }

    /// The next request of the server, which stays unanswered.
    pub fn next_request(&mut self, most: Duration) -> Option<String> {
        let end = Instant::now() + most;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            let message = self.receive(left)?;
            if status(&message) == 0 {
                return Some(message);
            }
        }
    }

    /// Answers a request of the server.
    pub fn answer(&mut self, request: &str, status_line: &str, more: &str) {
        let mut response = format!("SIP/2.0 {status_line}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            response += &format!("{name}: {}\r\n", header(request, name).unwrap());
        }
        self.send(format!("{response}{more}Content-Length: 0\r\n\r\n").as_bytes());
    }

    /// The next message, if one comes in time.
    pub fn receive(&mut self, most: Duration) -> Option<String> {
        let most = most.max(Duration::from_millis(1));
        match &mut self.wire {
            Wire::Udp { socket, .. } => {
                let mut buffer = [0; 65_536];
                socket.set_read_timeout(Some(most)).unwrap();
                let length = socket.recv(&mut buffer).ok()?;
                Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
            }
            Wire::Tcp { stream, pending } => {
                let end = Instant::now() + most;
                loop {
                    if let Some(message) = framed(pending) {
                        return Some(message);
                    }
                    let left = end.checked_duration_since(Instant::now())?;
                    stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
                    let mut buffer = [0; 65_536];
                    let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
                    pending.extend_from_slice(&buffer[..length]);
                }
            }
            Wire::Ws(socket) => socket.receive_text(most),
        }
    }
}

pub fn connect_from(ip: IpAddr, server: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((ip, 0).into()).unwrap();
        let stream = socket.connect(server).await.unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    })
}

/// Takes the first whole message out of what a stream brought.
fn framed(pending: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8_lossy(pending).into_owned();
    let head = text.find("\r\n\r\n")? + 4;
    let length: usize = header(&text, "Content-Length").unwrap().parse().unwrap();
    (pending.len() >= head + length).then(|| {
        let message: Vec<u8> = pending.drain(..head + length).collect();
        String::from_utf8_lossy(&message).into_owned()
    })
}
