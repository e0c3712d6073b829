//! The machines of one side behind one interface, as the layer runs them.

use crate::action::{ClientAction, ServerAction};
use crate::timer::Timer;
use crate::{invite_client, invite_server, non_invite_client, non_invite_server};

/// The state of a client transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientMachine {
    Invite(invite_client::State),
    NonInvite(non_invite_client::State),
}

/// What happens to a client transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientInput {
    Response(u16),
    Cancel,
    TransportError,
    Timer(Timer),
}

impl ClientMachine {
    pub(crate) fn new(is_invite: bool) -> (ClientMachine, &'static [ClientAction]) {
        if is_invite {
            let (state, actions) = invite_client::ENTRY;
            (ClientMachine::Invite(state), actions)
        } else {
            let (state, actions) = non_invite_client::ENTRY;
            (ClientMachine::NonInvite(state), actions)
        }
    }

    /// Takes the step of `input`; an input that the machine does not have changes nothing.
    pub(crate) fn step(&mut self, input: ClientInput) -> &'static [ClientAction] {
        match self {
            ClientMachine::Invite(state) => {
                let Some(input) = invite_client_input(input) else { return &[] };
                let (next, actions) = invite_client::step(*state, input);
                *state = next;
                actions
            }
            ClientMachine::NonInvite(state) => {
                let Some(input) = non_invite_client_input(input) else { return &[] };
                let (next, actions) = non_invite_client::step(*state, input);
                *state = next;
                actions
            }
        }
    }

    pub(crate) fn is_invite(self) -> bool {
        matches!(self, ClientMachine::Invite(_))
    }

    /// Whether nothing has come back.
    pub(crate) fn is_unanswered(self) -> bool {
        use ClientMachine::{Invite, NonInvite};
        match self {
            Invite(state) => matches!(
                state,
                invite_client::State::Calling | invite_client::State::CallingToCancel
            ),
            NonInvite(state) => state == non_invite_client::State::Trying,
        }
    }

    /// Whether the request will never be sent again, nor its fields be needed.
    pub(crate) fn has_final_response(self) -> bool {
        use ClientMachine::{Invite, NonInvite};
        match self {
            Invite(state) => matches!(
                state,
                invite_client::State::Completed
                    | invite_client::State::Accepted
                    | invite_client::State::Terminated
            ),
            NonInvite(state) => matches!(
                state,
                non_invite_client::State::Completed | non_invite_client::State::Terminated
            ),
        }
    }

    pub(crate) fn is_terminated(self) -> bool {
        match self {
            ClientMachine::Invite(state) => state == invite_client::State::Terminated,
            ClientMachine::NonInvite(state) => state == non_invite_client::State::Terminated,
        }
    }
}

fn invite_client_input(input: ClientInput) -> Option<invite_client::Input> {
    use invite_client::Input;
    match input {
        ClientInput::Response(100..=199) => Some(Input::Provisional),
        ClientInput::Response(200..=299) => Some(Input::Success),
        ClientInput::Response(_) => Some(Input::Failure),
        ClientInput::Cancel => Some(Input::Cancel),
        ClientInput::TransportError => Some(Input::TransportError),
        ClientInput::Timer(timer) => match timer {
            Timer::A => Some(Input::TimerA),
            Timer::B => Some(Input::TimerB),
            Timer::D => Some(Input::TimerD),
            Timer::M => Some(Input::TimerM),
            _ => None,
        },
    }
}

fn non_invite_client_input(input: ClientInput) -> Option<non_invite_client::Input> {
    use non_invite_client::Input;
    match input {
        ClientInput::Response(100..=199) => Some(Input::Provisional),
        ClientInput::Response(_) => Some(Input::Final),
        ClientInput::Cancel => None,
        ClientInput::TransportError => Some(Input::TransportError),
        ClientInput::Timer(timer) => match timer {
            Timer::E => Some(Input::TimerE),
            Timer::F => Some(Input::TimerF),
            Timer::K => Some(Input::TimerK),
            _ => None,
        },
    }
}

/// The state of a server transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServerMachine {
    Invite(invite_server::State),
    NonInvite(non_invite_server::State),
}

/// What happens to a server transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServerInput {
    Retransmission,
    Ack,
    Response(u16),
    Timer(Timer),
}

impl ServerMachine {
    pub(crate) fn new(is_invite: bool) -> (ServerMachine, &'static [ServerAction]) {
        if is_invite {
            let (state, actions) = invite_server::ENTRY;
            (ServerMachine::Invite(state), actions)
        } else {
            let (state, actions) = non_invite_server::ENTRY;
            (ServerMachine::NonInvite(state), actions)
        }
    }

    /// Takes the step of `input`; an input that the machine does not have changes nothing.
    pub(crate) fn step(&mut self, input: ServerInput) -> &'static [ServerAction] {
        match self {
            ServerMachine::Invite(state) => {
                let Some(input) = invite_server_input(input) else { return &[] };
                let (next, actions) = invite_server::step(*state, input);
                *state = next;
                actions
            }
            ServerMachine::NonInvite(state) => {
                let Some(input) = non_invite_server_input(input) else { return &[] };
                let (next, actions) = non_invite_server::step(*state, input);
                *state = next;
                actions
            }
        }
    }

    /// Whether a CANCEL still has an effect.
    pub(crate) fn is_cancellable(self) -> bool {
        matches!(self, ServerMachine::Invite(invite_server::State::Proceeding))
    }

    pub(crate) fn is_terminated(self) -> bool {
        match self {
            ServerMachine::Invite(state) => state == invite_server::State::Terminated,
            ServerMachine::NonInvite(state) => state == non_invite_server::State::Terminated,
        }
    }
}

fn invite_server_input(input: ServerInput) -> Option<invite_server::Input> {
    use invite_server::Input;
    match input {
        ServerInput::Retransmission => Some(Input::Retransmission),
        ServerInput::Ack => Some(Input::Ack),
        ServerInput::Response(100..=199) => Some(Input::Provisional),
        ServerInput::Response(200..=299) => Some(Input::Success),
        ServerInput::Response(_) => Some(Input::Failure),
        ServerInput::Timer(timer) => match timer {
            Timer::Trying => Some(Input::TimerTrying),
            Timer::C => Some(Input::TimerC),
            Timer::G => Some(Input::TimerG),
            Timer::H => Some(Input::TimerH),
            Timer::I => Some(Input::TimerI),
            Timer::L => Some(Input::TimerL),
            _ => None,
        },
    }
}

fn non_invite_server_input(input: ServerInput) -> Option<non_invite_server::Input> {
    use non_invite_server::Input;
    match input {
        ServerInput::Retransmission => Some(Input::Retransmission),
        ServerInput::Ack => None,
        ServerInput::Response(100..=199) => Some(Input::Provisional),
        ServerInput::Response(_) => Some(Input::Final),
        ServerInput::Timer(timer) => match timer {
            Timer::F => Some(Input::TimerF),
            Timer::J => Some(Input::TimerJ),
            _ => None,
        },
    }
}
