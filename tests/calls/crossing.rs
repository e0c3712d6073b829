//! What happens on the network between an order of a call and the moment at which it is carried out.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Once;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use sidetone::calls::{Dial, SipCommand, SipEvent, SipPort};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use transport::net::{CloseReason, NetEvent};
use transport::{
    Flow, FlowId, Framing, Limits, Message, Method, Name, ResponseWriter, TransportKind,
};

use crate::agent::address;
use crate::link::PERFECT;
use crate::office::Office;
use crate::simulation::{self, SERVER, Simulation, datagram};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                   m=audio 40002 RTP/AVP 0\r\n";

#[test]
fn rfc3261_15_a_bye_reaches_a_phone_whose_connection_closes_as_it_is_sent() {
    for is_told_first in [true, false] {
        simulation::run(1, |seed| async move {
            let mut simulation = Simulation::new(seed, PERFECT);
            let peer: SocketAddr = "192.0.2.60:5070".parse().unwrap();
            let (_link, mut arrived) = simulation.line(peer);
            let flow =
                Flow { id: FlowId(9), kind: TransportKind::Tcp, local: SERVER, remote: peer };
            let mut port = SipPort::dial(&simulation.dialer, dial(flow));
            let invite = read(arrived.recv().await.unwrap());
            let answer = read(answer(&invite, peer));
            simulation.happen(NetEvent::Message { flow, message: answer });
            assert_eq!(*read(arrived.recv().await.unwrap()).method(), Method::Ack);
            let closed = NetEvent::Closed { flow, reason: CloseReason::Peer };
            let cause = dialplan::Cause::NORMAL_CLEARING;
            let hang_up = SipCommand::HangUp { cause, reason: None };
            simulation.close(flow.id);
            if is_told_first {
                simulation.happen(closed);
                settle().await;
                port.command(hang_up).await;
            } else {
                port.command(hang_up).await;
                settle().await;
                simulation.happen(closed);
            }
            // By another connection: what was written into the closed one is gone.
            assert_eq!(*next(&mut arrived).await.method(), Method::Bye);
        });
    }
}

#[test]
fn calls_that_hang_up_on_a_closed_connection_leave_the_others_on_it_alone() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let peer: SocketAddr = "192.0.2.60:5070".parse().unwrap();
        let (_link, mut arrived) = simulation.line(peer);
        let flow = Flow { id: FlowId(9), kind: TransportKind::Tcp, local: SERVER, remote: peer };
        let mut ports = Vec::new();
        for _ in 0..50 {
            ports.push(SipPort::dial(&simulation.dialer, dial(flow)));
            let answer = read(answer(&next(&mut arrived).await, peer));
            simulation.happen(NetEvent::Message { flow, message: answer });
            assert_eq!(*next(&mut arrived).await.method(), Method::Ack);
        }
        let mut stays = ports.pop().unwrap();
        simulation.close(flow.id);
        drop(ports);
        for _ in 0..49 {
            assert_eq!(*next(&mut arrived).await.method(), Method::Bye);
        }
        let mut told = Vec::new();
        while let Ok(Some(event)) = timeout(Duration::from_secs(1), stays.event()).await {
            told.push(event);
        }
        let closed = told.iter().filter(|event| matches!(event, SipEvent::FlowClosed)).count();
        assert!(closed == 1 && !format!("{told:?}").contains("Ended"), "{told:?}");
    });
}

#[test]
fn rfc3261_9_2_a_caller_who_cancels_as_we_answer_is_recorded_as_one_who_cancelled() {
    let mut statuses = Vec::new();
    // The cancellation comes when the call has not heard of the callee's answer, when it has and
    // its order is under way, and when that is carried out.
    for turns in 0..6 {
        simulation::run(1, |seed| {
            let statuses = &mut statuses;
            async move {
                keep_log();
                let status = cancelled_after(Office::new(seed, |_| {}), turns).await;
                let result = if status == 200 { "answered" } else { "cancelled" };
                assert_eq!(results(), [result], "{status} after {turns}");
                statuses.push(status);
            }
        });
    }
    assert!(statuses.contains(&200) && statuses.contains(&487), "{statuses:?}");
}

/// What a caller is answered whose CANCEL comes after the 200 of the callee, and after so many
/// turns of everybody else.
async fn cancelled_after(mut office: Office, turns: u32) -> u16 {
    let (caller, callee): (SocketAddr, _) = ("192.0.2.10:5060".parse().unwrap(), address(1));
    let (_to_server, mut to_callee) = office.simulation.line(callee);
    let (_link, mut to_caller) = office.simulation.line(caller);
    office.simulation.arrive(caller, request("INVITE", SDP));
    let invite = next(&mut to_callee).await;
    let network = office.simulation.network();
    let answered = datagram(callee, answer(&invite, callee));
    let cancelled = datagram(caller, request("CANCEL", ""));
    tokio::spawn(async move {
        network.try_send(answered).unwrap();
        for _ in 0..turns {
            one_turn().await;
        }
        network.try_send(cancelled).unwrap();
    });
    let finals = async {
        loop {
            let message = next(&mut to_caller).await;
            let status = message.status().unwrap_or(0);
            if *message.method() == Method::Invite && status >= 200 {
                return status;
            }
        }
    };
    let status = finals.await;
    // Nobody acknowledges a 200, which ends the call in its own time.
    sleep(Duration::from_secs(60)).await;
    status
}

fn dial(flow: Flow) -> Dial {
    Dial {
        call_id: "1".to_owned(),
        uri: format!("sip:bob@{};transport=tcp", flow.remote),
        routes: Vec::new(),
        flow: Some(flow),
        transport: TransportKind::Udp,
        from_user: "3001".to_owned(),
        from_name: None,
        to_user: None,
        max_forwards: 69,
        description: "v=0\r\n".to_owned(),
        headers: Vec::new(),
    }
}

/// A request of 192.0.2.10 to the user `one`.
pub fn request(method: &str, body: &str) -> Bytes {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let len = body.len();
    Bytes::from(format!(
        "{method} sip:one@192.0.2.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKcross\r\n\
         Max-Forwards: 70\r\nFrom: <sip:z@192.0.2.10>;tag=a\r\nTo: <sip:one@192.0.2.1>\r\n\
         Call-ID: cross\r\nCSeq: 1 {method}\r\nContact: <sip:z@192.0.2.10:5060>\r\n\
         {kind}Content-Length: {len}\r\n\r\n{body}"
    ))
}

fn answer(invite: &Message, peer: SocketAddr) -> Bytes {
    let flow = Flow { id: FlowId(0), kind: TransportKind::Udp, local: peer, remote: peer };
    let contact = format_args!("<sip:bob@{peer};transport=tcp>");
    let writer = ResponseWriter::to(invite, &flow, 200).to_tag("answered");
    writer.header(Name::Contact, contact).body("application/sdp", SDP.as_bytes()).finish()
}

async fn next(arrived: &mut UnboundedReceiver<Bytes>) -> Message {
    let bytes = timeout(Duration::from_secs(100), arrived.recv()).await;
    read(bytes.expect("a message comes").unwrap())
}

fn read(bytes: Bytes) -> Message {
    Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap()
}

/// Until every task that has something to do now has had one turn.
async fn one_turn() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Until everybody has done what there is to do now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

thread_local! {
    /// What is logged by the simulation of this thread, if anybody wants to know.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Keeps what is logged from now on. The subscriber is one for all threads: `tracing` remembers what
/// nobody listens to, also for those who do on another one.
fn keep_log() {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
    LOG.set(Some(Vec::new()));
}

/// How the calls ended, by the log that was kept.
fn results() -> Vec<String> {
    let log = String::from_utf8(LOG.take().unwrap_or_default()).unwrap();
    let ends = log.lines().filter(|line| line.contains("call ended"));
    let result = |line: &str| Some(line.split("result=\"").nth(1)?.split('"').next()?.to_owned());
    ends.filter_map(result).collect()
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.iter_mut().for_each(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
