//! A WebSocket client whose frames can be made wrong (RFC 6455).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub struct WebSocket {
    stream: TcpStream,
    pending: Vec<u8>,
}

/// What came in one frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Data(Vec<u8>),
    Close(u16),
    Control,
}

impl WebSocket {
    pub fn open(server: SocketAddr) -> Self {
        WebSocket::open_at(server, "/ws")
    }

    pub fn open_at(server: SocketAddr, path: &str) -> Self {
        let (answer, stream) = upgrade_at(server, path, "Sec-WebSocket-Protocol: sip\r\n");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        WebSocket { stream, pending: Vec::new() }
    }

    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub fn send_text(&mut self, payload: &[u8]) -> std::io::Result<()> {
        // RFC 7118 §5: text unless it is not UTF-8.
        let opcode = if std::str::from_utf8(payload).is_ok() { TEXT } else { BINARY };
        self.send_raw(&frame(FINAL | opcode, payload))
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn receive_text(&mut self, most: Duration) -> Option<String> {
        let end = Instant::now() + most;
        loop {
            match self.receive(end.checked_duration_since(Instant::now())?)? {
                Frame::Data(payload) => {
                    return Some(String::from_utf8_lossy(&payload).into_owned());
                }
                Frame::Close(_) => return None,
                Frame::Control => {}
            }
        }
    }

    /// The code that the server closes with, if it does in time.
    pub fn close_code(&mut self, most: Duration) -> Option<u16> {
        let end = Instant::now() + most;
        loop {
            if let Frame::Close(code) = self.receive(end.checked_duration_since(Instant::now())?)? {
                return Some(code);
            }
        }
    }

    fn receive(&mut self, most: Duration) -> Option<Frame> {
        let end = Instant::now() + most;
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            let left = end.checked_duration_since(Instant::now())?;
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let mut buffer = [0; 16_384];
            let length = self.stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
            self.pending.extend_from_slice(&buffer[..length]);
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let &[first, short, ..] = &self.pending[..] else { return None };
        let (start, length) = match short {
            126 => {
                (4, usize::from(u16::from_be_bytes(self.pending.get(2..4)?.try_into().unwrap())))
            }
            127 => panic!("the server sends no frame of 64 KiB"),
            short => (2, usize::from(short)),
        };
        let payload = self.pending.get(start..start + length)?.to_vec();
        self.pending.drain(..start + length);
        Some(match first & 0x0f {
            TEXT | BINARY => Frame::Data(payload),
            CLOSE => {
                let code = payload.first_chunk().copied().unwrap_or_default();
                Frame::Close(u16::from_be_bytes(code))
            }
            _ => Frame::Control,
        })
    }
}

/// Asks for a WebSocket with further header lines; the head of the answer.
pub fn upgrade(server: SocketAddr, headers: &str) -> (String, TcpStream) {
    upgrade_at(server, "/ws", headers)
}

fn upgrade_at(server: SocketAddr, path: &str, headers: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (String::from_utf8(head).unwrap(), stream)
}

/// A masked frame; `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = head(first, payload.len() as u64);
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The head of a masked frame that announces `length` bytes, without its mask.
pub fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..=125 => head.push(0x80 | length as u8),
        126..=65_535 => {
            head.push(0x80 | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(length.to_be_bytes());
        }
    }
    head
}

pub const FINAL: u8 = 0x80;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
pub const PING: u8 = 9;
