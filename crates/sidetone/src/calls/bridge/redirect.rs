//! Redirections (3xx): followed within bounds, and never to where the caller could not call.

use tokio::time::Instant;
use tracing::info;
use transport::Uri;

use super::fork::Fork;
use crate::calls::leg::LegRefusal;
use crate::calls::live::LiveCall;

impl LiveCall {
    /// Calls the contacts of a redirection in place of a branch (RFC 3261 §8.1.3.4); `false` if none
    /// of them may be called.
    pub(super) fn redirect(&self, fork: &mut Fork<'_>, index: usize, refusal: &LegRefusal) -> bool {
        if !(300..400).contains(&refusal.status) {
            return false;
        }
        let call_id = &self.facts.uuid;
        if fork.redirects >= self.shared.policy.redirects_max {
            info!(call_id, redirects = fork.redirects, "redirection not followed: too many");
            return false;
        }
        fork.redirects += 1;
        let Some(destination) = fork.branches.get(index).map(|branch| branch.destination) else {
            return false;
        };
        let before = fork.branches.len();
        for contact in refusal.contacts.iter().take(fork.branches_max) {
            let places = match self.user_of(contact) {
                Some(user) => self.places_of_user(&user),
                None => self.place_of_uri(contact).map(|place| vec![place]),
            };
            // A contact that may not be called, or is not there, is passed over.
            for place in places.into_iter().flatten() {
                fork.add(place, destination, 0, Instant::now(), self);
            }
        }
        let added = fork.branches.len() - before;
        info!(call_id, status = refusal.status, places = added, "redirected");
        added > 0
    }

    /// The user of ours that a URI at our own address names.
    fn user_of(&self, uri: &str) -> Option<String> {
        let uri = Uri::parse(uri.to_owned().into()).ok()?;
        let user = uri.user_decoded()?.into_owned();
        let is_ours = uri.host().is_some_and(|host| self.is_ours(host));
        (is_ours && self.shared.users.get(&user).is_some()).then_some(user)
    }
}
