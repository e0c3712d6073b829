//! SIP on accepted plain TCP.

use std::sync::Arc;

use super::{Inner, connection::carry, listener::Accepted, stream};

/// Carries SIP on an accepted connection until it ends.
pub(super) async fn serve(inner: &Arc<Inner>, accepted: Accepted) {
    let Accepted { ends, stream, slot } = accepted;
    carry(inner, ends, slot, |connection, queue| stream::run(connection, queue, stream)).await;
}
