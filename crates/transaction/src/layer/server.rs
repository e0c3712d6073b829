//! The server side of the table.

use std::time::Instant;

use bytes::Bytes;
use memchr::{memchr, memmem};
use rand::Rng as _;
use tracing::debug;
use transport::{Flow, Message, Method, ResponseWriter, routing, tag_of};

use super::{Event, Key, Owner, TransactionLayer, slot_of};
use crate::action::ServerAction;
use crate::error::Error;
use crate::event::ServerId;
use crate::key;
use crate::machine::{ServerInput, ServerMachine};
use crate::schedule::{Purpose, Running};
use crate::timer::Timer;

/// A server transaction. Two thousand calls a second keep over a hundred thousand of these for
/// their 32 seconds, so after the final response only what a retransmission needs is left.
pub(super) struct Server {
    generation: u32,
    machine: ServerMachine,
    key: Key,
    merge: Option<u64>,
    /// Where responses go.
    flow: Flow,
    /// What 100 is made from, until another response has been sent.
    request: Option<Message>,
    /// The last response, unless it is the user's to repeat.
    response: Option<Bytes>,
    /// Our tag in the 2xx of an INVITE, for a CANCEL that comes too late (RFC 3261 §9.2).
    accepted_tag: Option<Box<str>>,
    /// How often the retransmission timer has been started.
    round: u8,
    /// Bytes of the request and its copies, without bound in a dialog, and of the responses.
    received: u32,
    sent: u32,
    /// It is one of those that far more is sent to than has come.
    is_overspent: bool,
    /// A CANCEL, which the layer answers itself.
    is_internal: bool,
    running: Running,
}

impl Server {
    fn count_sent(&mut self, response: &Bytes) {
        self.sent = self.sent.saturating_add(bytes_of(response));
    }

    /// The source of a datagram may be forged, and its owner never acknowledges: unasked it is sent
    /// three times what has come (as RFC 9000 §8.1 has it), and more only while few are. Who asks
    /// again is answered.
    fn may_repeat(&mut self, overspent: &mut usize) -> bool {
        let next = self.response.as_ref().map_or(0, bytes_of);
        let is_owed =
            self.sent.saturating_add(next) <= self.received.saturating_mul(AMPLIFICATION_MAX);
        if !is_owed && !self.is_overspent && *overspent < OVERSPENT_MAX {
            self.is_overspent = true;
            *overspent += 1;
        }
        is_owed || self.is_overspent
    }
}

fn bytes_of(message: &Bytes) -> u32 {
    u32::try_from(message.len()).unwrap_or(u32::MAX)
}

/// Bytes that go to a source that has proved nothing, for each that came.
const AMPLIFICATION_MAX: u32 = 3;
/// Transactions at once that send more: ACKs are lost, too.
const OVERSPENT_MAX: usize = 100;

impl TransactionLayer {
    /// Sends a response in `id`; `bytes` is the whole message and `status` its status code.
    ///
    /// A 2xx to INVITE may be given again and again until its ACK (RFC 3261 §13.3.1.4).
    ///
    /// # Errors
    ///
    /// [`Error::Ended`], [`Error::AlreadyAnswered`], [`Error::StatusRange`].
    pub fn respond(
        &mut self,
        id: ServerId,
        status: u16,
        bytes: Bytes,
        now: Instant,
    ) -> Result<(), Error> {
        if !(100..=699).contains(&status) {
            return Err(Error::StatusRange { status });
        }
        let server = self
            .servers
            .get_mut(id.slot as usize)
            .filter(|server| server.generation == id.generation)
            .ok_or(Error::Ended)?;
        let actions = server.machine.step(ServerInput::Response(status));
        if actions.is_empty() {
            return Err(Error::AlreadyAnswered { status });
        }
        server.request = None;
        self.run_server(id.slot, actions, Input::Response(bytes), now);
        Ok(())
    }

    /// The peer of a request is reached by another flow of the same transport now, as when its
    /// connection broke: responses go there (RFC 3261 §18.2.2). The last one goes at once, since it may
    /// have been lost and a reliable transport repeats none.
    pub fn move_server(&mut self, id: ServerId, flow: Flow) {
        let server = self.servers.get_mut(id.slot as usize);
        let server = server
            .filter(|server| server.generation == id.generation && server.flow.kind == flow.kind);
        let Some(server) = server else { return };
        server.flow = flow;
        if flow.kind.is_reliable()
            && let Some(bytes) = server.response.clone()
        {
            self.counters.response_retransmissions_sent += 1;
            self.transmit(flow, bytes);
        }
    }

    pub(super) fn handle_request(&mut self, message: Message, flow: Flow, now: Instant) {
        let Some(key) = key::of_request(&message) else {
            self.counters.messages_unmatchable += 1;
            return;
        };
        let slot = self.server_keys.get(&key).copied();
        match (message.method(), slot) {
            (Method::Ack, Some(slot)) => {
                self.step_server(slot, ServerInput::Ack, Input::Request(message, flow), now);
            }
            (Method::Ack, None) => self.events.push_back(Event::Ack { message, flow }),
            (_, Some(slot)) => {
                self.counters.request_retransmissions_received += 1;
                if let Some(server) = self.servers.get_mut(slot as usize) {
                    server.received = server.received.saturating_add(bytes_of(message.bytes()));
                }
                self.step_server(slot, ServerInput::Retransmission, Input::Nothing, now);
            }
            (Method::Cancel, None) => self.handle_cancel(message, key, flow, now),
            (_, None) => self.handle_new_request(message, key, flow, now),
        }
    }

    /// Whether a request belongs to a server transaction that exists: it was sent again, or it is
    /// the ACK of a refusal.
    pub fn has_server(&self, request: &Message) -> bool {
        key::of_request(request).is_some_and(|key| self.server_keys.contains_key(&key))
    }

    pub(super) fn server_timeout(&mut self, slot: u32, purpose: Purpose, now: Instant) {
        let server = self.servers.get_mut(slot as usize);
        if let Some(timer) = server.and_then(|server| server.running.take(purpose)) {
            self.step_server(slot, ServerInput::Timer(timer), Input::Nothing, now);
        }
    }

    fn handle_new_request(&mut self, message: Message, key: Key, flow: Flow, now: Instant) {
        let merge = key::of_merge(&message, self.merge_secret);
        if merge.is_some_and(|merge| self.merges.contains_key(&merge)) {
            self.counters.merged_requests += 1;
            debug!(call_id = message.call_id(), "merged request");
            self.answer(&message, &flow, 482);
            return;
        }
        if self.is_full() {
            self.counters.overflows += 1;
            debug!(transactions = self.len(), "transactions_max reached");
            self.events.push_back(Event::Overflow { message, flow });
            return;
        }
        self.start_server(message, key, merge, flow, false, now);
    }

    /// RFC 3261 §9.2. The CANCEL of an INVITE that is known has a transaction of its own; any other is
    /// answered without, and so are all at the bound: none takes the place of a call's request.
    fn handle_cancel(&mut self, message: Message, key: Key, flow: Flow, now: Instant) {
        let invite =
            key::of_cancelled(&message).and_then(|key| self.server_keys.get(&key).copied());
        let invite = invite.and_then(|slot| Some((slot, self.servers.get(slot as usize)?)));
        let tag = invite.and_then(|(_, server)| match &server.accepted_tag {
            Some(tag) => Some(tag.to_string()),
            None => local_tag(server.response.as_ref()?).map(str::to_owned),
        });
        let cancelled = invite
            .filter(|(_, server)| server.machine.is_cancellable())
            .map(|(slot, server)| ServerId { slot, generation: server.generation });
        let is_unmatched = invite.is_none();
        let status = if is_unmatched { 481 } else { 200 };
        self.counters.cancels_unmatched += u64::from(is_unmatched);
        let tag = tag.unwrap_or_else(|| self.new_tag());
        let bytes = write_response(&message, &flow, status, Some(&tag));
        if is_unmatched || self.is_full() {
            self.transmit(routing::response_flow(&message, &flow), bytes);
        } else {
            let id = self.start_server(message.clone(), key, None, flow, true, now);
            let answered = self.respond(id, status, bytes, now);
            debug_assert!(answered.is_ok(), "a new transaction takes a response");
        }
        if let Some(invite) = cancelled {
            self.events.push_back(Event::Cancel { invite, message });
        }
    }

    fn start_server(
        &mut self,
        message: Message,
        key: Key,
        merge: Option<u64>,
        flow: Flow,
        is_internal: bool,
        now: Instant,
    ) -> ServerId {
        let generation = self.next_generation();
        let is_invite = *message.method() == Method::Invite;
        let (machine, actions) = ServerMachine::new(is_invite);
        let server = Server {
            generation,
            machine,
            key: key.clone(),
            merge,
            flow: routing::response_flow(&message, &flow),
            request: is_invite.then(|| message.clone()),
            response: None,
            accepted_tag: None,
            round: 0,
            // Who is in a dialog has read what we sent there.
            received: message.to_tag().map_or_else(|| bytes_of(message.bytes()), |_| u32::MAX),
            sent: 0,
            is_overspent: false,
            is_internal,
            running: Running::default(),
        };
        let slot = slot_of(self.servers.insert(Box::new(server)));
        self.server_keys.insert(key, slot);
        if let Some(merge) = merge {
            self.merges.insert(merge, slot);
        }
        self.run_server(slot, actions, Input::Request(message, flow), now);
        ServerId { slot, generation }
    }

    fn step_server(&mut self, slot: u32, step: ServerInput, input: Input, now: Instant) {
        let Some(server) = self.servers.get_mut(slot as usize) else { return };
        let actions = server.machine.step(step);
        self.run_server(slot, actions, input, now);
    }

    fn run_server(
        &mut self,
        slot: u32,
        actions: &'static [ServerAction],
        input: Input,
        now: Instant,
    ) {
        let mut elapsed = None;
        for &action in actions {
            elapsed = self.act_server(slot, action, &input, now).or(elapsed);
        }
        let Some(server) = self.servers.get(slot as usize) else { return };
        if server.machine.is_terminated() {
            self.remove_server(slot);
        } else if let Some(timer) = elapsed {
            self.step_server(slot, ServerInput::Timer(timer), Input::Nothing, now);
        }
    }

    /// Carries one action out. Gives the timer that it started if that has no time to run.
    fn act_server(
        &mut self,
        slot: u32,
        action: ServerAction,
        input: &Input,
        now: Instant,
    ) -> Option<Timer> {
        let server = self.servers.get_mut(slot as usize)?;
        let (id, flow) = (ServerId { slot, generation: server.generation }, server.flow);
        match (action, input) {
            (ServerAction::Request, Input::Request(message, flow)) if !server.is_internal => {
                let (message, flow) = (message.clone(), *flow);
                self.events.push_back(Event::Request { id, message, flow });
            }
            (ServerAction::Ack, Input::Request(message, flow)) => {
                self.events.push_back(Event::Ack { message: message.clone(), flow: *flow });
            }
            (ServerAction::Send, Input::Response(bytes)) => {
                server.response = Some(bytes.clone());
                server.count_sent(bytes);
                self.transmit(flow, bytes.clone());
            }
            (ServerAction::Forward, Input::Response(bytes)) => {
                server.response = None;
                if server.accepted_tag.is_none() {
                    server.accepted_tag = local_tag(bytes).map(Box::from);
                }
                self.transmit(flow, bytes.clone());
            }
            (ServerAction::Repeat, _) if !server.may_repeat(&mut self.overspent) => {}
            (ServerAction::Resend | ServerAction::Repeat, _) => {
                let bytes = server.response.clone()?;
                server.count_sent(&bytes);
                self.counters.response_retransmissions_sent += 1;
                self.transmit(flow, bytes);
            }
            (ServerAction::Trying, _) => {
                let bytes = write_response(&server.request.take()?, &flow, 100, None);
                server.response = Some(bytes.clone());
                server.count_sent(&bytes);
                self.transmit(flow, bytes);
            }
            (ServerAction::Start(timer), _) => return self.start_server_timer(slot, timer, now),
            (ServerAction::Stop(timer), _) => {
                self.schedule.stop(&mut server.running, timer, Owner::Server(slot));
            }
            (ServerAction::Timeout, _) if !server.is_internal => {
                self.events.push_back(Event::Unanswered { id });
            }
            (
                ServerAction::Request
                | ServerAction::Ack
                | ServerAction::Send
                | ServerAction::Forward
                | ServerAction::Timeout,
                _,
            ) => {}
        }
        None
    }

    fn start_server_timer(&mut self, slot: u32, timer: Timer, now: Instant) -> Option<Timer> {
        let server = self.servers.get_mut(slot as usize)?;
        let is_reliable = server.flow.kind.is_reliable();
        let round = if timer == Timer::G { server.round } else { 0 };
        let duration = self.config.timers.duration(timer, round, is_reliable)?;
        if timer == Timer::G {
            server.round = server.round.saturating_add(1);
        }
        if duration.is_zero() {
            return Some(timer);
        }
        self.schedule.start(&mut server.running, timer, Owner::Server(slot), now + duration);
        None
    }

    /// Answers a request for which no transaction is kept.
    fn answer(&mut self, request: &Message, flow: &Flow, status: u16) {
        let tag = self.new_tag();
        let bytes = write_response(request, flow, status, Some(&tag));
        self.transmit(routing::response_flow(request, flow), bytes);
    }

    fn new_tag(&mut self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    fn remove_server(&mut self, slot: u32) {
        let Some(mut server) = self.servers.try_remove(slot as usize) else { return };
        self.overspent -= usize::from(server.is_overspent);
        self.schedule.stop_all(&mut server.running, Owner::Server(slot));
        self.server_keys.remove(&server.key);
        if let Some(merge) = server.merge {
            self.merges.remove(&merge);
        }
        if !server.is_internal {
            let id = ServerId { slot, generation: server.generation };
            self.events.push_back(Event::ServerTerminated { id });
        }
    }
}

/// What comes with a step, for the actions that need it.
enum Input {
    Request(Message, Flow),
    Response(Bytes),
    Nothing,
}

/// A response of the layer's own. 100 carries no tag (RFC 3261 §8.2.6.2).
fn write_response(request: &Message, flow: &Flow, status: u16, tag: Option<&str>) -> Bytes {
    let writer = ResponseWriter::to(request, flow, status);
    match tag {
        Some(tag) => writer.to_tag(tag).finish(),
        None => writer.finish(),
    }
}

/// The tag that the user gave the INVITE; a CANCEL is answered with the same (RFC 3261 §9.2).
/// `response` is of our own writer, which begins each field on a line of its own.
fn local_tag(response: &[u8]) -> Option<&str> {
    const TO: &[u8] = b"\r\nTo: ";
    let value = response.get(memmem::find(response, TO)? + TO.len()..)?;
    let tag = tag_of(value.get(..memchr(b'\r', value)?)?)?;
    std::str::from_utf8(tag).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_small() {
        let bytes = size_of::<Server>();
        assert!(bytes <= 256, "{bytes} bytes for each of a hundred thousand transactions");
    }
}
