//! `record_session`: a call and whoever it is bridged to, into a file, while the actions go on.

use async_trait::async_trait;

use super::{Application, Argument, Entry, Globals, Next, Parsed};
use crate::call::{Call, Ended, Level};
use crate::recording::{RecordName, RecordRequest};
use crate::text::{Scope, Text};

pub(super) const ENTRY: Entry = Entry {
    name: "record_session",
    summary: "Records both sides of the call from now on, until it ends or stop_record_session is run: mixed or, if the \
              variable RECORD_STEREO is true, the caller on the left and what the caller hears on the right.",
    arguments: &[Argument { name: "file", reading: "as record takes it" }],
    parse,
};

#[derive(Debug)]
struct RecordSession {
    name: RecordName,
}

fn parse(data: &Text, globals: &Globals) -> Parsed {
    Ok(Box::new(RecordSession { name: RecordName::parse(data, globals)? }))
}

#[async_trait]
impl Application for RecordSession {
    async fn run(&self, call: &mut dyn Call, scope: Scope<'_>) -> Result<Next, Ended> {
        match self.name.expand(call, scope) {
            Ok(name) => {
                let request =
                    RecordRequest { name, limit: None, silence: None, stop_on: Vec::new() };
                call.start_recording(&request).await?;
            }
            Err(detail) => call.log(Level::Warning, &format!("record_session: {detail}")),
        }
        Ok(Next::Action)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::{actions, fault};

    #[tokio::test(start_paused = true)]
    async fn actions_go_on_while_it_records() {
        let list = [
            ("record_session", "${uuid}.wav"),
            ("answer", ""),
            ("sleep", "100"),
            ("stop_record_session", ""),
        ];
        let call = actions(&list).await;
        let expected = [
            "0 start_recording a1b2.wav",
            "0 answer",
            "0 sleep 100",
            "100 stop_recording",
            "100 hang_up NORMAL_CLEARING",
        ];
        assert_eq!(call.log(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_the_call_names_a_file() {
        assert!(fault("record_session", "${caller_id_name}.wav").contains("only ${uuid}"));
    }
}
