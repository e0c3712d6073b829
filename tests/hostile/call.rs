//! One call of a caller who can misbehave in it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::agent::Agent;
use crate::request::{Request, fresh, status, to_tag};
use crate::sdp;
use crate::server::media_socket;

pub struct Call {
    pub agent: Agent,
    pub media: UdpSocket,
    /// Where the server takes RTP; RTCP is one port up.
    pub rtp: SocketAddr,
    /// The INVITE that began it.
    pub invite: Request,
    /// The 200 that answered it.
    pub answer: String,
    cseq: u32,
}

impl Call {
    /// Calls a number and takes the answer.
    pub fn dial(agent: Agent, number: &str) -> Self {
        let mut call = Call::answered(agent, number);
        call.ack();
        call
    }

    /// Calls a number; the answer is not acknowledged yet.
    pub fn answered(mut agent: Agent, number: &str) -> Self {
        let media = media_socket(agent.local().ip());
        let invite = Request::new("INVITE", number).body(sdp::plain(media.local_addr().unwrap()));
        let answer = agent.ask(&invite);
        assert_eq!(status(&answer), 200, "{answer}");
        let rtp = sdp::rtp_address(&answer).unwrap();
        Call { agent, media, rtp, invite, answer, cseq: 1 }
    }

    /// The next request of the dialog.
    pub fn request(&mut self, method: &str) -> Request {
        self.cseq += 1;
        Request { cseq: self.cseq, ..self.again(method) }
    }

    /// A request of the dialog with the number of the INVITE.
    pub fn again(&self, method: &str) -> Request {
        Request {
            branch: fresh("z9hG4bK"),
            to_tag: to_tag(&self.answer),
            ..self.invite.same_transaction(method)
        }
    }

    pub fn ask(&mut self, request: &Request) -> String {
        self.agent.ask(request)
    }

    /// Acknowledges the 200 to the INVITE.
    pub fn ack(&mut self) {
        self.acknowledge(self.invite.cseq);
    }

    /// Acknowledges a 200 to a re-INVITE.
    pub fn acknowledge(&mut self, cseq: u32) {
        let ack = Request { cseq, ..self.again("ACK") };
        self.agent.send(&ack.bytes(&self.agent));
    }

    pub fn reinvite(&mut self) -> Request {
        let offer = sdp::plain(self.media.local_addr().unwrap());
        self.request("INVITE").body(offer)
    }

    pub fn hang_up(&mut self) {
        let bye = self.request("BYE");
        let answer = self.ask(&bye);
        assert_eq!(status(&answer), 200, "{answer}");
    }

    /// How many RTP packets come in a while.
    pub fn hear(&self, duration: Duration) -> usize {
        let end = std::time::Instant::now() + duration;
        let mut count = 0;
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
            self.media.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            count += usize::from(self.media.recv(&mut [0; 2048]).is_ok());
        }
        count
    }
}
