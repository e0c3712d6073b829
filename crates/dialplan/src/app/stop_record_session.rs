//! `stop_record_session`: ends what `record_session` began.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "stop_record_session",
    summary: "Ends the recording that record_session began.",
    arguments: &[Argument {
        name: "file",
        reading: "read and left out: a call has one recording at a time",
    }],
    parse,
};

#[derive(Debug)]
struct StopRecordSession;

fn parse(_: &Text, _: &Globals) -> Parsed {
    Ok(Box::new(StopRecordSession))
}

#[async_trait]
impl Application for StopRecordSession {
    async fn run(&self, call: &mut dyn Call, _: Scope<'_>) -> Result<Next, Ended> {
        call.stop_recording().await?;
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::actions;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_without_a_recording() {
        let call = actions(&[("stop_record_session", "x.wav")]).await;
        assert_eq!(call.log(), ["0 stop_recording", "0 hang_up NORMAL_CLEARING"]);
    }
}
