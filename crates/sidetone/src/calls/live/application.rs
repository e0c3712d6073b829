//! What the dialplan's applications do to a call.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dialplan::{
    BridgeOutcome, BridgeRequest, Call, Cause, Ended, Facts, Level, Moment, SoundName, ToneScript,
    Variables,
};
use media::codec::Codec;
use media::prompt::Track;
use media::shard::{Command, PlayEnd, Repeat};
use tokio::time::Instant;
use tracing::warn;

use super::LiveCall;
use super::situation::moment;
use crate::calls::Shared;
use crate::calls::leg::Notice;
use crate::tones;

impl LiveCall {
    fn command_caller(&mut self, command: Command) -> Result<(), Ended> {
        self.caller.command_media(command).map_err(|end| self.ended(end))
    }

    /// Returns once the caller can be sent to.
    async fn wait_until_ready(&mut self) -> Result<(), Ended> {
        while !self.caller.is_ready() {
            self.wait(None, |notice| {
                matches!(notice, Notice::Agreed | Notice::Connected).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Plays a track of the leg's codec, again from its start if the codec changes meanwhile.
    async fn play_track(&mut self, playable: Playable<'_>) -> Result<(), Ended> {
        loop {
            let Some(codec) = self.caller.codec() else {
                return Ok(());
            };
            let (track, repeat) = match playable.track(&self.shared, codec) {
                Ok(found) => found,
                Err(error) => {
                    warn!(call_id = self.facts.uuid, %error, "sound skipped");
                    return Ok(());
                }
            };
            let token = self.caller.next_play();
            self.command_caller(Command::Play { track, repeat, token })?;
            let end = self
                .wait(None, |notice| match notice {
                    Notice::PlayDone(done, end) if *done == token => Some(*end),
                    _ => None,
                })
                .await?;
            if end != Some(PlayEnd::CodecMismatch) {
                self.played_at = Some(Instant::now());
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Call for LiveCall {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn reroute(&mut self, number: &str, context: &str) {
        self.go_to(number, context);
    }

    fn now(&self) -> Moment {
        moment()
    }

    fn variables(&self) -> &Variables {
        &self.variables
    }

    fn variables_mut(&mut self) -> &mut Variables {
        &mut self.variables
    }

    fn action_begins(&mut self, action: &dialplan::Action) {
        self.shared.metrics.application(action.application);
        if action.application != "hangup" {
            self.bridged = None;
        }
    }

    fn log(&mut self, level: Level, text: &str) {
        let call_id = &self.facts.uuid;
        match level {
            Level::Console | Level::Alert | Level::Crit | Level::Err => {
                tracing::error!(call_id, text, "dialplan");
            }
            Level::Warning => tracing::warn!(call_id, text, "dialplan"),
            Level::Notice | Level::Info => tracing::info!(call_id, text, "dialplan"),
            Level::Debug => tracing::debug!(call_id, text, "dialplan"),
        }
    }

    fn is_answered(&self) -> bool {
        self.caller.answered_at().is_some()
    }

    async fn answer(&mut self) -> Result<(), Ended> {
        if self.caller.answered_at().is_none()
            && let Err(refused) = self.answer_caller(None).await
        {
            return Err(self.refuse(refused).await);
        }
        self.wait_until_ready().await
    }

    async fn sleep(&mut self, duration: Duration) -> Result<(), Ended> {
        let deadline = Instant::now() + duration;
        self.wait(Some(deadline), |_| None::<()>).await.map(|_| ())
    }

    async fn play(&mut self, sound: &SoundName) -> Result<(), Ended> {
        self.answer().await?;
        self.play_track(Playable::Sound(sound)).await
    }

    async fn tones(&mut self, script: &ToneScript) -> Result<(), Ended> {
        self.answer().await?;
        self.play_track(Playable::Tones(script)).await
    }

    async fn echo(&mut self, delay: Duration) -> Ended {
        if let Err(ended) = self.answer().await {
            return ended;
        }
        let delay = (!delay.is_zero()).then_some(delay);
        if let Err(ended) = self.command_caller(Command::Echo { delay }) {
            return ended;
        }
        loop {
            if let Err(ended) = self.wait(None, |_| None::<()>).await {
                return ended;
            }
        }
    }

    async fn bridge(&mut self, request: &BridgeRequest) -> Result<BridgeOutcome, Ended> {
        self.bridge_to(request).await
    }

    async fn hang_up(&mut self, cause: Cause) -> Ended {
        if let Some(played_at) = self.played_at.filter(|_| self.caller.answered_at().is_some())
            && let Err(ended) = self.wait(Some(played_at + TAIL), |_| None::<()>).await
        {
            return ended;
        }
        self.hang_up_caller(cause).await;
        Ended::by_dialplan(cause)
    }
}

enum Playable<'a> {
    Sound(&'a SoundName),
    Tones(&'a ToneScript),
}

impl Playable<'_> {
    /// What was encoded when the plan was loaded, so that this only looks it up.
    fn track(&self, shared: &Shared, codec: Codec) -> Result<(Arc<Track>, Repeat), media::Error> {
        match self {
            Playable::Sound(name) => {
                let track = shared.prompts.prompt(name.as_str())?.track(codec)?;
                Ok((track, Repeat::Once))
            }
            Playable::Tones(script) => {
                let track = shared.prompts.tone(&tones::script(script), codec)?;
                let repeat = tones::repeats(&track, tones::duration(script));
                Ok((track, repeat))
            }
        }
    }
}

/// A browser closes its media when BYE comes, with what its jitter buffer still holds unheard.
const TAIL: Duration = Duration::from_millis(150);
