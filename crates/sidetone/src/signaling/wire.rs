//! What the loop sends on.

use bytes::Bytes;
use transport::net::{NetError, Network, SendError};
use transport::routing::NextHop;
use transport::{Flow, FlowId};

/// Where messages are sent: the sockets, or a simulated network.
pub trait Wire: Send + Sync + 'static {
    /// Sends one message without waiting.
    ///
    /// # Errors
    /// When the flow has ended or is overloaded.
    fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), SendError>;

    /// Ends a connection once what is queued is sent.
    fn close(&self, id: FlowId);

    /// Says that who has opened a connection is known, and no stranger who makes room for others.
    fn vouch(&self, flow: &Flow);

    /// Whether a flow can still be sent on.
    fn is_open(&self, flow: &Flow) -> bool;

    /// How many connections there are.
    fn connections(&self) -> usize;

    /// Finds or makes a flow to a peer, by look-up and connection. Takes bounded time.
    fn route(&self, hop: NextHop) -> impl Future<Output = Result<Flow, NetError>> + Send + 'static;
}

impl Wire for Network {
    fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), SendError> {
        Network::send(self, flow, bytes)
    }

    fn close(&self, id: FlowId) {
        Network::close(self, id);
    }

    fn vouch(&self, flow: &Flow) {
        if flow.kind.is_reliable() {
            Network::vouch(self, flow.id);
        }
    }

    fn is_open(&self, flow: &Flow) -> bool {
        Network::is_open(self, flow.id)
    }

    fn connections(&self) -> usize {
        Network::connections(self)
    }

    fn route(&self, hop: NextHop) -> impl Future<Output = Result<Flow, NetError>> + Send + 'static {
        let network = self.clone();
        async move { network.route(&hop).await }
    }
}
