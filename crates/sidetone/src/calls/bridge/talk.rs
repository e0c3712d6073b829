//! Two who speak: their media is joined until one of them hangs up.

use dialplan::{BridgeOutcome, Ended};
use media::codec::Codec;
use media::shard::{Command, PlayEnd, Repeat};
use tracing::{info, warn};

use super::BridgeEnd;
use crate::calls::Shared;
use crate::calls::leg::{Leg, LegEnd, Notice};
use crate::calls::live::{LiveCall, Step};
use crate::calls::report::CalleeReport;
use crate::metrics::EndCause;

/// How the media of the two is joined: anew whenever one of these changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Joint {
    caller: Side,
    callee: Side,
}

/// What counts of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Side {
    codec: Codec,
    /// Its peer does not want to hear anything.
    is_held: bool,
}

impl LiveCall {
    /// Answers the caller, and joins the two until one of them hangs up.
    pub(super) async fn talk(&mut self, mut callee: Leg) -> Result<BridgeOutcome, Ended> {
        if let Err(ended) = self.answer_for(callee.codec(), callee.shard()).await {
            return Err(self.give_up(callee, ended, EndCause::Failure).await);
        }
        info!(call_id = self.facts.uuid, callee = callee.name(), "callee answered");
        let end = match self.converse(&mut callee).await {
            Ok(end) => end,
            Err(ended) => {
                return Err(self.give_up(callee, ended, EndCause::Caller).await);
            }
        };
        let LegEnd { end: why, cause, reason, .. } = end;
        self.caller.put_on_hold(false);
        callee.hang_up(why, cause, None).await;
        self.callee = Some(CalleeReport::of(&mut callee, &self.shared.metrics).await);
        self.caller.command_media(Command::Stop).map_err(|end| self.ended(end))?;
        self.bridged = Some(BridgeEnd { cause, status: cause.sip_status(), reason });
        Ok(BridgeOutcome::Completed { cause })
    }

    /// Answers the caller as suits the callee: in its codec, and on its shard.
    async fn answer_for(&mut self, codec: Option<Codec>, shard: Option<u16>) -> Result<(), Ended> {
        if self.caller.answered_at().is_some() {
            return Ok(());
        }
        if let Some(codec) = codec {
            self.prefer(codec)?;
        }
        match self.answer_caller(shard).await {
            Ok(()) => Ok(()),
            Err(refused) => Err(self.refuse(refused).await),
        }
    }

    /// Runs until the callee is over (`Ok`) or the caller is.
    async fn converse(&mut self, callee: &mut Leg) -> Result<LegEnd, Ended> {
        let mut joint = None;
        self.hears = Default::default();
        loop {
            if let Some(next) = wanted(&self.caller, callee)
                && joint != Some(next)
            {
                joint = Some(next);
                if let Err(end) = self.connect(callee, next) {
                    return Ok(end);
                }
            }
            match self.step(callee.input(), None).await? {
                Step::Caller(Notice::Digit(digit)) => {
                    if let Err(end) = callee.send_digit(&digit).await {
                        return Ok(end);
                    }
                }
                Step::Caller(Notice::PlayDone(_, PlayEnd::CodecMismatch)) => joint = None,
                Step::Caller(_) | Step::Deadline => {}
                Step::Other(input) => match callee.handle(input).await {
                    Ok(Notice::Digit(digit)) => {
                        let sent = self.caller.send_digit(&digit).await;
                        sent.map_err(|end| self.ended(end))?;
                    }
                    Ok(Notice::PlayDone(_, PlayEnd::CodecMismatch)) => joint = None,
                    Ok(_) => {}
                    Err(end) => return Ok(end),
                },
            }
        }
    }

    /// Joins the two, or plays music to the one whose other side has put it on hold.
    fn connect(&mut self, callee: &mut Leg, joint: Joint) -> Result<(), LegEnd> {
        let caller = &mut self.caller;
        caller.put_on_hold(joint.callee.is_held);
        callee.put_on_hold(joint.caller.is_held);
        match (joint.caller.is_held, joint.callee.is_held) {
            (false, false) => {
                caller.join(callee)?;
                callee.join(caller)
            }
            (true, false) => {
                caller.command_media(Command::Stop)?;
                play_hold_music(&self.shared, callee, joint.callee.codec)
            }
            (false, true) => {
                callee.command_media(Command::Stop)?;
                play_hold_music(&self.shared, caller, joint.caller.codec)
            }
            (true, true) => {
                caller.command_media(Command::Stop)?;
                callee.command_media(Command::Stop)
            }
        }
    }
}

fn play_hold_music(shared: &Shared, leg: &mut Leg, codec: Codec) -> Result<(), LegEnd> {
    let music = shared.prompts.prompt(&shared.hold_music);
    match music.and_then(|music| music.track(codec)) {
        Ok(track) => {
            let token = leg.next_play();
            leg.command_media(Command::Play { track, repeat: Repeat::Forever, token })
        }
        Err(error) => {
            warn!(%error, "hold music skipped");
            leg.command_media(Command::Stop)
        }
    }
}

/// How the two are to be joined; `None` while one of them has no session yet.
fn wanted(caller: &Leg, callee: &Leg) -> Option<Joint> {
    let side = |leg: &Leg| Some(Side { codec: leg.codec()?, is_held: leg.is_held() });
    Some(Joint { caller: side(caller)?, callee: side(callee)? })
}
