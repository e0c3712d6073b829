//! Redirections (3xx): followed within bounds, and for the public to nobody whom it could not call,
//! nor away from here for a token that allows some numbers only.

use dialog::Redirection;
use tracing::info;
use transport::Uri;

use super::fork::Fork;
use crate::calls::leg::LegRefusal;
use crate::calls::live::LiveCall;

impl LiveCall {
    /// Calls the contacts of a redirection instead of a branch, the preferred ones first (RFC 3261
    /// §8.1.3.4); `false` if none of them may be called.
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
        let mut places = Vec::new();
        for Redirection { uri, q_milli } in &refusal.contacts {
            let found = match self.user_of(uri) {
                Some(user) => self.places_of_user(&user),
                None if self.is_limited => continue,
                None => self.place_of_uri(uri).map(|place| vec![place]),
            };
            // A contact that may not be called, or is not there, is passed over.
            places.extend(found.into_iter().flatten().map(|place| (*q_milli, place)));
        }
        info!(call_id, status = refusal.status, places = places.len(), "redirected");
        fork.add_instead(index, places, self)
    }

    /// The user of ours that a URI at our own address names.
    fn user_of(&self, uri: &str) -> Option<String> {
        let uri = Uri::parse(uri.to_owned().into()).ok()?;
        let user = uri.user_decoded()?.into_owned();
        let is_ours = uri.host().is_some_and(|host| self.is_ours(host));
        (is_ours && self.shared.users.get(&user).is_some()).then_some(user)
    }
}
