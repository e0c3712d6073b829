//! Who a new INVITE or REGISTER comes from, decided before anything is kept of it.
//!
//! Whoever must show a password, or shows a wrong one, is answered without a transaction, so that
//! a flood of them takes the place of nobody.
//!
//! An INVITE is judged so:
//!
//! 1. Good credentials (a digest, a token): the call starts in the user's context. Bad ones: 401.
//! 2. None, on a flow that a user is registered on: 401, so that a registered phone's calls start
//!    in its own context whatever number it dials. It answers the challenge by itself.
//! 3. None, and the public context has the number: the call starts there. What From says does not
//!    matter, since anybody can write it.
//! 4. None, and the public context lacks the number: 401 where there are users, so that a phone
//!    comes back with its password; the answer is the same for every number and every From. Where
//!    there are no users: 404 as the dialplan says.
//!
//! A registration exempts its flow from nothing: each call shows its own credentials.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use dialplan::{Facts, Further};
use tracing::info;
use transport::{
    Flow, Message, Method, Name, NameAddr, ResponseWriter, Scheme, TransportKind, Uri,
};

use super::facts::{further, short};
use super::{Signaling, Wire};
use crate::auth::{Denial, Identity, Verdict};
use crate::calls::moment;
use crate::metrics::{AuthResult, Refusal, RegistrationResult};
use crate::users::Users;

/// What was decided about a request that a transaction is made for now.
#[derive(Debug)]
pub(super) enum Admitted {
    /// An INVITE, and what the dialplan may ask about. A token may allow some numbers only.
    Call { facts: Box<Facts>, is_limited: bool },
    /// A REGISTER of this user.
    Registration(Identity),
}

/// An answer that needs no transaction.
pub(super) type Answer = (u16, ResponseWriter);

impl<W: Wire> Signaling<W> {
    /// The answer to a REGISTER without a right to it; with one, what goes on is noted.
    pub(super) fn screen_register(
        &mut self,
        request: &Message,
        flow: &Flow,
        now: Instant,
    ) -> Option<Answer> {
        let users = Arc::clone(&self.shared.users);
        let count = |signaling: &Self, result| signaling.shared.metrics.registration(result);
        let identity = match self.authenticate(request, flow, &users, now) {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                count(self, RegistrationResult::Challenged);
                return Some(self.challenge(request, flow, false, now));
            }
            Err(denial) => {
                count(self, RegistrationResult::Unauthorized);
                return Some(self.deny(request, flow, denial, now));
            }
        };
        let to = request.to();
        let named = to.as_ref().and_then(|to| to.uri().user_decoded()).unwrap_or_default();
        let is_own = identity
            .user
            .as_ref()
            .is_some_and(|user| user.name == named && user.may_use(flow.kind));
        if !is_own {
            count(self, RegistrationResult::Forbidden);
            return Some(self.refusal(request, flow, &dialog::Refusal::Forbidden));
        }
        self.admitted = Some(Admitted::Registration(identity));
        None
    }

    /// The answer to an INVITE whose caller must show who it is; else what goes on is noted.
    pub(super) fn screen_invite(
        &mut self,
        invite: &Message,
        flow: &Flow,
        now: Instant,
    ) -> Option<Answer> {
        let users = Arc::clone(&self.shared.users);
        let mut facts = facts(invite, flow, &users);
        let identity = match self.authenticate(invite, flow, &users, now) {
            Ok(identity) => identity,
            Err(denial) => {
                self.shared.metrics.call_rejected(Refusal::Unauthorized);
                return Some(self.deny(invite, flow, denial, now));
            }
        };
        let Some(identity) = identity else {
            facts.context.clone_from(&self.shared.public_context);
            as_a_stranger(&mut facts, &users);
            if !users.is_empty() && self.must_show_itself(flow, &facts) {
                return Some(self.challenge(invite, flow, false, now));
            }
            self.admitted = Some(Admitted::Call { facts: Box::new(facts), is_limited: false });
            return None;
        };
        let may_come = identity.user.as_ref().is_none_or(|user| user.may_use(flow.kind));
        if !may_come || !identity.permits(&facts.destination_number) {
            self.shared.metrics.call_rejected(Refusal::Unauthorized);
            return Some(self.refusal(invite, flow, &dialog::Refusal::Forbidden));
        }
        self.identify(&mut facts, &identity);
        let is_limited = identity.is_limited();
        self.admitted = Some(Admitted::Call { facts: Box::new(facts), is_limited });
        None
    }

    /// Whether a caller without credentials is asked for them.
    fn must_show_itself(&self, flow: &Flow, facts: &Facts) -> bool {
        self.shared.registrar.is_registered_on(flow) || !self.shared.plan.takes(facts, moment())
    }

    /// Replaces what the caller says of itself by what it has proved.
    fn identify(&self, facts: &mut Facts, identity: &Identity) {
        facts.user = Some(identity.name.clone());
        let Some(user) = &identity.user else {
            facts.caller_id_number.clone_from(&identity.name);
            let context = self.authenticator.token_context();
            context.unwrap_or(&self.shared.public_context).clone_into(&mut facts.context);
            return;
        };
        facts.caller_id_number = user.caller_id_number.as_ref().unwrap_or(&user.name).clone();
        if let Some(name) = &user.caller_id_name {
            facts.caller_id_name.clone_from(name);
        }
        facts.context.clone_from(&self.shared.public_context);
        self.shared.plan.choose_context(&user.contexts, facts, moment());
    }

    /// Who has sent the request: somebody, or nobody who says so.
    fn authenticate(
        &mut self,
        request: &Message,
        flow: &Flow,
        users: &Users,
        now: Instant,
    ) -> Result<Option<Identity>, Denial> {
        let token = self.connection_tokens.get(&flow.id).map(AsRef::as_ref);
        let verdict = self.authenticator.judge(request, token, users, unix_now_s(), now.into());
        let (result, identified) = match verdict {
            Verdict::Anonymous => return Ok(None),
            Verdict::Granted(identity) => (AuthResult::Ok, Ok(Some(identity))),
            Verdict::Refused(denial) => (denial.into(), Err(denial)),
        };
        if identified.is_ok() {
            self.wire.vouch(flow);
        }
        if identified.is_err() && result != AuthResult::Stale {
            info!(
                method = request.method().as_str(),
                user = self.claimed(request),
                transport = flow.kind.label(),
                remote = %flow.remote,
                reason = result.label(),
                "credentials refused"
            );
        }
        self.shared.metrics.authentication(request.method(), result);
        identified
    }

    /// Whose password is shown, or else whom the request says that it comes from.
    fn claimed(&self, request: &Message) -> Option<String> {
        let user = self.authenticator.claimed(request).map(|user| short(&user));
        user.or_else(|| request.from().as_ref().map(caller))
    }

    fn deny(&mut self, request: &Message, flow: &Flow, denial: Denial, now: Instant) -> Answer {
        match denial {
            Denial::Malformed(phrase) => {
                (400, ResponseWriter::to(request, flow, 400).phrase(phrase))
            }
            Denial::Forbidden => self.refusal(request, flow, &dialog::Refusal::Forbidden),
            Denial::Stale => self.challenge(request, flow, true, now),
            Denial::UnknownUser | Denial::BadPassword | Denial::BadToken => {
                self.challenge(request, flow, false, now)
            }
        }
    }

    fn challenge(
        &mut self,
        request: &Message,
        flow: &Flow,
        is_stale: bool,
        now: Instant,
    ) -> Answer {
        if !is_stale && !has_credentials(request) {
            self.shared.metrics.authentication(request.method(), AuthResult::Challenged);
        }
        let writer = ResponseWriter::to(request, flow, 401);
        // The source of a datagram may be forged: less than three times as much goes there as came.
        let bytes_max = match flow.kind {
            TransportKind::Udp => (2 * request.bytes().len()).saturating_sub(LINES_BYTES),
            _ => usize::MAX,
        };
        let challenges = self.authenticator.challenges(is_stale, bytes_max, now.into());
        let add = |writer: ResponseWriter, value| writer.header(Name::WwwAuthenticate, value);
        (401, challenges.into_iter().fold(writer, add))
    }
}

/// Whom a From names.
fn caller(from: &NameAddr) -> String {
    short(&number(from.uri()))
}

/// Takes away what is not for a caller who has shown nothing: that a user exists who may not be
/// called from outside, and the number that one has or shows, which is the user's own.
fn as_a_stranger(facts: &mut Facts, users: &Users) {
    let is_public = |user: &mut String| users.get(user).is_some_and(|user| user.public);
    facts.destination_user = facts.destination_user.take_if(is_public);
    if users.has_number(&facts.caller_id_number) {
        "anonymous".clone_into(&mut facts.caller_id_number);
    }
}

fn has_credentials(request: &Message) -> bool {
    request.has(Name::Authorization) || request.has(Name::ProxyAuthorization)
}

/// What an INVITE says, without a context yet.
fn facts(invite: &Message, flow: &Flow, users: &Users) -> Facts {
    let from = invite.from();
    let called = invite.request_uri().and_then(Result::ok);
    let destination_number = called.map(|uri| number(&uri)).unwrap_or_default();
    Facts {
        destination_user: users.get(&destination_number).map(|user| user.name.clone()),
        destination_number,
        caller_id_number: from.as_ref().map(caller).unwrap_or_default(),
        caller_id_name: from
            .as_ref()
            .and_then(|from| from.display_name())
            .map(|name| short(&name))
            .unwrap_or_default(),
        network_addr: Some(flow.remote.ip()),
        transport: flow.kind.label().to_owned(),
        sip_call_id: invite.call_id().to_owned(),
        further: match invite.bytes().len() {
            // What is kept for as long as the call must not keep a long message.
            KEPT_BYTES_MAX.. => further(invite, flow).into(),
            _ => Further::later({
                let (invite, flow) = (invite.clone(), *flow);
                move || further(&invite, &flow)
            }),
        },
        ..Facts::default()
    }
}

/// Who is called: a name, or the number of a telephone without what else a URI says of it
/// (RFC 3261 §19.1.6, RFC 3966 §5.1.1).
fn number(uri: &Uri) -> String {
    let user = uri.user_decoded().unwrap_or_default();
    let is_telephone = uri.scheme() == Scheme::Tel;
    let begins_as_one = user.starts_with(|c: char| c.is_ascii_digit() || "+*#".contains(c));
    if !is_telephone && !begins_as_one {
        return user.into_owned();
    }
    let number = user.split(';').next().unwrap_or_default();
    match is_telephone {
        true => number.replace(['-', '.', '(', ')'], ""),
        false => number.to_owned(),
    }
}

impl From<Denial> for AuthResult {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Malformed(_) => AuthResult::Malformed,
            Denial::UnknownUser => AuthResult::UnknownUser,
            Denial::BadPassword => AuthResult::BadPassword,
            Denial::Stale => AuthResult::Stale,
            Denial::BadToken => AuthResult::BadToken,
            Denial::Forbidden => AuthResult::Forbidden,
        }
    }
}

/// Whether users exist who may register.
pub(super) fn may_register(method: &Method, users: &Users) -> bool {
    *method == Method::Register && !users.is_empty()
}

fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What the lines of a response have that neither the request nor a challenge has.
const LINES_BYTES: usize = 200;
/// Messages that are kept to be asked about later are shorter.
const KEPT_BYTES_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn who_shows_nothing_learns_of_no_user_and_is_none() {
        let config = "[users.3001]\npassword = 'a'\n[users.7]\npassword = 'b'\npublic = true\n";
        let users = Users::new(&toml::from_str(config).unwrap()).unwrap();
        for (called, caller, destination_user, shown) in [
            ("3001", "3001", None, "anonymous"),
            ("7", "7", Some("7"), "anonymous"),
            ("nobody", "+49301", None, "+49301"),
        ] {
            let mut facts = Facts {
                destination_user: users.get(called).map(|user| user.name.clone()),
                caller_id_number: caller.to_owned(),
                ..Facts::default()
            };
            as_a_stranger(&mut facts, &users);
            assert_eq!(facts.destination_user.as_deref(), destination_user, "{called}");
            assert_eq!(facts.caller_id_number, shown);
        }
    }

    #[test]
    fn rfc3261_19_1_6_a_number_is_called_without_its_parameters() {
        for (uri, called) in [
            ("sip:9196@pbx", "9196"),
            ("sip:9196;phone-context=example.com@pbx;user=phone", "9196"),
            ("sip:+49301;npdi@pbx", "+49301"),
            ("sip:%2a21%23@pbx", "*21#"),
            ("sip:alice;day=tuesday@pbx", "alice;day=tuesday"),
            ("sip:91-96@pbx", "91-96"),
            ("tel:9196;phone-context=example.com", "9196"),
            ("tel:+1(212)555-01.00", "+12125550100"),
            ("sip:pbx", ""),
        ] {
            let uri = Uri::parse(uri.as_bytes().into()).unwrap();
            assert_eq!(number(&uri), called, "{uri:?}");
        }
    }
}
