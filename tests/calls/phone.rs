//! A phone of the simulation: a UAC on the transaction layer, and plain RTP in PCMU.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use transaction::{Event, TransactionLayer};
use transport::{
    Flow, FlowId, Message, Method, Name, RequestWriter, ResponseWriter, TransportKind, Uri,
};

use crate::link::Link;
use crate::media::{Datagram, Packet};
use crate::simulation::read;

pub struct Phone {
    flow: Flow,
    transactions: TransactionLayer,
    to_server: Link<Bytes>,
    from_server: mpsc::UnboundedReceiver<Bytes>,
    pub rtp_to_server: Link<Datagram>,
    pub rtp_from_server: mpsc::UnboundedReceiver<Packet>,
    pub rtp_address: SocketAddr,
    /// Where the answer wants our media.
    pub peer_rtp: Option<SocketAddr>,
    call_id: String,
    number: String,
    to: String,
    target: Option<Uri>,
    cseq: u32,
    branches: u32,
    /// The BYE of the server, once it came.
    pub bye: Option<Message>,
}

/// The two directions of a phone's links, as the phone holds them.
pub struct Ends {
    pub to_server: Link<Bytes>,
    pub from_server: mpsc::UnboundedReceiver<Bytes>,
    pub rtp_to_server: Link<Datagram>,
    pub rtp_from_server: mpsc::UnboundedReceiver<Packet>,
}

impl Phone {
    pub fn new(index: u16, server: SocketAddr, ends: Ends, seed: u64) -> Self {
        let local: SocketAddr = ([192, 0, 2, 10], 5060 + index).into();
        let rtp_address = SocketAddr::new(local.ip(), 20_000 + 2 * index);
        Phone {
            // The phone's own side: what it sends goes to the server.
            flow: Flow { id: FlowId(1), kind: TransportKind::Udp, local, remote: server },
            transactions: TransactionLayer::new(transaction::Config::default(), seed),
            to_server: ends.to_server,
            from_server: ends.from_server,
            rtp_to_server: ends.rtp_to_server,
            rtp_from_server: ends.rtp_from_server,
            rtp_address,
            peer_rtp: None,
            call_id: format!("{seed:x}-{index}@phone"),
            number: String::new(),
            to: String::new(),
            target: None,
            cseq: 0,
            branches: 0,
            bye: None,
        }
    }

    /// Calls a number; the status of the final response.
    pub async fn call(&mut self, number: &str) -> u16 {
        self.invite(number);
        let answer = self.final_response(Duration::from_secs(40)).await.expect("no final response");
        answer.status().unwrap()
    }

    /// Starts a call and waits for nothing.
    pub fn invite(&mut self, number: &str) {
        self.number = number.to_owned();
        self.to = format!("<sip:{number}@server>");
        let (ip, port) = (self.rtp_address.ip(), self.rtp_address.port());
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\n"
        );
        self.cseq += 1;
        let invite = self.request(Method::Invite, self.cseq, Some(&sdp));
        let now = Instant::now().into_std();
        self.transactions.request(invite, self.flow, now).unwrap();
        self.flush();
    }

    /// Hangs up; the status of the answer, if one came.
    pub async fn hang_up(&mut self) -> Option<u16> {
        self.cseq += 1;
        let bye = self.request(Method::Bye, self.cseq, None);
        let now = Instant::now().into_std();
        self.transactions.request(bye, self.flow, now).unwrap();
        self.final_response(Duration::from_secs(40)).await?.status()
    }

    /// Lets time pass, answering what comes; ends early when the server has hung up.
    pub async fn stay(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while self.bye.is_none() && self.step(end).await.is_some() {}
    }

    async fn final_response(&mut self, most: Duration) -> Option<Message> {
        let end = Instant::now() + most;
        loop {
            let event = self.step(end).await?;
            if let Some(Event::Response { message, .. }) = event {
                let status = message.status().unwrap();
                if status < 200 {
                    continue;
                }
                return Some(message);
            }
        }
    }

    /// One event of the layer, `Some(None)` for a step without one, `None` at the end of time.
    async fn step(&mut self, end: Instant) -> Option<Option<Event>> {
        self.flush();
        if let Some(event) = self.transactions.poll_event() {
            self.handle(&event);
            return Some(Some(event));
        }
        let deadline = self.transactions.poll_timeout().map_or(end, |due| end.min(due.into()));
        tokio::select! {
            bytes = self.from_server.recv() => {
                let message = read(bytes?);
                let now = Instant::now().into_std();
                self.transactions.handle_message(message, self.flow, now);
            }
            () = sleep_until(deadline) => {
                if Instant::now() >= end {
                    return None;
                }
                self.transactions.handle_timeout(Instant::now().into_std());
            }
        }
        self.flush();
        Some(None)
    }

    fn handle(&mut self, event: &Event) {
        match event {
            // Each repetition of a 2xx is acknowledged (RFC 3261 §13.2.2.4).
            Event::Response { message, .. }
                if *message.method() == Method::Invite
                    && message.status().is_some_and(|status| (200..300).contains(&status)) =>
            {
                self.to = message.header(Name::To).unwrap().into_owned();
                self.target = Some(message.contact().unwrap().uri().clone());
                self.peer_rtp = media_address(&message.body());
                let cseq = message.cseq().unwrap().number;
                let ack = self.request(Method::Ack, cseq, None);
                self.to_server.send(ack);
            }
            Event::Request { id, message, flow } if *message.method() == Method::Bye => {
                let ok = ResponseWriter::to(message, flow, 200).finish();
                self.transactions.respond(*id, 200, ok, Instant::now().into_std()).unwrap();
                self.bye = Some(message.clone());
            }
            _ => {}
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.transactions.poll_transmit() {
            self.to_server.send(transmit.bytes);
        }
    }

    fn request(&mut self, method: Method, cseq: u32, sdp: Option<&str>) -> Bytes {
        self.branches += 1;
        let branch = format!("z9hG4bK{}{}", self.call_id.replace('@', ""), self.branches);
        let uri = match &self.target {
            Some(target) => target.clone(),
            None => format!("sip:{}@{}", self.number, self.flow.remote).parse().unwrap(),
        };
        let writer = RequestWriter::new(method, &uri)
            .via(TransportKind::Udp, self.flow.local, &branch)
            .max_forwards(70)
            .header(Name::From, "<sip:phone@server>;tag=phone")
            .header(Name::To, &self.to)
            .header(Name::CallId, &self.call_id)
            .cseq(cseq)
            .header(Name::Contact, format!("<sip:phone@{}>", self.flow.local));
        match sdp {
            Some(sdp) => writer.body("application/sdp", sdp.as_bytes()).finish(),
            None => writer.finish(),
        }
    }

    /// The packets that have arrived.
    pub async fn packets(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Ok(Some(packet)) =
            timeout(Duration::from_millis(1), self.rtp_from_server.recv()).await
        {
            packets.push(packet);
        }
        packets
    }
}

/// Where a session description wants its audio.
fn media_address(sdp: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(sdp).ok()?;
    let port = text.split("m=audio ").nth(1)?.split(' ').next()?.parse().ok()?;
    let ip = text.split("c=IN IP4 ").nth(1)?.lines().next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}
