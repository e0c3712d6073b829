//! Recordings that the dialplan asks for: of the caller alone, or of both sides while the actions go on.

use std::time::Duration;

use dialplan::{Ended, RecordRequest, Recorded};
use media::codec::Codec;
use media::net::{Finished, Recording, RecordingEnd, RecordingOptions};
use media::recording::{Layout, Tap, rate_hz};
use media::shard::Command;
use tokio::time::Instant;
use tracing::warn;

use super::playing::pressed;
use super::{LiveCall, Step};

impl LiveCall {
    /// Records what the caller says, until what `request` says ends it.
    pub(super) async fn record_caller(
        &mut self,
        request: &RecordRequest,
    ) -> Result<Recorded, Ended> {
        let nothing = Recorded { duration: Duration::ZERO, key: None };
        let RecordRequest { limit, silence, .. } = *request;
        let options = RecordingOptions { begins_now: true, limit, silence, ..self.options() };
        let Some((tap, mut recording)) = self.begin_recording(request, options) else {
            return Ok(nothing);
        };
        self.command_caller(Command::Record(tap))?;
        let (finished, key) = loop {
            match self.step(recording.finished(), None).await? {
                Step::Other(finished) => break (finished, None),
                Step::Caller(notice) => {
                    self.keep_key(&notice);
                    if let Some(key) = pressed(&notice, &request.stop_on) {
                        self.take_key(&[key]);
                        break (self.stop(&mut recording).await?, Some(key));
                    }
                }
                Step::Deadline => {}
            }
        };
        self.command_caller(Command::StopRecord(recording.id()))?;
        let Some(Finished { duration, end }) = finished else { return Ok(nothing) };
        if end == RecordingEnd::Failed {
            warn!(call_id = self.facts.uuid, name = request.name.as_str(), "recording failed");
        }
        Ok(Recorded { duration, key })
    }

    /// Ends a recording and waits until its file is complete, so that it can be played.
    async fn stop(&mut self, recording: &mut Recording) -> Result<Option<Finished>, Ended> {
        self.command_caller(Command::StopRecord(recording.id()))?;
        let deadline = Instant::now() + COMPLETE_TIMEOUT;
        loop {
            match self.step(recording.finished(), Some(deadline)).await? {
                Step::Other(finished) => return Ok(finished),
                Step::Caller(notice) => self.keep_key(&notice),
                Step::Deadline => return Ok(None),
            }
        }
    }

    /// Records both sides from now on, or from when there is media.
    pub(super) async fn record_both(&mut self, request: &RecordRequest) -> Result<(), Ended> {
        self.stop_recording_both().await?;
        let is_stereo = self.variables.get("RECORD_STEREO") == Some("true");
        let layout = if is_stereo { Layout::Stereo } else { Layout::Mixed };
        let options = RecordingOptions { layout, limit: request.limit, ..self.options() };
        if let Some((tap, recording)) = self.begin_recording(request, options) {
            self.caller.record(tap).map_err(|end| self.ended(end))?;
            self.session = Some(recording);
        }
        Ok(())
    }

    pub(super) async fn stop_recording_both(&mut self) -> Result<(), Ended> {
        let Some(mut recording) = self.session.take() else { return Ok(()) };
        self.caller.forget_recording();
        self.stop(&mut recording).await?;
        Ok(())
    }

    fn options(&self) -> RecordingOptions {
        RecordingOptions {
            layout: Layout::Heard,
            rate_hz: rate_hz(self.caller.codec().unwrap_or(Codec::Opus)),
            begins_now: false,
            limit: None,
            silence: None,
        }
    }

    fn begin_recording(
        &self,
        request: &RecordRequest,
        options: RecordingOptions,
    ) -> Option<(Tap, Recording)> {
        let begun = self.shared.recorder.record(request.name.as_str(), options);
        if let Err(error) = &begun {
            let name = request.name.as_str();
            warn!(call_id = self.facts.uuid, name, %error, "not recorded");
        }
        begun.ok()
    }
}

/// How long a disk may take to complete a file before the call goes on without it.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(2);
