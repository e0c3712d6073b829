//! What happens on the network between an order of a call and the moment at which it is carried out.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use sidetone::calls::{Dial, SipCommand, SipEvent, SipPort};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use transport::net::{CloseReason, NetEvent};
use transport::{Flow, FlowId, Message, Method, Name, ResponseWriter, TransportKind};

use crate::agent::address;
use crate::dialing;
use crate::link::PERFECT;
use crate::office::{Office, request};
use crate::simulation::{self, SERVER, Simulation, datagram, read};

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
                let mut office = Office::new(seed, |_| {});
                let status = cancelled_after(&mut office, turns).await;
                let result = if status == 200 { "answered" } else { "cancelled" };
                let ended = office.simulation.samples("sidetone_calls_ended_total{");
                let incoming: Vec<_> = ended.iter().filter(|end| end.contains("\"in\"")).collect();
                let is_right = incoming.len() == 1 && incoming[0].contains(result);
                assert!(is_right, "{status} after {turns}: {incoming:?}");
                statuses.push(status);
            }
        });
    }
    assert!(statuses.contains(&200) && statuses.contains(&487), "{statuses:?}");
}

/// What a caller is answered whose CANCEL comes after the 200 of the callee, and after so many
/// turns of everybody else.
async fn cancelled_after(office: &mut Office, turns: u32) -> u16 {
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
    let uri = format!("sip:bob@{};transport=tcp", flow.remote);
    Dial { uri, flow: Some(flow), ..dialing::dial() }
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
