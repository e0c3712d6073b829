//! The two bounded queues between a call's task and the signalling loop.

use dialplan::Cause;
use tokio::sync::mpsc;
use transport::Name;

use crate::signaling::LegKey;

/// What a call tells its SIP leg.
#[derive(Debug)]
pub enum SipCommand {
    /// Answer the INVITE with 200 and this description.
    Accept {
        /// The answer, or our offer when the INVITE had none.
        description: String,
    },
    /// Refuse the INVITE.
    Reject {
        /// A final status of 300 or more.
        status: u16,
        /// Further headers, such as Warning.
        headers: Vec<(Name, String)>,
    },
    /// Answer the offer of a re-INVITE or UPDATE.
    AnswerOffer {
        /// The answer.
        description: String,
    },
    /// Refuse the offer of a re-INVITE or UPDATE; the session stays as it was.
    RejectOffer {
        /// A final status of 300 or more.
        status: u16,
        /// Further headers, such as Warning.
        headers: Vec<(Name, String)>,
    },
    /// Send BYE with a Reason header.
    HangUp {
        /// The cause it names.
        cause: Cause,
    },
}

/// What a SIP leg tells its call.
#[derive(Debug)]
pub enum SipEvent {
    /// Something happened on the dialog.
    Leg(dialog::Event),
    /// The connection the peer was heard on last was closed.
    FlowClosed,
    /// The peer is heard on another connection.
    FlowMoved,
}

/// A call's end of the two queues.
#[derive(Debug)]
pub struct SipPort {
    key: LegKey,
    commands: mpsc::Sender<(LegKey, SipCommand)>,
    events: mpsc::Receiver<SipEvent>,
}

impl SipPort {
    /// A port of the leg `key`, and the sender of its events.
    #[must_use]
    pub fn new(
        key: LegKey,
        commands: mpsc::Sender<(LegKey, SipCommand)>,
    ) -> (Self, mpsc::Sender<SipEvent>) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        (SipPort { key, commands, events }, sender)
    }

    /// Tells the leg what to do. The loop that reads it outlives all calls; a command to a leg
    /// that has ended is ignored there.
    pub async fn command(&self, command: SipCommand) {
        // An error means that the loop has ended with the process.
        let _ = self.commands.send((self.key, command)).await;
    }

    /// The next event; `None` once the loop has given the leg up.
    pub async fn event(&mut self) -> Option<SipEvent> {
        self.events.recv().await
    }
}

/// Events of one leg that may wait for its call; a leg that sends more is ended.
const EVENTS_MAX: usize = 32;
