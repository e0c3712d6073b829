//! Recordings that the dialplan asks for. The media plane has no way to hand over what is heard, so none is made:
//! each request is refused aloud, and the call goes on.

use std::time::Duration;

use dialplan::{Ended, RecordRequest, Recorded};
use tracing::warn;

use super::LiveCall;

impl LiveCall {
    pub(super) async fn record_caller(
        &mut self,
        request: &RecordRequest,
    ) -> Result<Recorded, Ended> {
        self.refuse_recording(request);
        Ok(Recorded { duration: Duration::ZERO, key: None })
    }

    pub(super) async fn record_both(&mut self, request: &RecordRequest) -> Result<(), Ended> {
        self.refuse_recording(request);
        Ok(())
    }

    pub(super) async fn stop_recording_both(&mut self) -> Result<(), Ended> {
        Ok(())
    }

    fn refuse_recording(&self, request: &RecordRequest) {
        let name = request.name.as_str();
        warn!(call_id = self.facts.uuid, name, "not recorded: this version cannot record yet");
    }
}
