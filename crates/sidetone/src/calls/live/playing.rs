//! What the caller hears from us, and the keys it presses meanwhile.

use std::sync::Arc;
use std::time::Duration;

use dialplan::{Ended, Play, Playable};
use media::codec::{Codec, FRAME_MS};
use media::prompt::Track;
use media::shard::{Command, PlayEnd, Repeat};
use tokio::time::Instant;
use tracing::warn;

use super::{LiveCall, Step};
use crate::calls::leg::Notice;
use crate::tones;

/// What ended one thing that was played.
enum Heard {
    /// It is over.
    All(PlayEnd),
    /// A key was pressed.
    Key(char),
}

impl LiveCall {
    /// Plays to the end, or to a key that ends it.
    pub(super) async fn play_all(&mut self, play: &Play) -> Result<Option<char>, Ended> {
        let mut rounds = 0;
        loop {
            for (at, item) in play.items.iter().enumerate() {
                if let Some(key) = self.take_key(&play.stop_on) {
                    return Ok(Some(key));
                }
                let offset = if rounds == 0 && at == 0 { play.offset } else { Duration::ZERO };
                let key = match item {
                    Playable::Silence(duration) => self.silence(*duration, &play.stop_on).await?,
                    _ => self.play_item(item, offset, play).await?,
                };
                if key.is_some() {
                    return Ok(key);
                }
            }
            rounds += 1;
            if play.repeat == dialplan::Repeat::Times(rounds) {
                return Ok(None);
            }
            // A round that sounds is as long as its frames; one without any must not spin.
            tokio::task::yield_now().await;
        }
    }

    /// The next key, or one that was pressed before and not asked for.
    pub(super) async fn next_key(&mut self, timeout: Duration) -> Result<Option<char>, Ended> {
        if let Some(key) = self.keys.pop_front() {
            return Ok(Some(key));
        }
        let deadline = Instant::now() + timeout;
        self.wait(Some(deadline), |notice| matches!(notice, Notice::Digit(_)).then_some(()))
            .await?;
        Ok(self.keys.pop_front())
    }

    /// Keeps a key until it is asked for.
    pub(super) fn keep_key(&mut self, notice: &Notice) {
        if let Notice::Digit(digit) = notice
            && self.keys.len() < KEYS_MAX
        {
            self.keys.push_back(digit.digit);
        }
    }

    /// Takes the first kept key that is one of these.
    pub(super) fn take_key(&mut self, stop_on: &[char]) -> Option<char> {
        let at = self.keys.iter().position(|key| stop_on.contains(key))?;
        self.keys.remove(at)
    }

    async fn silence(
        &mut self,
        duration: Option<Duration>,
        stop_on: &[char],
    ) -> Result<Option<char>, Ended> {
        let deadline = duration.map(|duration| Instant::now() + duration);
        let key = self.wait(deadline, |notice| pressed(notice, stop_on)).await?;
        Ok(key.and_then(|_| self.take_key(stop_on)))
    }

    /// Plays in the leg's codec, again from its start if the codec changes meanwhile.
    async fn play_item(
        &mut self,
        item: &Playable,
        offset: Duration,
        play: &Play,
    ) -> Result<Option<char>, Ended> {
        let stop_on = play.stop_on.as_slice();
        loop {
            let Some(codec) = self.caller.codec() else { return Ok(None) };
            let (track, repeat) = match self.track(item, codec, play.volume_db).await? {
                Ok(found) => found,
                Err(error) => {
                    warn!(call_id = self.facts.uuid, %error, "sound skipped");
                    return self.silence(Some(SKIPPED), stop_on).await;
                }
            };
            if let Some(key) = self.take_key(stop_on) {
                return Ok(Some(key));
            }
            let track = match item {
                Playable::Sound(_) | Playable::Recording(_) => from(track, offset),
                Playable::Tones(_) | Playable::Silence(_) => track,
            };
            let token = self.caller.next_play();
            self.command_caller(Command::Play { track, repeat, token })?;
            let heard = self
                .wait(None, |notice| match notice {
                    Notice::PlayDone(done, end) if *done == token => Some(Heard::All(*end)),
                    notice => pressed(notice, stop_on).map(Heard::Key),
                })
                .await?;
            match heard {
                Some(Heard::All(PlayEnd::CodecMismatch)) => {}
                Some(Heard::Key(key)) => {
                    self.command_caller(Command::Stop)?;
                    self.take_key(&[key]);
                    return Ok(Some(key));
                }
                Some(Heard::All(_)) | None => {
                    self.played_at = Some(Instant::now());
                    return Ok(None);
                }
            }
        }
    }

    /// The track of what is played, and how often it is. What was encoded when the plan was loaded is
    /// only looked up; what was not is encoded elsewhere, while this call and all others go on.
    async fn track(
        &mut self,
        item: &Playable,
        codec: Codec,
        volume_db: i8,
    ) -> Result<Result<(Arc<Track>, Repeat), media::Error>, Ended> {
        let shared = Arc::clone(&self.shared);
        let once = |track| Ok((track, Repeat::Once));
        match item {
            Playable::Sound(name) => {
                let ready = shared.prompts.ready(name.as_str(), codec).filter(|_| volume_db == 0);
                if let Some(track) = ready {
                    return Ok(once(track));
                }
                let name = name.clone();
                let find = move || shared.prompts.track_at(name.as_str(), codec, volume_db);
                Ok(self.found_elsewhere(find).await?.and_then(once))
            }
            Playable::Recording(name) => {
                let name = name.of_call(&self.facts.uuid);
                let find = move || {
                    let dir = shared.recorder.dir();
                    shared.prompts.track_below(dir, &name, codec, volume_db)
                };
                Ok(self.found_elsewhere(find).await?.and_then(once))
            }
            Playable::Tones(script) => {
                let tone = tones::script(script);
                let track = match shared.prompts.ready_tone(&tone, codec) {
                    Some(track) => Ok(track),
                    None => {
                        let encode = move || shared.prompts.tone(&tone, codec);
                        self.found_elsewhere(encode).await?
                    }
                };
                Ok(track.map(|track| {
                    let repeat = tones::repeats(&track, tones::duration(script));
                    (track, repeat)
                }))
            }
            Playable::Silence(_) => Ok(once(shared.prompts.silence(codec))),
        }
    }

    /// Reads files and encodes where that keeps no other call waiting.
    async fn found_elsewhere(
        &mut self,
        find: impl FnOnce() -> Result<Arc<Track>, media::Error> + Send + 'static,
    ) -> Result<Result<Arc<Track>, media::Error>, Ended> {
        let mut task = tokio::task::spawn_blocking(find);
        loop {
            match self.step(&mut task, None).await? {
                Step::Other(Ok(found)) => return Ok(found),
                Step::Other(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                Step::Caller(notice) => self.keep_key(&notice),
                Step::Deadline => {}
            }
        }
    }
}

pub(super) fn pressed(notice: &Notice, stop_on: &[char]) -> Option<char> {
    match notice {
        Notice::Digit(digit) if stop_on.contains(&digit.digit) => Some(digit.digit),
        _ => None,
    }
}

/// A track without its beginning; its last frame stays, so that it has an end.
fn from(track: Arc<Track>, offset: Duration) -> Arc<Track> {
    let frames = usize::try_from(offset.as_millis() / u128::from(FRAME_MS)).unwrap_or(usize::MAX);
    let skipped = frames.min(track.frames.len().saturating_sub(1));
    if skipped == 0 {
        return track;
    }
    let frames = track.frames.get(skipped..).unwrap_or_default().into();
    Arc::new(Track { codec: track.codec, frames })
}

/// Most keys that are kept until they are asked for.
const KEYS_MAX: usize = 64;
/// Silence in place of a sound that cannot be played: a list of such sounds that is repeated takes its time.
const SKIPPED: Duration = Duration::from_millis(20);
