//! A reload: what every new call runs on from now.

use std::sync::Arc;
use std::time::Instant;

use super::{Signaling, Wire};
use crate::calls::Shared;
use crate::loaded::Loaded;

impl<W: Wire> Signaling<W> {
    /// Puts what was loaded in place. Calls that are up keep what they started with.
    pub(super) fn renew(&mut self, loaded: Loaded, now: Instant) {
        self.authenticator.renew(&loaded.auth, loaded.token_key, now.into());
        self.shared = Arc::new(Shared {
            plan: loaded.plan,
            public_context: loaded.public_context,
            users: loaded.users,
            prompts: loaded.prompts,
            hold_music: loaded.hold_music,
            capabilities: loaded.capabilities,
            policy: loaded.policy,
            ..Shared::clone(&self.shared)
        });
    }
}
