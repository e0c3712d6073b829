//! Where the peer is reached: the flow on which it was heard, another one that it came to, or a
//! connection that is made anew.

use std::time::Instant;

use transport::routing::NextHop;
use transport::{Flow, FlowId, Method, TransportKind};

use super::Leg;
use super::outbound::with_reason;
use crate::event::{Action, Cause, Headers, Party, Purpose};
use crate::reject::Refusal;
use crate::state::{Input, State};

/// The way that our BYE went last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ByeWay {
    /// The flow on which the peer was heard last.
    #[default]
    Flow,
    /// A connection made for it, since that flow had closed.
    Connection,
    /// UDP, since no such connection could be made.
    Udp,
}

impl Leg {
    /// The flow on which the peer was heard last.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Whether that flow has closed and no other has been heard since.
    pub fn is_flow_lost(&self) -> bool {
        self.is_flow_lost
    }

    /// Where the peer can be connected to anew if that flow has closed and no other has been heard
    /// since (RFC 3261 §18.1.1).
    pub fn way_back(&self) -> Option<NextHop> {
        if !self.is_flow_lost {
            return None;
        }
        match self.bye_way {
            ByeWay::Udp => self.dialog.way_back_by_udp(&self.flow),
            ByeWay::Flow | ByeWay::Connection => self.dialog.way_back(&self.flow),
        }
    }

    /// Whether a request of ours would go nowhere.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.is_flow_lost && (!self.state.has_session() || self.way_back().is_none())
    }

    /// The peer is reached by another connection now, since we made it.
    pub fn handle_flow_moved(&mut self, flow: Flow) {
        self.flow = flow;
        self.is_flow_lost = false;
    }

    /// The same, as its registration says. A BYE that went into the other one is sent again.
    pub fn handle_peer_moved(&mut self, flow: Flow) {
        self.handle_flow_moved(flow);
        if self.state == State::Terminating {
            self.repeat_bye();
        }
    }

    /// The connection is gone. Before the final response that ends the leg; later the peer may come
    /// back on another one, and whoever owns the leg decides how long to wait.
    pub fn handle_flow_closed(&mut self, flow: FlowId, now: Instant) {
        if self.flow.id != flow || self.flow.kind == TransportKind::Udp {
            return;
        }
        self.is_flow_lost = true;
        if self.state == State::Early {
            self.abandon(now);
        }
    }

    /// The connection closed that our BYE went into: it goes by another, or by UDP, or waits until the
    /// peer comes back.
    pub(super) fn handle_bye_lost(&mut self, now: Instant) {
        let next = match self.bye_way {
            ByeWay::Flow if self.way_back().is_some() => Some(ByeWay::Connection),
            ByeWay::Connection => self.dialog.way_back_by_udp(&self.flow).and(Some(ByeWay::Udp)),
            ByeWay::Flow | ByeWay::Udp => None,
        };
        if let Some(next) = next {
            self.bye_way = next;
            return self.send_bye(now);
        }
        if self.is_flow_lost {
            self.leave_farewell();
        }
        self.run(Input::ByeDone, now);
    }

    /// The same where the peer came back before that connection closed.
    pub(super) fn repeat_bye(&mut self) {
        let reason = self.reason_to_end();
        // One BYE is out already, which says whether the peer can be addressed.
        let _ = self.send(Purpose::Bye, Method::Bye, |writer| with_reason(writer, reason));
    }

    /// The BYE that the peer gets should it come back.
    pub(super) fn leave_farewell(&mut self) {
        let reason = self.reason_to_end();
        if matches!(self.state, State::Confirmed | State::Terminating)
            && let Some((bytes, _)) = self.write(Method::Bye, |writer| with_reason(writer, reason))
        {
            self.actions.push_back(Action::Farewell { bytes });
        }
    }

    /// The connection closed that our question went into: it is asked once more where there is
    /// another, or one can be made.
    pub(super) fn handle_probe_lost(&mut self, now: Instant) {
        let is_asked = self.probed.take().filter(|_| self.state == State::Confirmed);
        let is_connected = |probed| self.flow.id != probed && !self.is_flow_lost;
        match is_asked {
            Some(probed) if is_connected(probed) || self.way_back().is_some() => self.send_probe(),
            _ => self.lose(503, now),
        }
    }

    /// Ends the leg without a word to a peer that cannot be reached.
    pub(super) fn abandon(&mut self, now: Instant) {
        self.refusal = Some((Refusal::Unavailable.status(), Headers::new()));
        self.ends(Party::Remote, Cause::FlowClosed, None);
        self.run(Input::Abandon, now);
    }
}
