//! From the first INVITE to the first answer, and what the caller hears meanwhile.

use std::sync::Arc;

use dialplan::{Cause, Ended, EndedBy};
use media::sdp::Security;
use media::shard::{Command, PlayEnd, Repeat};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::failure::Failure;
use super::fork::{Fork, State};
use crate::calls::LegPlace;
use crate::calls::leg::{Callee, Leg, LegEnd, LegRefusal, Notice};
use crate::calls::live::{LiveCall, Step};
use crate::calls::offer::Refused;
use crate::calls::ourselves::End;
use crate::calls::terms::Terms;
use crate::tones;

/// What the caller hears while others ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::calls) enum Hears {
    /// What it makes up itself, or nothing.
    #[default]
    Nothing,
    /// What it makes up itself: we have said that it rings.
    Ringing,
    /// Our ringback tone.
    Ringback,
    /// What this branch sends.
    Branch(usize),
}

impl LiveCall {
    /// Calls everyone of a fork until one answers; `None` if nobody does.
    pub(super) async fn ring(&mut self, fork: &mut Fork<'_>) -> Result<Option<Box<Leg>>, Ended> {
        if fork.request.instant_ringback {
            self.on_ringing(fork).await?;
        }
        loop {
            self.start_due(fork, Instant::now()).await;
            self.check_early(fork).await?;
            if fork.is_over() {
                return Ok(None);
            }
            let deadline = Some(fork.poll_timeout());
            match self.step(fork.input(), deadline).await? {
                Step::Caller(notice) => self.on_caller(fork, notice).await?,
                Step::Other((index, input)) => {
                    let Some(leg) = ringing(fork, index) else { continue };
                    match leg.handle(input).await {
                        Ok(Notice::Accepted) => {
                            let branch = fork.branches.get_mut(index);
                            return Ok(branch.and_then(|branch| branch.end()));
                        }
                        Ok(notice) => self.on_branch(fork, index, notice).await?,
                        Err(end) => self.on_branch_ended(fork, index, end).await?,
                    }
                }
                Step::Deadline => fork.handle_timeout(Instant::now()).await,
            }
        }
    }

    async fn start_due(&mut self, fork: &mut Fork<'_>, now: Instant) {
        let mut has_started = false;
        // Who cannot be called makes room for the next at once.
        while let Some(index) = fork.due(now).first().copied() {
            match self.call_branch(fork, index) {
                Ok(leg) => fork.started(index, leg, now).await,
                Err(failure) => drop(fork.failed(index, failure)),
            }
            has_started = true;
        }
        if has_started {
            fork.take_turns();
        }
    }

    fn call_branch(&self, fork: &Fork<'_>, index: usize) -> Result<Leg, Failure> {
        let fault = || Failure::ours(Cause::NORMAL_TEMPORARY_FAILURE);
        let branch = fork.branches.get(index).ok_or_else(fault)?;
        let destination = fork.destination(branch.destination).ok_or_else(fault)?;
        let overloaded = |_| Failure::ours(Cause::SWITCH_CONGESTION);
        let taken = LegPlace::take(&self.shared.health).map_err(overloaded)?;
        let (place, shared) = (&branch.place, &self.shared);
        let (user, peer) = (place.user.as_deref(), place.peer());
        let mut terms = Terms::new(shared, user, peer.kind)
            .offering(place.is_webrtc(), &self.caller.preferred_codecs());
        if place.is_srtp_only {
            terms.capabilities.security = Security::Required;
        }
        let ourselves = End::calling(&shared.ourselves);
        let callee = Callee {
            name: destination.target.to_string(),
            peer,
            terms,
            shard: self.caller.shard().or_else(|| shard_of(fork)),
            dial: self.dial(place, destination, &ourselves),
            ourselves,
            place: taken,
        };
        Leg::call(Arc::clone(shared), self.facts.uuid.clone(), callee).map_err(
            |Refused { status, reason, .. }| {
                let (call_id, callee) = (&self.facts.uuid, &destination.target);
                warn!(call_id, %callee, reason, "no media for a call to another");
                Failure::ours(Cause::from_sip_status(status))
            },
        )
    }

    async fn on_branch(
        &mut self,
        fork: &mut Fork<'_>,
        index: usize,
        notice: Notice,
    ) -> Result<(), Ended> {
        let Notice::Progress { has_media } = notice else { return Ok(()) };
        if let Some(branch) = fork.branches.get_mut(index) {
            branch.has_rung = true;
        }
        let is_heard = matches!(self.hears, Hears::Branch(_));
        if has_media && !is_heard && !fork.request.ignore_early_media {
            return self.pass_on_early_media(fork, index).await;
        }
        self.on_ringing(fork).await
    }

    /// Somebody rings: the caller is told, or hears it where it hears us already.
    async fn on_ringing(&mut self, fork: &mut Fork<'_>) -> Result<(), Ended> {
        if self.hears == Hears::Nothing {
            let is_asked_for = fork.request.ringback.is_some();
            let is_early = is_asked_for && self.open_early(fork).await?;
            if !is_early && !self.caller.is_heard() {
                self.caller.ring().await;
                self.hears = Hears::Ringing;
                return Ok(());
            }
        }
        if !matches!(self.hears, Hears::Ringback | Hears::Branch(_)) && self.caller.is_heard() {
            self.play_ringback(fork).await?;
        }
        Ok(())
    }

    /// The sound of a branch that has not answered goes to the caller, and back.
    async fn pass_on_early_media(
        &mut self,
        fork: &mut Fork<'_>,
        index: usize,
    ) -> Result<(), Ended> {
        let codec = ringing(fork, index).and_then(|leg| leg.codec());
        if let Some(codec) = codec {
            self.prefer(codec)?;
        }
        if !self.open_early(fork).await? {
            return self.on_ringing(fork).await;
        }
        let Some(leg) = ringing(fork, index) else { return Ok(()) };
        self.hears = Hears::Branch(index);
        match leg.join(&self.caller) {
            Ok(()) => {
                let joined = self.caller.join(leg);
                joined.map_err(|end| self.ended(end))
            }
            Err(end) => self.on_branch_ended(fork, index, end).await,
        }
    }

    /// Gives the caller a way to hear us before the answer; `false` if there is none.
    async fn open_early(&mut self, fork: &mut Fork<'_>) -> Result<bool, Ended> {
        match self.caller.progress(shard_of(fork)).await {
            Ok(is_early) => Ok(is_early),
            Err(refused) => Err(self.refuse(refused).await),
        }
    }

    async fn play_ringback(&mut self, fork: &mut Fork<'_>) -> Result<(), Ended> {
        let Some(codec) = self.caller.codec() else { return Ok(()) };
        self.hears = Hears::Ringback;
        let script = fork.request.ringback.as_ref().map(tones::script);
        let shared = Arc::clone(&self.shared);
        let track = match script {
            None => shared.prompts.tone(&tones::ringback(), codec),
            // One that no call has heard before is encoded first.
            Some(script) => {
                let encode = move || shared.prompts.tone(&script, codec);
                match tokio::task::spawn_blocking(encode).await {
                    Ok(track) => track,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
        };
        match track {
            Ok(track) => {
                let token = self.caller.next_play();
                let play = Command::Play { track, repeat: Repeat::Forever, token };
                self.caller.command_media(play).map_err(|end| self.ended(end))
            }
            Err(error) => {
                warn!(call_id = self.facts.uuid, %error, "ringback skipped");
                Ok(())
            }
        }
    }

    async fn on_caller(&mut self, fork: &mut Fork<'_>, notice: Notice) -> Result<(), Ended> {
        match (notice, self.hears) {
            (Notice::Digit(digit), Hears::Branch(index)) => {
                if let Some(leg) = ringing(fork, index)
                    && let Err(end) = leg.send_digit(&digit).await
                {
                    self.on_branch_ended(fork, index, end).await?;
                }
                Ok(())
            }
            (Notice::PlayDone(_, PlayEnd::CodecMismatch), Hears::Ringback) => {
                self.play_ringback(fork).await
            }
            _ => Ok(()),
        }
    }

    async fn on_branch_ended(
        &mut self,
        fork: &mut Fork<'_>,
        index: usize,
        end: LegEnd,
    ) -> Result<(), Ended> {
        let LegEnd { by, end: why, cause, refusal, reason } = end;
        let failure = match &refusal {
            Some(refusal) => Failure::refused(refusal.status, reason, by == EndedBy::Peer),
            None => Failure::ours(cause),
        };
        debug!(call_id = self.facts.uuid, index, cause = cause.name(), status = ?failure.status, "a call to another failed");
        let destination = fork.branches.get(index).map(|branch| branch.destination);
        let mut is_final = failure.status.is_some_and(|status| status >= 600);
        let is_followed = refusal.is_some_and(|refusal| {
            self.redirect(fork, index, &refusal) || self.offer_srtp(fork, index, &refusal)
        });
        is_final &= !is_followed;
        let leg = match is_followed {
            true => fork.branches.get_mut(index).and_then(|branch| branch.end()),
            false => fork.failed(index, failure),
        };
        if let Some(mut leg) = leg {
            leg.hang_up(why, cause, None).await;
        }
        if let Some(destination) = destination.filter(|_| is_final) {
            fork.cancel_destination(destination).await;
        }
        self.check_early(fork).await
    }

    /// Calls a place once more where it may have wanted SRTP (488 and 606 refuse a description: RFC
    /// 3261 §21.4.26, §21.6.4).
    fn offer_srtp(&self, fork: &mut Fork<'_>, index: usize, refusal: &LegRefusal) -> bool {
        let branch = fork.branches.get(index).filter(|_| matches!(refusal.status, 488 | 606));
        let again = branch.and_then(|branch| branch.place.demanding_srtp());
        again.is_some_and(|place| fork.add_instead(index, vec![(place.q_milli, place)], self))
    }

    /// A caller who heard a branch that is over hears another one, or a ringback tone if nobody else
    /// who rings has sound.
    async fn check_early(&mut self, fork: &mut Fork<'_>) -> Result<(), Ended> {
        let Hears::Branch(index) = self.hears else { return Ok(()) };
        if ringing(fork, index).is_some() {
            return Ok(());
        }
        self.silence_caller()?;
        let other = (0..fork.branches.len())
            .find(|index| ringing(fork, *index).is_some_and(|leg| leg.codec().is_some()));
        match other {
            _ if fork.is_over() => Ok(()),
            Some(index) if !fork.request.ignore_early_media => {
                Box::pin(self.pass_on_early_media(fork, index)).await
            }
            _ => self.play_ringback(fork).await,
        }
    }

    /// Ends whatever the caller hears while others ring.
    pub(super) fn silence_caller(&mut self) -> Result<(), Ended> {
        match std::mem::take(&mut self.hears) {
            Hears::Ringback | Hears::Branch(_) => {
                self.caller.command_media(Command::Stop).map_err(|end| self.ended(end))
            }
            // It goes on to ring until it hears something else.
            Hears::Ringing => {
                self.hears = Hears::Ringing;
                Ok(())
            }
            Hears::Nothing => Ok(()),
        }
    }

    /// Speaks to the caller in the codec of the other side, where the caller has it too and has not
    /// been answered yet.
    pub(super) fn prefer(&mut self, codec: media::codec::Codec) -> Result<(), Ended> {
        self.caller.prefer(codec).map_err(|end| self.ended(end))
    }
}

fn ringing<'a>(fork: &'a mut Fork<'_>, index: usize) -> Option<&'a mut Leg> {
    match fork.branches.get_mut(index).map(|branch| &mut branch.state) {
        Some(State::Ringing(leg)) => Some(leg),
        _ => None,
    }
}

/// The shard of those who ring, so that the two who will speak are on one.
fn shard_of(fork: &Fork<'_>) -> Option<u16> {
    fork.branches.iter().find_map(|branch| match &branch.state {
        State::Ringing(leg) => leg.shard(),
        State::Waiting | State::Over => None,
    })
}
