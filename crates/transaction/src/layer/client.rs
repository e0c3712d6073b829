//! The client side of the table.

use std::time::Instant;

use bytes::Bytes;
use transport::{Flow, Framing, Limits, Message, Method, Name, RequestWriter};

use super::{Event, Key, Owner, TransactionLayer, slot_of};
use crate::action::ClientAction;
use crate::error::Error;
use crate::event::ClientId;
use crate::key;
use crate::machine::{ClientInput, ClientMachine};
use crate::schedule::{Purpose, Running};
use crate::timer::Timer;

/// A client transaction.
pub(super) struct Client {
    generation: u32,
    machine: ClientMachine,
    key: Key,
    flow: Flow,
    /// Until the final response.
    request: Option<Message>,
    /// From a final response to INVITE that is not a 2xx.
    ack: Option<Bytes>,
    /// The Reason of the CANCEL to come.
    cancel_reason: Option<Box<str>>,
    /// How often the retransmission timer has been started.
    round: u8,
    /// A CANCEL of ours: the user hears of the INVITE only.
    is_internal: bool,
    running: Running,
}

impl TransactionLayer {
    /// Sends a request and starts its transaction. `bytes` is the whole message; its topmost Via
    /// is ours and has a unique branch. An ACK for a 2xx is no transaction: transmit it as it is.
    ///
    /// # Errors
    ///
    /// [`Error::NotARequest`], [`Error::BranchInUse`], [`Error::TransactionsMax`].
    pub fn request(&mut self, bytes: Bytes, flow: Flow, now: Instant) -> Result<ClientId, Error> {
        if self.is_full() {
            let transactions_max = self.config.transactions_max;
            return Err(Error::TransactionsMax { transactions_max });
        }
        self.start_client(bytes, flow, false, now)
    }

    /// Cancels an INVITE: at once if a provisional response has come, otherwise when one comes
    /// (RFC 3261 §9.1). `reason` is the value of a Reason header field (RFC 3326).
    ///
    /// # Errors
    ///
    /// [`Error::Ended`], [`Error::NotAnInvite`].
    pub fn cancel(
        &mut self,
        id: ClientId,
        reason: Option<&str>,
        now: Instant,
    ) -> Result<(), Error> {
        let client = self
            .clients
            .get_mut(id.slot as usize)
            .filter(|client| client.generation == id.generation)
            .ok_or(Error::Ended)?;
        if !client.machine.is_invite() {
            return Err(Error::NotAnInvite);
        }
        client.cancel_reason = reason.map(Box::from);
        self.step_client(id.slot, ClientInput::Cancel, None, now);
        Ok(())
    }

    pub(super) fn handle_response(&mut self, message: Message, flow: Flow, now: Instant) {
        let (Some(key), Some(status)) = (key::of_own(&message), message.status()) else {
            self.counters.messages_unmatchable += 1;
            return;
        };
        match self.client_keys.get(&key) {
            Some(&slot) => {
                self.step_client(slot, ClientInput::Response(status), Some((message, flow)), now);
            }
            None => {
                self.counters.responses_unmatched += 1;
                if (200..=299).contains(&status) && *message.method() == Method::Invite {
                    self.events.push_back(Event::StraySuccess { message, flow });
                }
            }
        }
    }

    pub(super) fn client_timeout(&mut self, slot: u32, purpose: Purpose, now: Instant) {
        let client = self.clients.get_mut(slot as usize);
        if let Some(timer) = client.and_then(|client| client.running.take(purpose)) {
            self.step_client(slot, ClientInput::Timer(timer), None, now);
        }
    }

    /// Whether `quote`, the beginning of a datagram that was not delivered, is of this request or may
    /// be, and the request has been repeated in vain.
    pub(super) fn is_undelivered(&self, slot: u32, quote: &[u8]) -> bool {
        let Some(client) = self.clients.get(slot as usize) else { return false };
        let Some(request) = &client.request else { return false };
        match end_of_branch(request).and_then(|end| quote.get(..end)) {
            Some(start) if !request.bytes().starts_with(start) => false,
            // A phone that is being started is heard of at the next time.
            _ => client.round > SENT_ONCE,
        }
    }

    pub(super) fn client_transport_failed(&mut self, slot: u32, now: Instant) {
        self.step_client(slot, ClientInput::TransportError, None, now);
    }

    fn start_client(
        &mut self,
        bytes: Bytes,
        flow: Flow,
        is_internal: bool,
        now: Instant,
    ) -> Result<ClientId, Error> {
        let request = Message::parse(bytes, Framing::Datagram, &Limits::default())
            .ok()
            .filter(|message| message.is_request() && *message.method() != Method::Ack)
            .ok_or(Error::NotARequest)?;
        let key = key::of_own(&request).ok_or(Error::NotARequest)?;
        if self.client_keys.contains_key(&key) {
            return Err(Error::BranchInUse);
        }
        let generation = self.next_generation();
        let is_within_dialog = request.to_tag().is_some();
        let (machine, actions) = ClientMachine::new(*request.method() == Method::Invite);
        let client = Client {
            generation,
            machine,
            key: key.clone(),
            flow,
            request: Some(request),
            ack: None,
            cancel_reason: None,
            round: 0,
            is_internal,
            running: Running::default(),
        };
        let slot = slot_of(self.clients.insert(Box::new(client)));
        self.client_keys.insert(key, slot);
        if flow.kind.is_reliable() {
            self.streams.entry(flow.id).or_default().insert(slot);
        } else if !is_within_dialog {
            self.unanswered.insert((flow.id, flow.remote, slot));
        }
        self.run_client(slot, actions, None, now);
        Ok(ClientId { slot, generation })
    }

    fn step_client(
        &mut self,
        slot: u32,
        input: ClientInput,
        response: Option<(Message, Flow)>,
        now: Instant,
    ) {
        let Some(client) = self.clients.get_mut(slot as usize) else { return };
        let actions = client.machine.step(input);
        self.run_client(slot, actions, response, now);
    }

    fn run_client(
        &mut self,
        slot: u32,
        actions: &'static [ClientAction],
        response: Option<(Message, Flow)>,
        now: Instant,
    ) {
        let mut elapsed = None;
        for &action in actions {
            elapsed = self.act_client(slot, action, response.as_ref(), now).or(elapsed);
        }
        let Some(client) = self.clients.get_mut(slot as usize) else { return };
        if !client.machine.is_unanswered() {
            self.unanswered.remove(&(client.flow.id, client.flow.remote, slot));
        }
        if client.machine.has_final_response() {
            client.request = None;
        }
        if client.machine.is_terminated() {
            self.remove_client(slot);
        } else if let Some(timer) = elapsed {
            self.step_client(slot, ClientInput::Timer(timer), None, now);
        }
    }

    /// Carries one action out. Gives the timer that it started if that has no time to run.
    fn act_client(
        &mut self,
        slot: u32,
        action: ClientAction,
        response: Option<&(Message, Flow)>,
        now: Instant,
    ) -> Option<Timer> {
        let client = self.clients.get_mut(slot as usize)?;
        let id = ClientId { slot, generation: client.generation };
        match action {
            ClientAction::Send => {
                let bytes = client.request.as_ref()?.bytes().clone();
                let flow = client.flow;
                if client.round > 0 {
                    self.counters.request_retransmissions_sent += 1;
                }
                self.transmit(flow, bytes);
            }
            ClientAction::Ack => {
                let ack = acknowledge(client.request.as_ref()?, &response?.0)?;
                client.ack = Some(ack.clone());
                let flow = client.flow;
                self.transmit(flow, ack);
            }
            ClientAction::ResendAck => {
                let (flow, ack) = (client.flow, client.ack.clone()?);
                self.transmit(flow, ack);
            }
            ClientAction::Cancel => {
                let reason = client.cancel_reason.take();
                let cancel = cancel(client.request.as_ref()?, reason.as_deref())?;
                let flow = client.flow;
                self.send_cancel(cancel, flow, now);
            }
            ClientAction::Start(timer) => return self.start_client_timer(slot, timer, now),
            ClientAction::Stop(timer) => {
                self.schedule.stop(&mut client.running, timer, Owner::Client(slot));
            }
            ClientAction::SlowDown => client.round = u8::MAX,
            ClientAction::Response | ClientAction::Timeout | ClientAction::TransportFailed
                if client.is_internal => {}
            ClientAction::Response => {
                let (message, flow) = response?.clone();
                self.events.push_back(Event::Response { id, message, flow });
            }
            ClientAction::Timeout => self.events.push_back(Event::Timeout { id }),
            ClientAction::TransportFailed => self.events.push_back(Event::TransportFailed { id }),
        }
        None
    }

    fn start_client_timer(&mut self, slot: u32, timer: Timer, now: Instant) -> Option<Timer> {
        let client = self.clients.get_mut(slot as usize)?;
        let is_reliable = client.flow.kind.is_reliable();
        let duration = self.config.timers.duration(timer, client.round, is_reliable)?;
        if timer.is_retransmission() {
            client.round = client.round.saturating_add(1);
        }
        if duration.is_zero() {
            return Some(timer);
        }
        self.schedule.start(&mut client.running, timer, Owner::Client(slot), now + duration);
        None
    }

    /// At the bound the CANCEL goes out once, without a transaction: it frees one.
    fn send_cancel(&mut self, cancel: Bytes, flow: Flow, now: Instant) {
        let is_started =
            !self.is_full() && self.start_client(cancel.clone(), flow, true, now).is_ok();
        if !is_started {
            self.transmit(flow, cancel);
        }
    }

    fn remove_client(&mut self, slot: u32) {
        let Some(mut client) = self.clients.try_remove(slot as usize) else { return };
        self.schedule.stop_all(&mut client.running, Owner::Client(slot));
        self.client_keys.remove(&client.key);
        if let Some(slots) = self.streams.get_mut(&client.flow.id) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.streams.remove(&client.flow.id);
            }
        }
        if !client.is_internal {
            let id = ClientId { slot, generation: client.generation };
            self.events.push_back(Event::ClientTerminated { id });
        }
    }
}

/// Where the branch of a request of ours ends, which is in its first header field.
fn end_of_branch(request: &Message) -> Option<usize> {
    let via = request.via()?;
    let branch = via.unique_branch()?;
    let at = request.bytes().windows(branch.len()).position(|part| part == branch.as_bytes());
    at.map(|at| at + branch.len())
}

/// RFC 3261 §17.1.1.3: an ACK in the transaction of its INVITE; its To is that of the response.
fn acknowledge(invite: &Message, response: &Message) -> Option<Bytes> {
    Some(same_hop_request(Method::Ack, invite)?.copy(response, Name::To).finish())
}

/// RFC 3261 §9.1.
fn cancel(invite: &Message, reason: Option<&str>) -> Option<Bytes> {
    let writer = same_hop_request(Method::Cancel, invite)?.copy(invite, Name::To);
    Some(match reason {
        Some(reason) => writer.header(Name::Reason, reason).finish(),
        None => writer.finish(),
    })
}

/// What ACK and CANCEL share with their INVITE, so that every hop takes them the same way.
fn same_hop_request(method: Method, invite: &Message) -> Option<RequestWriter> {
    let uri = invite.request_uri()?.ok()?;
    let writer = RequestWriter::new(method, &uri)
        .header(Name::Via, invite.via()?)
        .max_forwards(70)
        .copy(invite, Name::Route)
        .copy(invite, Name::From)
        .copy(invite, Name::CallId)
        .cseq(invite.cseq()?.number);
    Some(writer)
}

/// What [`Client::round`] is until the request is sent again.
const SENT_ONCE: u8 = 1;
